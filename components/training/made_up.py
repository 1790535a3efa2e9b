"""Samples that nobody wrote, of the shapes that a phase would see: what its steps take does not depend on what they say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.training.config import TrainConfig
from components.training.objectives import objective

if TYPE_CHECKING:
    import numpy as np

KINDS = ("tokens", "chats", "pairs", "labelled", "answers", "questions")
"""The kinds of samples that can be made up."""
CAPTION, ASKED, MANY = 18, 15, 512
"""Tokens of a made-up caption and of a question with its answer, on average, and how many images or texts there are."""
SPREAD = 0.3
"""The deviation of their lengths, as a part of that."""
LEAST = 4
"""The length of the shortest."""


def can_be_made_up(config: TrainConfig) -> bool:
    """Whether there are made-up samples for what the phase learns from, on the processor that plans."""
    return not config.phase.use_gpu and objective(config.phase.objective).kind in KINDS


def make_up_samples(
    folder: Path,
    config: TrainConfig,
    *,
    context: int,
    vocab_size: int,
    chat_tokens: tuple[int, ...] = (),
    image_size: int | None = None,
) -> None:
    """Fill `folder` with samples of random tokens: windows of the context, chats of the lengths `chat_tokens`, captions of
    images of `image_size` pixels, questions about them, or texts of which many are longer than the context.
    """
    import numpy as np

    folder.mkdir()
    kind, random = objective(config.phase.objective).kind, np.random.default_rng(0)
    places = _places(config, image_size) if kind == "questions" else 0
    if kind == "tokens":
        lengths = np.array([context * 64 + 1])
    else:
        lengths = np.array(chat_tokens) if kind == "chats" else places + _lengths(kind, context - places, random)
    tokens = _tokens(vocab_size, int(lengths.sum()), random)
    if kind == "questions":  # a picture, the question and the answer
        tokens %= vocab_size - 1
        starts = np.cumsum(lengths) - lengths
        tokens[(starts[:, None] + np.arange(places)).ravel()] = vocab_size - 1
    dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
    tokens.astype(dtype).tofile(folder / "tokens.bin")
    np.save(folder / "offsets.npy", np.concatenate([[0], lengths.cumsum()]).astype(np.int64))
    if kind in ("chats", "questions"):
        np.ones(len(tokens), dtype=np.uint8).tofile(folder / "mask.bin")
    arrays = _arrays(kind, image_size or 1, random)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    described = {"kind": kind, "dtype": np.dtype(dtype).name, "num_tokens": len(tokens), "num_documents": len(lengths)}
    described |= {"vocab_size": vocab_size, "context": context, "eos_token_id": 0, "pad_token_id": 1}
    described |= {"arrays": list(arrays)} if arrays else {}
    described |= {"image_size": image_size} if image_size else {}
    described |= {"image_token_id": vocab_size - 1} if kind == "questions" else {}
    (folder / "samples.json").write_text(json.dumps(described))
    _make_up_processor(folder / "processor")


def _tokens(vocab_size: int, number: int, random: "np.random.Generator") -> "np.ndarray":
    """As frequent as words are (Zipf 1949), for how many of them an expert gets depends on it; the special ones are rare."""
    ranks = (vocab_size ** random.random(number)).astype(int) - 1
    found: np.ndarray = (vocab_size // 2 + ranks) % vocab_size
    return found


def _lengths(kind: str, most: int, random: "np.random.Generator") -> "np.ndarray":
    """Several: batches are as wide as their longest, and attention has padding to leave out."""
    usual = {"pairs": CAPTION, "questions": ASKED}.get(kind, most)
    return random.normal(usual, SPREAD * usual, MANY).round().astype(int).clip(LEAST, most)


def _arrays(kind: str, size: int, random: "np.random.Generator") -> "dict[str, np.ndarray]":
    """What there is beside text."""
    import numpy as np

    if kind in ("pairs", "questions"):
        return {"pixel_values": random.normal(size=(MANY, 3, size, size)).astype(np.float16)}
    return {"labelled": {"labels": np.arange(MANY) % 2}, "answers": {"answers": np.tile([0, 1], (MANY, 1))}}.get(
        kind, {}
    )


def _places(config: TrainConfig, image_size: int | None) -> int:
    """Tokens that a picture becomes."""
    import torch

    from components.models import family

    assert config.size is not None, "what reads pictures is joined from parts"
    with torch.device("meta"):
        model: Any = family(config.family).build(config.size, image_size=image_size)
    return int(model.config.image_seq_length)


def _make_up_processor(folder: Path) -> None:
    """The special tokens by which objectives corrupt text."""
    folder.mkdir()
    names = ["[MASK]", *(f"<extra_id_{number}>" for number in range(100))]
    added = [{"id": number, "content": name, "special": True} for number, name in enumerate(names, 2)]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "[MASK]"}))
