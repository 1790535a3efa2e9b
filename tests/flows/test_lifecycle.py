"""The tiny recipe through real engines, as a user runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

STEPS = ["curate", "prepare", "train:pretrain", "prepare:finetune", "train:finetune", "evaluate", "gate"]
BIN = Path(sys.executable).parent


def executed(summary):
    return [step["name"] for step in summary["steps"] if step["status"] == "executed"]


def would_run(site, *arguments):
    return [step["name"] for step in site.json("run", *arguments, "--dry-run")["steps"] if step["would"] != "skip"]


def flow_run_of(site, run):
    env = site.clients()
    address = f"{env['PREFECT_API_URL']}/flow_runs/{site.json('show', run)['flow_run']}"
    return httpx.get(address, auth=tuple(env["PREFECT_API_AUTH_STRING"].split(":", 1))).json()


def test_the_first_run_executes_every_step_and_ends_with_a_champion(site, tiny):
    assert tiny["status"] == "completed"
    assert executed(tiny) == STEPS
    assert [act["name"] for act in tiny["acts"] if act["changed"]] == ["register", "release", "deploy", "aliases"]
    assert tiny["scores"]["bits_per_byte"] < tiny["scores"]["byte_unigram_bits_per_byte"]
    assert tiny["decision"]["how"] == "auto"
    versions = [version for version in site.json("models")["versions"] if version["name"] == "tiny"]
    assert [(v["name"], v["digest"], v["aliases"]) for v in versions] == [
        ("tiny", tiny["model"]["digest"], ["champion"])
    ]


def test_the_same_recipe_again_executes_nothing(site, tiny):
    again = site.json("run", "tiny")
    assert executed(again) == []
    assert not any(act["changed"] for act in again["acts"])
    assert again["model"] == tiny["model"]
    assert [s["identity"] for s in again["steps"]] == [s["identity"] for s in tiny["steps"]]


def test_dry_run_says_what_a_change_forces(site, tiny):
    assert would_run(site, "tiny") == []
    assert would_run(site, "tiny", "--set", "evaluate.sample_tokens=25") == ["evaluate", "gate"]
    changed = site.json("run", "tiny", "--set", "evaluate.sample_tokens=25", "--dry-run")["steps"]
    assert "evaluate.sample_tokens is 25, was 24" in [step["because"] for step in changed]
    assert would_run(site, "tiny", "--set", "curate.held_out=0.2")[0] == "curate"


def test_only_a_change_of_bytes_counts(site, tiny, tmp_path):
    """Touching a source runs nothing, changing one document runs from curation on, and --dry-run says so."""
    recipe = Path("flows/recipes/tiny.toml").read_text()
    folder = tmp_path / "contacts"
    folder.mkdir()
    for file in Path("flows/recipes/data/tiny/contacts").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    mine = tmp_path / "mine.toml"
    mine.write_text(recipe.replace("shipped:tiny/contacts", "contacts"))
    assert would_run(site, str(mine)) == []
    document = next(folder.iterdir())
    os.utime(document, (1, 1))
    assert would_run(site, str(mine)) == []
    document.write_text(document.read_text() + "\nThe dog was found again in the evening, to the joy of all.\n")
    steps = site.json("run", str(mine), "--dry-run")["steps"]
    assert steps[0]["would"] == "run"
    assert "source:contacts" in steps[0]["because"]
    assert {step["would"] for step in steps[1:]} == {"unknown"}


def test_a_deployment_run_is_the_same_run(site, tiny):
    env = site.clients()
    wrong = ["deployment", "run", "lifecycle/tiny", "--param", 'recipe={"stepz": 1}']
    refused = subprocess.run([BIN / "prefect", *wrong], env=env, capture_output=True, text=True)
    assert refused.returncode != 0
    ran = subprocess.run(
        [BIN / "prefect", "deployment", "run", "lifecycle/tiny", "--watch"], env=env, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    newest = site.json("runs")["runs"][0]
    state = flow_run_of(site, newest["run"])["state"]
    assert state["name"] == "Completed"
    assert state["message"].startswith("no change")
    assert (newest["recipe"], newest["status"], newest["door"]) == ("tiny", "completed", "ui")


def test_a_stage_can_be_run_alone(site, tiny, tmp_path):
    """Training as a flow of its own: the same steps, so nothing is executed twice, and a run on record."""
    code = """
from flows.deployments import shipped
from flows.training import training_alone
print(training_alone(shipped()["tiny"]))
"""
    env = {**site.clients(), "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip().endswith(tiny["model"]["digest"]), done.stderr[-2000:]
    newest = site.json("runs")["runs"][0]
    assert (newest["recipe"], newest["status"]) == ("tiny", "completed")
    assert executed(site.json("show", newest["run"])) == []


def test_the_printed_line_works_when_it_is_pasted(site, tiny):
    from flows.display import curl_line

    line = curl_line(tiny["endpoint"], tiny["example"], site.json("status")["api_key_file"])
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert json.loads(answer.stdout)["choices"][0]["message"]["role"] == "assistant"


def test_the_endpoint_speaks_to_the_openai_client(site, tiny):
    import openai

    key = Path(site.json("status")["api_key_file"]).read_text().strip()
    client = openai.OpenAI(base_url=tiny["endpoint"], api_key=key)
    assert "tiny" in [model.id for model in client.models.list().data]
    ask = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Who was Emma?"}],
        "max_tokens": 12,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**ask).choices[0].message.content
    parts = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(**ask, stream=True)
        if chunk.choices
    ]
    assert whole
    assert "".join(parts) == whole


def test_the_export_loads_in_plain_libraries(site, tiny, tmp_path):
    folder = site.json("show", "tiny/1")["path"]
    code = """
import sys, mlflow
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(sys.argv[1])
loaded = mlflow.transformers.load_model("models:/tiny@champion", return_type="components")
print(all((loaded["model"].state_dict()[key] == value).all() for key, value in model.state_dict().items()))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, folder], env=site.clients(), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("True"), done.stderr[-2000:]


def test_why_leads_to_every_source_and_licence(site, tiny):
    tree = site.json("why", "tiny/1")
    found, nodes = {}, [tree]
    while nodes:
        node = nodes.pop()
        assert {"ref", "kind", "digest", "inputs"} <= set(node)
        nodes += node["inputs"]
        if node["kind"] == "source":
            found[node["ref"]] = node["licence"]
    assert set(found) == {"austen", "shakespeare", "abs-guide", "handbook", "contacts", "instructions", "agreement"}
    assert found["handbook"] == "CC-BY-SA-3.0"
    assert tree["alias"] == "champion"
    export = tree["inputs"][0]
    assert export["flow_run"]
    assert export["submission"]
    assert export["mlflow_run"]


def test_verify_finds_one_flipped_bit_anywhere(site, tiny):
    clean = site.json("verify")
    assert clean["checked"] > 30
    assert clean["bad"] == []
    suffixes = ("*.safetensors", "*.parquet", "tokenizer.json", "*.bin")
    for pattern in suffixes:
        for victim in sorted(site.home.rglob(pattern))[:3]:
            data = victim.read_bytes()
            flipped = bytearray(data)
            flipped[len(flipped) // 2] ^= 4
            victim.write_bytes(flipped)
            try:
                assert [row["path"] for row in site.json("verify", status=1)["bad"]] == [str(victim)]
            finally:
                victim.write_bytes(data)


def test_asking_commands_answer(site, tiny, tmp_path):
    assert site.json("show", tiny["run"])["status"] == "completed"
    assert site.json("show", tiny["model"]["digest"][:8])["kind"] == "export"
    to = tmp_path / "exported"
    site.json("export", "tiny", "--to", str(to))
    assert json.loads((to / "config.json").read_text())["model_type"] == "llama"
    assert site.json("diff", tiny["run"], "tiny/1")["recipe"] == {}
    logs = site.hw("logs", tiny["run"])
    assert "plan:" in logs.stdout
    assert "committed export" in logs.stdout


def test_cancelling_in_prefect_ends_the_job_and_leaves_its_checkpoint(site, tiny):
    longer = ["run", "tiny", "--set", "train.pretrain.tokens=3000000", "--set", "train.pretrain.checkpoint_seconds=1"]
    command = site.start(*longer, "--json")
    run = _run_with_a_checkpoint(site)
    cancel = [BIN / "prefect", "flow-run", "cancel", site.json("show", run)["flow_run"]]
    assert subprocess.run(cancel, env=site.clients(), capture_output=True).returncode == 0
    out, _ = command.communicate(timeout=180)
    assert json.loads(out)["status"] == "cancelled"
    assert command.returncode == 1
    deadline = time.monotonic() + 15
    while _drivers(site) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert _drivers(site) == []
    assert site.json("verify")["bad"] == []


def _run_with_a_checkpoint(site):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        newest = site.json("runs")["runs"][0]
        if newest["status"] == "running":
            for step in site.json("show", newest["run"])["steps"]:
                if step["name"] == "train:pretrain" and list(
                    (site.home / "scratch" / step["identity"]).glob("checkpoints/step-*")
                ):
                    return newest["run"]
        time.sleep(0.5)
    raise AssertionError("no checkpoint within four minutes")


def _drivers(site):
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "components.jobs.main" in line and process.environ().get("HEADWATER_HOME") == str(site.home):
            found.append(line)
    return found
