"""What is saved is a pipeline of diffusers, which is told of a text what the model was told in training."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from pipelines import told
from safetensors.torch import load_file, save_file

from components.artifacts import Corpus, Export
from components.bases.join import JoinConfig, join
from components.diffusion.drawing import draw, open_pipeline
from components.diffusion.model import TextToImage
from components.errors import EmptyResult, RecipeError, SourceError, TrainingError
from components.evaluation.evaluate import evaluate
from components.models import family_of
from components.preparation.captions import prepare_captions
from components.recipe import EvaluateConfig, PrepareConfig
from components.training.model import exported_weights

QUIET = {"report": lambda row: None}


@pytest.fixture(scope="module")
def pipeline(made):
    return open_pipeline(made[2])


def test_it_is_joined_to_the_clip(made):
    clip, _, joined, _, _ = made
    assert family_of(joined).name == "sd3"
    model = TextToImage.from_pretrained(joined)
    ours, theirs = model.text_encoder.state_dict(), clip.text_model.state_dict()
    assert all(torch.equal(ours[f"text_model.{n}"], w) for n, w in theirs.items() if "position_embedding" not in n)
    places = [name for name in theirs if name.endswith("position_embedding.weight")]
    assert all(torch.equal(ours[f"text_model.{n}"], theirs[n][:16]) for n in places), "the first of those it could read"
    assert torch.equal(model.image_encoder.visual_projection.weight, clip.visual_projection.weight)


def test_the_pipeline_is_told_what_training_tells(made):
    _, samples, joined, _, _ = made
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in told(samples, joined, 0))


def test_every_tenth_picture_is_learnt_without_words(made):
    _, samples, _, _, _ = made
    offsets = np.load(samples.path / "offsets.npy")
    described = samples.json("samples.json")
    assert (np.diff(offsets) == 2).sum() == -(-described["num_documents"] // 11), "start and end alone"
    pixels = np.load(samples.path / "pixel_values.npy")
    assert (pixels.min(), pixels.max()) == (-1, 1)


def test_a_seed_gives_the_same_picture_and_plain_diffusers_draws_it(made, pipeline):
    first, second = draw(pipeline, ["a red square", "a blue bar"], [3, 4], steps=4)
    (again,) = draw(pipeline, ["a red square"], [3], steps=4)
    assert first.size == (32, 32)
    assert np.abs(np.asarray(first, dtype=int) - np.asarray(again, dtype=int)).max() <= 1
    assert np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max() > 8
    plain = StableDiffusion3Pipeline.from_pretrained(made[2], text_encoder_3=None, tokenizer_3=None)
    theirs = plain(
        "a red square",
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=4,
        guidance_scale=4.0,
        max_sequence_length=0,
    ).images[0]
    assert np.abs(np.asarray(again, dtype=int) - np.asarray(theirs, dtype=int)).max() <= 1


def test_it_stops_when_it_is_told(pipeline):
    asked = []
    draw(pipeline, ["a red square"], [0], steps=8, stop=lambda: len(asked.append(0) or asked) > 1)
    assert len(asked) == 2


def test_what_does_not_fit_the_clip_is_refused(made, tmp_path):
    _, samples, _, clip, corpus = made
    longer = PrepareConfig(vocab_size=320, context=25, processor="captions")
    with pytest.raises(RecipeError, match=r"prepare.context = 25 is more than the text tower reads at once, 24"):
        prepare_captions(longer, corpus, Export(clip), out=tmp_path, scratch=tmp_path, **QUIET)
    with pytest.raises(SourceError, match="The part 'clip' does not fit"):
        join(
            JoinConfig(family="sd3", size="tiny", parts=("clip",)),
            samples,
            Export(clip),
            out=tmp_path,
            scratch=tmp_path,
            **QUIET,
        )


def test_captions_that_are_all_too_long_are_nothing_to_learn_from(made, tmp_path):
    """What is learnt without words fits always, and is no reason to go on."""
    _, _, _, clip, corpus = made
    rows = pq.read_table(corpus.documents("train")).to_pylist()
    for row in rows:
        row["text"] *= 20
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    (tmp_path / "samples").mkdir()
    config = PrepareConfig(vocab_size=320, context=16, processor="captions")
    with pytest.raises(EmptyResult, match=r"None of .* captions fits into the context of 16"):
        prepare_captions(config, Corpus(tmp_path), Export(clip), out=tmp_path / "samples", scratch=tmp_path, **QUIET)


def test_a_folder_that_lacks_a_weight_is_no_start(made, tmp_path):
    shutil.copytree(made[2], tmp_path / "torn")
    file = tmp_path / "torn" / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["proj_out.bias"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(TrainingError, match=r"of another architecture: transformer.proj_out.bias"):
        exported_weights(tmp_path / "torn", TextToImage)


def test_a_single_held_out_picture_is_too_few_to_measure_by(made, tmp_path):
    _, _, joined, _, corpus = made
    for name in ("corpus", "out"):
        (tmp_path / name).mkdir()
    rows = pq.read_table(corpus.documents("train")).to_pylist()[:1]
    for split in ("train", "held_out"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus" / f"{split}.parquet")
    with pytest.raises(EmptyResult, match="1 held-out pictures are too few to measure by, at least 2 are needed"):
        evaluate(
            EvaluateConfig(prompts=()),
            Export(joined),
            Corpus(tmp_path / "corpus"),
            out=tmp_path / "out",
            scratch=tmp_path,
            **QUIET,
        )
