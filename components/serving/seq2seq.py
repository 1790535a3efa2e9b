"""An encoder and a decoder behind the endpoint: a prompt is read whole, and its hidden spans are written."""

from collections.abc import Callable, Iterator
from typing import Any

from components.serving.api_errors import ApiError
from components.serving.engine import Engine, Event
from components.serving.forward import cache_name
from components.serving.prompts import Prompt


class Seq2Seq(Engine):
    """An engine whose prompt and answer are texts of their own: an answer has the context to itself.

    `<extra_id_0>` in a prompt stands for a hidden span, and comes before what is written for it in the answer. A prompt
    without any is a beginning: what follows it is hidden.
    """

    endpoints = ("completions",)
    loader = "AutoModelForSeq2SeqLM"

    def answers(self, job: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[Event]:
        """As Engine's. Raises ApiError for `echo`, as what is read is not part of what is written."""
        if job["echo"]:
            raise ApiError(400, "This model writes apart from what it reads: echo is not for it.", param="echo")
        yield from super().answers(job, cancelled)

    def room(self, prompt: Prompt) -> int:
        """Tokens of an answer."""
        return self.loaded.context

    def forward(self) -> Any:
        """One sequence on its way through the decoder."""
        return _Forward(self.loaded.model, self.first_sentinel)

    @property
    def first_sentinel(self) -> int:
        """The token that stands for the first hidden span."""
        return int(self.loaded.tokenizer.convert_tokens_to_ids("<extra_id_0>"))

    def _decode(self, tokens: Any) -> str:
        """With sentinels, which say what is filled in where."""
        ends = {self.loaded.tokenizer.pad_token_id, self.loaded.tokenizer.eos_token_id}
        kept = [token for token in tokens if token not in ends]
        text: str = self.loaded.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


class _Forward:
    """A prompt that has been read, and the answer so far: each token is read once."""

    def __init__(self, model: Any, sentinel: int) -> None:
        self._model, self._sentinel = model, sentinel
        self._name = cache_name(model)
        self._read: Any = None
        self._cache: Any = None

    def prefill(self, ids: list[int], cancelled: Callable[[], bool]) -> Any:
        """Logits (vocabulary) of the first token of an answer to `ids`."""
        import torch

        with torch.inference_mode():
            self._read = self._model.get_encoder()(input_ids=torch.tensor([self._asking(ids)]))
        return self.step(self._model.config.decoder_start_token_id)

    def step(self, token: int) -> Any:
        """Logits (vocabulary) of what follows `token`."""
        import torch

        with torch.inference_mode():
            found = self._model(
                encoder_outputs=self._read,
                decoder_input_ids=torch.tensor([[token]]),
                use_cache=True,
                **{self._name: self._cache},
            )
        self._cache = getattr(found, self._name)
        return found.logits[0, -1]

    def _asking(self, ids: list[int]) -> list[int]:
        """`ids` with a hidden span at their end, where there is none in them."""
        if self._sentinel in ids:
            return ids
        end = self._model.config.eos_token_id
        text = ids[:-1] if ids and ids[-1] == end else ids
        return [*text, self._sentinel, end]
