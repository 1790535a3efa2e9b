"""Which engine holds a model: the one that its family names."""

from pathlib import Path

from components.models import family_of
from components.serving.classifier import Classifier
from components.serving.encoder import Encoder
from components.serving.engine import Engine
from components.serving.images import Images
from components.serving.reader import Reader
from components.serving.seq2seq import Seq2Seq
from components.serving.towers import Towers
from components.serving.visual import Visual

Holder = Engine | Encoder | Classifier | Reader | Towers | Images
ENGINES: dict[str, type[Holder]] = {
    "classifier": Classifier,
    "decoder": Engine,
    "encoder": Encoder,
    "images": Images,
    "reader": Reader,
    "seq2seq": Seq2Seq,
    "towers": Towers,
    "visual": Visual,
}


def open_engine(folder: Path, digest: str, threads: int) -> Holder:
    """The engine for the export in `folder`. Raises StoreError if it is not what `digest` says or of no family."""
    return ENGINES[family_of(folder).engine](folder, digest, threads)
