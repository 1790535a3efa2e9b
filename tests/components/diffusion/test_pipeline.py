"""Pipelines that diffusers saved: taken as they are, the start of a model here, or refused in one line."""

import json
import shutil

import pytest
import torch

from components.artifacts import Export, SourceFiles
from components.bases.join import JoinConfig, join
from components.bases.take import TakeConfig, take
from components.diffusion.drawing import draw, open_pipeline
from components.diffusion.model import TextToImage
from components.errors import SourceError
from components.models import family_of

QUIET = {"report": lambda row: None}
PARTS = ("clip", "pipeline")


@pytest.fixture(scope="module")
def saved(made, tmp_path_factory):
    """The pipeline as diffusers itself writes it: without our config.json and without the tower of images."""
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    open_pipeline(made[2]).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(saved, tmp_path / "pipeline")


def taken(folder, tmp_path):
    out = tmp_path / "taken"
    out.mkdir()
    take(TakeConfig(), SourceFiles("p", folder, "CC0-1.0", "made here", ""), out=out, scratch=tmp_path, **QUIET)
    return out


def joined(made, pipeline, clip, tmp_path):
    out = tmp_path / "joined"
    out.mkdir()
    config = JoinConfig(family="sd3", size="debug", parts=PARTS)
    join(config, made[1], Export(clip), Export(pipeline), out=out, scratch=tmp_path, **QUIET)
    return out


def test_what_is_taken_draws_the_same_and_is_where_a_model_starts_from(made, saved, tmp_path):
    out = taken(saved, tmp_path)
    assert family_of(out).name == "sd3"
    first, second = (draw(open_pipeline(place), ["a red square"], [3], steps=2)[0] for place in (saved, out))
    assert first.tobytes() == second.tobytes()
    model = TextToImage.from_pretrained(joined(made, out, made[3], tmp_path))
    theirs = TextToImage.from_pretrained(made[2])
    for name in ("vae", "transformer", "text_encoder", "image_encoder"):
        ours, expected = (getattr(each, name).state_dict() for each in (model, theirs))
        assert all(torch.equal(ours[key], expected[key]) for key in expected), name


def test_a_pipeline_that_reads_with_another_clip_does_not_fit(made, saved, tmp_path):
    other = shutil.copytree(made[3], tmp_path / "clip")
    from transformers import CLIPModel

    clip = CLIPModel.from_pretrained(other)
    with torch.no_grad():
        clip.text_projection.weight.add_(1.0)
    clip.save_pretrained(other)
    with pytest.raises(SourceError, match="reads texts with another CLIP than the part 'clip'"):
        joined(made, taken(saved, tmp_path), other, tmp_path)


def be_of_another_kind(folder):
    change(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    return "holds a StableDiffusionPipeline, and only a StableDiffusion3Pipeline can be taken"


def draw_in_another_way(folder):
    change(folder / "model_index.json", scheduler=["diffusers", "DDIMScheduler"])
    return "draws by a DDIMScheduler, and only a FlowMatchEulerDiscreteScheduler can be taken"


def lose_its_words(folder):
    shutil.rmtree(folder / "tokenizer_2")
    return "tokenizer_2 is no tokenizer that can be read"


def pickle_a_network(folder):
    next((folder / "vae").glob("*.safetensors")).unlink()
    (folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    return r"vae has only diffusion_pytorch_model.bin, which can run code"


def lose_a_network(folder):
    shutil.rmtree(folder / "transformer")
    return "transformer has no .safetensors file"


def ask_for_code(folder):
    change(folder / "text_encoder" / "config.json", auto_map={"AutoModel": "modeling.Evil"})
    return "config.json has an auto_map"


def lack_a_weight(folder):
    change(folder / "vae" / "config.json", layers_per_block=2)
    return "missing weights, vae."


def be_torn(folder):
    file = next((folder / "vae").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    return "cannot be loaded"


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    "spoil",
    [
        be_of_another_kind,
        draw_in_another_way,
        lose_its_words,
        pickle_a_network,
        lose_a_network,
        ask_for_code,
        lack_a_weight,
        be_torn,
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(folder, tmp_path, spoil):
    says = spoil(folder)
    with pytest.raises(SourceError, match=says) as refused:
        taken(folder, tmp_path)
    assert len(str(refused.value).splitlines()) == 1
