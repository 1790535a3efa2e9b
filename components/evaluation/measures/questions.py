"""Models that read pictures: how often held-out pictures are named right and asked about right, with and without seeing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.evaluation.measures.base import Content, Given, Measure, load, score
from components.evaluation.scoring import Floats
from components.questions import WHAT, Question, questions
from components.recipe import EvaluateConfig

EXAMPLES = 16
ANSWER_TOKENS = 16
KINDS = {"what": "naming", "whether": "yes_no"}


def measure(given: Given) -> Content:
    """naming_accuracy: which of ten labels is the likeliest answer to "What is this?". yes_no_accuracy: whether "Yes." or
    "No." is, to "Is this ...?", asked once for what it is and once for something else. Standard errors are over questions.

    `..._blind` is the accuracy of the same model when it is asked without the picture, and `..._gain` by how many standard
    errors the difference of both exceeds zero, over the same questions. `seen_` in front stands for labels that were seen
    in training, in another style.
    """
    seeing = Seeing(given)
    train, rows = _rows(given, "train"), _rows(given, "held_out")
    if given.config.held_out_documents:  # from all over, as rows lie source by source
        rows = rows[:: max(1, len(rows) // given.config.held_out_documents)][: given.config.held_out_documents]
    given.clock.lap("load")
    asked = questions([row["text"] for row in rows], [row["text"] for row in rows])
    right, blind = np.zeros(len(asked)), np.zeros(len(asked))
    for number, question in enumerate(asked):
        answers = (question.answer, *question.others)
        right[number] = _first_is_best(seeing.likelihoods(question.text, answers, rows[question.picture]["image"]))
        blind[number] = _first_is_best(seeing.likelihoods(question.text, answers, None))
        if number % 32 == 31 or number + 1 == len(asked):
            given.report({"done": number + 1, "total": len(asked), "unit": "questions"})
    given.clock.lap("scoring")
    scores: dict[str, Any] = {}
    held = np.array([rows[question.picture]["held"] for question in asked])
    for kind, name in KINDS.items():
        ours = np.array([question.kind == kind for question in asked])
        scores |= _scores(name, right[ours], blind[ours])
        if (seen := ours & (held == "style")).any():
            scores |= _scores(f"seen_{name}", right[seen], blind[seen])
    examples = _examples(seeing, rows, asked)
    given.clock.lap("texts")
    known = len({row["text"] for row in train})
    return {"scores": scores, "pictures": len(rows), "questions": len(asked), "labels": known, "examples": examples}


class Seeing:
    """A model with its processors: how likely answers about a picture are, and what it answers by itself."""

    def __init__(self, given: Given) -> None:
        from transformers import AutoImageProcessor

        self.model, self.tokenizer = load(given.export, "LlavaForConditionalGeneration")
        place: dict[str, Any] = {"pretrained_model_name_or_path": given.export.path, "local_files_only": True}
        self.processor: Any = AutoImageProcessor.from_pretrained(**place)

    def likelihoods(self, question: str, answers: Sequence[str], png: bytes | None) -> Floats:
        """Log-probability of each answer and its end, in nats, fp64 (answers)."""
        import torch

        asked, pixels = self._asked(question, png)
        ends = [self.tokenizer(answer, add_special_tokens=False)["input_ids"] + [self._end] for answer in answers]
        longest = max(map(len, ends))
        ids = torch.full((len(ends), len(asked) + longest), self._end)
        ids[:, : len(asked)] = torch.tensor(asked)
        for row, end in zip(ids, ends, strict=True):
            row[len(asked) : len(asked) + len(end)] = torch.tensor(end)
        seen = {} if pixels is None else {"pixel_values": pixels.expand(len(ends), -1, -1, -1)}
        with torch.inference_mode():
            logits = self.model(input_ids=ids[:, :-1], logits_to_keep=longest, **seen).logits.double().log_softmax(-1)
        found = [sum(float(logits[n, at, token]) for at, token in enumerate(end)) for n, end in enumerate(ends)]
        return np.array(found)

    def answer(self, question: str, png: bytes) -> str:
        """The likeliest token after the other, up to the end."""
        import torch

        ids, pixels = self._asked(question, png)
        with torch.inference_mode():
            found = self.model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                pixel_values=pixels,
                max_new_tokens=ANSWER_TOKENS,
                do_sample=False,
                eos_token_id=self._end,
                pad_token_id=self._end,
            )
        text: str = self.tokenizer.decode(found[0, len(ids) :], skip_special_tokens=True)
        return text

    @property
    def _end(self) -> int:
        return int(self.tokenizer.eos_token_id)

    def _asked(self, question: str, png: bytes | None) -> tuple[list[int], Any]:
        import io

        from PIL import Image

        image = [{"type": "image"}] if png else []
        message = {"role": "user", "content": [*image, {"type": "text", "text": question}]}
        text = self.tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if png is None:
            return ids, None
        config = self.model.config
        spread = [token for t in ids for token in [t] * (config.image_seq_length if t == config.image_token_id else 1)]
        return spread, self.processor(Image.open(io.BytesIO(png)).convert("RGB"), return_tensors="pt")["pixel_values"]


def _first_is_best(likelihoods: Floats) -> float:
    return float(likelihoods[0] > likelihoods[1:].max())


def _scores(name: str, right: Floats, blind: Floats) -> dict[str, Any]:
    differences = right - blind
    error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    gain = float(differences.mean()) / error if error else 0.0
    return {
        f"{name}_accuracy": score(float(right.mean()), _error(right), "fraction"),
        f"{name}_blind": score(float(blind.mean()), _error(blind), "fraction"),
        f"{name}_gain": score(gain, None, "standard errors"),
    }


def _error(found: Floats) -> float:
    return float(found.std(ddof=1) / np.sqrt(len(found)))


def _rows(given: Given, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(given.corpus.documents(split)).to_pylist()
    return rows


def _examples(seeing: Seeing, rows: Sequence[dict[str, Any]], asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Pictures with what the model says they are, and its answer to one question of yes or no."""
    from components.reports import data_uri

    found = []
    for number in list(range(0, len(rows), max(1, len(rows) // EXAMPLES)))[:EXAMPLES]:
        row = rows[number]
        whether = [question for question in asked if question.picture == number and question.kind == "whether"][
            number % 2
        ]
        answers = [
            {"question": WHAT, "said": seeing.answer(WHAT, row["image"]), "true": f"{row['text']}."},
            {"question": whether.text, "said": seeing.answer(whether.text, row["image"]), "true": whether.answer},
        ]
        held = "never seen" if row["held"] == "concept" else "seen in another style"
        found.append({"image": data_uri(row["image"]), "held": held, "answers": answers})
    return found


def page(config: EvaluateConfig, content: Content) -> str:
    """Accuracies with and without the picture, and pictures with questions and answers."""
    from components.reports import render
    from components.reports.plots import bars

    scores = content["scores"]
    names = [name for prefix in ("", "seen_") for kind in KINDS.values() if f"{(name := prefix + kind)}_gain" in scores]
    shown = [scores[f"{name}_{what}"] for name in names for what in ("accuracy", "blind")]
    labels = [label for name in names for label in (name.replace("_", " "), "without the picture")]
    figure = bars(labels, [s["value"] for s in shown], [s["stderr"] for s in shown], "right", "Held-out pictures")
    return render("evaluation_questions", content, {"accuracy": figure})


MEASURE = Measure(measure, page)
