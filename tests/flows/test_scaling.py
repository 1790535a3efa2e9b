"""`headwater scale` through real engines: a ladder, its prediction, the target after it, and nothing twice."""

import json

import pytest
from homes import new_site

LADDER = (
    *("--set", "scale.budgets=[3e10, 6e10, 1e11]", "--set", 'scale.sizes=["debug", "0.15m"]'),
    *("--set", "train.pretrain.batch_size=2", "--set", "train.pretrain.num_workers=0"),
)


@pytest.fixture(scope="module")
def home():
    made = new_site("scale")
    yield made
    made.close()


def executed(summary):
    return [step["name"] for step in summary["steps"] if step["status"] == "executed"]


def test_a_recipe_without_a_ladder_and_an_unknown_size_are_refused(home):
    for settings, says in (((), "no table [scale]"), ((*LADDER, "--set", 'scale.sizes=["3m", "2m"]'), "'3m'")):
        done = home.hw("scale", "tiny", *settings)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (home.home / "services.json").exists()


@pytest.mark.slow
def test_a_ladder_foretells_its_target_and_is_climbed_once(home):
    first = home.json("scale", "tiny", *LADDER)
    rungs = [rung["name"] for rung in first["scaling"]["rungs"]]
    assert len(rungs) == 6
    assert executed(first) == [
        "curate",
        "prepare",
        *(f"{what}:{rung}" for rung in rungs for what in ("train", "evaluate")),
        "predict",
    ]
    assert "agreement_accuracy" in first["scaling"]["rungs"][0]["scores"]
    # So small a ladder may leave the best size open, and then there is no gain to be told.
    assert bool(first["scaling"]["gain_per_money"]) == (first["scaling"]["optimum"] is not None)
    shown = home.json("show", first["scaling"]["prediction"])
    assert shown["kind"] == "prediction"
    again = home.json("scale", "tiny", *LADDER)
    assert executed(again) == []
    assert again["scaling"]["prediction"] == first["scaling"]["prediction"]

    target = home.json("scale", "tiny", *LADDER, "--set", "scale.run_target=true")
    assert executed(target) == ["train:pretrain", "evaluate:target"]
    found = target["scaling"]["found"]
    assert found["foretold"]
    assert found["off"] == pytest.approx(first["scaling"]["predicted"]["loss"] / found["loss"] - 1)
    ahead = json.loads(home.hw("run", "tiny", *LADDER, "--dry-run", "--json").stdout)["steps"]
    assert next(step for step in ahead if step["name"] == "train:pretrain")["would"] == "skip"
