"""A pipeline as the published ones are: two different CLIPs and a T5, latents with a scale, steps that are shifted."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from pipelines import published_pipeline, told

from components.artifacts import Export, Samples, SourceFiles
from components.bases.join import JoinConfig, join
from components.bases.take import TakeConfig, take
from components.diffusion.drawing import draw, open_pipeline
from components.diffusion.model import TextToImage
from components.preparation.captions import prepare_captions
from components.recipe import PrepareConfig, TrainPhase
from components.training.config import TrainConfig
from components.training.loader import Loader
from components.training.train import train

QUIET = {"report": lambda row: None}
UNREAD = 256


@pytest.fixture(scope="module")
def published(made, tmp_path_factory):
    """Its first CLIP is the text tower of ours."""
    return published_pipeline(made[3], tmp_path_factory.mktemp("published") / "pipeline")


@pytest.fixture(scope="module")
def taken(published, tmp_path_factory):
    place = tmp_path_factory.mktemp("taken")
    out = place / "out"
    out.mkdir()
    facts = take(TakeConfig(), SourceFiles("p", published, "CC0-1.0", "made here", ""), out=out, scratch=place, **QUIET)
    return facts, out


@pytest.fixture(scope="module")
def joined(made, taken, tmp_path_factory):
    """What a recipe with the parts `clip` and `pipeline` starts from: its samples and its model."""
    place = tmp_path_factory.mktemp("joined")
    folders = [place / name for name in ("samples", "model")]
    for folder in folders:
        folder.mkdir()
    parts = (Export(made[3]), Export(taken[1]))
    config = PrepareConfig(vocab_size=320, context=24, processor="captions")
    prepare_captions(config, made[4], *parts, out=folders[0], scratch=place, **QUIET)
    samples = Samples(folders[0])
    settings = JoinConfig(family="sd3", size="debug", parts=("clip", "pipeline"))
    join(settings, samples, *parts, out=folders[1], scratch=place, **QUIET)
    return samples, folders[1]


def plain(folder):
    found = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    found.set_progress_bar_config(disable=True)
    return found


def test_it_is_taken_without_the_third_reader_and_draws_what_diffusers_draws_without_it(published, taken):
    facts, out = taken
    assert facts["left_behind"] == ["text_encoder_3"]
    assert not list(out.glob("*_3"))
    how = {"num_inference_steps": 3, "guidance_scale": 4.0, "max_sequence_length": UNREAD}
    theirs = plain(published)("a red square", generator=torch.Generator().manual_seed(3), **how).images[0]
    ours = draw(open_pipeline(out), ["a red square"], [3], steps=3)[0]
    assert ours.tobytes() == theirs.tobytes()


def test_each_reader_is_told_in_training_what_the_pipeline_tells_it(joined):
    samples, folder = joined
    pipeline = open_pipeline(folder)
    assert pipeline.tokenizer.pad_token_id != pipeline.tokenizer_2.pad_token_id
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in told(samples, folder, UNREAD))


def test_latents_have_the_scale_that_the_transformer_learnt(joined):
    samples, folder = joined
    model = TextToImage.from_pretrained(folder)
    pixels = Loader(samples, batch_size=2, seed=0).batch(0).tensors["pixel_values"].float()
    with torch.no_grad():
        plain = model.vae.encode(pixels).latent_dist.mode()
        assert torch.allclose(model.encode(pixels), (plain - 0.0609) * 1.5305, atol=1e-6)
        assert torch.allclose(model.decode(model.encode(pixels)), model.vae.decode(plain).sample, atol=1e-5)


def test_it_goes_on_learning_in_its_own_shapes_and_draws(joined, tmp_path):
    samples, folder = joined
    (tmp_path / "out").mkdir()
    phase = TrainPhase(
        name="flow", objective="rectified_flow", init="parts", freeze=("text_encoder", "image_encoder", "vae"),
        epochs=1, batch_size=8, learning_rate=1e-3, num_workers=0,
    )  # fmt: skip
    places = {"out": tmp_path / "out", "scratch": tmp_path}
    train(TrainConfig(family="sd3", size="debug", phase=phase), samples, Export(folder), **places, **QUIET)
    before, after = (TextToImage.from_pretrained(place) for place in (folder, tmp_path / "out"))
    for name in ("text_encoder", "text_encoder_2", "vae"):
        kept = getattr(before, name).state_dict()
        assert all(torch.equal(weight, kept[key]) for key, weight in getattr(after, name).state_dict().items()), name
    moved = before.transformer.state_dict()
    assert not torch.equal(after.transformer.proj_out.weight, moved["proj_out.weight"])
    assert torch.equal(after.transformer.pos_embed.pos_embed, moved["pos_embed.pos_embed"])
    drawing = open_pipeline(tmp_path / "out")
    assert drawing.scheduler.config.shift == 3.0
    picture = draw(drawing, ["a red square"], [3], steps=2)[0]
    theirs = plain(tmp_path / "out")(
        "a red square", generator=torch.Generator().manual_seed(3), num_inference_steps=2, guidance_scale=4.0,
        max_sequence_length=UNREAD,
    ).images[0]  # fmt: skip
    assert picture.size == (32, 32)
    assert np.abs(np.asarray(picture, dtype=int) - np.asarray(theirs, dtype=int)).max() <= 1
