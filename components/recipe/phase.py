"""One training phase of a recipe: what it starts from, what it learns from, and for how long."""

import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from components.recipe.fields import PLACE, Budget, Fraction, Name, Strict
from components.recipe.workers import wrong_division

PREDICTING_TOKENS = ("causal_lm", "masked_lm", "sft", "span_corruption", "visual_sft")
"""Objectives whose loss is a cross-entropy over the vocabulary."""
_NAME = "[a-z][a-z0-9_-]*"
REFERENCES = {
    "init": (
        rf"random|parts|(phase|source):{_NAME}",
        "known are random, parts, phase:NAME and source:NAME; a folder to start from is a source with the role base",
    ),
    "data": (
        rf"corpus|source:{_NAME}",
        "known are corpus and source:NAME; a file is a source with the role instructions or preferences",
    ),
}
"""What the fields that refer to something may look like, and what is said of anything else."""
BY_RULE = "[By rule](#hyperparameters-from-few-dials) in pretraining."


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
        description="First weights: random, phase:NAME, source:NAME of the source with the role base, or parts: those of "
        "the sources with the role part.",
        json_schema_extra=PLACE,  # what it names is an input, and counts by its digest; so for data
    )
    data: str = Field(
        "corpus",
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
    z_loss: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Weight of the squared log of softmax's normaliser, which keeps logits from growing (PaLM has 1e-4), for "
        "objectives that predict tokens. Part of the gradient, not of the loss that is shown.",
    )
    adapter: Adapter | None = Field(
        None, description="Train an adapter in place of the weights, as in `adapter = { rank = 16 }`."
    )
    freeze: tuple[str, ...] = Field(
        (),
        description='Weights that stay as they are: all whose names begin so, as in `freeze = ["model.vision_tower"]`.',
    )
    beta: float = Field(0.1, gt=0, description="How closely dpo keeps to the model it started from.")
    isolate_documents: bool = Field(
        False, description="For causal_lm: attention and positions stop at the boundaries of documents."
    )
    pack_chats: bool = Field(
        False, description="For sft: several chats in one row of the context, each with attention of its own."
    )
    shift_pixels: int = Field(
        0,
        ge=0,
        le=64,
        description="For contrastive: how far each image is moved to a random side, anew each time that it is seen.",
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
        description="torch.compile for the layers: faster steps after a warm-up of up to a minute; needs a C++ compiler. Rows "
        "are padded to the context, so that all have one shape.",
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

    @field_validator("init", "data")
    @classmethod
    def _names_what_is_known(cls, value: str, field: ValidationInfo) -> str:
        assert field.field_name
        pattern, known = REFERENCES[field.field_name]
        if not re.fullmatch(pattern, value):
            raise ValueError(known)
        return value

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
        for option, *objectives in (
            ("isolate_documents", "causal_lm"),
            ("text_steps", "causal_lm"),
            ("pack_chats", "sft"),
            ("shift_pixels", "contrastive"),
            ("z_loss", *PREDICTING_TOKENS),
        ):
            if getattr(self, option) and self.objective not in objectives:
                raise ValueError(f"{option} is for the objective {' or '.join(objectives)}, not for {self.objective}")
        if self.precision == "fp8" and not self.use_gpu:
            raise ValueError(
                'precision fp8 needs use_gpu = true: processors have no fp8 units; take "fp32", "bf16" or "auto"'
            )
        if self.adapter and self.init == "random":
            raise ValueError("an adapter stands beside weights that are there: set init, or leave adapter out")
        if self.adapter and self.freeze:
            raise ValueError("beside an adapter all weights stay as they are: leave freeze out")
        if wrong := wrong_division(self):
            raise ValueError(wrong)
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are more than all steps together")
        if self.schedule == "wsd" and self.final_learning_rate == 0:
            raise ValueError("wsd decays exponentially: final_learning_rate must be above 0")
        return self
