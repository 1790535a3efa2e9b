"""The processor of a base: its tokenizer, chat template and generation settings, taken as they are."""

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


def adopt_processor(base: Export, folder: Path, context: int) -> int:
    """Copy the processor of `base` into the new `folder`; returns the size of its model's vocabulary.

    That may be larger than the tokenizer's, never smaller. Raises RecipeError where `base` reads fewer tokens at once
    than `context`.
    """
    config = base.json("config.json")
    longest = config.get("max_position_embeddings") or config.get("n_positions") or context
    if context > longest:
        raise RecipeError(f"prepare.context = {context} is more than the base reads at once, {longest} tokens.")
    folder.mkdir(parents=True)
    for name in KEPT:
        if (base.path / name).is_file():
            copyfile(base.path / name, folder / name)
    if not (folder / "chat_template.jinja").exists():
        (folder / "chat_template.jinja").write_text(PLAIN_TEMPLATE)
    return int(config["vocab_size"])
