"""What stages take and give: typed views of folders, without any work at construction.

A stage is a plain function `verb(config, *inputs, out, scratch, report) -> Facts`. It fills the folder `out` with
content that depends on nothing but its config and inputs (no times, no paths, no random ids), keeps what must outlive
an attempt in `scratch`, and calls `report` with a dict while it works. What it returns are facts: they go to the
ledger and are never part of a digest.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
Report = Callable[[dict[str, Any]], None]
"""Called with at least {"done": number, "total": number, "unit": str}, and any metrics beside them."""


@dataclass(frozen=True)
class SourceFiles:
    """A source as a stage sees it: a file or folder with the digest of its content."""

    name: str
    path: Path
    licence: str
    origin: str
    digest: str


@dataclass(frozen=True)
class Artifact:
    """A folder whose content is fixed."""

    path: Path

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in the file `name` of this artifact."""
        return json.loads((self.path / name).read_text())


class Corpus(Artifact):
    """Curated documents.

    train.parquet, held_out.parquet: id, source, licence, origin, path, language, language_confidence, text,
    cluster (of near-duplicates), quality (JSON). dropped.parquet: the same and rule, reason. summary.json: counts by
    stage and source. report.html: one page with the waterfall.
    """

    def documents(self, split: str) -> Path:
        """The Parquet file of `split`: train, held_out or dropped."""
        return self.path / f"{split}.parquet"


class Samples(Artifact):
    """A corpus made ready for one model's processor, as memory-mapped shards.

    samples.json: kind, num_documents, files (name -> SHA-256 of what a model reads); where there is text: dtype, num_tokens, vocab_size,
    context, eos_token_id, pad_token_id. tokens.bin: token ids, one document after another (of kind "tokens" each ended
    by the end token). offsets.npy: int64 (num_documents + 1), where each document starts. documents.parquet: id, source,
    licence of each, in that order. processor/: a Hugging Face tokenizer folder. What a sample is, by kind:

    tokens: a window of `context` tokens. chats: a document, or several in a row; mask.bin (uint8 per token) is 1 where
    the loss counts. preferences: documents 2n (chosen) and 2n + 1 (rejected), with mask.bin. pairs: a text and a row of
    every array; samples.json has `arrays`, names of NAME.npy with num_documents rows. questions: the same with mask.bin.
    labelled: a text and the number of its label; samples.json has their names, `labels`.
    """

    @property
    def processor(self) -> Path:
        """The tokenizer folder, loadable by AutoTokenizer."""
        return self.path / "processor"


class Export(Artifact):
    """A standard Hugging Face model folder: config, safetensors, tokenizer, chat template, generation config.

    adapter/: where one was trained and merged into the weights, the adapter in peft's own format.
    """


class Evaluation(Artifact):
    """report.json: {"scores": {metric: {"value", "stderr"}}, "texts": [...]}; report.html shows it."""


class Verdict(Artifact):
    """gate.json: {"passed": bool, "rules": [{"rule", "passed", "explanation", ...}]}; report.html shows it."""


class Prediction(Artifact):
    """prediction.json: {"target", "predicted": {"by", "loss", "interval"}, "laws", "rungs"}; report.html shows it."""
