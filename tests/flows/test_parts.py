"""Models that become parts of others: found in the ledger, on record below what they became, and stale when replaced."""

import pytest

from components.errors import RecipeError, SourceError
from components.ledger import Ledger, promotion, runs
from components.ledger.tables import CandidateRow, ReleaseRow
from components.recipe.file import read_recipe, validated
from components.settings import settings
from flows.lineage import models
from flows.passage import part_version
from flows.recipes import shipped_recipes


@pytest.fixture
def ledger(home, monkeypatch):
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    return Ledger(settings().ledger_url)


def champion(ledger, name, digest, version, resolved=None, recipe=None):
    """A version of `name` that was gated, approved and released."""
    run = runs.open_run(ledger, name, recipe or {"sources": []}, digest, by="ann", door="cli")
    runs.enter(ledger, run.id, resolved or {"sources": {}}, None, None)
    before = promotion.champion(ledger, name)
    gated = {
        "evaluation": "e",
        "verdict": "v",
        "baseline": before.digest if before else "",
        "approval": "auto",
        "passed": True,
    }
    row = promotion.propose(ledger, CandidateRow(name=name, digest=digest, run=run.id, created=0.0, **gated))
    promotion.decide(ledger, row.id, "approved", by="auto", reason="auto", how="auto")
    promotion.intend(ledger, name, digest, run.id)
    promotion.confirm(ledger, name, digest, version, {})
    kept = {"digest": digest, "version": version, "candidate": row.id, "rollout": {}, "run": run.id, "at": 0.0}
    promotion.release(ledger, ReleaseRow(name=name, **kept))
    runs.leave(ledger, run.id, None, "completed")


def part(path):
    recipe = read_recipe(shipped_recipes()["llava"])
    (eyes,) = (source for source in recipe.sources if source.name == "eyes")
    return eyes.model_copy(update={"path": path})


def test_a_part_is_the_champion_or_the_version_that_is_named(ledger):
    champion(ledger, "clip", "d1", "1")
    champion(ledger, "clip", "d2", "2")
    assert part_version(part("model:clip"), ledger)["digest"] == "d2"
    assert part_version(part("model:clip"), ledger)["path"] == "model:clip/2"
    assert part_version(part("model:clip/1"), ledger)["digest"] == "d1"


@pytest.mark.parametrize(
    ("path", "wrong"), [("model:clip", "champion called 'clip'"), ("model:clip/7", "version 7 of 'clip'")]
)
def test_a_part_that_nobody_made_is_named(ledger, path, wrong):
    with pytest.raises(SourceError, match=wrong):
        part_version(part(path), ledger)


def test_a_model_is_stale_once_one_of_its_parts_has_a_new_champion(ledger):
    champion(ledger, "clip", "d1", "1")
    recipe = {"sources": [{"name": "eyes", "role": "part", "path": "model:clip"}]}
    resolved = {"sources": {"eyes": part_version(part("model:clip"), ledger)}}
    champion(ledger, "llava", "d9", "1", resolved, recipe)
    assert [row["stale"] for row in models(ledger)] == [[], []]
    champion(ledger, "clip", "d2", "2")
    assert {(row["name"], row["version"]): row["stale"] for row in models(ledger)} == {
        ("clip", "1"): [],
        ("clip", "2"): [],
        ("llava", "1"): ["clip"],
    }


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"path": "model:Clip!"}, "write model:NAME"),
        ({"role": "documents"}, "is a model of this home, which only a part can be"),
        ({"name": "ears"}, "joined from language and eyes"),
    ],
)
def test_parts_that_do_not_fit_the_family_are_refused(changes, wrong):
    content = read_recipe(shipped_recipes()["llava"]).model_dump(mode="json")
    (eyes,) = (source for source in content["sources"] if source["name"] == "eyes")
    eyes.update(changes)
    with pytest.raises(RecipeError, match=wrong):
        validated(content, "llava")
