"""A task and a transformers causal model as lm-eval sees them. Importing this module imports lm-eval and torch."""

from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset, DatasetDict
from lm_eval.api.model import TemplateLM
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from components.artifacts import Report
from components.errors import SourceError
from components.recipe import Task

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGITS_PER_BATCH = 2**24
"""At most so many logits (rows x time x vocabulary, 64 MiB in fp32) are held at once, except for a single row."""

Request = tuple[tuple[str, str], list[int], list[int]]
"""(context, continuation) as texts, and the token ids of each."""


FEW_SHOT_SEED = 1234
"""lm-eval's default for drawing the examples, so that few-shot numbers compare with published ones."""


class Questions(ConfigurableTask):
    """Multiple choice over items in memory, scored by accuracy.

    The values of doc_to_* are names of columns, so nothing in the items is read as a template. Choices bring their own
    leading space, hence the empty delimiter.
    """

    def __init__(self, task: Task, items: list[dict[str, Any]]) -> None:
        self._items = items
        config = {
            "task": task.name,
            "output_type": "multiple_choice",
            "test_split": "test",
            "fewshot_split": "test",
            "doc_to_text": "question",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "target_delimiter": "",
            "num_fewshot": task.few_shot,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
        super().__init__(config=config)
        self.set_fewshot_seed(FEW_SHOT_SEED)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Take the items; nothing is fetched and nothing is cached on disk."""
        self.dataset = DatasetDict({"test": Dataset.from_list(self._items)})


class TransformersLM(TemplateLM):
    """Scores by log-probabilities in fp32; TemplateLM decides where a context ends and its continuation begins."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", report: Report) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer, self.report = tokenizer, report
        self.max_length = int(model.config.max_position_embeddings)

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids; "<|end|>" in a text is text, and special tokens are added as the tokenizer does unless told."""
        chosen = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer(string, split_special_tokens=True, **chosen)["input_ids"])

    def loglikelihood(self, requests: list["Instance"], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: list[Request], **kwargs: Any) -> list[tuple[float, bool]]:
        """(summed log-probability of the continuation, whether greedy decoding gives it) for each request."""
        for (_, text), _, continuation in requests:
            if not continuation:
                raise SourceError(f"Choice {text!r} melts into the question's last token: begin choices with a space.")
        by_length = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        scores: dict[int, tuple[float, bool]] = {}
        while len(scores) < len(by_length):
            longest = requests[by_length[len(scores)]]
            time = min(len(longest[1]) + len(longest[2]), self.max_length + 1)
            rows = max(1, LOGITS_PER_BATCH // (time * self.model.config.vocab_size))
            batch = by_length[len(scores) : len(scores) + rows]
            scores.update(zip(batch, self._batch([requests[i] for i in batch]), strict=True))
            self.report({"done": len(scores), "total": len(requests), "unit": "choices"})
        return [scores[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _batch(self, requests: list[Request]) -> list[tuple[float, bool]]:
        # The last token is predicted and never read; what does not fit is cut from the left.
        rows = [(context + continuation)[-self.max_length - 1 :][:-1] for _, context, continuation in requests]
        time = max(map(len, rows))
        ids = torch.tensor([row + [0] * (time - len(row)) for row in rows], device=self.model.device)
        seen = torch.tensor([[1] * len(row) + [0] * (time - len(row)) for row in rows], device=self.model.device)
        logits = self.model(input_ids=ids, attention_mask=seen).logits
        found = []
        for row, predicted, (_, _, continuation) in zip(rows, logits, requests, strict=True):
            targets = torch.tensor(continuation[-len(row) :], device=self.model.device)
            log_p = predicted[len(row) - len(targets) : len(row)].float().log_softmax(-1)
            chosen = log_p.gather(-1, targets[:, None]).sum().item()
            found.append((chosen, bool((log_p.argmax(-1) == targets).all())))
        return found

    def loglikelihood_rolling(self, requests: list["Instance"], disable_tqdm: bool = True) -> list[float]:
        """The log-probability of each whole text, in windows that meet without overlapping predictions."""
        totals = []
        for (text,) in (request.args for request in requests):
            windows = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
            parts: list[Request] = [((text, text), *make_disjoint_window(window)) for window in windows]
            totals.append(sum(score for score, _ in self._loglikelihood_tokens(parts)))
        return totals

    @torch.inference_mode()
    def generate_until(self, requests: list["Instance"], disable_tqdm: bool = True) -> list[str]:
        """Greedy continuations, each cut before the first of its stop strings."""
        texts = []
        for context, settings in (request.args for request in requests):
            length = int(settings.get("max_gen_toks", 256))
            ids = torch.tensor(
                [self.tok_encode(context)[-max(1, self.max_length - length) :]], device=self.model.device
            )
            made = self.model.generate(ids, do_sample=False, max_new_tokens=length)
            text = str(self.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))
            for stop in settings.get("until", []):
                text = text.partition(stop)[0]
            texts.append(text)
        return texts
