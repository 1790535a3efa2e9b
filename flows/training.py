"""Training: the phases of a recipe in order, each from what it names as its start."""

from prefect import flow

from components.recipe import Recipe, TrainPhase
from components.steps import Input, Step, identity
from components.store import Stored
from flows.bases import joined_parts, taken_base
from flows.costs import keep_costs
from flows.curation import as_input, chats, curation, preparation
from flows.passage import Passage
from flows.single import alone
from flows.step import step

TRAIN = Step("train", 5, "components.training.train:train", "components.training.config:TrainConfig", "export", "job")
NOTHING = Input("init", "none", "random")


def training(run: Passage, samples: Stored, base: Stored | None) -> Stored:
    """The export of the last phase."""
    exports: dict[str, Stored] = {f"source:{run.recipe.base.name}": base} if run.recipe.base and base else {}
    if joined := joined_parts(run, samples):
        exports["parts"] = joined
    for phase in run.recipe.train:
        exports[f"phase:{phase.name}"] = _phase(run, phase, samples, exports)
    return exports[f"phase:{run.recipe.train[-1].name}"]


def _phase(run: Passage, phase: TrainPhase, samples: Stored, exports: dict[str, Stored]) -> Stored:
    from components.training.config import TrainConfig

    init = NOTHING if phase.init == "random" else as_input("init", exports[phase.init])
    _, _, source = phase.data.partition(":")
    data = chats(run, samples, phase.name, source) if source else samples
    config = TrainConfig(family=run.recipe.family, size=run.recipe.size, phase=phase)
    inputs = as_input("samples", data), init
    export = step(run, TRAIN, config, *inputs, label=f"train:{phase.name}", trains=True)
    if run.dry is None:
        keep_costs(run, phase.name, identity(TRAIN, config, inputs))
    return export


@flow(name="training", persist_result=False)
def training_alone(recipe: Recipe) -> str:
    """Everything up to the trained model; the digest of its export."""
    with alone(recipe) as run:
        base = taken_base(run)
        return training(run, preparation(run, curation(run), base), base).digest
