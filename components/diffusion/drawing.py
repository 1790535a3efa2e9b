"""Drawing: an exported model as diffusers' own pipeline, with classifier-free guidance (Ho and Salimans 2022)."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

STEPS, GUIDANCE = 16, 4.0
"""Steps from noise to picture, and how far a prompt leads away from what is drawn without one."""


def open_pipeline(folder: Path) -> Any:
    """The StableDiffusion3Pipeline in a local folder, fp32, which says nothing while it draws.

    Its attribute `unread` is how many tokens a third reader of texts would give.
    """
    import torch
    from diffusers import StableDiffusion3Pipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    pipeline = StableDiffusion3Pipeline.from_pretrained(
        folder,
        text_encoder_3=None,
        tokenizer_3=None,
        image_encoder=None,
        feature_extractor=None,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    config = folder / "config.json"  # which diffusers writes none of
    pipeline.unread = json.loads(config.read_text()).get("unread", 0) if config.is_file() else 0
    return pipeline


def draw(
    pipeline: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    stop: Callable[[], bool] = lambda: False,
) -> list[Any]:
    """A picture (PIL, RGB) of each prompt: the same for the same seed, whatever is drawn beside it, to within rounding.

    Once `stop` says so, no further step is taken.
    """
    import torch

    def after_step(drawing: Any, step: int, time: Any, found: dict[str, Any]) -> dict[str, Any]:
        drawing._interrupt = stop()
        return found

    with torch.inference_mode():
        drawn: list[Any] = pipeline(
            prompt=list(prompts),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=pipeline.unread,
            callback_on_step_end=after_step,
        ).images
    return drawn
