"""Pictures from texts: the towers of a CLIP, an autoencoder of pictures, and a transformer that flows from noise to latents.

What is saved is the folder of a StableDiffusion3Pipeline (Esser et al. 2024), which diffusers loads with no code of ours.
That pipeline reads with two CLIPs; in a model that began here both are one and the same.
"""

import json
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

from components.diffusion.config import INDEX, TextToImageConfig
from components.diffusion.texts import conditions
from components.models.folder import without_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TIMESTEPS = 1000
"""The transformer is told the time in thousandths."""
SECOND = "text_encoder_2"


class TextToImage(PreTrainedModel):
    """The networks. `forward` is the transformer's velocity; the towers are taken from a CLIP and read only.

    What was taken from elsewhere may lack the tower of images, which is for measuring what is drawn.
    """

    config_class = TextToImageConfig
    base_model_prefix = ""

    def __init__(self, config: TextToImageConfig) -> None:
        from diffusers import AutoencoderKL, SD3Transformer2DModel

        super().__init__(config)
        self.text_encoder = CLIPTextModelWithProjection(CLIPTextConfig(**config.texts))
        if config.texts_2:
            self.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(**config.texts_2))
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
        """The latents of pictures, (size, channels, height / factor, width / factor), at the scale that flows."""
        settings = self.vae.config
        found: Tensor = self.vae.encode(pixel_values).latent_dist.mode()
        return (found - settings.shift_factor) * settings.scaling_factor

    def decode(self, latents: "Tensor") -> "Tensor":
        """The pictures of latents that `encode` made."""
        settings = self.vae.config
        found: Tensor = self.vae.decode(latents / settings.scaling_factor + settings.shift_factor).sample
        return found

    def conditions(self, input_ids: "Tensor") -> dict[str, "Tensor"]:
        """What the transformer is told of texts: see components.diffusion.texts."""
        readers = (self.text_encoder, getattr(self, SECOND, self.text_encoder))
        return conditions(readers, input_ids, self.transformer.config.joint_attention_dim, self.config.unread)

    def take_over(self, pipeline: "TextToImage") -> None:
        """Go on from `pipeline` with everything but the CLIP, in its shapes, to draw pictures of the size that is here."""
        image_size = int(self.config.autoencoder["sample_size"])
        for name in (SECOND, "vae", "transformer"):
            if hasattr(self, name):
                delattr(self, name)
            if hasattr(pipeline, name):
                setattr(self, name, getattr(pipeline, name))
        for field in ("texts_2", "autoencoder", "transformer", "scheduler", "unread"):
            setattr(self.config, field, getattr(pipeline.config, field))
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        sizes = {"autoencoder": (self.vae, image_size), "transformer": (self.transformer, image_size // factor)}
        for field, (network, size) in sizes.items():
            network.register_to_config(sample_size=size)
            setattr(self.config, field, {**getattr(self.config, field), "sample_size": size})

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
        if not hasattr(self, SECOND):
            copytree(folder / "text_encoder", folder / SECOND, dirs_exist_ok=True)
        spaced: Any = FlowMatchEulerDiscreteScheduler
        scheduler = spaced(**{"num_train_timesteps": TIMESTEPS, **self.config.scheduler})
        scheduler.save_pretrained(folder / "scheduler")
        without_version(folder / "scheduler" / "scheduler_config.json")
        (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")

    def _networks(self) -> "Iterator[tuple[str, Any]]":
        """Those that it has, by the names of their folders."""
        names = ("text_encoder", SECOND, "image_encoder", "vae", "transformer")
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
            SECOND: CLIPTextModelWithProjection,
            "image_encoder": CLIPVisionModelWithProjection,
            "vae": AutoencoderKL,
            "transformer": SD3Transformer2DModel,
        }
        odd: dict[str, list[str]] = {"missing_keys": [], "unexpected_keys": []}
        local |= {"dtype": torch.float32, "output_loading_info": True, "low_cpu_mem_usage": False}
        for name, network in model._networks():
            own = {"config": network.config} if isinstance(network, PreTrainedModel) else {}
            part, found = kinds[name].from_pretrained(place / name, **own, **local)
            setattr(model, name, part)
            for what, keys in odd.items():
                keys += [f"{name}.{key}" for key in found[what]]
        return (model, odd) if output_loading_info else model
