"""A pipeline and a CLIP that others made are adapted, evaluated and served like our own."""

import base64
import io
from pathlib import Path

import openai
import pytest
from drawings import draw
from homes import Site, new_site
from PIL import Image
from pipelines import published_pipeline, random_clip

RECIPE = """
name = "drawer"
family = "sd3"
size = "debug"
approval = "auto"

[[sources]]
name = "clip"
path = "{clip}"
licence = "MIT"
origin = "made for this test"
role = "part"

[[sources]]
name = "pipeline"
path = "{pipeline}"
licence = "CC0-1.0"
origin = "made for this test"
role = "part"

[[sources]]
name = "filled"
path = "{drawn}"
licence = "CC0-1.0"
origin = "drawn for this test"
role = "images"

[[sources]]
name = "outlined"
path = "{outlined}"
licence = "CC0-1.0"
origin = "drawn for this test"
role = "images"

[images]
size = 32
held_out = 0.3

[[images.sets]]
source = "filled"
style = "filled"
caption = "a {{label}}"

[[images.sets]]
source = "outlined"
style = "outlined"
caption = "a {{label}}"

[prepare]
context = 24

[[train]]
name = "flow"
objective = "rectified_flow"
init = "parts"
freeze = ["text_encoder", "image_encoder", "vae"]
epochs = 2
batch_size = 4
learning_rate = 1e-3
num_workers = 2

[evaluate]
prompts = ["a red square"]

[[gate.rules]]
metric = "frechet_times"
min = 0

[rollout]
prompt = "a red square"
"""


@pytest.mark.slow
def test_it_goes_the_whole_way(tmp_path):
    site: Site = new_site("pipelines")
    try:
        clip = random_clip(tmp_path / "theirs", tmp_path)
        places = {
            "clip": clip,
            "pipeline": published_pipeline(clip, tmp_path / "mine"),
            "drawn": draw(tmp_path / "drawn", "filled"),
            "outlined": draw(tmp_path / "outlined", "outlined"),
        }
        (tmp_path / "drawer.toml").write_text(RECIPE.format(**places))
        done = site.json("run", str(tmp_path / "drawer.toml"))
        assert done["status"] == "completed"
        assert done["model"]["version"] == "1"
        key = Path(site.json("status")["api_key_file"]).read_text().strip()
        client = openai.OpenAI(base_url=done["endpoint"], api_key=key)
        drawn = client.images.generate(model="drawer", prompt="a red square", extra_body={"seed": 1})
        assert Image.open(io.BytesIO(base64.b64decode(drawn.data[0].b64_json))).size == (32, 32)
        why = site.hw("why", "drawer/1").stdout
        assert "made for this test" in why
    finally:
        site.close()
