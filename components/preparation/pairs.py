"""Images with captions to samples: a tokenizer of the captions, and pixels as the model's processor makes them."""

from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import Corpus, Facts, Report
from components.errors import EmptyResult
from components.preparation.packing import Packing
from components.preparation.processors import processor
from components.recipe import PrepareConfig
from components.recipe.images import ONCE_MORE

PIXELS = "pixel_values"


def prepare_pairs(config: PrepareConfig, corpus: Corpus, *, out: Path, scratch: Path, report: Report) -> Facts:
    """Fill `out` with samples of kind "pairs": tokens of each caption, and fp16 (images, 3, size, size) beside them.

    A caption longer than the context is left out and counted in the facts. Raises EmptyResult where none is left.
    """
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    rows = pq.read_table(corpus.documents("train")).to_pylist()
    kind = processor(config.processor)
    kind.save(
        kind.train((text for row in rows for text in (row["text"], row["style_text"]) if text), config.vocab_size),
        out / "processor",
        config.context,
    )
    size = save_image_processor(rows[0]["image"], out / "processor")
    tokenizer = AutoTokenizer.from_pretrained(out / "processor", local_files_only=True)
    pairs = [(number, row["text"]) for number, row in enumerate(rows)]
    pairs += [
        (number, row["style_text"]) for number, row in enumerate(rows) if row["style_text"] and number % ONCE_MORE == 0
    ]
    encoded = [(number, tokenizer(text, split_special_tokens=True)["input_ids"]) for number, text in pairs]
    fitting = [(number, ids) for number, ids in encoded if len(ids) <= config.context]
    if not fitting:
        raise EmptyResult(f"None of {len(pairs)} captions fits into the context of {config.context} tokens: raise it.")
    packing = Packing(out, kind="pairs", vocab_size=len(tokenizer))
    for number, ids in fitting:
        row = rows[number]
        packing.add(ids, id=row["id"], source=row["source"], licence=row["licence"])
    seen = pixels([row["image"] for row in rows], out / "processor", report)
    np.save(out / f"{PIXELS}.npy", seen[[number for number, _ in fitting]])
    described = packing.close(
        context=config.context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        image_size=size,
        arrays=[PIXELS],
        beside=[f"{PIXELS}.npy"],
    )
    return {
        "num_documents": described["num_documents"],
        "num_tokens": described["num_tokens"],
        "vocab_size": described["vocab_size"],
        "num_too_long": len(pairs) - len(fitting),
    }


def save_image_processor(png: bytes, folder: Path) -> int:
    """Write CLIP's image processor for pictures of the size of `png` into `folder`; returns that size."""
    from transformers import CLIPImageProcessorPil

    size = opened(png).width
    whole = {"height": size, "width": size}
    CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=whole).save_pretrained(folder)
    return size


def opened(png: bytes) -> Any:
    """The picture in `png`, RGB."""
    import io

    from PIL import Image

    return Image.open(io.BytesIO(png)).convert("RGB")


def pixels(images: list[bytes], folder: Path, report: Report) -> np.ndarray:
    """What the image processor in `folder` makes of each picture, fp16 (images, 3, size, size)."""
    from transformers import AutoImageProcessor

    kind: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    found = []
    for start in range(0, len(images), 256):
        batch = [opened(png) for png in images[start : start + 256]]
        found.append(np.asarray(kind(batch, return_tensors="np")["pixel_values"], dtype=np.float16))
        report({"done": start + len(batch), "total": len(images), "unit": "images"})
    return np.concatenate(found)
