"""The engine against a plain forward pass of the same model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import StoreError
from components.serving.api_errors import ApiError
from components.serving.engine import Engine
from components.serving.schema import ChatRequest, CompletionRequest
from components.serving.text import Detokenizer, StopScanner


@pytest.fixture(scope="module")
def engine(export: tuple[Path, str]) -> Engine:
    return Engine(*export, threads=1)


def events(engine: Engine, **asked: Any) -> list[dict[str, Any]]:
    shape = ChatRequest if "messages" in asked else CompletionRequest
    return list(engine.answers(shape.model_validate({"model": "demo"} | asked).job(engine.digest), lambda: False))


def text(rows: list[dict[str, Any]], index: int = 0) -> str:
    return "".join(row["text"] for row in rows if row["type"] == "piece" and row["index"] == index)


def greedy_by_hand(engine: Engine, prompt: str, count: int) -> list[int]:
    """The reference: `generate` of transformers."""
    inputs = engine.loaded.tokenizer(prompt, return_tensors="pt")
    out = engine.loaded.model.generate(**inputs, max_new_tokens=count, do_sample=False)
    return out[0, inputs["input_ids"].shape[1] :].tolist()


def test_greedy_equals_generate_of_transformers(engine: Engine) -> None:
    expected = engine.loaded.tokenizer.decode(greedy_by_hand(engine, "It was", 60), skip_special_tokens=True)
    assert text(events(engine, prompt="It was", max_tokens=60, temperature=0)) == expected


def test_scores_equal_a_plain_forward(engine: Engine) -> None:
    import torch

    rows = events(engine, prompt="It was a truth", max_tokens=5, temperature=0, logprobs=3, echo=True)
    tokens = [token for row in rows if row["type"] == "piece" for token in row["tokens"]]
    ids = engine.loaded.tokenizer("It was a truth")["input_ids"] + greedy_by_hand(engine, "It was a truth", 5)
    with torch.no_grad():
        plain = engine.loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(plain[place, ids[place + 1]]) for place in range(len(ids) - 1)]
    assert tokens[0]["logprob"] is None
    assert [token["logprob"] for token in tokens[1:]] == pytest.approx(expected, abs=1e-5)
    top = [value for _, value in tokens[-1]["top"]]
    assert top == pytest.approx(plain[-2].topk(3).values.tolist(), abs=1e-5)


def test_a_seed_repeats_and_each_choice_has_its_own(engine: Engine) -> None:
    ask = {"prompt": "It was", "max_tokens": 30, "seed": 7, "n": 3}
    first, second = events(engine, **ask), events(engine, **ask)
    texts = [text(first, index) for index in range(3)]
    assert texts == [text(second, index) for index in range(3)]
    assert len(set(texts)) == 3
    assert text(events(engine, **ask | {"seed": 8})) != texts[0]


def test_a_narrow_nucleus_is_greedy(engine: Engine) -> None:
    greedy = text(events(engine, prompt="It was", max_tokens=20, temperature=0))
    assert text(events(engine, prompt="It was", max_tokens=20, temperature=2, top_p=0)) == greedy
    assert text(events(engine, prompt="It was", max_tokens=20, temperature=1e-300)) == greedy


@pytest.mark.parametrize("width", [1, 3, 6])
def test_stop_strings_cut_the_text_before_them(engine: Engine, width: int) -> None:
    """`width` characters from the middle of the text span token borders; nothing of them may be seen."""
    whole = text(events(engine, prompt="It was", max_tokens=60, temperature=0))
    stop = whole[len(whole) // 2 :][:width]
    rows = events(engine, prompt="It was", max_tokens=60, temperature=0, stop=[stop, "never"], logprobs=0)
    assert text(rows) == whole[: whole.index(stop)]
    assert [row["finish"] for row in rows if row["type"] == "piece"][-1] == "stop"
    assert all(token["offset"] < len(text(rows)) for row in rows if row["type"] == "piece" for token in row["tokens"])


def test_a_stop_string_that_stays_unfinished_is_given_out() -> None:
    scanner = StopScanner(["abc", "bd"])
    assert [scanner.add(part) for part in ("xa", "b", "b")] == [("x", False), ("", False), ("ab", False)]
    assert scanner.finish() == "b"
    assert StopScanner(["abc"]).add("zabcabc") == ("z", True)


def test_pieces_hold_whole_characters(engine: Engine) -> None:
    tokenizer = engine.loaded.tokenizer
    detokenizer = Detokenizer(lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    said = "naïve 日本 🦆"
    tokens = tokenizer(said)["input_ids"]
    pieces = [detokenizer.add(token) for token in tokens]
    assert "" in pieces, "some character spans several tokens"
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) + detokenizer.finish() == said


def test_the_context_is_a_bound_with_numbers(engine: Engine) -> None:
    full = [5] * engine.loaded.context
    rows = events(engine, prompt=full, max_tokens=50, temperature=0, logprobs=1, echo=True)
    tokens = [token for row in rows if row["type"] == "piece" for token in row["tokens"]]
    assert len(tokens) == len(full) + 1, "a full context still predicts one token, which lm-eval asks for"
    with pytest.raises(ApiError, match=r"129 tokens.*128") as refused:
        events(engine, prompt=[*full, 5])
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")


def test_an_empty_prompt_starts_a_document(engine: Engine) -> None:
    end = engine.loaded.tokenizer.eos_token_id
    assert text(events(engine, prompt="", temperature=0)) == text(events(engine, prompt=[end], temperature=0))


def test_cancelling_stops_at_the_next_token(engine: Engine) -> None:
    job = CompletionRequest(model="demo", prompt="It was", max_tokens=100, temperature=0).job(engine.digest)
    seen: list[dict[str, Any]] = []
    for event in engine.answers(job, lambda: len(seen) > 3):
        seen.append(event)
    assert len(seen) < 8


def test_chat_uses_the_template_of_the_artifact(
    engine: Engine, make_export: Callable[..., str], tmp_path: Path
) -> None:
    chat = events(
        engine, messages=[{"role": "user", "content": [{"type": "text", "text": "Hé"}]}], max_tokens=9, temperature=0
    )
    plain = events(engine, prompt="<|user|>Hé<|end|><|assistant|>", max_tokens=9, temperature=0)
    assert text(chat) == text(plain)
    bare = Engine(tmp_path / "bare", make_export(tmp_path / "bare", template=None), threads=1)
    with pytest.raises(ApiError, match="no chat template"):
        events(bare, messages=[{"role": "user", "content": "Hi"}])


def test_a_template_cannot_reach_out(make_export: Callable[..., str], tmp_path: Path) -> None:
    evil = "{{ cycler.__init__.__globals__.os.system('touch " + str(tmp_path / "escaped") + "') }}"
    engine = Engine(tmp_path / "evil", make_export(tmp_path / "evil", template=evil), threads=1)
    with pytest.raises(ApiError, match="template refuses"):
        events(engine, messages=[{"role": "user", "content": "Hi"}])
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pytorch_model.bin", b"\x80", "code or pickle"),
        ("modeling.py", b"print()", "code or pickle"),
        ("extra.json", b'{"a": {"auto_map": {}}}', "auto_map"),
    ],
)
def test_code_and_pickle_are_refused(
    make_export: Callable[..., str], tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    from components.digests import digest, folder_content

    folder = tmp_path / "model"
    make_export(folder)
    (folder / name).write_bytes(content)
    with pytest.raises(StoreError, match=message):
        Engine(folder, digest(folder_content(folder, "export")), threads=1)


def test_a_flipped_byte_is_refused(make_export: Callable[..., str], tmp_path: Path) -> None:
    expected = make_export(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(StoreError, match=f"expected {expected[:8]}"):
        Engine(tmp_path / "model", expected, threads=1)
