"""Wrong input: one line that names it, exit status 2, and nothing begun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.digests import file_digest
from components.sources import source_digest
from flows.recipes import shipped_recipes

HEADWATER = str(Path(sys.executable).parent / "headwater")


def hw(home, *arguments):
    env = {**os.environ, "HEADWATER_HOME": str(home)}
    return subprocess.run([HEADWATER, *arguments], env=env, capture_output=True, text=True, timeout=60)


def check_refused(home, *arguments, says):
    done = hw(home, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert not (home / "services.json").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"name = ", "not valid TOML"),
        (b'family = "nope"\nstepz = 3\n', "stepz: no such key"),
        (b'name = "x"\n', "sources: Field required"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_files_that_are_no_recipe(home, tmp_path, command, content, says):
    (tmp_path / "r.toml").write_bytes(content)
    check_refused(home, command, str(tmp_path / "r.toml"), says=says)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("pretrain", "expected KEY=VALUE"),
        ("no.such.key=1", "no: no such key"),
        ("curate.fliters=[]", "curate.fliters: no such key"),
        ("train.pretrian.tokens=1", "no 'pretrian' here. Known: pretrain, finetune"),
        ("train.pretrain.tokens=many", "train.pretrain.tokens"),
        ("train.pretrain.epochs=1", "exactly one of tokens and epochs"),
        (
            "train.pretrain.objective=dreaming",
            "Unknown objective 'dreaming'. Known: autoencoding, causal_lm, classification",
        ),
        ("train.finetune.objective=dpo", "no source with the role 'preferences'"),
        ("train.pretrain.objective=sft", "sft needs data = \"source:NAME\" of a source with the role 'instructions'"),
        (
            "train.finetune.init=path:/models/base",
            "train.finetune.init: known are random, parts, phase:NAME and source:NAME; a folder to start from is a source with "
            "the role base, got 'path:/models/base'.",
        ),
        ("train.pretrain.data=mine.jsonl", "train.pretrain.data: known are corpus and source:NAME"),
        ("train.pretrain.pack_chats=true", "pack_chats is for the objective sft"),
        ("family=nope", "Unknown model family 'nope'. Known: bert, classifier, clip"),
        ("size=9z", "Unknown size of llama '9z'. Known:"),
        ("curate.filters=['nope']", "Unknown filter 'nope'. Known: boilerplate"),
        ("sources.austen.path=/nowhere", "Source austen: nothing at /nowhere"),
        ("sources.austen.path=shipped:../../cli.py", "No shipped data called"),
        ("sources.austen.licence=", "sources.austen.licence"),
        ("name=../../etc", "name: String should match pattern"),
    ],
)
def test_settings_that_fit_no_recipe(home, setting, says):
    check_refused(home, "run", "demo", "--set", setting, says=says)


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("instructions", '{"prompt": "Who?"}', 'line 2: \'{"prompt": "Who?"}\': expected {"prompt": text'),
        ("agreement", '{"question": "Who?"}', "line 2"),
    ],
)
def test_a_malformed_line_is_named_before_anything_begins(home, tmp_path, source, line, says):
    good = {
        "instructions": {"prompt": "Who?", "completion": "She."},
        "agreement": {"question": "She", "choices": ["is", "are"], "answer": 0},
    }
    (tmp_path / "mine.jsonl").write_text(f"{json.dumps(good[source])}\n{line}\n")
    check_refused(home, "run", "tiny", "--set", f"sources.{source}.path={tmp_path}/mine.jsonl", says=says)


def test_a_source_without_a_licence(home, tmp_path):
    text = shipped_recipes()["tiny"].read_text().replace('licence = "CC-BY-SA-3.0"\n', "")
    (tmp_path / "r.toml").write_text(text)
    check_refused(home, "run", str(tmp_path / "r.toml"), says="sources.handbook.licence: Field required")


def test_a_base_of_pickled_weights(home, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"\x80")
    base = 'name = "old"\npath = "old"\nlicence = "MIT"\norigin = "here"\nrole = "base"\n'
    text = shipped_recipes()["tiny"].read_text().replace('size = "0.5m"\n', "")
    text = text.replace("[[sources]]", f"[[sources]]\n{base}\n[[sources]]", 1)
    text = text.replace('objective = "causal_lm"', 'init = "source:old"')
    (tmp_path / "r.toml").write_text(text)
    check_refused(home, "run", str(tmp_path / "r.toml"), says="only safetensors are taken")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_has_another_digest_than_the_recipe_says_is_refused(home, tmp_path, kind):
    text = shipped_recipes()["tiny"].read_text()
    mine = tmp_path / "mine.txt" if kind == "file" else tmp_path / "mine"
    (mine if kind == "file" else mine / "a.txt").parent.mkdir(exist_ok=True)
    (mine if kind == "file" else mine / "a.txt").write_text("It was a truth universally acknowledged.\n")
    found = file_digest(mine) if kind == "file" else source_digest(mine)
    documents = text.index("[[sources]]")
    source = f'[[sources]]\nname = "mine"\npath = "{mine}"\nlicence = "MIT"\norigin = "me"\nsha256 = "DIGEST"\n\n'
    whole = text[:documents] + source + text[documents:]
    (tmp_path / "r.toml").write_text(whole.replace("DIGEST", "0" * 64))
    check_refused(home, "run", str(tmp_path / "r.toml"), says=f"has the SHA-256 {found}, the recipe wants 0000")
    (tmp_path / "r.toml").write_text(whole.replace("DIGEST", found))
    assert hw(home, "run", str(tmp_path / "r.toml"), "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "/nowhere.toml"], "No recipe at /nowhere.toml"),
        (["run", "flows/recipes"], "is a folder"),
        (["show", "nope"], "No run, artifact or model version 'nope'"),
        (["why", "nope/1"], "No model 'nope'"),
        (["logs", "0123456789abcdef"], "No run, artifact or model version"),
        (["approve", "nope/1", "--by", "a", "--reason", "b"], "No model 'nope'"),
        (["deploy", "nope/1"], "No model 'nope'"),
        (["export", "nope", "--to", "/tmp/never-made"], "No model 'nope'"),
        (["cancel", "nope"], "No run 'nope'"),
        (["diff", "a", "b"], "No run, artifact or model version 'a'"),
        (["rollback", "demo"], "not yet"),
        (["reproduce", "demo/1"], "not yet"),
        (["deploy", "demo", "--canary", "5"], "not yet"),
        (["deploy", "demo", "--shadow"], "not yet"),
    ],
)
def test_arguments_that_name_nothing(home, arguments, says):
    check_refused(home, *arguments, says=says)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"MZ\x00\x01" * 500, "binary"), ("Käse ".encode("latin-1") * 200, "UTF-8"), (b"too short", "left")],
)
def test_sources_that_cannot_be_used_fail_the_run_and_leave_nothing(site, tiny, tmp_path, content, says):
    text = shipped_recipes()["tiny"].read_text()
    documents, after = text.index("[[sources]]"), text.index('[[sources]]\nname = "instructions"')
    source = '[[sources]]\nname = "mine"\npath = "mine.txt"\nlicence = "CC0-1.0"\norigin = "me"\n\n'
    (tmp_path / "mine.txt").write_bytes(content)
    (tmp_path / "r.toml").write_text(text[:documents].replace('"tiny"', '"broken"') + source + text[after:])
    before = site.json("verify")["checked"]
    done = site.json("run", str(tmp_path / "r.toml"), status=2)
    assert done["status"] == "failed"
    assert says in done["error"]
    assert len(done["error"].splitlines()) == 1
    assert "broken" not in [version["name"] for version in site.json("models")["versions"]]
    assert site.json("verify")["checked"] == before
