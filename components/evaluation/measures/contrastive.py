"""Images and texts: how often a held-out image finds its own text among all held-out ones, and its style."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.evaluation.measures.base import Content, Given, Measure, score
from components.evaluation.scoring import Floats
from components.recipe import EvaluateConfig

AT_ONCE = 128
EXAMPLES, NEAREST = 16, 3


def measure(given: Given) -> Content:
    """Recall at 1 from image to text, with standard errors over images; chance is one over the number of texts.

    concept_recall: images of concepts that were never seen, among their captions. style_recall: of concepts that were
    seen in another style only. `..._times_chance` is the quotient. style_accuracy: held-out images whose style is told
    right by the caption of each style, or by the mean of its training captions where it has none (zero-shot with one
    prompt or an ensemble of them, Radford et al. 2021).
    """
    towers = Towers(given)
    train, held_out = _rows(given, "train"), _rows(given, "held_out")
    if given.config.held_out_documents:
        held_out = held_out[: given.config.held_out_documents]
    given.clock.lap("load")
    images = towers.images([row["image"] for row in held_out], given)
    texts = towers.texts([row["text"] for row in held_out])
    given.clock.lap("embedding")
    scores: dict[str, Any] = {}
    for kind in ("concept", "style"):
        places = np.array([n for n, row in enumerate(held_out) if row["held"] == kind], dtype=np.int64)
        if len(places) > 1:
            scores |= _recall(kind, images[places], texts[places])
    if len({row["style"] for row in train}) > 1:
        scores["style_accuracy"] = _style_accuracy(towers, train, held_out, images)
    given.clock.lap("scoring")
    sizes = {kind: sum(row["held"] == kind for row in held_out) for kind in ("concept", "style")}
    return {"scores": scores, "images": len(held_out), "held": sizes, "examples": _examples(held_out, images, texts)}


class Towers:
    """A model and its processors: pictures and texts to vectors of length 1, fp64 (number, width)."""

    def __init__(self, given: Given) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        place: dict[str, Any] = {"pretrained_model_name_or_path": given.export.path, "local_files_only": True}
        self.model = CLIPModel.from_pretrained(dtype=torch.float32, use_safetensors=True, **place).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(**place)
        self.processor: Any = AutoImageProcessor.from_pretrained(**place)

    def images(self, pictures: Sequence[bytes], given: Given) -> Floats:
        """Vectors of PNGs."""
        import io

        import torch
        from PIL import Image

        found = []
        for start in range(0, len(pictures), AT_ONCE):
            opened = [Image.open(io.BytesIO(png)).convert("RGB") for png in pictures[start : start + AT_ONCE]]
            pixels = self.processor(opened, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                found.append(_unit(self.model.get_image_features(pixel_values=pixels)))
            given.report({"done": start + len(opened), "total": len(pictures), "unit": "held-out images"})
        return np.concatenate(found)

    def texts(self, texts: Sequence[str]) -> Floats:
        """Vectors of texts; what is longer than the tower reads is cut."""
        import torch

        found, longest = [], self.model.config.text_config.max_position_embeddings
        for start in range(0, len(texts), AT_ONCE):
            rows = list(texts[start : start + AT_ONCE])
            ids = self.tokenizer(rows, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            with torch.inference_mode():
                features = self.model.get_text_features(ids["input_ids"], attention_mask=ids["attention_mask"])
            found.append(_unit(features))
        return np.concatenate(found)


def _unit(features: Any) -> Floats:
    from torch.nn.functional import normalize

    found = getattr(features, "pooler_output", features)  # which of both depends on the version of transformers
    vectors: Floats = normalize(found.double(), dim=-1).numpy()
    return vectors


def _rows(given: Given, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(given.corpus.documents(split)).to_pylist()
    return rows


def _recall(kind: str, images: Floats, texts: Floats) -> dict[str, Any]:
    found = (images @ texts.T).argmax(1) == np.arange(len(images))
    chance, value = 1 / len(images), float(found.mean())
    error = float(np.sqrt(value * (1 - value) / len(images)))
    return {
        f"{kind}_recall": score(value, error, "fraction"),
        f"{kind}_chance": score(chance, None, "fraction"),
        f"{kind}_times_chance": score(value / chance, error / chance, "times"),
    }


def _style_accuracy(towers: Towers, train: Sequence[Any], held_out: Sequence[Any], images: Floats) -> dict[str, Any]:
    styles = sorted({row["style"] for row in train})
    given = {row["style"]: row["style_text"] for row in train}
    if all(given.values()):
        words = towers.texts([given[style] for style in styles])
    else:
        captions = [towers.texts([row["text"] for row in train if row["style"] == style]).mean(0) for style in styles]
        words = np.stack([mean / np.linalg.norm(mean) for mean in captions])
    told = (images @ words.T).argmax(1)
    right = np.array([styles[number] == row["style"] for number, row in zip(told, held_out, strict=True)])
    value = float(right.mean())
    return score(value, float(np.sqrt(value * (1 - value) / len(right))), "fraction")


def _examples(rows: Sequence[Any], images: Floats, texts: Floats) -> list[dict[str, Any]]:
    """For some images: the texts that are nearest, the likeliest first, and whether one is its own."""
    from components.reports import data_uri

    shown = range(0, len(rows), max(1, len(rows) // EXAMPLES))
    found = []
    for number in list(shown)[:EXAMPLES]:
        best = np.argsort(-(texts @ images[number]), kind="stable")[:NEAREST]
        nearest = [{"text": rows[other]["text"], "own": int(other) == number} for other in best]
        found.append({"image": data_uri(rows[number]["image"]), "own": rows[number]["text"], "nearest": nearest})
    return found


def page(config: EvaluateConfig, content: Content) -> str:
    """Recall over chance, and images with the texts that they find."""
    from components.reports import render
    from components.reports.plots import bars

    names = [name for name in ("concept", "style") if f"{name}_recall" in content["scores"]]
    shown = [content["scores"][f"{name}_{what}"] for name in names for what in ("recall", "chance")]
    words = {"concept": "concepts never seen", "style": "seen in another style"}
    labels = [label for name in names for label in (words[name], "by chance")]
    figure = bars(
        labels, [s["value"] for s in shown], [s["stderr"] or 0.0 for s in shown], "own text found", "Held-out images"
    )
    return render("evaluation_pairs", content, {"recall": figure})


MEASURE = Measure(measure, page)
