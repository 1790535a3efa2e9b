import json
import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from components.artifacts import Evaluation
from components.errors import UnknownName
from components.evaluation.gate import gate
from components.recipe import GateConfig, Rule
from components.reports import plots, render

HOSTILE = "<script src='http://evil.example/x.js'>alert(1)</script>\"&"
FETCHING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """What a browser would make of a page: its tags, what it would fetch, and the text that is seen."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.seen, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in FETCHING and not (value or "").startswith("#")]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.seen.append(data)


@pytest.fixture
def gate_page(tmp_path):
    scores = {HOSTILE: {"value": 1.5, "stderr": None, "unit": HOSTILE}}
    (tmp_path / "report.json").write_text(json.dumps({"scores": scores}))
    config = GateConfig(rules=(Rule(metric=HOSTILE, max=1),))
    gate(config, Evaluation(tmp_path), None, out=tmp_path, scratch=tmp_path, report=lambda _: None)
    return (tmp_path / "report.html").read_text()


@pytest.fixture
def curation_page():
    counts = {"documents": 12, "characters": 3400}
    summary = {
        "stages": [{"stage": "documents", "dropped": {}, **counts}, {"stage": HOSTILE, "dropped": {"x": 2}, **counts}],
        "masked": {"email": 3},
        "sources": [
            {
                "name": HOSTILE,
                "licence": HOSTILE,
                "origin": HOSTILE,
                "documents_read": 12,
                "documents_kept": 10,
                "characters_kept": 3000,
            }
        ],
    }
    dropped = {"place": HOSTILE, "reason": HOSTILE, "text": HOSTILE}
    data = {
        "summary": summary,
        "splits": [{"name": "train", **counts}],
        "examples": [{"rule": HOSTILE, "count": 2, "shown": [dropped]}],
    }
    return render("curation", data, {"waterfall": plots.waterfall(["documents", HOSTILE], [12, -2], "documents", "t")})


@pytest.mark.parametrize("name", ["gate_page", "curation_page"])
def test_a_page_needs_nothing_else_and_escapes_what_it_shows(request, name):
    text = request.getfixturevalue(name)
    page = Page(text)
    assert not page.fetched
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    assert HOSTILE in "".join(page.seen)
    assert page.tags[:2] == ["html", "head"]
    assert text.startswith("<!doctype html>")


def test_the_gate_page_says_what_was_decided_and_why(gate_page):
    seen = " ".join("".join(Page(gate_page).seen).split())
    assert "Gate: refused" in seen
    assert "0 of 1 rules hold." in seen
    assert "1.5 is over the maximum 1" in seen


def test_equal_data_gives_equal_bytes():
    def drawn():
        return [
            plots.waterfall(["all", "short"], [10, -3], "documents", "Kept"),
            plots.lines({"loss": ([0, 1], [2.0, 1.0]), "rate": ([0, 1], [0.0, 1.0])}, "step", "loss", "Training"),
            plots.bars(["model", "bigram"], [2.3, 3.4], [0.1, None], "bits per byte", "Scores"),
        ]

    first = drawn()
    assert first == drawn()
    for svg in first:
        assert svg.startswith("<svg")
        assert "currentColor" in svg


def test_an_unknown_template_and_a_missing_value_are_refused():
    with pytest.raises(UnknownName, match=r"'gates'.*curation.*gate"):
        render("gates", {}, {})
    with pytest.raises(UndefinedError, match="verdict"):
        render("gate", {}, {})
