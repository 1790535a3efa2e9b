"""How the networks of a model that draws are made, and what diffusers reads of their folder first."""

from typing import Any

from transformers import PretrainedConfig


class TextToImageConfig(PretrainedConfig):
    """The configurations of the networks, as their own classes take them.

    `texts_2` is empty where the first reader of texts is the second as well; `unread` is how many tokens of a third
    are zeros; `scheduler` says how steps are spaced when it draws.
    """

    model_type = "text-to-image"

    def __init__(
        self,
        texts: dict[str, Any] | None = None,
        texts_2: dict[str, Any] | None = None,
        pictures: dict[str, Any] | None = None,
        autoencoder: dict[str, Any] | None = None,
        transformer: dict[str, Any] | None = None,
        scheduler: dict[str, Any] | None = None,
        unread: int = 0,
        **rest: Any,
    ) -> None:
        self.texts, self.texts_2, self.pictures = texts or {}, texts_2 or {}, pictures or {}
        self.autoencoder, self.transformer = autoencoder or {}, transformer or {}
        self.scheduler, self.unread = scheduler or {}, unread
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
        return patches**2 + int(self.texts["max_position_embeddings"]) + self.unread


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
