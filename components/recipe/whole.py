"""One whole run as a frozen model: the tables of a recipe, which agree with each other."""

from typing import Any, Literal

from pydantic import Field, model_validator

from components.recipe.agreement import disagreements
from components.recipe.fields import Name, Strict
from components.recipe.images import ImagesConfig
from components.recipe.phase import TrainPhase
from components.recipe.sources import Source
from components.recipe.tables import CurateConfig, EvaluateConfig, GateConfig, PrepareConfig, Rollout, ScaleConfig


class Recipe(Strict):
    """One whole run, from sources to a served model."""

    name: Name = Field(description="The name of the model that comes out.")
    description: str = Field("", description="A sentence for the model card.")
    family: Name = Field("llama", description="The architecture, of a model that does not start from a base.")
    size: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$",
        description="One of the family's named sizes. Left out where a source has the role base, which brings its own.",
    )
    approval: Literal["manual", "auto"] = Field("manual", description="Whether a person has to approve the model.")
    sources: tuple[Source, ...] = Field(min_length=1, description="What there is to learn from and to be judged by.")
    curate: CurateConfig = CurateConfig()
    images: ImagesConfig | None = Field(None, description="The table `[images]`, for families that learn from images.")
    prepare: PrepareConfig = PrepareConfig()
    train: tuple[TrainPhase, ...] = Field(min_length=1, description="The phases, in order.")
    phases: tuple[Name, ...] | None = Field(
        None, description='Which of the phases run, in their order: all, or for example `phases = ["lora"]`.'
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig
    rollout: Rollout = Rollout()
    scale: ScaleConfig | None = Field(None, description="The table `[scale]`, for `headwater scale`.")

    @model_validator(mode="before")
    @classmethod
    def _what_is_left_out(cls, content: Any) -> Any:
        from components.hyperparameters import filled

        return _read_by_its_family(filled(_with_chosen_phases(content))) if isinstance(content, dict) else content

    @model_validator(mode="after")
    def _names_fit_together(self) -> "Recipe":
        if wrong := next(disagreements(self), None):
            raise ValueError(wrong)
        return self

    @property
    def base(self) -> Source | None:
        """The model that this one starts from."""
        return next(iter(self.with_role("base")), None)

    def with_role(self, *roles: str) -> tuple[Source, ...]:
        """The sources that have one of `roles`, in the recipe's order."""
        return tuple(source for source in self.sources if source.role in roles)


def _with_chosen_phases(content: dict[str, Any]) -> dict[str, Any]:
    """Only the phases that run are part of the recipe: nothing else of it may depend on the others."""
    if not content.get("phases"):
        return content
    phases = [phase for phase in content.get("train", ()) if isinstance(phase, dict)]
    names = [str(phase.get("name")) for phase in phases]
    if unknown := [name for name in content["phases"] if name not in names]:
        raise ValueError(f"phases: there is no phase {unknown[0]!r}. Known: {', '.join(names)}")
    return {**content, "train": [phase for phase in phases if phase.get("name") in content["phases"]]}


def _read_by_its_family(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with the processor that its family reads, where it names none."""
    from components.models import families, family

    name, prepare = content.get("family", Recipe.model_fields["family"].default), content.get("prepare", {})
    if name not in families() or not isinstance(prepare, dict) or "processor" in prepare:
        return content
    return {**content, "prepare": {**prepare, "processor": family(name).processor}}
