"""The stage for images: sources of files and labels to a corpus of pictures with captions.

label, read, one of each    ->  pictures that have words
split by concept and style  ->  train.parquet, held_out.parquet, and dropped.parquet with a reason for each
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.artifacts import Facts, Report, SourceFiles
from components.curation import captions, pictures
from components.curation.splits import held_out
from components.digests import digest
from components.errors import EmptyResult, InputError, SourceError
from components.recipe.images import ImagesConfig, ImageSet
from components.sources import source_files

RULES = ("unlabelled", "unreadable", "duplicate")


def curate_images(config: ImagesConfig, *sources: SourceFiles, out: Path, scratch: Path, report: Report) -> Facts:
    """Fill `out` with a Corpus of images, size x size PNG. Raises SourceError, and EmptyResult when nothing is left."""
    by_name = {source.name: source for source in sources}
    files = labelled_files(config, by_name)
    found: list[dict[str, Any]] = []
    for done, (chosen, path, label) in enumerate(files, 1):
        found.append(_picture(config, chosen, by_name[chosen.source], path, label))
        if done % 200 == 0 or done == len(files):
            report({"done": done, "total": len(files), "unit": "images"})
    _drop_duplicates(found)
    kept = [row for row in found if row["rule"] is None]
    if not kept:
        raise EmptyResult(f"No image is left of {len(found)}: {_counts(found)}.")
    _split(config, kept)
    for row in found:
        row.setdefault("split", "dropped")
    from components.curation.gallery import write

    write(config, sources, found, out)
    held = [row for row in kept if row["split"] == "held_out"]
    return {
        "images": len(found),
        "kept": len(kept),
        "held_out": len(held),
        "concepts": len({r["concept"] for r in kept}),
    }


def labelled_files(
    config: ImagesConfig, sources: Mapping[str, SourceFiles]
) -> list[tuple[ImageSet, Path, captions.Label | None]]:
    """Every image of the sets, in order, with its label or None. Raises SourceError."""
    labels = {s.labels: captions.read_labels(sources[s.labels]) for s in config.sets if s.labels}
    return [
        (
            chosen,
            path,
            labels[chosen.labels].get(captions.concept(path.stem)) if chosen.labels else captions.beside(path),
        )
        for chosen in config.sets
        for path in _files(sources[chosen.source])
    ]


def _files(source: SourceFiles) -> Iterator[Path]:
    images = [path for path in source_files(source.path) if path.suffix.lower() in pictures.KINDS]
    if not images:
        raise SourceError(f"Source {source.name}: no image in it. Known: {', '.join(pictures.KINDS)}.")
    yield from images


def _picture(
    config: ImagesConfig, chosen: ImageSet, source: SourceFiles, path: Path, label: captions.Label | None
) -> dict[str, Any]:
    """One row of the corpus, with the rule that drops it and why, or None."""
    name = path.name if path == source.path else path.relative_to(source.path).as_posix()
    concept = captions.concept(path.stem)
    row: dict[str, Any] = {"source": source.name, "licence": source.licence, "origin": source.origin, "path": name}
    row |= {"style_text": chosen.style_caption.format(style=chosen.style), "concept": concept, "style": chosen.style}
    row |= {"text": "", "image": b"", "rule": None, "reason": "", "held": ""}
    if label is None:
        where = f"{chosen.labels} names no {concept}" if chosen.labels else "no text lies beside it"
        return _dropped(row, "unlabelled", where)
    row["text"] = captions.caption(chosen.caption, chosen.style, label)
    try:
        row["image"] = pictures.as_png(pictures.opened(path, config.size))
    except InputError as error:
        return _dropped(row, "unreadable", str(error))
    row["id"] = digest([row["text"], row["image"].hex()])
    return row


def _dropped(row: dict[str, Any], rule: str, reason: str) -> dict[str, Any]:
    row.update(rule=rule, reason=reason, id=digest([row["source"], row["path"]]))
    return row


def _drop_duplicates(rows: Sequence[dict[str, Any]]) -> None:
    """Of equal pictures the first stays: one picture with two captions would teach that neither holds."""
    first: dict[bytes, dict[str, Any]] = {}
    for row in rows:
        if row["rule"] is None and (known := first.setdefault(row["image"], row)) is not row:
            row.update(rule="duplicate", reason=f"the same picture as {known['source']}/{known['path']}")


def _split(config: ImagesConfig, rows: Sequence[dict[str, Any]]) -> None:
    """Hold out whole concepts, and of others one style: by hashes, so that a picture stays on its side."""
    concepts = sorted({row["concept"] for row in rows})
    unseen = {c for c, out in zip(concepts, held_out(concepts, config.held_out, config.seed), strict=True) if out}
    rest = [c for c in concepts if c not in unseen]
    styles = (
        {c: sorted({row["style"] for row in rows if row["concept"] == c}) for c in rest}
        if config.held_out_styles
        else {}
    )
    for c in rest:
        place = int(digest([config.seed, "style", c])[:16], 16)
        chosen = styles.get(c, [])
        is_out = len(chosen) > 1 and place / 16**16 < config.held_out_styles
        styles[c] = [chosen[place % len(chosen)]] if is_out else []
    for row in rows:
        held = "concept" if row["concept"] in unseen else "style" if row["style"] in styles[row["concept"]] else ""
        row.update(held=held, split="held_out" if held else "train")


def _counts(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{rule} {sum(row['rule'] == rule for row in rows)}" for rule in RULES)
