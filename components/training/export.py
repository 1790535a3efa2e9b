"""The export: a standard Hugging Face folder with the same bytes for the same weights, proven to load."""

import shutil
from pathlib import Path

import torch
from torch import nn

from components.artifacts import Samples
from components.errors import TrainingError
from components.models.folder import without_version
from components.training.loader import Loader

TOLERANCE = 1e-5
"""How far the logits of the reloaded model may be from the trained one's, in fp32."""


def export(model: nn.Module, samples: Samples, out: Path) -> None:
    """Write model, generation config, tokenizer and chat template into `out`, and prove that transformers loads it.

    Raises TrainingError where the reloaded model does not give the trained one's logits.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.eval()
    model.save_pretrained(out)  # type: ignore[operator]
    for name in ("config.json", "generation_config.json"):
        without_version(out / name)
    for file in sorted(samples.processor.iterdir()):
        shutil.copyfile(file, out / file.name)
    check_parity(model, samples, out)


def check_parity(model: nn.Module, samples: Samples, out: Path) -> None:
    """Compare the logits of `model` and of the model in `out` on the first sample. Raises TrainingError."""
    from transformers import AutoModelForCausalLM

    ids = Loader(samples, batch_size=1, seed=0).batch(0).input_ids
    reloaded = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, local_files_only=True).eval()
    with torch.no_grad():
        difference = float((reloaded(input_ids=ids).logits - model(input_ids=ids).logits).abs().max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"The exported model's logits differ from the trained one's by {difference:.1e}: not exported."
        )
