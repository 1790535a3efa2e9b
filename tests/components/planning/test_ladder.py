"""Ladders: which runs they have, with which hyperparameters, and what evaluations of them predict."""

import csv
import json
from math import exp
from pathlib import Path

import pytest

from components.artifacts import Evaluation
from components.errors import InputError, RecipeError
from components.hyperparameters import advice
from components.planning.accelerators import accelerators
from components.planning.ladder import LEAST_STEPS, Rung, ladder, target
from components.planning.laws import Hoffmann, Kaplan, optimum
from components.planning.predict import PredictConfig, predict
from components.recipe.file import validated
from flows.display import in_words

LADDERS = Path(__file__).parents[2] / "data" / "small_ladders.csv"
LAW = Hoffmann(E=1.5, A=60.0, B=900.0, alpha=0.3, beta=0.4)
SCALE = {"budgets": [1e11, 2e11, 4e11], "sizes": ["0.15m", "0.3m", "0.5m"]}


def recipe(scale=SCALE, **changed):
    source = {"name": "novels", "path": "x", "licence": "CC0-1.0", "origin": "written here"}
    phase = {"name": "pretrain", "tokens": 1_000_000, "batch_size": 8, "num_workers": 0, **changed}
    content = {"name": "scaled", "size": "1m", "sources": [source], "train": [phase]}
    shape = {
        "prepare": {"vocab_size": 1024, "context": 128},
        "gate": {"rules": [{"metric": "bits_per_byte", "max": 9}]},
    }
    return validated({**content, **shape, **({"scale": scale} if scale else {})}, "test")


def test_every_size_is_trained_at_every_budget():
    rungs = ladder(recipe(), 1024)
    assert [(rung.size, phase.name) for rung, phase in rungs[:3]] == [
        ("0.15m", "rung-0-15m-1e11"),
        ("0.3m", "rung-0-3m-1e11"),
        ("0.5m", "rung-0-5m-1e11"),
    ]
    assert len(rungs) == 9
    for number, (rung, phase) in enumerate(rungs):
        assert rung.flops == pytest.approx(SCALE["budgets"][number // 3], rel=0.02)
        assert rung.tokens >= LEAST_STEPS * phase.batch_size * 128


def test_every_run_may_be_made_from_several_seeds():
    once, twice = ladder(recipe(), 1024), ladder(recipe({**SCALE, "seeds": 2}, seed=5), 1024)
    assert [rung for rung, _ in twice[:9]] == [rung for rung, _ in once]
    for (rung, phase), (again, seeded) in zip(twice[:9], twice[9:], strict=True):
        assert (again.name, seeded.name) == (f"{rung.name}-seed-1", f"rung-{rung.name}-seed-1")
        assert (again.parameters, again.tokens) == (rung.parameters, rung.tokens)
        assert (phase.seed, seeded.seed) == (5, 6)
        assert seeded.model_copy(update={"name": phase.name, "seed": 5}) == phase


def test_rungs_depart_from_the_rules_as_the_recipe_does():
    """Half the rate and a quarter of the batch that the rules give the target are so for every rung."""
    own = advice({"tokens": 1_000_000}, "llama", "1m", 1024, 128)
    given = {"learning_rate": own["learning_rate"].value / 2, "batch_size": own["batch_size"].value // 4}
    for rung, phase in ladder(recipe(**given), 1024):
        rule = advice({"tokens": phase.tokens}, "llama", rung.size, 1024, 128)
        assert phase.learning_rate == pytest.approx(rule["learning_rate"].value / 2, rel=0.01)
        assert phase.batch_size == rule["batch_size"].value // 4
        assert phase.num_workers == 0


def test_what_says_little_or_costs_more_than_the_target_is_left_out():
    scale = {**SCALE, "budgets": [1e9, 1e11, 2e11, 1e14]}
    assert [phase.name for _, phase in ladder(recipe(scale), 1024)] == [
        phase.name for _, phase in ladder(recipe({**SCALE, "budgets": [1e11, 2e11]}), 1024)
    ]
    with pytest.raises(InputError, match=r"leaves 0 runs, and a law needs 6"):
        ladder(recipe({**SCALE, "budgets": [1e8, 1e9]}), 1024)


def test_runs_outside_the_tokens_for_a_parameter_are_left_out():
    every = [rung for rung, _ in ladder(recipe(), 1024)]
    ratios = sorted(rung.tokens / rung.parameters for rung in every)
    chosen = [rung for rung, _ in ladder(recipe({**SCALE, "tokens_per_parameter": [ratios[1], ratios[-2]]}), 1024)]
    assert chosen == [rung for rung in every if ratios[1] <= rung.tokens / rung.parameters <= ratios[-2]]
    assert len(chosen) == len(every) - 2
    with pytest.raises(InputError, match=r"leaves 1 runs.*outside tokens_per_parameter"):
        ladder(recipe({**SCALE, "tokens_per_parameter": [ratios[-1], 1000]}), 1024)


def test_a_recipe_that_cannot_be_scaled_is_named():
    with pytest.raises(RecipeError, match=r"scaled has no table \[scale\]"):
        ladder(recipe(None), 1024)
    with pytest.raises(RecipeError, match="needs a first phase that gives tokens"):
        recipe(tokens=None, epochs=2)


def evaluation(folder, loss, bits_per_byte):
    """An evaluation that found so many nats per token."""
    folder.mkdir()
    scores = {
        "perplexity": {"value": exp(loss)},
        "bits_per_byte": {"value": bits_per_byte},
        "quiz_accuracy": {"value": 0.3},
    }
    (folder / "report.json").write_text(json.dumps({"scores": scores}))
    return Evaluation(folder)


@pytest.fixture(params=[LAW])
def predicted(tmp_path, request):
    """prediction.json and the page, from a ladder whose runs follow a law exactly."""
    law = request.param
    rungs = tuple(rung for rung, _ in ladder(recipe(), 1024))
    losses = [law.loss(rung.parameters, rung.tokens) for rung in rungs]
    evaluations = [evaluation(tmp_path / rung.name, loss, loss / 4) for rung, loss in zip(rungs, losses, strict=True)]
    aim = target(recipe(), 1024)
    config = PredictConfig(rungs=rungs, target=aim, resamples=10, seed=0)

    def make(out):
        out.mkdir()
        predict(config, *evaluations, out=out, scratch=tmp_path, report=lambda row: None)
        return {name: (out / name).read_bytes() for name in ("prediction.json", "report.html")}

    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    assert first == second
    return aim, json.loads(first["prediction.json"]), first["report.html"].decode()


def test_the_target_is_predicted_by_the_law_of_the_rungs(predicted):
    aim, told, page = predicted
    truth = LAW.loss(aim.parameters, aim.tokens)
    assert told["predicted"]["loss"] == pytest.approx(truth, rel=0.005)
    assert told["predicted"]["by"] == "hoffmann"
    assert told["laws"]["hoffmann"]["missed"] < told["laws"]["kaplan"]["missed"]
    best = optimum(LAW, aim.flops)
    assert told["laws"]["hoffmann"]["optimum"]["loss"] == pytest.approx(best.loss, rel=0.005)
    assert told["laws"]["kaplan"]["coefficients"].keys() == {"N_c", "D_c", "alpha_N", "alpha_D"}
    assert f"{told['predicted']['loss']:.4f}" in page
    assert page.count("<svg") == 3
    assert "quiz_accuracy" in page


@pytest.mark.parametrize("predicted", [Kaplan(N_c=5e7, D_c=3e8, alpha_N=0.18, alpha_D=0.22)], indirect=True)
def test_the_law_predicts_that_goes_on_more_truly_to_the_largest_budget(predicted):
    aim, told, page = predicted
    assert told["predicted"]["by"] == "kaplan"
    truth = Kaplan(N_c=5e7, D_c=3e8, alpha_N=0.18, alpha_D=0.22).loss(aim.parameters, aim.tokens)
    assert told["predicted"]["loss"] == pytest.approx(truth, rel=1e-3)
    assert told["laws"]["kaplan"]["missed"] < 1e-3 < told["laws"]["hoffmann"]["missed"]
    assert "what Kaplan's law says" in page
    assert "by Kaplan's law" in in_words({**told, "optimum": None})


@pytest.mark.parametrize("predicted", [Hoffmann(E=1e-9, A=1e-9, B=21.0, alpha=0.05, beta=0.12)], indirect=True)
def test_a_best_size_that_the_runs_do_not_determine_is_not_given(predicted):
    aim, told, page = predicted
    assert told["predicted"]["loss"] == pytest.approx(21 * aim.tokens**-0.12, rel=0.01)
    assert told["laws"]["hoffmann"]["optimum"] is None
    assert "not determined by these runs" in page
    words = in_words({**told, "optimum": None})
    assert "not determined" in words


@pytest.mark.parametrize(("text", "seed"), [("kernel", "50"), ("kernel", "60"), ("python", "70"), ("python", "80")])
def test_real_ladders_predict_a_run_of_eight_times_their_compute_to_two_per_cent(tmp_path, text, seed):
    with LADDERS.open() as file:
        rows = [row for row in csv.DictReader(file) if (row["text"], row["seed"]) == (text, seed)]
    *rungs, aim = (Rung(**{name: row["run" if name == "name" else name] for name in Rung.model_fields}) for row in rows)
    assert aim.flops > 8 * max(rung.flops for rung in rungs)
    found = [float(row["loss"]) for row in rows]
    bits = [float(row["bits_per_byte"]) for row in rows]
    evaluations = [evaluation(tmp_path / r.name, *both) for r, *both in zip(rungs, found[:-1], bits[:-1], strict=True)]
    config = PredictConfig(rungs=tuple(rungs), target=aim, resamples=2, seed=0)
    predict(config, *evaluations, out=tmp_path, scratch=tmp_path, report=lambda row: None)
    told = json.loads((tmp_path / "prediction.json").read_text())
    assert told["predicted"]["loss"] == pytest.approx(found[-1], rel=0.02)
    assert told["laws"]["hoffmann"]["coefficients"]["E"]["value"] <= 0.6001 * found[0] / bits[0]


def test_money_buys_flops_at_the_tables_prices():
    table = accelerators()
    h100 = table.accelerators["h100-sxm"]
    rate = h100.peak["bf16"] * (h100.utilisation or table.utilisation)
    assert table.flops_per_money("bf16")["h100-sxm"] == pytest.approx(rate * 3600 / h100.price_per_hour)


def test_a_rung_counts_6nd():
    assert Rung(name="a", size="1m", parameters=10, tokens=7).flops == 420
