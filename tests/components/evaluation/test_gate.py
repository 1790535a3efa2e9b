import json
import subprocess
import sys

import pytest

from components.artifacts import Evaluation
from components.digests import folder_content
from components.errors import UnknownName
from components.evaluation.gate import gate
from components.recipe import GateConfig, Rule

SCORES = {"bits_per_byte": 2.31, "byte_bigram_bits_per_byte": 3.35, "known_words": 0.74}


@pytest.fixture
def evaluation(tmp_path):
    def make(name="mine", **changed):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        scores = {
            metric: {"value": value, "stderr": 0.01, "unit": "bits"} for metric, value in (SCORES | changed).items()
        }
        (folder / "report.json").write_text(json.dumps({"scores": scores, "texts": []}))
        return Evaluation(folder)

    return make


@pytest.fixture
def judge(tmp_path, evaluation):
    def run(*rules, mine=None, champion=None, base=None, name="verdict"):
        out = tmp_path / name
        out.mkdir()
        config = GateConfig(rules=rules)
        facts = gate(
            config, mine or evaluation(), champion, base, out=out, scratch=tmp_path / "scratch", report=lambda _: None
        )
        verdict = json.loads((out / "gate.json").read_text())
        assert facts == {"passed": verdict["passed"]}
        return verdict

    return run


@pytest.mark.parametrize(
    ("rule", "passed", "explanation"),
    [
        ({"below": "byte_bigram_bits_per_byte"}, True, "2.31 is below byte_bigram_bits_per_byte 3.35"),
        ({"above": "byte_bigram_bits_per_byte"}, False, "2.31 is not above byte_bigram_bits_per_byte 3.35"),
        ({"above": "known_words"}, True, "2.31 is above known_words 0.74"),
        ({"below": "bits_per_byte"}, False, "2.31 is not below bits_per_byte 2.31"),
        ({"min": 2.31}, True, "2.31 reaches the minimum 2.31"),
        ({"min": 2.4}, False, "2.31 is under the minimum 2.4"),
        ({"max": 2.31}, True, "2.31 keeps to the maximum 2.31"),
        ({"max": 2.3}, False, "2.31 is over the maximum 2.3"),
        ({"max": 2.3099999}, False, "2.31 is over the maximum 2.3099999"),
    ],
)
def test_each_bound_decides_and_says_why(judge, rule, passed, explanation):
    verdict = judge(Rule(metric="bits_per_byte", **rule))
    assert verdict["passed"] is passed
    assert verdict["rules"][0] == {
        "metric": "bits_per_byte",
        "passed": passed,
        "explanation": f"bits_per_byte {explanation}",
        "rule": {"metric": "bits_per_byte", "lower_is_better": True, **rule},
    }


def test_every_bound_of_every_rule_must_hold(judge):
    verdict = judge(Rule(metric="bits_per_byte", max=3, min=2.5), Rule(metric="known_words", min=0.7))
    assert not verdict["passed"]
    assert [rule["passed"] for rule in verdict["rules"]] == [False, True]
    assert verdict["rules"][0]["explanation"] == (
        "bits_per_byte 2.31 is under the minimum 2.5; bits_per_byte 2.31 keeps to the maximum 3"
    )


@pytest.mark.parametrize(
    ("metric", "lower_is_better", "theirs", "passed", "words"),
    [
        ("bits_per_byte", True, 2.4, True, "2.31 against the champion's 2.4 is no worse"),
        ("bits_per_byte", True, 2.28, True, "2.28 is 0.03 worse, 0.05 is accepted"),
        ("bits_per_byte", True, 2.26, True, "2.26 is 0.05 worse, 0.05 is accepted"),
        ("bits_per_byte", True, 2.2, False, "2.2 is 0.11 worse, only 0.05 is accepted"),
        ("known_words", False, 0.7, True, "0.74 against the champion's 0.7 is no worse"),
        ("known_words", False, 0.79, True, "0.79 is 0.05 worse, 0.05 is accepted"),
        ("known_words", False, 0.9, False, "0.9 is 0.16 worse, only 0.05 is accepted"),
    ],
)
def test_regression_is_measured_against_the_champion(judge, evaluation, metric, lower_is_better, theirs, passed, words):
    rule = Rule(metric=metric, regression=0.05, lower_is_better=lower_is_better)
    verdict = judge(rule, champion=evaluation("champion", **{metric: theirs}))
    assert verdict["passed"] is passed
    assert words in verdict["rules"][0]["explanation"]


@pytest.mark.parametrize(
    ("accepted", "passed", "words"),
    [
        (0.05, True, "2.31 against the base's 2.28 is 0.03 worse, 0.05 is accepted"),
        (0.01, False, "is 0.03 worse, only 0.01 is accepted"),
        (-0.1, False, "is -0.03 better, 0.1 is wanted"),
    ],
)
def test_a_model_is_measured_against_what_it_started_from(tmp_path, judge, evaluation, accepted, passed, words):
    base = evaluation("base", bits_per_byte=2.28)
    verdict = judge(Rule(metric="bits_per_byte", base_regression=accepted), base=base)
    assert verdict["passed"] is passed
    assert words in verdict["rules"][0]["explanation"]
    assert "2.28" in (tmp_path / "verdict" / "report.html").read_text()


def test_without_a_champion_regression_passes_and_says_so(judge):
    verdict = judge(Rule(metric="bits_per_byte", regression=0))
    assert verdict["passed"]
    assert verdict["rules"][0]["explanation"] == "bits_per_byte 2.31 has no champion to compare with"


def test_a_champion_without_the_metric_refuses(judge, evaluation):
    mine = evaluation(new=1.0)
    verdict = judge(Rule(metric="new", regression=0.1), mine=mine, champion=evaluation("champion"))
    assert not verdict["passed"]
    assert "the champion's report lacks it" in verdict["rules"][0]["explanation"]


def test_a_score_that_is_not_finite_refuses(judge, evaluation):
    mine = evaluation(bits_per_byte=float("nan"))
    rules = [Rule(metric="bits_per_byte", **bound) for bound in ({"min": 0}, {"max": 9}, {"regression": 9})]
    verdict = judge(*rules, mine=mine, champion=evaluation("champion"))
    assert [rule["passed"] for rule in verdict["rules"]] == [False, False, False]


@pytest.mark.parametrize(
    "rule", [{"metric": "bits", "max": 3}, *({"metric": "known_words", side: "bits"} for side in ("below", "above"))]
)
def test_an_unknown_metric_is_named_with_the_known_ones(judge, tmp_path, rule):
    with pytest.raises(UnknownName, match=r"'bits'.*bits_per_byte, byte_bigram_bits_per_byte, known_words"):
        judge(Rule(**rule))
    assert not list((tmp_path / "verdict").iterdir())


def test_the_same_verdict_has_the_same_digest(judge, evaluation, tmp_path):
    for name in ("first", "second"):
        judge(Rule(metric="bits_per_byte", regression=0.1), champion=evaluation("champion"), name=name)
    first, second = (folder_content(tmp_path / name, "verdict") for name in ("first", "second"))
    assert first == second
    assert set(first["files"]) == {"gate.json", "report.html"}


def test_the_gate_runs_where_torch_is_not_imported():
    code = "import sys, components.evaluation.gate, components.reports; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
