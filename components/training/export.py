"""The export: a standard Hugging Face folder with the same bytes for the same weights, proven to load."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.artifacts import Samples
from components.errors import TrainingError
from components.models import family_of
from components.models.folder import save
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
    save(model, samples.processor, out)
    check_parity(model, samples, out)


def check_parity(model: nn.Module, samples: Samples, out: Path) -> None:
    """Compare what `model` and the model in `out` make of the first sample. Raises TrainingError."""
    from transformers import PreTrainedModel

    assert isinstance(model, PreTrainedModel)
    outputs, batch = family_of(out).outputs, Loader(samples, batch_size=1, seed=0).batch(0)
    reloaded: Any = type(model).from_pretrained(out, dtype=torch.float32, local_files_only=True).eval()
    with torch.no_grad():
        difference = float((outputs(reloaded, batch) - outputs(model, batch)).abs().max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"The exported model's outputs differ from the trained one's by {difference:.1e}: not exported."
        )
