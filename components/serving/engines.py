"""Which engine holds a model: that of the first REST shape which its family answers."""

from pathlib import Path

from components.models import family_of
from components.serving.encoder import Encoder
from components.serving.engine import Engine

ENGINES: dict[str, type[Engine] | type[Encoder]] = {"completions": Engine, "embeddings": Encoder}


def open_engine(folder: Path, digest: str, threads: int) -> Engine | Encoder:
    """The engine for the export in `folder`. Raises StoreError if it is not what `digest` says or of no family."""
    return ENGINES[family_of(folder).endpoints[0]](folder, digest, threads)
