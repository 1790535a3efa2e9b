"""The tables of a recipe beside its sources, images and phases: one for each stage."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.recipe.fields import PLACE, Budget, Fraction, Name, Strict


class CurateConfig(Strict):
    """Documents to corpus: what is kept, and how it is cleaned."""

    max_characters: int = Field(6000, ge=200, description="Longer texts become several documents.")
    languages: tuple[str, ...] = Field(("en",), description="Languages that are kept (ISO 639-1).")
    language_confidence: Fraction = Field(0.8, description="Least probability of the identified language.")
    filters: tuple[str, ...] = Field(
        ("length", "symbols", "repetition", "boilerplate"), description="Rules that may drop a document, in this order."
    )
    near_duplicates: Literal["minhash", "none"] = Field("minhash", description="How near-duplicates are found.")
    similarity: Fraction = Field(
        0.3,
        description="Jaccard similarity of word pairs, in folded spelling, from which documents are near-duplicates.",
    )
    mask: tuple[str, ...] = Field(("email", "phone"), description="Personal data that is replaced by a mark.")
    held_out: float = Field(0.08, gt=0, lt=0.9, description="Fraction of the kept documents held out for evaluation.")
    seed: int = Field(0, description="Chooses which documents are held out.")
    budget_seconds: Budget = 40


class PrepareConfig(Strict):
    """Corpus to samples: the tokenizer and the packing."""

    vocab_size: int = Field(
        2048,
        ge=300,
        le=1_000_000,
        description="Tokens of the tokenizer that is trained, at most; a base brings its own.",
    )
    context: int = Field(256, ge=8, le=1_048_576, description="Tokens in a sample.")
    processor: str = Field(
        "byte_bpe", description="Kind of the tokenizer that is trained; left out, it is the one that the family reads."
    )
    budget_seconds: Budget = 15


class Task(Strict):
    """One lm-eval task over an evaluation source: JSON lines with question, choices and answer (an index)."""

    name: Name = Field(description="Gives the metric NAME_accuracy.")
    source: Name = Field(description="A source with the role evaluation.")
    few_shot: int = Field(0, ge=0, le=32, description="Examples before each question.")


class EvaluateConfig(Strict):
    """What is measured, and which texts are shown."""

    tasks: tuple[Task, ...] = Field((), description="Questions that lm-eval scores.")
    prompts: tuple[str, ...] = Field(("It was", "The", "She said"), description="Beginnings of the sampled texts.")
    sample_tokens: int = Field(48, gt=0, le=4096, description="Tokens of a sampled text.")
    temperature: float = Field(0.7, ge=0, description="Of the sampled texts; 0 takes the likeliest token.")
    held_out_documents: int | None = Field(None, gt=0, description="Score only so many held-out documents.")
    seed: int = Field(0, description="Of the sampled texts.")
    budget_seconds: Budget = 60


class Rule(Strict):
    """One threshold: a score against a bound, another score of the same report, or the champion's score."""

    metric: str = Field(description="A score of the evaluation's report.")
    min: float | None = Field(None, description="Least value that passes.")
    max: float | None = Field(None, description="Largest value that passes.")
    below: str | None = Field(None, description="Another metric of the same report that this one must be below.")
    above: str | None = Field(None, description="Another metric of the same report that this one must be above.")
    regression: float | None = Field(None, ge=0, description="How much worse than the champion's is still accepted.")
    base_regression: float | None = Field(
        None, description="How much worse than the base's is still accepted; below 0 it must be so much better."
    )
    lower_is_better: bool = Field(True, description="Which direction is worse, for the regressions.")

    @model_validator(mode="after")
    def _some_bound(self) -> "Rule":
        if all(v is None for v in (self.min, self.max, self.below, self.above, self.regression, self.base_regression)):
            raise ValueError("a rule needs one of min, max, below, above, regression and base_regression")
        return self


class GateConfig(Strict):
    """What a model must reach before a person is asked."""

    rules: tuple[Rule, ...] = Field(min_length=1, description="All of them must pass.")
    budget_seconds: Budget = 5


class ScaleConfig(Strict):
    """A ladder of small runs, whose law predicts the loss of the first phase before it is paid for."""

    budgets: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=2, description="Training compute of the runs, in FLOPs (6 x parameters x tokens)."
    )
    sizes: tuple[str, ...] = Field(
        min_length=2, description="Named sizes of the family; each is trained at every budget."
    )
    seeds: int = Field(
        1, ge=1, le=10, description="Runs of each size at each budget, from as many seeds; the law is fitted to all."
    )
    tokens_per_parameter: tuple[float, float] | None = Field(
        None,
        description="Runs with fewer or more are left out: the former depend on their seed, the latter on little else.",
    )
    resamples: int = Field(200, ge=10, le=10_000, description="Resamples of the runs, for intervals.")
    seed: int = Field(0, description="Of the resamples.")
    run_target: bool = Field(
        False, json_schema_extra=PLACE, description="Train and evaluate the first phase itself, after its prediction."
    )


class Rollout(Strict):
    """How an approved model is served. Nothing of it changes the model."""

    replicas: int = Field(default=1, ge=1, le=1000, description="Processes that answer.")
    threads: int = Field(default=1, ge=1, description="CPU threads of each.")
    prompt: str = Field(
        default="Who was Emma?", description="What the smoke test asks before a version becomes champion."
    )
