import json
import re
from collections import Counter

import pytest

from components.errors import SourceError
from flows.recipes import DATA, shipped_data


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in shipped_data(name).read_text().splitlines()]


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def test_the_shipped_data_is_small_and_every_part_has_its_line() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 2_900_000
    table = (DATA / "README.md").read_text()
    for path in DATA.iterdir():
        assert path.name == "README.md" or f"| `{path.name}{'/' if path.is_dir() else ''}` |" in table


def test_evaluation_items_are_balanced_and_not_of_the_texts() -> None:
    items = lines("agreement.jsonl")
    assert len(items) == 120
    assert Counter(item["answer"] for item in items) == {0: 60, 1: 60}
    assert all(len(set(item["choices"])) == 2 and all(c.startswith(" ") for c in item["choices"]) for item in items)
    books = plain(" ".join(file.read_text() for file in sorted(shipped_data("austen").iterdir())))
    sentences = [plain(item["question"] + item["choices"][item["answer"]]) for item in items]
    assert [sentence for sentence in sentences if len(sentence.split()) > 3 and f" {sentence} " in books] == []
    training = plain(" ".join(pair["completion"] for pair in lines("instructions.jsonl")))
    assert [sentence for sentence in sentences if f" {sentence} " in training] == []


def test_instructions_are_distinct_pairs() -> None:
    pairs = lines("instructions.jsonl")
    assert len({pair["prompt"] for pair in pairs}) == len(pairs) >= 150
    assert all(pair.keys() == {"prompt", "completion"} and pair["completion"].strip() for pair in pairs)


def test_planted_addresses_and_numbers_belong_to_nobody() -> None:
    text = " ".join(file.read_text() for file in sorted(shipped_data("contacts").iterdir()))
    addresses = re.findall(r"\S+@([\w.-]+\w)", text)
    assert len(addresses) == 5
    assert all(re.search(r"(^|\.)example\.(com|net|org)$", domain) for domain in addresses)


def test_unknown_data_is_refused_with_the_known() -> None:
    assert shipped_data("tiny/austen").is_dir()
    with pytest.raises(
        SourceError, match=r"No shipped data called '\.\./data'\. Known: abs-guide, agreement\.jsonl, austen"
    ):
        shipped_data("../data")
