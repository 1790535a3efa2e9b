"""A CLIP, and a pipeline as the published Stable Diffusion 3 is saved: small networks of random weights."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from drawings import draw
from transformers import (
    AutoTokenizer,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from components.artifacts import Corpus, Samples, SourceFiles
from components.curation.images import curate_images
from components.diffusion.drawing import open_pipeline
from components.diffusion.model import TextToImage
from components.models import family
from components.models.folder import save
from components.preparation.pairs import prepare_pairs
from components.recipe import ImagesConfig, ImageSet, PrepareConfig
from components.training.loader import Loader


def random_clip(folder: Path, place: Path) -> Path:
    """`folder`, filled with a CLIP of random weights for the words of drawings; `place` may be written to."""
    corpus, pairs = place / "corpus", place / "pairs"
    for each in (corpus, pairs, folder):
        each.mkdir(parents=True)
    quiet = {"scratch": place, "report": lambda row: None}
    chosen = ImageSet(source="filled", style="filled", caption="a {label}")
    source = SourceFiles("filled", draw(place / "drawings", "filled"), "CC0-1.0", "drawn here", "")
    curate_images(ImagesConfig(sets=(chosen,)), source, out=corpus, **quiet)
    prepare_pairs(PrepareConfig(vocab_size=320, context=24, processor="captions"), Corpus(corpus), out=pairs, **quiet)
    samples = Samples(pairs)
    torch.manual_seed(0)
    save(
        family("clip").build("debug", **family("clip").described(samples.json("samples.json"))),
        samples.processor,
        folder,
    )
    return folder


def published_pipeline(clip: Path, folder: Path) -> Path:
    """`folder`, filled by diffusers: two CLIPs, the first of them the text tower of `clip`, and a T5; of shapes that no size has."""
    whole = CLIPModel.from_pretrained(clip)
    text = whole.config.text_config
    words, others = (AutoTokenizer.from_pretrained(clip) for _ in range(2))
    words.model_max_length = others.model_max_length = text.max_position_embeddings
    others.pad_token = others.convert_ids_to_tokens(9)
    first = CLIPTextModelWithProjection(text)
    first.text_model.load_state_dict(whole.text_model.state_dict())
    first.text_projection.load_state_dict(whole.text_projection.state_dict())
    torch.manual_seed(1)
    larger = {**text.to_dict(), "hidden_size": 48, "num_attention_heads": 3, "projection_dim": 48}
    width = text.hidden_size + 48
    read_by_a_t5 = T5Config(vocab_size=320, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=32, patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=3,
            attention_head_dim=16, caption_projection_dim=48, joint_attention_dim=width,
            pooled_projection_dim=whole.config.projection_dim + 48, pos_embed_max_size=20, qk_norm="rms_norm",
            dual_attention_layers=(0,),
        ),
        vae=AutoencoderKL(
            block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=64,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=first.eval(), tokenizer=words,
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**larger)).eval(), tokenizer_2=others,
        text_encoder_3=T5EncoderModel(read_by_a_t5).eval(), tokenizer_3=words,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def told(samples: Samples, folder: Path, unread: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What training and then the pipeline in `folder` tell the transformer of the same texts: tokens, and both pooled vectors."""
    pipeline, batch = open_pipeline(folder), Loader(samples, batch_size=4, seed=0).batch(0)
    texts = [
        pipeline.tokenizer.decode(row[:n], skip_special_tokens=True)
        for row, n in zip(batch.input_ids, batch.lengths, strict=True)
    ]
    with torch.no_grad():
        ours = TextToImage.from_pretrained(folder).conditions(batch.input_ids)
        tokens, _, pooled, _ = pipeline.encode_prompt(texts, None, None, max_sequence_length=unread)
    return [(ours["encoder_hidden_states"], tokens), (ours["pooled_projections"], pooled)]
