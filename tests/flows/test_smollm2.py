"""A real model out of a package, through the whole lifecycle."""

import json
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.fetched
def test_a_base_is_taken_adapted_compared_and_served(site):
    shorter = ["--set", "train.lora.epochs=0.1", "--set", "evaluate.held_out_documents=1", "--set", "evaluate.tasks=[]"]
    rules = "gate.rules=[{metric='bits_per_byte',base_regression=0.2}]"
    done = site.json("run", "smollm2", *shorter, "--set", rules)
    assert done["status"] == "completed"
    versions = {version["name"]: version for version in site.json("models")["versions"]}
    assert versions["smollm2"]["status"] == "base"
    model = Path(site.json("show", done["model"]["digest"])["path"])
    adapter = json.loads((model / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == versions["smollm2"]["digest"]
    assert (model / "chat_template.jinja").read_text().count("<|im_start|>")
