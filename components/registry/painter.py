"""A model that draws, as MLflow loads it: `mlflow.pyfunc.load_model(...).predict(["a prompt"])` gives PNGs.

MLflow keeps this file beside the model and runs it there ("models from code"): so nothing is pickled, and nothing of
Headwater is needed. What it reads is the pipeline's folder, which diffusers loads by itself as well.
"""

import io
import json
from pathlib import Path
from typing import Any

import mlflow


class Painter(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined, misc]
    """A StableDiffusion3Pipeline of diffusers."""

    def load_context(self, context: Any) -> None:
        """Open the pipeline, from a local folder and safetensors."""
        from diffusers import StableDiffusion3Pipeline

        folder = Path(context.artifacts["pipeline"])
        self.unread = json.loads((folder / "config.json").read_text()).get("unread", 0)
        nothing: dict[str, Any] = dict.fromkeys(("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor"))
        self.pipeline = StableDiffusion3Pipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, **nothing
        )

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[bytes]:
        """A PNG for each prompt."""
        how = {"num_inference_steps": 16, "guidance_scale": 4.0, "max_sequence_length": self.unread}  # as when served
        drawn = self.pipeline(prompt=list(model_input), **how).images
        found = []
        for image in drawn:
            written = io.BytesIO()
            image.save(written, "PNG")
            found.append(written.getvalue())
        return found


mlflow.models.set_model(Painter())
