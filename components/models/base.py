"""What a model family is: named sizes of one architecture, and how to build them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.errors import UnknownName

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelFamily:
    """One architecture. Files beside this one hold one family each, called `FAMILY`."""

    name: str
    sizes: Mapping[str, Mapping[str, Any]]
    """Size name -> fields of the upstream configuration class, published values included."""
    construct: Callable[[dict[str, Any]], "nn.Module"]
    """Configuration fields -> a freshly initialised module, on the current default device."""
    objectives: tuple[str, ...]
    """What it can be trained for: files of components/training/objectives."""
    endpoints: tuple[str, ...]
    """The REST shapes that it answers when served."""

    def fields(self, size: str, **changed: Any) -> dict[str, Any]:
        """The configuration of `size`, with the `changed` fields that are not None. Raises UnknownName."""
        if size not in self.sizes:
            raise UnknownName(f"size of {self.name}", size, self.sizes)
        return {**self.sizes[size], **{name: value for name, value in changed.items() if value is not None}}

    def build(
        self,
        size: str,
        *,
        vocab_size: int | None = None,
        context: int | None = None,
        eos_token_id: int | None = None,
        pad_token_id: int | None = None,
    ) -> "nn.Module":
        """A freshly initialised model of `size`; what is None stays as published. Raises UnknownName.

        Weights come from torch's global generator: seed it first. The forward pass takes input_ids (batch, time) and
        gives logits (batch, time, vocabulary) in fp32.
        """
        return self.construct(
            self.fields(
                size,
                vocab_size=vocab_size,
                max_position_embeddings=context,
                eos_token_id=eos_token_id,
                pad_token_id=pad_token_id,
            )
        )

    def parameters(self, size: str, vocab_size: int | None = None) -> int:
        """How many parameters `size` has, shared ones counted once; nothing is allocated. Raises UnknownName."""
        import torch

        with torch.device("meta"):
            model = self.build(size, vocab_size=vocab_size)
        return sum(parameter.numel() for parameter in model.parameters())
