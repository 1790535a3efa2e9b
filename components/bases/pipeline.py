"""A pipeline that draws, as diffusers saves one, read as parts of ours: its autoencoder, its transformer and what reads its texts.

Only pipelines of Stable Diffusion 3's kind, whose two text encoders are one and the same and which have no third.
"""

from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

from components.bases.whole import check, first_line
from components.errors import SourceError
from components.models.folder import PICKLED, mentions_code, read_json

INDEX = "model_index.json"
KIND = "StableDiffusion3Pipeline"
NETWORKS = ("text_encoder", "vae", "transformer")
WORDS = ("tokenizer", "tokenizer_2")


def is_pipeline(path: Path) -> bool:
    """Whether diffusers would look for a pipeline in the folder `path`."""
    return (path / INDEX).is_file()


def check_pipeline(path: Path) -> None:
    """Refuse a folder that cannot be taken without running anything: SourceError, before a weight is read."""
    index = read_json(path / INDEX)
    if index.get("_class_name") != KIND:
        raise SourceError(f"{path} holds a {index.get('_class_name')}, and only a {KIND} can be taken.")
    if (index.get("text_encoder_3") or [None])[0]:
        raise SourceError(
            f"{path} reads texts with a third encoder, a T5: pipelines with two CLIPs alone can be taken."
        )
    for name in NETWORKS:
        folder = path / name
        if not list(folder.glob("*.safetensors")):
            pickled = [file.name for kind in PICKLED for file in folder.glob(kind)]
            why = f"only {pickled[0]}, which can run code when it is read" if pickled else "no .safetensors file"
            raise SourceError(f"{folder} has {why}: only safetensors are taken.")
    for file in sorted(path.rglob("*.json")):
        if mentions_code(read_json(file)):
            raise SourceError(f"{file} has an auto_map: this model needs code that came with it, which is never run.")
    if _digests(path / "text_encoder") != _digests(path / "text_encoder_2"):
        raise SourceError(
            f"{path} reads texts with two different CLIPs: only pipelines with one, given twice, can be taken."
        )


def take_pipeline(path: Path, out: Path) -> dict[str, Any]:
    """Fill `out` with the pipeline in `path` as an export: what is said of it. Raises SourceError."""
    from components.diffusion.model import TextToImage, TextToImageConfig

    check_pipeline(path)
    parts = {name: read_json(path / name / "config.json") for name in NETWORKS}
    described = {"texts": parts["text_encoder"], "autoencoder": parts["vae"], "transformer": parts["transformer"]}
    described = {name: {k: v for k, v in found.items() if not k.startswith("_")} for name, found in described.items()}
    try:
        model, odd = TextToImage.from_pretrained(path, config=TextToImageConfig(**described), output_loading_info=True)
    except Exception as error:  # diffusers and safetensors have many words for what is not as it should be
        raise SourceError(f"{path} cannot be loaded: {first_line(error)}") from None
    check(path, model, odd)
    model.save_pretrained(out)
    for name in WORDS:
        copytree(path / name, out / name)
    for file in sorted((path / WORDS[0]).glob("*.json")):
        copyfile(file, out / file.name)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def _digests(folder: Path) -> list[str]:
    from components.digests import file_digest

    return [file_digest(file) for file in sorted(folder.glob("*.safetensors"))]
