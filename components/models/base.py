"""What a model family is: named sizes of one architecture, and how to build them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import SourceError, UnknownName

if TYPE_CHECKING:
    import torch
    from torch import nn

    from components.training.batch import Batch


def small(
    hidden: int, layers: int, heads: int, kv_heads: int, mlp: int, vocab_size: int = 2048, context: int = 256
) -> dict[str, Any]:
    """Fields of a small decoder for tests and laptops; input and output embedding are one, as they weigh much here."""
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": vocab_size,
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "bos_token_id": None,
        "eos_token_id": None,
    }


def published(
    hidden: int, layers: int, heads: int, kv_heads: int, mlp: int, shared: Mapping[str, Any], **own: Any
) -> dict[str, Any]:
    """Fields of a published decoder: what its sizes differ in, what they have in `shared`, and what is its `own`."""
    shape = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
    }
    return {**shared, **shape, **own}


def put(module: "nn.Module", weights: Mapping[str, "torch.Tensor"], part: str) -> None:
    """Put all `weights` of the `part` into `module`. Raises SourceError where they are of another shape."""
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        theirs, ours = (tuple(found[name].shape) if name in found else None for found in (weights, own))
        if theirs != ours:
            raise SourceError(f"The part {part!r} does not fit: its {name} has the shape {theirs}, here it is {ours}.")
    module.load_state_dict(dict(weights))


POSITIONS = ("position_embedding.weight", "position_embeddings.weight")


def cut(weights: Mapping[str, "torch.Tensor"], own: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """`weights` with no more learned positions than `own` has: a model may read fewer tokens than where they come from."""
    return {
        name: weight[: len(own[name])] if name.endswith(POSITIONS) and name in own else weight
        for name, weight in weights.items()
    }


def logits(model: "nn.Module", batch: "Batch") -> "torch.Tensor":
    """What most models make of token ids: (rows, time, vocabulary)."""
    found: torch.Tensor = model(input_ids=batch.input_ids).logits
    return found


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
    """The REST shapes that it answers when served; evaluation tasks need completions."""
    architectures: tuple[str, ...]
    """The upstream classes, as `architectures` of an exported config.json names them: by it an export tells its family."""
    engine: str = "decoder"
    """What holds it when it is served: see components.serving.engines."""
    outputs: Callable[["nn.Module", "Batch"], "torch.Tensor"] = logits
    """What a model makes of a batch, as an export that is loaded again must make it too."""
    corpus: str = "documents"
    """What it learns from: documents, or images with captions."""
    samples: str = "tokens"
    """How the corpus is prepared: tokens, pairs of image and text, or questions about images."""
    parts: tuple[str, ...] = ()
    """The models that it is joined from, each a source with the role part under this name."""
    optional_parts: tuple[str, ...] = ()
    """Those that it may be joined from beside."""
    join: Callable[["nn.Module", Mapping[str, Path]], None] | None = None
    """Puts the weights of exports, by name of the part, into a model. Raises SourceError where one does not fit."""
    like: Callable[[Path], "nn.Module"] | None = None
    """A model of the shapes in an export, where a part may have brought shapes that are no size's."""
    processor: str = "byte_bpe"
    """How text becomes tokens: a file of components/preparation/processors."""
    evaluation: str = "causal_lm"
    """How it is measured: a file of components/evaluation/measures."""
    pipeline: str = "text-generation"
    """The name that its library has for its task, which MLflow writes down."""
    library: str = "transformers"
    """What loads its export: transformers or diffusers."""

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
        image_size: int | None = None,
        image_token_id: int | None = None,
        labels: Sequence[str] | None = None,
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
                image_size=image_size,
                image_token_id=image_token_id,
                labels=labels,
            )
        )

    def described(self, samples: Mapping[str, Any]) -> dict[str, Any]:
        """What `build` takes of samples.json."""
        names = ("vocab_size", "eos_token_id", "pad_token_id", "image_size", "image_token_id", "labels")
        return {"context": samples["context"], **{name: samples.get(name) for name in names}}

    def parameters(self, size: str, vocab_size: int | None = None) -> int:
        """How many parameters `size` has, shared ones counted once; nothing is allocated. Raises UnknownName."""
        return sum(parameter.numel() for parameter in self.on_meta(size, vocab_size).parameters())

    def on_meta(self, size: str, vocab_size: int | None = None) -> "nn.Module":
        """The model of `size` on the meta device: shapes alone, nothing is allocated. Raises UnknownName."""
        import torch

        with torch.device("meta"):
            return self.build(size, vocab_size=vocab_size)


def active_parameters(model: "nn.Module", names: Collection[str] | None = None) -> int:
    """Parameters that work on each token: all, but of experts only as many as a token is sent to (Jiang et al. 2024).

    With `names`, only those that are called so count.
    """
    from transformers import PretrainedConfig

    config = model.config
    assert isinstance(config, PretrainedConfig)
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 1
    chosen = getattr(config, "num_experts_per_tok", None) or 1
    return sum(
        parameter.numel() * chosen // experts if ".experts." in name else parameter.numel()
        for name, parameter in model.named_parameters()
        if names is None or name in names
    )
