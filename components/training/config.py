"""What a training phase needs to know, and the same as JSON for the processes that do it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import Export, Samples
from components.digests import digest
from components.recipe import TrainPhase, identity_fields
from components.recipe.fields import Name, Strict


class TrainConfig(Strict):
    """One phase of a recipe for one size of one family."""

    family: Name
    size: str | None
    """None where the model is of the size of what the phase starts from."""
    phase: TrainPhase

    @property
    def budget_seconds(self) -> int:
        """How long the phase may take, for people."""
        return self.phase.budget_seconds


@dataclass(frozen=True)
class Job:
    """One phase with the folders it reads and writes; every worker gets the same one."""

    config: TrainConfig
    samples: Samples
    init: Export | None
    scratch: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.scratch / "checkpoints"

    @property
    def progress(self) -> Path:
        """JSON lines that rank 0 appends and the driver follows."""
        return self.scratch / "progress.jsonl"

    @property
    def digest(self) -> str:
        """What a checkpoint must agree with to be resumed: the configuration and the samples."""
        return digest({"config": identity_fields(self.config), "samples": self.samples.json("samples.json")})

    def as_json(self) -> dict[str, Any]:
        """The job as JSON values."""
        return {
            "config": self.config.model_dump(mode="json"),
            "samples": str(self.samples.path),
            "init": str(self.init.path) if self.init else None,
            "scratch": str(self.scratch),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Job":
        """The job that `as_json` described."""
        return cls(
            config=TrainConfig.model_validate(value["config"]),
            samples=Samples(Path(value["samples"])),
            init=Export(Path(value["init"])) if value["init"] else None,
            scratch=Path(value["scratch"]),
        )
