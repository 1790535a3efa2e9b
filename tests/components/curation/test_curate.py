import json
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.artifacts import SourceFiles
from components.curation.curate import curate
from components.digests import digest, folder_content
from components.errors import EmptyResult, SourceError, UnknownName
from components.recipe import CurateConfig
from flows.recipes import shipped_data

LICENCES = {"austen": "public domain", "shakespeare": "public domain", "abs-guide": "public domain"}
PLANTED = ("margaret.hill@example.com", "555-0147", "014-2368", "202 555 0143", "w.bennett", "charlotte_lucas", "0176")
CONFIG = CurateConfig(similarity=0.3)


@pytest.fixture(scope="module")
def engine(ray_engine: None) -> None:
    return


def tiny() -> list[SourceFiles]:
    folders = sorted(path for path in shipped_data("tiny").iterdir())
    return [SourceFiles(f.name, f, LICENCES.get(f.name, "CC-BY-SA-3.0"), f"of {f.name}", "0" * 64) for f in folders]


def run(out: Path, sources: list[SourceFiles], config: CurateConfig = CONFIG) -> dict[str, object]:
    out.mkdir(parents=True)
    return curate(config, *sources, out=out, scratch=out.parent, report=lambda _: None)


def rows(out: Path, split: str) -> list[dict]:
    return pq.read_table(out / f"{split}.parquet").to_pylist()


@pytest.fixture(scope="module")
def corpus(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curate") / "corpus"
    run(out, tiny())
    return out


def written(tmp_path: Path, name: str, **files: str) -> SourceFiles:
    folder = tmp_path / name
    folder.mkdir()
    for stem, text in files.items():
        (folder / f"{stem}.txt").write_text(text)
    return SourceFiles(name, folder, "CC0-1.0", "written here", "0" * 64)


def test_the_same_sources_give_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    run(tmp_path / "again", tiny())
    assert digest(folder_content(tmp_path / "again", "corpus")) == digest(folder_content(corpus, "corpus"))


def test_planted_addresses_and_numbers_are_nowhere(corpus: Path) -> None:
    everything = [row["text"] for split in ("train", "held_out", "dropped") for row in rows(corpus, split)]
    everything += [(corpus / "report.html").read_text(), (corpus / "summary.json").read_text()]
    assert [(mark, text[:80]) for mark in PLANTED for text in everything if mark in text] == []
    assert sum("<EMAIL>" in text for text in everything) >= 2
    assert json.loads((corpus / "summary.json").read_text())["masked"] == {"email": 5, "phone": 5}


def test_old_spelling_is_dropped_as_a_near_duplicate_of_the_modern(corpus: Path) -> None:
    kept = rows(corpus, "train") + rows(corpus, "held_out")
    modern = {row["id"] for row in kept if row["path"].startswith("modern-spelling/")}
    old = [row for row in rows(corpus, "dropped") if row["path"].startswith("old-spelling/")]
    assert len(old) >= 6
    assert {row["rule"] for row in old} == {"minhash"}
    assert {row["cluster"] for row in old} <= modern
    assert not any(row["path"].startswith("old-spelling/") for row in kept)


def test_chapters_are_no_duplicates_of_each_other(corpus: Path) -> None:
    assert not [row for row in rows(corpus, "dropped") if row["source"] == "austen"]


def test_other_languages_are_dropped_and_english_is_kept(corpus: Path) -> None:
    dropped = {row["path"]: row for row in rows(corpus, "dropped") if row["rule"] == "language"}
    assert {row["language"] for row in dropped.values()} == {"de", "fr"}
    assert {path.split("/")[0] for path in dropped} == {"de-DE", "fr-FR"}
    kept = rows(corpus, "train") + rows(corpus, "held_out")
    assert {row["path"] for row in kept if row["source"] == "handbook"} == {
        "en-US/sect.role-of-distributions.html",
        "en-US/sect.why-debian.html",
    }
    assert all(row["language"] == "en" and row["language_confidence"] >= 0.8 for row in kept)


def test_navigation_does_not_reach_the_corpus(corpus: Path) -> None:
    pages = [r["text"] for r in rows(corpus, "train") + rows(corpus, "held_out") if r["path"].endswith(".html")]
    assert pages
    assert not [text for text in pages if "Prev" in text or "<" in text or "Product Site" in text]


def test_held_out_shares_no_cluster_with_train(corpus: Path) -> None:
    train, held_out, dropped = (rows(corpus, split) for split in ("train", "held_out", "dropped"))
    assert train
    assert held_out
    assert not {row["cluster"] for row in train} & {row["cluster"] for row in held_out}
    assert len({row["id"] for row in train + held_out + dropped}) == len(train + held_out + dropped)
    assert all(row["rule"] and row["reason"] for row in dropped)


def test_summary_adds_up_and_the_report_names_every_source(corpus: Path) -> None:
    summary = json.loads((corpus / "summary.json").read_text())
    counts = [stage["documents"] for stage in summary["stages"]]
    drops = [sum(stage["dropped"].values()) for stage in summary["stages"]]
    kept = rows(corpus, "train") + rows(corpus, "held_out")
    assert [before - after for before, after in pairwise(counts)] == drops[1:]
    assert counts[-1] == len(kept) == counts[0] - len(rows(corpus, "dropped"))
    assert summary["stages"][-1]["characters"] == sum(len(row["text"]) for row in kept)
    page = (corpus / "report.html").read_text()
    assert all(source["name"] in page and source["licence"] in page for source in summary["sources"])
    assert "<svg" in page


def test_exact_duplicates_keep_the_first_in_source_order(engine: None, tmp_path: Path) -> None:
    emma = (shipped_data("austen") / "emma.txt").read_text()
    one, two = emma[2000:4000].strip(), emma[50_000:52_000].strip()
    first = written(tmp_path, "first", a=one, b=two)
    second = written(tmp_path, "second", a=one.upper().replace(" ", "  "), b=emma[90_000:92_000])
    config = CurateConfig(near_duplicates="none", filters=())
    run(tmp_path / "out", [first, second], config)
    dropped = rows(tmp_path / "out", "dropped")
    assert [(row["source"], row["path"], row["rule"]) for row in dropped] == [("second", "a.txt", "exact")]
    assert dropped[0]["reason"].startswith("the same text as first/a.txt")


def test_nothing_left_says_which_rules_dropped_it(engine: None, tmp_path: Path) -> None:
    source = written(tmp_path, "short", a="Too short to be of use.", b="So is this one, I fear.")
    config = CurateConfig(language_confidence=0)
    with pytest.raises(EmptyResult, match=r"No document is left of 2\. Dropped by length 2\."):
        run(tmp_path / "out", [source], config)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"filters": ("length", "charm")},
            r"Unknown filter 'charm'\. Known: boilerplate, length, repetition, symbols\.",
        ),
        ({"mask": ("shoe_size",)}, r"Unknown mask 'shoe_size'\. Known: email, phone\."),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        run(tmp_path / "out", tiny(), CurateConfig(**change))


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Source blank is empty: no text in its 1 files\."):
        run(tmp_path / "out", [*tiny(), written(tmp_path, "blank", a=" \n\n")])
    assert list((tmp_path / "out").iterdir()) == []
