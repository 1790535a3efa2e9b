"""What is known of a recipe's sources before they are read, for its plan."""

from pathlib import Path
from typing import Any

from components.artifacts import SourceFiles
from components.errors import HeadwaterError
from components.models.folder import model_folder
from components.planning.budget import MARKS, Data
from components.recipe import Recipe


def source_data(recipe: Recipe, paths: dict[str, Path], corpus: dict[str, Any] | None = None) -> Data:
    """What there is to know of a recipe's sources at `paths`; `corpus` is samples.json where the corpus is prepared."""
    from components.sources import source_files

    sizes = {name: sum(file.stat().st_size for file in source_files(path)) for name, path in paths.items()}
    lines = {
        source.name: tuple(
            len(line)
            for file in source_files(paths[source.name])
            for line in file.read_bytes().splitlines()
            if line.strip()
        )
        for source in recipe.with_role("instructions", "preferences")
    }
    pictures = _pictures(recipe, paths)
    base = paths[recipe.base.name] if recipe.base else None
    marks = _chat_marks(base) if base and lines else MARKS
    if corpus is None:
        files = {name: len(source_files(path)) for name, path in paths.items()}
        return Data(sizes, lines, num_images=pictures, source_files=files, base=base, chat_marks=marks)
    each = corpus["num_bytes"] / corpus["num_tokens"] if corpus.get("num_bytes") else None
    documents = corpus["num_documents"]
    return Data(
        sizes, lines, corpus["num_tokens"], each, corpus["vocab_size"], pictures, documents, base=base, chat_marks=marks
    )


def _pictures(recipe: Recipe, paths: dict[str, Path]) -> int | None:
    """How many images of a recipe have a label; None where it learns from documents."""
    from components.curation.images import labelled_files

    if recipe.images is None:
        return None
    sources = {
        s.name: SourceFiles(s.name, paths[s.name], s.licence, s.origin, "") for s in recipe.sources if s.name in paths
    }
    return sum(label is not None for _, _, label in labelled_files(recipe.images, sources))


def _chat_marks(base: Path) -> int:
    """Tokens of a chat with `base` in which nothing is said: those of its turns, and of what its template says by itself."""
    from transformers import AutoTokenizer

    try:
        found = model_folder(base)
        if found.gguf:  # its tokenizer takes half a minute to be read; a run plans with what was taken of it
            return MARKS
        tokenizer = AutoTokenizer.from_pretrained(**found.where)
    except (HeadwaterError, OSError, ValueError):  # whoever takes the model says what is wrong with it
        return MARKS
    if not tokenizer.chat_template:
        return MARKS
    silence = [{"role": role, "content": ""} for role in ("user", "assistant")]
    return len(tokenizer.encode(tokenizer.apply_chat_template(silence, tokenize=False), add_special_tokens=False))
