"""A recipe: everything about one run that is not a fact of a machine, in one frozen model.

A recipe is one TOML file. What changes bits is in it; addresses, folders and credentials never are
(`components.settings`). Fields marked `PLACE` say how work is done and not what comes out of it, so they are left
out of a step's identity.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from components.errors import SourceError
from components.packages.names import is_package, package
from components.recipe_fields import PLACE, Budget, Fraction, Name, Strict
from components.recipe_images import ImagesConfig, wrong_images
from components.recipe_workers import wrong_division

DATA_ROLES = {"sft": "instructions", "dpo": "preferences"}
"""What the source of a phase must be read as, for objectives that do not learn from the corpus."""


BY_RULE = "[By rule](#hyperparameters-from-few-dials) in pretraining."


class Source(Strict):
    """Raw material: a file or folder with its licence and origin."""

    name: Name = Field(description="By which phases and tasks refer to it.")
    path: str = Field(
        min_length=1,
        description="A file or folder; shipped:NAME; or in a package: pypi:NAME==VERSION, sdist:NAME==VERSION, "
        "npm:NAME@VERSION or debian:NAME, with !/PATH for one file or folder inside.",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="What the file of a package must have; another one is refused."
    )
    licence: str = Field(min_length=1, description="SPDX identifier or 'public domain'.")
    origin: str = Field(min_length=1, description="Where it came from: URL or package and version.")
    role: Literal["documents", "images", "labels", "instructions", "preferences", "evaluation", "base"] = Field(
        "documents", description="What it is read as; base is a model to start from."
    )

    @model_validator(mode="after")
    def _names_a_package(self) -> "Source":
        if is_package(self.path):
            try:
                package(self.path)
            except SourceError as error:
                raise ValueError(str(error).rstrip(".")) from None
        elif self.sha256:
            raise ValueError("sha256 is for packages; a file or folder has its digest on record anyway")
        return self


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


class Adapter(Strict):
    """Few weights beside those of the base, which stay as they are; merged into them for the export."""

    method: Literal["lora"] = Field("lora", description="LoRA (Hu et al. 2021), on all linear layers but the last.")
    rank: int = Field(16, ge=1, le=1024, description="Width of the adapter: how much it can learn, and what it takes.")
    alpha: int = Field(32, gt=0, description="Its product counts alpha / rank times.")


class TrainPhase(Strict):
    """One training run: what it starts from, what it learns from, and for how long."""

    name: Name = Field(description="By which later phases refer to it.", json_schema_extra=PLACE)
    objective: str = Field("causal_lm", description="What is learnt.")
    init: str = Field(
        "random",
        pattern=r"^(random|(phase|source):[a-z][a-z0-9_-]*)$",
        description="First weights: random, phase:NAME, or source:NAME of the source with the role base.",
        json_schema_extra=PLACE,  # what it names is an input, and counts by its digest; so for data
    )
    data: str = Field(
        "corpus",
        pattern=r"^(corpus|source:[a-z][a-z0-9_-]*)$",
        description="The corpus, or source:NAME of a source with the role instructions or preferences.",
        json_schema_extra=PLACE,
    )
    tokens: int | None = Field(None, gt=0, description="Token budget; or give `epochs`.")
    epochs: float | None = Field(None, gt=0, description="Passages over the data; or give `tokens`.")
    batch_size: int = Field(16, gt=0, description=f"Samples per optimizer step, over all workers. {BY_RULE}")
    micro_batch_size: int | None = Field(
        None,
        gt=0,
        description="Samples that a worker takes through the model at once, so as to need less memory; the gradients of "
        "its share add up. Its whole share, if left out.",
    )
    learning_rate: float = Field(3e-3, gt=0, description=f"At its peak. {BY_RULE}")
    warmup: Fraction = Field(0.05, description="Fraction of the steps with a rising learning rate.")
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        "cosine", description=f"Of the learning rate after the warm-up; wsd is stable, then decays. {BY_RULE}"
    )
    decay: Fraction = Field(0.1, description="Fraction of the steps with a falling learning rate, for wsd.")
    final_learning_rate: Fraction = Field(
        0.1, description="Last learning rate of cosine and wsd, as a fraction of the peak."
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="Muon is for the matrices of hidden layers; AdamW has the rest."
    )
    weight_decay: float = Field(0.1, ge=0, description=f"Decoupled, on matrices only. {BY_RULE}")
    clip_norm: float = Field(1.0, gt=0, description="Longest gradient; a longer one is scaled down to it.")
    adapter: Adapter | None = Field(
        None, description="Train an adapter in place of the weights, as in `adapter = { rank = 16 }`."
    )
    beta: float = Field(0.1, gt=0, description="How closely dpo keeps to the model it started from.")
    isolate_documents: bool = Field(
        False, description="For causal_lm: attention and positions stop at the boundaries of documents."
    )
    pack_chats: bool = Field(
        False, description="For sft: several chats in one row of the context, each with attention of its own."
    )
    precision: Literal["fp32", "bf16", "fp8", "auto"] = Field(
        "fp32",
        description="Of the products; weights, gradients and optimizer state are fp32. auto is bf16 where the hardware "
        "has units for it, else fp32; fp8 needs a GPU of the Hopper kind or newer.",
    )
    use_gpu: bool = Field(False, description="A GPU for each worker.")
    activation_checkpointing: bool = Field(
        False,
        description="Compute each layer again in backward, in place of keeping what it held: less memory, a third more work.",
    )
    compile: bool = Field(
        False,
        description="torch.compile for the layers: faster steps after a warm-up of up to a minute; needs a C++ compiler.",
    )
    num_workers: int | tuple[int, int] = Field(
        2,
        description="Processes of Ray Train; 0 trains in the driver. A range [1, 4] is elastic: as many as the cluster has "
        "room for, also when nodes come and go.",
    )
    parallel: Literal["replicated", "fsdp"] = Field(
        "replicated", description="Whether each worker has all of the weights and optimizer state, or a shard of them."
    )
    tensor_parallel: int = Field(
        1,
        gt=0,
        description="Workers that share each layer, for decoders and with fsdp; num_workers is a multiple of it.",
    )
    reproducible: bool = Field(
        False,
        description="The same bits for any number of workers, which is then no part of the identity: costs speed.",
    )
    micro_shards: int | None = Field(
        None,
        gt=0,
        description="Parts of a batch whose gradients are added in a fixed order where `reproducible` is set: a power of "
        "two, at least as many as workers. 4, if left out.",
    )
    threads: int = Field(1, gt=0, description="CPU threads per worker: part of the arithmetic, so part of the recipe.")
    seed: int = Field(0, description="Of the first weights and of the order of samples.")
    checkpoint_seconds: float = Field(
        10, gt=0, json_schema_extra=PLACE, description="Seconds from one checkpoint to the next."
    )
    keep_last: int = Field(2, gt=0, json_schema_extra=PLACE, description="Newest checkpoints that are kept.")
    keep_best: int = Field(
        0,
        ge=0,
        json_schema_extra=PLACE,
        description="Checkpoints of least loss (the mean of the last 64 steps) that are kept beside the newest.",
    )
    max_skips: int = Field(
        5,
        ge=0,
        description="How often training may go back and skip eight batches whose loss is not finite or a spike.",
    )
    spike_sigma: float = Field(
        10, gt=0, description="A loss so many standard deviations above the mean of the last 64 is a spike."
    )
    text_steps: int = Field(
        0,
        ge=0,
        json_schema_extra=PLACE,
        description="Steps from one sample of text that the model writes to the next, for causal_lm; 0 shows none.",
    )
    budget_seconds: Budget = 180

    @model_validator(mode="after")
    def _one_length(self) -> "TrainPhase":
        if (self.tokens is None) == (self.epochs is None):
            raise ValueError("give exactly one of tokens and epochs")
        return self

    @property
    def worker_range(self) -> tuple[int, int]:
        """The fewest and the most processes that train at a time."""
        if isinstance(self.num_workers, tuple):
            return self.num_workers
        return max(1, self.num_workers), max(1, self.num_workers)

    @property
    def most_workers(self) -> int:
        """The most processes that train at a time."""
        return self.worker_range[1]

    def places(self) -> frozenset[str]:
        """The number of workers, where it does not change the bits."""
        return frozenset({"num_workers"}) if self.reproducible else frozenset()

    @model_validator(mode="after")
    def _options_fit_together(self) -> "TrainPhase":
        for option, objective in (
            ("isolate_documents", "causal_lm"),
            ("text_steps", "causal_lm"),
            ("pack_chats", "sft"),
        ):
            if getattr(self, option) and self.objective != objective:
                raise ValueError(f"{option} is for the objective {objective}, not for {self.objective}")
        if self.precision == "fp8" and not self.use_gpu:
            raise ValueError(
                'precision fp8 needs use_gpu = true: processors have no fp8 units; take "fp32", "bf16" or "auto"'
            )
        if self.adapter and self.init == "random":
            raise ValueError("an adapter stands beside weights that are there: set init, or leave adapter out")
        if wrong := wrong_division(self):
            raise ValueError(wrong)
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are more than all steps together")
        if self.schedule == "wsd" and self.final_learning_rate == 0:
            raise ValueError("wsd decays exponentially: final_learning_rate must be above 0")
        return self


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
        for what, names in (("source", [s.name for s in self.sources]), ("phase", [p.name for p in self.train])):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"two {what}s are called {', '.join(twice)}")
        if len(self.with_role("base")) > 1:
            raise ValueError("two sources have the role 'base': a model starts from one")
        if wrong := wrong_images(self):
            raise ValueError(wrong)
        roles = {s.name: s.role for s in self.sources}
        if (self.base is None) == (self.size is None):
            raise ValueError("give either size, or one source with the role 'base', which has a size of its own")
        if self.base and self.base.name == self.name:
            raise ValueError(f"the base and the model that comes out are both called {self.name!r}")
        earlier: list[str] = []
        for phase in self.train:
            kind, _, name = phase.init.partition(":")
            if kind == "phase" and name not in earlier:
                raise ValueError(
                    f"phase {phase.name} starts from {name!r}, which is no earlier phase ({', '.join(earlier) or 'none'})"
                )
            if self.base and phase.init not in (f"source:{self.base.name}", *(f"phase:{name}" for name in earlier)):
                raise ValueError(f"phase {phase.name} must start from source:{self.base.name} or an earlier phase")
            if kind == "source" and roles.get(name) != "base":
                raise ValueError(f"phase {phase.name} starts from {name!r}, which is no source with the role 'base'")
            kind, _, name = phase.data.partition(":")
            role = DATA_ROLES.get(phase.objective, "documents" if kind == "corpus" else "instructions")
            if kind == "source" and roles.get(name) != role:
                raise ValueError(f"phase {phase.name} trains on {name!r}, which is no source with the role {role!r}")
            if kind == "corpus" and role != "documents":
                raise ValueError(
                    f'phase {phase.name}: {phase.objective} needs data = "source:NAME" of a source with the role {role!r}'
                )
            earlier.append(phase.name)
        first = self.train[0]
        pretrains = self.size is not None and first.objective == "causal_lm" and first.init == "random"
        if self.scale and not pretrains:
            raise ValueError(
                f"[scale] needs a size, and a first phase of causal_lm from random weights, not {first.name}"
            )
        if self.scale and first.tokens is None:
            raise ValueError(f"[scale] needs a first phase that gives tokens, not {first.name}")
        for task in self.evaluate.tasks:
            if roles.get(task.source) != "evaluation":
                raise ValueError(f"task {task.name} needs {task.source!r} as a source with the role 'evaluation'")
        for rule in self.gate.rules:
            if rule.base_regression is not None and not self.base:
                raise ValueError(f"the rule on {rule.metric} compares with a base, and no source has the role 'base'")
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


def identity_fields(config: BaseModel) -> dict[str, Any]:
    """The fields of a config that decide what comes out, as JSON values; those marked PLACE are left out, at any depth."""
    kept: dict[str, Any] = {}
    places = config.places() if isinstance(config, Strict) else ()
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if name in places or (isinstance(extra, dict) and extra.get("identity") is False):
            continue
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            kept[name] = identity_fields(value)
        elif isinstance(value, tuple) and any(isinstance(entry, BaseModel) for entry in value):
            kept[name] = [identity_fields(entry) for entry in value]
        else:
            kept[name] = json.loads(config.model_dump_json(include={name}))[name]
    return kept
