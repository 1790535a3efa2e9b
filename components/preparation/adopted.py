"""The processor of a base: its tokenizer, chat template and generation settings, taken as they are."""

import json
from pathlib import Path
from shutil import copyfile

from components.artifacts import Export
from components.errors import RecipeError
from components.preparation.speech import PLAIN_TEMPLATE

KEPT = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""What of an export is no weight and no architecture; the generation config names the tokens that end an answer."""


def adopt_processor(base: Export, folder: Path, context: int, *, reads_on: bool = False) -> int:
    """Copy the processor of `base` into the new `folder`; returns the size of its model's vocabulary.

    That may be larger than the tokenizer's, never smaller. Raises RecipeError where `base` reads fewer tokens at once
    than `context`, unless it is to learn to read on.
    """
    config = base.json("config.json")
    longest = config.get("max_position_embeddings") or config.get("n_positions") or context
    if context > longest and not reads_on:
        raise RecipeError(f"prepare.context = {context} is more than the base reads at once, {longest} tokens.")
    folder.mkdir(parents=True)
    for name in KEPT:
        if (base.path / name).is_file():
            copyfile(base.path / name, folder / name)
    if not (folder / "chat_template.jinja").exists():
        (folder / "chat_template.jinja").write_text(PLAIN_TEMPLATE)
    if reads_on:
        _limit(folder, context)
    return int(config["vocab_size"])


def adopt_encoder(encoder: Export, folder: Path, context: int) -> int:
    """The same of an encoder that gets a head: a text is cut at `context`.

    With rotary positions it may read on; BERT's are learnt, and there are no more than it was made with.
    """
    learnt = encoder.json("config.json").get("model_type") == "bert"
    vocab_size = adopt_processor(encoder, folder, context, reads_on=not learnt)
    _limit(folder, context)
    return vocab_size


WORDS = ("tokenizer.json", "tokenizer_config.json")
PLACES = ("tokenizer", "tokenizer_2")
"""Where a pipeline that draws looks for what reads its texts."""


def adopt_words(clip: Export, pipeline: Export | None, folder: Path, context: int) -> None:
    """Make the new `folder` read texts of at most `context` tokens, and pictures, as `clip` does.

    It has a tokenizer wherever a pipeline of diffusers looks for one: that of `pipeline`, whose readers may fill texts
    differently, or else that of `clip`. Raises RecipeError where `clip` reads fewer tokens.
    """
    longest = clip.json("config.json")["text_config"]["max_position_embeddings"]
    if context > longest:
        raise RecipeError(f"prepare.context = {context} is more than the text tower reads at once, {longest} tokens.")
    folder.mkdir(parents=True)
    for name in (*WORDS, "preprocessor_config.json"):
        copyfile(clip.path / name, folder / name)
    _limit(folder, context)
    for place in PLACES:
        (folder / place).mkdir()
        for name in WORDS:
            copyfile((pipeline.path / place if pipeline else folder) / name, folder / place / name)
        _limit(folder / place, context)


def _limit(folder: Path, context: int) -> None:
    """Say in the processor in `folder` how many tokens are read of a text."""
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "model_max_length": context}, indent=2) + "\n"
    )
