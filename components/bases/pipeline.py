"""A pipeline that draws, as diffusers saves one, read as networks of ours.

Of Stable Diffusion 3's kind (Esser et al. 2024). Of its three readers of texts the two CLIPs are taken. The third, a T5 of
4.7 billion parameters, is left behind: its tokens are zeros then, as the model was taught to do without it.
"""

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

from components.bases.whole import check, first_line
from components.errors import SourceError
from components.models.folder import PICKLED, mentions_code, read_json

INDEX = "model_index.json"
KIND = "StableDiffusion3Pipeline"
SCHEDULER = "FlowMatchEulerDiscreteScheduler"
NETWORKS = {"texts": "text_encoder", "texts_2": "text_encoder_2", "autoencoder": "vae", "transformer": "transformer"}
WORDS = {"texts": "tokenizer", "texts_2": "tokenizer_2"}
THIRD, UNREAD = "text_encoder_3", 256
"""The reader that is left behind, and as how many tokens the pipeline counts its text."""


def is_pipeline(path: Path) -> bool:
    """Whether diffusers would look for a pipeline in the folder `path`."""
    return (path / INDEX).is_file()


def check_pipeline(path: Path) -> None:
    """Refuse a folder that cannot be taken without running anything: SourceError, before a weight is read."""
    index = read_json(path / INDEX)
    if index.get("_class_name") != KIND:
        raise SourceError(f"{path} holds a {index.get('_class_name')}, and only a {KIND} can be taken.")
    if (spaced := _class(index, "scheduler")) != SCHEDULER:
        raise SourceError(f"{path} draws by a {spaced}, and only a {SCHEDULER} can be taken.")
    for name in NETWORKS.values():
        folder = path / name
        if not list(folder.glob("*.safetensors")):
            pickled = [file.name for kind in PICKLED for file in folder.glob(kind)]
            why = f"only {pickled[0]}, which can run code when it is read" if pickled else "no .safetensors file"
            raise SourceError(f"{folder} has {why}: only safetensors are taken.")
    for file in sorted(path.rglob("*.json")):
        if mentions_code(read_json(file)):
            raise SourceError(f"{file} has an auto_map: this model needs code that came with it, which is never run.")


def take_pipeline(path: Path, out: Path, read: Callable[[], None]) -> dict[str, Any]:
    """Fill `out` with the pipeline in `path` as an export: what is said of it. `read` is called in between.

    Raises SourceError.
    """
    from components.diffusion.config import TextToImageConfig
    from components.diffusion.model import TextToImage

    check_pipeline(path)
    described = {name: _settings(path / folder / "config.json") for name, folder in NETWORKS.items()}
    for name, tokens in _tokenizers(path, out).items():
        described[name] |= tokens
    if _digests(path / NETWORKS["texts"]) == _digests(path / NETWORKS["texts_2"]):
        del described["texts_2"]
    third = _class(read_json(path / INDEX), THIRD)
    spaced = _settings(path / "scheduler" / "scheduler_config.json")
    config = TextToImageConfig(**described, scheduler=spaced, unread=UNREAD if third else 0)
    try:
        model, odd = TextToImage.from_pretrained(path, config=config, output_loading_info=True)
    except Exception as error:  # diffusers and safetensors have many words for what is not as it should be
        raise SourceError(f"{path} cannot be loaded: {first_line(error)}") from None
    check(path, model, odd)
    read()
    model.save_pretrained(out)
    said = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    return {**said, "left_behind": [THIRD]} if third else said


def _tokenizers(path: Path, out: Path) -> dict[str, dict[str, int]]:
    """Which tokens end and fill a text for each reader, whose tokenizers are written into `out`. Raises SourceError."""
    from transformers import AutoTokenizer

    found = {}
    for name, folder in WORDS.items():
        try:
            tokenizer = AutoTokenizer.from_pretrained(path / folder, local_files_only=True)
        except Exception as error:  # as for networks
            raise SourceError(f"{path / folder} is no tokenizer that can be read: {first_line(error)}") from None
        if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
            raise SourceError(f"{path / folder} lacks a token that ends a text or one that fills it.")
        tokenizer.name_or_path = ""
        tokenizer.save_pretrained(out / folder)
        found[name] = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    for file in sorted((out / WORDS["texts"]).glob("*.json")):
        copyfile(file, out / file.name)
    return found


def _class(index: dict[str, Any], name: str) -> str | None:
    """The class of a part of the pipeline, as its index has it."""
    library_and_class = index.get(name) or [None, None]
    return str(library_and_class[1]) if library_and_class[1] else None


def _settings(file: Path) -> dict[str, Any]:
    return {name: value for name, value in read_json(file).items() if not name.startswith("_")}


def _digests(folder: Path) -> list[str]:
    from components.digests import file_digest

    return [file_digest(file) for file in sorted(folder.glob("*.safetensors"))]
