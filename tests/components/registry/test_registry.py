"""The registry against a real MLflow server with a password."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from components.digests import digest, file_digest, folder_content
from components.errors import ServiceError, UnknownRef
from components.registry.card import model_card
from components.registry.curves import mirror
from components.registry.versions import alias, copies, look, register, unalias

PASSWORD = "a-password-for-tests"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server; its artifact folder. The environment names the server as it would for a user."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\nauth_cache_ttl_seconds = 60\n"
    )
    env = os.environ | {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [
        sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
        "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=folder)
    client = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
    }
    before = {key: os.environ.get(key) for key in client}
    os.environ.update(client)
    try:
        _until_up(server, port, folder / "log")
        yield folder / "artifacts"
    finally:
        server.terminate()
        server.wait(30)
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _until_up(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("export") / "model"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(
        ["It was a truth"], trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>")
    sizes = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, eos_token_id=0)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CARD = model_card(
    library="transformers",
    name="demo",
    digest="0" * 64,
    pipeline="text-generation",
    summary="A small model | of novels.",
    sources=[{"name": "emma", "licence": "public domain", "origin": "nltk"}],
    scores={"bits_per_byte": {"value": 2.345678, "stderr": 0.01}},
    gate=[{"metric": "bits_per_byte", "passed": True, "explanation": "2.35 < 3.1"}],
    intended_use="To try the path.",
    limits=["It knows two novels."],
    lineage={"corpus": "abc"},
)


def registered(export: Path, **tags: str) -> str:
    return register(
        "demo", digest(folder_content(export, "export")), export, tags=tags, card=CARD,
        scores={"bits_per_byte": 2.3}, example={"input": "It was"}, experiment="demo",
    )  # fmt: skip


def test_a_digest_is_registered_once(artifacts: Path, export: Path) -> None:
    assert registered(export, run="r1") == "1"
    assert registered(export, run="r1") == "1"
    assert registered(export, run="r2") == "1"
    (only,) = look("demo")
    assert (only.version, only.tags["run"]) == ("1", "r2")
    assert only.digest == digest(folder_content(export, "export"))
    assert len(list(artifacts.rglob("*.safetensors"))) == 1
    assert look("nobody") == []


def test_a_version_lost_between_the_copy_and_its_creation_is_made_from_that_copy(artifacts: Path, export: Path) -> None:
    from mlflow import MlflowClient

    registered(export)
    MlflowClient().delete_model_version("demo", look("demo")[-1].version)
    registered(export)
    assert len(look("demo")) == 1
    assert len(list(artifacts.rglob("*.safetensors"))) == 1


def test_an_alias_moves_once(artifacts: Path, export: Path) -> None:
    version = registered(export)
    assert alias("demo", "champion", version)
    assert not alias("demo", "champion", version)
    assert look("demo")[-1].aliases == ("champion",)
    assert alias("demo", "candidate", version)
    assert unalias("demo", "candidate")
    assert not unalias("demo", "candidate")


def test_users_load_it_both_ways(artifacts: Path, export: Path) -> None:
    import mlflow
    from transformers import AutoModelForCausalLM

    alias("demo", "champion", registered(export))
    ours = AutoModelForCausalLM.from_pretrained(export).state_dict()
    loaded = mlflow.transformers.load_model("models:/demo@champion", return_type="components")
    theirs = loaded["model"].state_dict()
    assert ours.keys() == theirs.keys()
    assert all((theirs[name] == value).all() for name, value in ours.items())
    pipeline = mlflow.transformers.load_model("models:/demo@champion")
    assert pipeline("It was", max_new_tokens=3)[0]["generated_text"].startswith("It was")
    info = mlflow.models.get_model_info("models:/demo@champion")
    assert info.signature is not None
    assert info.metadata["headwater.digest"] == digest(folder_content(export, "export"))


def test_what_draws_is_kept_with_a_few_lines_that_draw(artifacts: Path, tmp_path: Path) -> None:
    """A user with diffusers and without Headwater gets a PNG, by way of MLflow or of diffusers alone."""
    import mlflow
    import torch

    from components.models import family
    from components.models.folder import save
    from components.preparation.adopted import PLACES
    from components.preparation.processors import processor

    kind = processor("captions")
    tokenizer = kind.train(["a red square"] * 4, 300)
    for place in ("processor", *(f"processor/{name}" for name in PLACES)):
        kind.save(tokenizer, tmp_path / place, 24)
    torch.manual_seed(0)
    ends = {"eos_token_id": 1, "pad_token_id": 0}
    model = family("sd3").build("debug", vocab_size=tokenizer.get_vocab_size(), context=24, image_size=32, **ends)
    save(model, tmp_path / "processor", tmp_path / "export")
    found = digest(folder_content(tmp_path / "export", "export"))
    version = register(
        "painter", found, tmp_path / "export", tags={}, card=CARD, scores={}, example={"input": "a red square"},
        experiment="painter",
    )  # fmt: skip
    (png,) = mlflow.pyfunc.load_model(f"models:/painter/{version}").predict(["a red square"])
    assert png.startswith(b"\x89PNG")
    assert [path for path, expected in copies("painter", version, artifacts) if file_digest(path) != expected] == []


def test_a_flipped_byte_in_the_copy_is_found(artifacts: Path, export: Path) -> None:
    version = registered(export)
    files = copies("demo", version, artifacts)
    assert {"MLmodel", "model.safetensors", "model_card.md", "headwater.json"} <= {path.name for path, _ in files}
    assert [path for path, expected in files if file_digest(path) != expected] == []
    weights = next(path for path, _ in files if path.suffix == ".safetensors")
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert [path for path, expected in files if file_digest(path) != expected] == [weights]
    finally:
        weights.write_bytes(content)
    with pytest.raises(UnknownRef, match="demo/99"):
        copies("demo", "99", artifacts)


def test_curves_are_sent_once(artifacts: Path) -> None:
    from mlflow import MlflowClient

    rows = [{"step": step, "loss": 5.0 / (step + 1), "tokens": 10 * step} for step in range(700)]
    send = {"tags": {"step": "pretrain"}, "params": {"lr": 0.1}, "experiment": "curves"}
    first = mirror("pretrain", "id-1", rows[:300], **send)
    assert mirror("pretrain", "id-1", rows, **send, finished=True) == first
    assert mirror("pretrain", "id-1", rows, **send, finished=True) == first
    client = MlflowClient()
    assert [m.step for m in client.get_metric_history(first, "loss")] == list(range(700))
    run = client.get_run(first)
    assert (run.info.status, run.data.params, run.data.tags["step"]) == ("FINISHED", {"lr": "0.1"}, "pretrain")
    assert mirror("pretrain", "id-2", rows[:1], **send) != first


def test_the_card_keeps_its_tables_whole() -> None:
    assert "| bits_per_byte | 2.346 | 0.01 |" in CARD
    assert "| emma | public domain | nltk |" in CARD
    assert 'license_name: "public domain"' in CARD


def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServiceError, match="MLflow: ") as error:
        look("demo")
    assert "\n" not in str(error.value)
