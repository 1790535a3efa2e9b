"""Drawn pictures beside real ones, as the CLIP sees them whose words the model was told by."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.errors import EmptyResult
from components.evaluation.eyes import AT_ONCE, Eyes, frechet, unit
from components.evaluation.measures.base import Content, Given, Measure, score
from components.evaluation.scoring import Floats
from components.recipe import EvaluateConfig

EXAMPLES = 16
LEAST = 2
"""Fewer pictures have no covariance and no standard error."""


def measure(given: Given) -> Content:
    """frechet_distance and prompt_gain of pictures that are drawn by the captions of held-out ones.

    frechet_distance: between the Gaussians of the drawn and of the held-out pictures in the features of our CLIP's tower of
    images (Heusel et al. 2017, there with Inception's); untrained_frechet_distance: the same with an autoencoder and a
    transformer that have learnt nothing; frechet_times: the quotient. clip_score: 100 times the cosine of a picture and
    its prompt (Hessel et al. 2021, unscaled); shuffled_clip_score: of a picture and another prompt of the same style;
    prompt_gain: their difference in standard errors over pictures.
    """
    rows = _held_out(given)
    eyes = Eyes(given.export)
    given.clock.lap("load")
    prompts = [row["text"] for row in rows]
    drawn = _drawn(eyes.pipeline, prompts, given, "pictures drawn")
    with eyes.untrained(given.config.seed) as blank:
        noise = _drawn(blank, prompts, given, "pictures drawn by an untrained model")
    given.clock.lap("drawing")
    real, ours, theirs = (eyes.images(pictures) for pictures in ([_opened(row["image"]) for row in rows], drawn, noise))
    words = eyes.texts(prompts)
    near, far = frechet(ours, real), frechet(theirs, real)
    own = 100 * (unit(ours) * words).sum(1)
    other = 100 * (unit(ours) * words[_shuffled([row["style"] for row in rows])]).sum(1)
    gain, error = float((own - other).mean()), _error(own - other)
    given.clock.lap("scoring")
    scores = {
        "frechet_distance": score(near, None, "in our CLIP's features"),
        "untrained_frechet_distance": score(far, None, "in our CLIP's features"),
        "frechet_times": score(far / max(near, 1e-12), None, "times"),
        "clip_score": score(float(own.mean()), _error(own), "100 cosines"),
        "shuffled_clip_score": score(float(other.mean()), _error(other), "100 cosines"),
        "prompt_gain": score(gain / error if error else 0.0, None, "standard errors"),
    }
    chosen = range(0, len(rows), max(1, len(rows) // EXAMPLES))
    examples = [
        {"prompt": prompts[n], "real": _uri(_opened(rows[n]["image"])), "drawn": _uri(drawn[n])} for n in chosen
    ][:EXAMPLES]
    asked = _drawn(eyes.pipeline, list(given.config.prompts), given, "prompts drawn") if given.config.prompts else []
    texts = [{"prompt": p, "drawn": _uri(image)} for p, image in zip(given.config.prompts, asked, strict=True)]
    given.clock.lap("texts")
    return {"scores": scores, "pictures": len(rows), "examples": examples, "asked": texts}


def _drawn(pipeline: Any, prompts: Sequence[str], given: Given, unit: str) -> list[Any]:
    from components.diffusion.drawing import draw

    found: list[Any] = []
    for start in range(0, len(prompts), AT_ONCE):
        some = prompts[start : start + AT_ONCE]
        found += draw(pipeline, some, [given.config.seed * 10**6 + start + n for n in range(len(some))])
        given.report({"done": len(found), "total": len(prompts), "unit": unit})
    return found


def _held_out(given: Given) -> list[dict[str, Any]]:
    """Held-out pictures, from everywhere in their order. Raises EmptyResult where they are too few to measure by."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(given.corpus.documents("held_out")).to_pylist()
    wanted = given.config.held_out_documents or len(rows)
    chosen = rows[:: max(1, len(rows) // wanted)][:wanted]
    if len(chosen) < LEAST:
        raise EmptyResult(
            f"{len(chosen)} held-out pictures are too few to measure by, at least {LEAST} are needed: add pictures, or raise "
            "evaluate.held_out_documents."
        )
    return chosen


def _shuffled(styles: Sequence[str]) -> list[int]:
    """For each place another one of the same style: the next one, round in a circle."""
    found = [0] * len(styles)
    for style in set(styles):
        places = [n for n, own in enumerate(styles) if own == style]
        for here, there in zip(places, [*places[1:], places[0]], strict=True):
            found[here] = there
    return found


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _opened(png: bytes) -> Any:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(png)).convert("RGB")


def _uri(image: Any) -> str:
    import io

    from components.reports import data_uri

    written = io.BytesIO()
    image.save(written, "PNG")
    return data_uri(written.getvalue())


def page(config: EvaluateConfig, content: Content) -> str:
    """The distance beside that of an untrained model, and drawn pictures with their prompts, beside real ones."""
    from components.reports import render
    from components.reports.plots import bars

    shown = [content["scores"][name]["value"] for name in ("frechet_distance", "untrained_frechet_distance")]
    figure = bars(
        ["this model", "untrained"], shown, [0.0, 0.0], "Frechet distance", "To held-out pictures: lower is better"
    )
    return render("evaluation_pictures", content, {"distance": figure})


MEASURE = Measure(measure, page)
