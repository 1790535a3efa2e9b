"""Pictures from texts: the towers of a CLIP, an autoencoder of pictures, and a transformer that flows from noise to latents.

What is saved is the folder of a StableDiffusion3Pipeline (Esser et al. 2024), which diffusers loads with no code of ours.
That pipeline reads with two CLIPs; here both are one and the same.
"""

import json
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PretrainedConfig,
    PreTrainedModel,
)

from components.models.folder import without_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TIMESTEPS = 1000
"""The transformer is told the time in thousandths."""
TWICE = 2
"""How often the text tower stands in the pipeline."""


class TextToImageConfig(PretrainedConfig):
    """The configurations of the four networks, as their own classes take them."""

    model_type = "text-to-image"

    def __init__(
        self,
        texts: dict[str, Any] | None = None,
        pictures: dict[str, Any] | None = None,
        autoencoder: dict[str, Any] | None = None,
        transformer: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        self.texts, self.pictures = texts or {}, pictures or {}
        self.autoencoder, self.transformer = autoencoder or {}, transformer or {}
        super().__init__(**rest)

    @property
    def num_attention_heads(self) -> int:
        """Of the transformer, as a plan reads it; so are the next ones."""
        return int(self.transformer["num_attention_heads"])

    @property
    def hidden_size(self) -> int:
        """Its width."""
        return self.num_attention_heads * int(self.transformer["attention_head_dim"])

    @property
    def num_hidden_layers(self) -> int:
        """Its blocks."""
        return int(self.transformer["num_layers"])

    @property
    def num_pieces(self) -> int:
        """What it reads of a picture and its text: patches of the latents, and tokens."""
        patches = int(self.transformer["sample_size"]) // int(self.transformer["patch_size"])
        return patches**2 + int(self.texts["max_position_embeddings"])


class TextToImage(PreTrainedModel):
    """The four networks. `forward` is the transformer's velocity; the towers are taken from a CLIP and read only.

    What was taken from elsewhere may lack the tower of images, which is for measuring what is drawn.
    """

    config_class = TextToImageConfig
    base_model_prefix = ""

    def __init__(self, config: TextToImageConfig) -> None:
        from diffusers import AutoencoderKL, SD3Transformer2DModel

        super().__init__(config)
        self.text_encoder = CLIPTextModelWithProjection(CLIPTextConfig(**config.texts))
        if config.pictures:
            self.image_encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**config.pictures))
        autoencoder: Any = AutoencoderKL  # diffusers' classes are typed less than they can do
        transformer: Any = SD3Transformer2DModel
        self.vae: Any = autoencoder(**config.autoencoder)
        self.transformer: Any = transformer(**config.transformer)

    def forward(self, pixel_values: "Tensor", input_ids: "Tensor", noise: "Tensor", times: "Tensor") -> Any:
        """The velocity on the way from a picture's latents to `noise` at `times` in (0, 1), and those latents.

        pixel_values: (size, 3, height, width) in [-1, 1]; input_ids: (size, time) int64; noise: as the latents; times: (size,).
        """
        latents = self.encode(pixel_values)
        t = times.view(-1, 1, 1, 1)
        velocity = self.transformer(
            hidden_states=(1 - t) * latents + t * noise,
            timestep=times * TIMESTEPS,
            return_dict=False,
            **self.conditions(input_ids),
        )[0]
        return velocity, latents

    @torch.no_grad()
    def encode(self, pixel_values: "Tensor") -> "Tensor":
        """The latents of pictures, (size, channels, height / factor, width / factor)."""
        found: Tensor = self.vae.encode(pixel_values).latent_dist.mode()
        return found

    @torch.no_grad()
    def conditions(self, input_ids: "Tensor") -> dict[str, "Tensor"]:
        """What the transformer is told of texts, as the pipeline tells it: all tokens of the context, padding included."""
        text = self.text_encoder.config
        ids = pad(input_ids, (0, text.max_position_embeddings - input_ids.shape[1]), value=text.pad_token_id)
        found = self.text_encoder(ids, output_hidden_states=True)
        tokens = torch.cat([found.hidden_states[-2]] * TWICE, dim=-1)
        width = self.transformer.config.joint_attention_dim
        return {
            "encoder_hidden_states": pad(tokens, (0, width - tokens.shape[-1])),
            "pooled_projections": torch.cat([found.text_embeds] * TWICE, dim=-1),
        }

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture's latents."""
        size = self.config.transformer["sample_size"]
        return int(self.config.transformer["in_channels"]), size, size

    def save_pretrained(self, save_directory: Any, **_: Any) -> None:  # type: ignore[override]
        """Write the folder of a pipeline, beside config.json, by which an export tells its family, and image_encoder."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        folder = Path(save_directory)
        self.config.architectures = [type(self).__name__]
        self.config.save_pretrained(folder)
        for name, network in self._networks():
            network.save_pretrained(folder / name)
            without_version(folder / name / "config.json")
        copytree(folder / "text_encoder", folder / "text_encoder_2", dirs_exist_ok=True)
        scheduler: Any = FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMESTEPS)
        scheduler.save_pretrained(folder / "scheduler")
        without_version(folder / "scheduler" / "scheduler_config.json")
        (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")

    def _networks(self) -> "Iterator[tuple[str, Any]]":
        """Those that it has, by the names of their folders."""
        names = ("text_encoder", "image_encoder", "vae", "transformer")
        return ((name, getattr(self, name)) for name in names if hasattr(self, name))

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder: Any, *, config: TextToImageConfig | None = None, output_loading_info: bool = False, **_: Any
    ) -> Any:
        """The model in a local folder that `save_pretrained` wrote, fp32; with what is missing in it, where that is asked.

        Of a pipeline that diffusers wrote, `config` says what its networks are.
        """
        from diffusers import AutoencoderKL, SD3Transformer2DModel

        place = Path(folder)
        model = cls(config or TextToImageConfig.from_pretrained(place, local_files_only=True))
        local: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
        kinds: dict[str, Any] = {
            "text_encoder": CLIPTextModelWithProjection,
            "image_encoder": CLIPVisionModelWithProjection,
            "vae": AutoencoderKL,
            "transformer": SD3Transformer2DModel,
        }
        odd: dict[str, list[str]] = {"missing_keys": [], "unexpected_keys": []}
        for name, _network in model._networks():
            part, found = kinds[name].from_pretrained(
                place / name, dtype=torch.float32, output_loading_info=True, low_cpu_mem_usage=False, **local
            )
            setattr(model, name, part)
            for what, keys in odd.items():
                keys += [f"{name}.{key}" for key in found[what]]
        return (model, odd) if output_loading_info else model


INDEX = {
    "_class_name": "StableDiffusion3Pipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_3": [None, None],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "tokenizer_2": ["transformers", "PreTrainedTokenizerFast"],
    "tokenizer_3": [None, None],
    "image_encoder": [None, None],
    "feature_extractor": [None, None],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""What diffusers reads of a pipeline first."""
