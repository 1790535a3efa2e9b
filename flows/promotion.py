"""Promotion: a model that passed its gate becomes a candidate in MLflow, and waits for a decision."""

import json
import time
from pathlib import Path

from prefect import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger

from components.errors import DecisionError, GateRefused, HeadwaterError
from components.ledger import promotion as decisions
from components.ledger import queries, runs
from components.ledger.tables import CandidateRow, DecisionRow
from components.models import family_of
from flows.evaluation import Judged
from flows.passage import Passage
from flows.registering import registered

IN_THE_CARD = ("headwater.digest", "headwater.gate_report", "headwater.licences")
"""Tags whose content a model card shows in tables of its own."""


def promotion(run: Passage, judged: Judged) -> CandidateRow:
    """The candidate of a judged model, registered in MLflow under the alias `candidate`."""
    name, digest = run.recipe.name, judged.model.digest
    candidate = decisions.propose(
        run.ledger,
        CandidateRow(
            name=name,
            digest=digest,
            evaluation=judged.evaluation.digest,
            verdict=judged.verdict.digest,
            baseline=judged.baseline,
            approval=run.recipe.approval,
            passed=judged.passed,
            run=run.id,
            created=time.time(),
        ),
    )
    run.act("register", lambda: _registered(run, judged))
    version = decisions.intend(run.ledger, name, digest, run.id)
    run.outcome["model"] = {"name": name, "version": version.version, "digest": digest, "candidate": candidate.id}
    return candidate


def _registered(run: Passage, judged: Judged) -> bool:
    version, made = registered(
        run,
        run.recipe.name,
        judged.model.digest,
        judged.model.path,
        tags=_lineage(run, judged),
        card=_card(run, judged),
        scores=run.outcome["scores"],
    )
    return _pointed_at(run, version.version, () if made else version.aliases) or made


def _pointed_at(run: Passage, number: str, aliases: tuple[str, ...]) -> bool:
    """Give a version the alias `candidate`, unless it is or was the champion; whether it had to be given."""
    from components.registry import versions

    serving = decisions.champion(run.ledger, run.recipe.name)
    if aliases or (serving and serving.version == number):
        return False
    return versions.alias(run.recipe.name, "candidate", number)


def _card(run: Passage, judged: Judged) -> str:
    from components.registry.card import model_card

    return model_card(
        name=run.recipe.name,
        digest=judged.model.digest,
        pipeline=family_of(judged.model.path).pipeline,
        library=family_of(judged.model.path).library,
        summary=run.recipe.description or _summary(run),
        sources=[source.model_dump() for source in run.recipe.sources],
        scores=judged.scores,
        gate=json.loads((judged.verdict.path / "gate.json").read_text())["rules"],
        intended_use="What its recipe was written and evaluated for; the scores above say how well, on which data.",
        limits=[
            "It was judged by the scores above and by nothing else: evaluate it on your own task before you rely on it.",
            "It gives no sources for what it says, and it may be wrong.",
        ],
        lineage={k: v for k, v in _lineage(run, judged).items() if k not in IN_THE_CARD},
    )


def _summary(run: Passage) -> str:
    recipe = run.recipe
    return (
        f"A model that started from {recipe.base.name}." if recipe.base else f"A {recipe.family} of size {recipe.size}."
    )


def _lineage(run: Passage, judged: Judged) -> dict[str, str]:
    licences = sorted({f"{source.name}: {source.licence}" for source in run.recipe.sources})
    made = queries.maker(run.ledger, judged.model.digest)
    return {
        **run.tags(),
        "headwater.digest": judged.model.digest,
        "headwater.evaluation": judged.evaluation.digest,
        **_adapter(judged.model.path),
        **({"headwater.base": run.outcome["base"]["digest"]} if "base" in run.outcome else {}),
        "headwater.gate": "passed" if judged.passed else "refused",
        "headwater.gate_report": "; ".join(run.outcome["gate"])[:4000],
        "headwater.licences": "; ".join(licences)[:4000],
        "headwater.step": made.identity if made else "",
        "ray.submission_id": (made.submission if made else None) or "none",
    }


def _adapter(export: Path) -> dict[str, str]:
    """What a merged adapter is, and on which base it was trained: its digest."""
    file = export / "adapter" / "adapter_config.json"
    if not file.is_file():
        return {}
    config = json.loads(file.read_text())
    what = f"{config['peft_type'].lower()}, rank {config['r']}, alpha {config['lora_alpha']}"
    return {
        "headwater.kind": "merged adapter",
        "headwater.adapter": what,
        "headwater.adapter_base": config["base_model_name_or_path"],
    }


class Decision(RunInput):
    """The form that the Prefect UI shows for a suspended run."""

    decision: str = "approve"
    by: str = ""
    reason: str = ""


def wait_for_decision(run: Passage, candidate: CandidateRow) -> DecisionRow:
    """The decision on a candidate; suspends the flow as long as there is none. Raises GateRefused on a rejection."""
    decided = decisions.decision(run.ledger, candidate.id)
    if decided is None and run.recipe.approval == "auto":
        decided = _by_recipe(run, candidate)
    number = 0
    while decided is None:
        decided = _by_form(run, candidate, number)
        number += 1
    run.outcome["decision"] = {
        "decision": decided.decision,
        "by": decided.by,
        "reason": decided.reason,
        "how": decided.how,
    }
    if decided.decision != "approved":
        raise GateRefused(f"{decided.by} rejected {run.recipe.name}: {decided.reason}.")
    return decided


def _by_recipe(run: Passage, candidate: CandidateRow) -> DecisionRow:
    """The approval of a recipe that says approval = "auto"; another run of it may have been quicker."""
    why = 'the recipe says approval = "auto"'
    try:
        return decisions.decide(run.ledger, candidate.id, "approved", by="recipe", reason=why, how="auto")
    except DecisionError:
        if known := decisions.decision(run.ledger, candidate.id):
            return known
        raise


def _by_form(run: Passage, candidate: CandidateRow, number: int) -> DecisionRow | None:
    """Suspend until somebody resumes this run, by the form or by a decision in the ledger."""
    model = run.outcome["model"]
    described = f"**{model['name']}/{model['version']}** ({model['digest'][:8]}) waits for a decision.\n\n" + "\n".join(
        f"- {line}" for line in run.outcome["gate"]
    )
    form = Decision.with_initial_data(description=described, decision="approve")
    runs.leave(run.ledger, run.id, run.attempt, "waiting", run.outcome)
    answer = suspend_flow_run(wait_for_input=form, key=f"approve-{number}")
    runs.resumed(run.ledger, run.id, run.attempt)
    known = decisions.decision(run.ledger, candidate.id)
    if known or not answer.by:
        return known
    verdict = {"approve": "approved", "approved": "approved"}.get(answer.decision.strip().lower(), "rejected")
    try:
        return decisions.decide(run.ledger, candidate.id, verdict, by=answer.by, reason=answer.reason, how="form")
    except HeadwaterError as error:
        get_run_logger().warning("The answer was refused: %s", error)
        return None
