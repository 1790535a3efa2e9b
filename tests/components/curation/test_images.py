"""Images with captions: what is kept, what is dropped and why, and what of it is held out."""

import json

import pyarrow.parquet as pq
import pytest
from drawings import draw
from PIL import Image

from components.artifacts import Corpus, SourceFiles
from components.curation.images import curate_images
from components.digests import folder_content
from components.errors import EmptyResult, SourceError
from components.recipe.images import ImagesConfig, ImageSet

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="#f00"/></svg>'


def source(name, path):
    return SourceFiles(name, path, "CC0-1.0", "drawn here", "")


@pytest.fixture
def curated(tmp_path):
    def run(sources, *sets, **config):
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        out.mkdir()
        given = ImagesConfig(sets=sets, **config)
        facts = curate_images(given, *sources, out=out, scratch=tmp_path, report=lambda row: None)
        return Corpus(out), facts

    return run


def rows(corpus, split):
    return pq.read_table(corpus.documents(split)).to_pylist()


def test_captions_come_from_the_text_beside_an_image_or_from_labels_by_its_name(curated, tmp_path):
    beside = source("beside", draw(tmp_path / "beside", "filled"))
    named = tmp_path / "named"
    named.mkdir()
    (named / "1F600.svg").write_text(SVG)
    (named / "00a9-FE0F.svg").write_text(SVG.replace("#f00", "#0f0"))
    (tmp_path / "labels.json").write_text(
        json.dumps(
            [
                {"hexcode": "1F600", "label": "grinning face", "tags": ["happy", "smile"]},
                {"hexcode": "A9", "label": "copyright"},
            ]
        )
    )
    sets = (
        ImageSet(source="beside", style="filled", caption="a {style} {label}"),
        ImageSet(source="named", labels="labels", style="plain", caption="{label}: {tags}"),
    )
    corpus, facts = curated(
        [beside, source("named", named), source("labels", tmp_path / "labels.json")], *sets, size=24
    )
    kept = rows(corpus, "train") + rows(corpus, "held_out")
    texts = {row["text"] for row in kept}
    assert {"a filled red square", "grinning face: happy, smile", "copyright: copyright"} <= texts
    assert facts["kept"] == len(kept) == 14
    import io

    picture = Image.open(io.BytesIO(next(row["image"] for row in kept if row["concept"] == "1f600")))
    assert picture.size == (24, 24)
    assert picture.getpixel((12, 12)) == (255, 0, 0)
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_what_cannot_be_used_is_dropped_with_its_reason(curated, tmp_path):
    folder = draw(tmp_path / "some", "filled")
    (folder / "damaged.png").write_bytes((folder / "red-bar.png").read_bytes()[:60])
    (folder / "damaged.txt").write_text("a damaged picture")
    (folder / "text.png").write_text("no picture")
    (folder / "text.txt").write_text("a text")
    (folder / "bad.svg").write_text("<svg")
    (folder / "bad.txt").write_text("a bad drawing")
    (folder / "unnamed.png").write_bytes((folder / "red-bar.png").read_bytes())
    (folder / "twin.png").write_bytes((folder / "red-bar.png").read_bytes())
    (folder / "twin.txt").write_text("the same again")
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    (folder / "huge.txt").write_text("a huge picture")
    corpus, facts = curated([source("some", folder)], ImageSet(source="some", style="filled"))
    dropped = {row["path"]: (row["rule"], row["reason"]) for row in rows(corpus, "dropped")}
    assert {path: rule for path, (rule, _) in dropped.items()} == {
        "damaged.png": "unreadable",
        "text.png": "unreadable",
        "bad.svg": "unreadable",
        "huge.png": "unreadable",
        "unnamed.png": "unlabelled",
        "twin.png": "duplicate",
    }
    assert "81,000,000" in dropped["huge.png"][1] or "9,000 x 9,000" in dropped["huge.png"][1]
    assert "some/red-bar.png" in dropped["twin.png"][1]
    assert facts["kept"] == 12
    assert "9,000 x 9,000" in (corpus.path / "report.html").read_text()


def test_concepts_are_held_out_whole_and_styles_by_themselves(curated, tmp_path):
    sets = [ImageSet(source=style, style=style) for style in ("filled", "outlined")]
    sources = [source(s.source, draw(tmp_path / s.source, s.source)) for s in sets]
    corpus, _ = curated(sources, *sets, held_out=0.3, held_out_styles=0.5, seed=1)
    train, held = rows(corpus, "train"), rows(corpus, "held_out")
    seen = {row["concept"] for row in train}
    assert {row["held"] for row in held} == {"concept", "style"}
    assert all((row["concept"] in seen) == (row["held"] == "style") for row in held)
    again, _ = curated(sources, *sets, held_out=0.3, held_out_styles=0.5, seed=1)
    assert folder_content(corpus.path, "corpus") == folder_content(again.path, "corpus")


def test_sources_without_images_or_labels_are_refused(curated, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("a")
    with pytest.raises(SourceError, match=r"no image in it\. Known: \.png"):
        curated([source("empty", tmp_path / "empty")], ImageSet(source="empty", style="a"))
    folder = draw(tmp_path / "some", "filled")
    (tmp_path / "labels.json").write_text('[{"hexcode": "1F600"}]')
    sets = ImageSet(source="some", style="a", labels="labels")
    with pytest.raises(SourceError, match=r"entry 1 of labels\.json: expected a list of"):
        curated([source("some", folder), source("labels", tmp_path / "labels.json")], sets)
    (tmp_path / "labels.json").write_text('[{"hexcode": "1F600", "label": "x"}]')
    with pytest.raises(EmptyResult, match="No image is left of 12: unlabelled 12"):
        curated([source("some", folder), source("labels", tmp_path / "labels.json")], sets)


@pytest.mark.parametrize("caption", ["{label.__class__}", "{0}", "{label!r}", "{nothing}", "{label", ""])
def test_captions_ask_for_known_parts_alone(caption):
    with pytest.raises(ValueError, match=r"caption"):
        ImageSet(source="a", style="a", caption=caption)
