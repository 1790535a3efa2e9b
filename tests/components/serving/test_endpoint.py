"""The endpoint over real HTTP: what the OpenAI client sees, and what a hostile one does."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from components.serving.answering import Answering, LocalBackend
from components.serving.api_errors import ReplicaLost
from components.serving.app import build_app
from components.serving.catalogue import Catalogue, Served
from components.serving.engine import Engine
from components.serving.smoke import smoke_test

KEY = "sk-test"


class Counting(LocalBackend):
    """Counts the events that were computed, and loses as many replicas as it is told to."""

    computed = 0
    to_lose = 0

    async def stream(self, served: Served, job: dict[str, Any]) -> Any:
        if self.to_lose:
            self.to_lose -= 1
            raise ReplicaLost("told to")
        async for event in super().stream(served, job):
            self.computed += 1
            yield event


@pytest.fixture(scope="module")
def backend(export: tuple[Path, str]) -> Counting:
    folder, digest = export
    rows = [Served("demo", v, digest, "demo-1", v == "1", 1_700_000_000).row() for v in ("1", "2")]
    return Counting(Catalogue(rows), {"demo-1": Answering(Engine(folder, digest, threads=1))})


@pytest.fixture(scope="module")
def url(backend: Counting, serving: Any) -> Iterator[str]:
    with serving(backend) as address:
        yield address


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_the_smoke_test_passes(url: str) -> None:
    assert smoke_test(f"{url}/v1", KEY, "demo", "It was")["scored"] == 2


def test_the_champion_is_listed_first(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list().data] == ["demo", "demo/1", "demo/2"]
    assert client.models.retrieve("demo/2").id == "demo/2"
    answers = [
        client.completions.create(model=m, prompt="It", max_tokens=1) for m in ("demo", "demo@champion", "demo/2")
    ]
    assert [answer.model for answer in answers] == ["demo/1", "demo/1", "demo/2"]


@pytest.mark.parametrize("more", [{}, {"stop": ["a", "\ufffd"]}, {"n": 2, "temperature": 1, "seed": 3}])
def test_a_stream_is_the_whole(client: openai.OpenAI, more: dict[str, Any]) -> None:
    ask = {"model": "demo", "prompt": ["It was", "A truth"], "max_tokens": 40, "temperature": 0, "logprobs": 2} | more
    whole = client.completions.create(**ask)
    texts = [""] * len(whole.choices)
    tokens: list[list[str]] = [[] for _ in whole.choices]
    ends: dict[int, str] = {}
    for chunk in client.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            tokens[choice.index] += choice.logprobs.tokens
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert texts == [choice.text for choice in whole.choices]
    assert tokens == [choice.logprobs.tokens for choice in whole.choices]
    assert ends == {choice.index: choice.finish_reason for choice in whole.choices}
    assert chunk.usage == whole.usage


def test_chat_streams_with_logprobs_and_usage(client: openai.OpenAI) -> None:
    ask = {
        "model": "demo",
        "messages": [{"role": "user", "content": "Hé"}],
        "max_completion_tokens": 12,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**ask, logprobs=True, top_logprobs=2)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert all(len(token.top_logprobs) == 2 for token in whole.choices[0].logprobs.content)


def test_lm_eval_reads_the_scores(http: httpx.Client, backend: Counting, export: tuple[Path, str]) -> None:
    """The request that lm-eval's local-completions sends, read by its own code, gives the engine's scores."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    prompts, context_lengths = [[5, 6, 7, 8], [9, 10, 11]], [2, 1]
    body = {
        "model": "demo",
        "prompt": prompts,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    answer = http.post("/v1/completions", json=body).json()
    engine = Engine(*export, threads=1)
    read = LocalCompletionsAPI.parse_logprobs(answer, tokens=prompts, ctxlens=context_lengths)
    for (value, is_greedy), ids, start in zip(read, prompts, context_lengths, strict=True):
        scored = [row for row in engine.score(ids, 1)[start:] if row]
        assert value == pytest.approx(sum(logprob for logprob, _ in scored), abs=1e-5)
        assert is_greedy == all(logprob == top[0][1] for logprob, top in scored)


def test_keys_are_needed_under_v1_only(url: str) -> None:
    for given in (
        {},
        {"Authorization": "Bearer sk-wrong"},
        {"Authorization": KEY},
        {"Authorization": "Bearer é".encode()},
    ):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/completions"), ("GET", "/v1/nothing")):
            answer = httpx.request(method, url + path, headers=given, trust_env=False)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    assert httpx.get(f"{url}/docs", trust_env=False).status_code == 404


COMPLETION = {"model": "demo", "prompt": "It", "max_tokens": 2}
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
UNKNOWN = [{"model": "nobody"}, {"model": "\u2028" * 100}, {"model": "demo/3"}, {"model": "demo@candidate"}]
WRONG = [
    *UNKNOWN, {"model": ""}, {"model": 5}, {"model": None}, {"model": "m" * 201},
    {"prompt": None}, {"prompt": []}, {"prompt": [[]]}, {"prompt": [5, "a"]}, {"prompt": [-1]}, {"prompt": [10**30]},
    {"prompt": [99999]}, {"prompt": {"a": 1}}, {"prompt": [[1], "a"]}, {"prompt": "a" * 2000}, {"prompt": ["a"] * 300},
    {"prompt": 1.5}, {"prompt": [True]}, {"prompt": [[5] * 129]}, {"prompt": [1.5] * 100_000},
    {"max_tokens": -1}, {"max_tokens": 10**100}, {"max_tokens": "5"}, {"max_tokens": 1.5}, {"max_tokens": True},
    {"temperature": -1}, {"temperature": 3}, {"temperature": "x"}, {"temperature": 1e400},
    {"top_p": 5}, {"top_p": -0.1}, {"n": 0}, {"n": 9}, {"seed": "zzz"}, {"seed": 2**63},
    {"stop": 5}, {"stop": ["a"] * 5}, {"stop": [""]}, {"stop": ""}, {"stop": [None]},
    {"logprobs": -1}, {"logprobs": 21}, {"logprobs": "all"}, {"echo": "yes"}, {"stream": "yes"}, {"stream_options": 3},
    {"tools": [{"type": "function"}]}, {"response_format": {"type": "json_schema"}}, {"logit_bias": {"5": 1}},
    {"frequency_penalty": 1}, {"suffix": "x"}, {"best_of": 3}, {"top_k": 5}, {"chat_template": "{{ 1 }}"},
]  # fmt: skip
WRONG_CHAT = [
    {"messages": None}, {"messages": []}, {"messages": "Hi"}, {"messages": [{}]}, {"messages": [{"role": "user"}]},
    {"messages": [{"content": "Hi"}]}, {"messages": [{"role": "king", "content": "Hi"}]},
    {"messages": [{"role": "user", "content": 5}]}, {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
    {"messages": [{"role": "user", "content": "a" * 2000}]}, {"messages": [{"role": "user", "content": "Hi"}] * 1001},
    {"max_tokens": 0}, {"top_logprobs": 3}, {"logprobs": 3}, {"tools": [{}]}, {"functions": [{}]},
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_wrong_values_are_named_and_never_a_server_error(http: httpx.Client, stream: bool) -> None:
    asked = [("/v1/completions", COMPLETION | wrong, wrong) for wrong in WRONG]
    asked += [("/v1/chat/completions", CHAT | wrong, wrong) for wrong in WRONG_CHAT]
    for path, body, wrong in asked:
        answer = http.post(path, content=json.dumps({"stream": stream} | body))
        error = answer.json()["error"]
        assert answer.status_code == (404 if wrong in UNKNOWN else 400), (wrong, error)
        assert set(error) == {"message", "type", "param", "code"}
        if wrong != {"temperature": 1e400}:
            assert error["param"] == next(iter(wrong)), (wrong, error)


BODIES = [
    b"", b"null", b"[]", b"5", b'"x"', b"{", b"{}", b'{"model": "demo", "prompt": NaN}', b"\xff\xfe", b"\x00" * 100,
    b'{"model": "demo", "prompt": "\xff"}', b'{"model": "demo", "prompt": "\\ud800"}', b'{"\\ud800": 1}',
    b'{"model": "demo", "prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a":' * 50_000,
    b'{"model": "demo", "prompt": "a", "seed": ' + b"9" * 10_000 + b"}",
    b'{"model": "demo", "prompt": "a", "temperature": Infinity}', b'{"model": "\\u0000", "prompt": "a"}',
    b'{"model": "demo", "messages": [{"role": "user", "content": "\\ud83d"}]}',
]  # fmt: skip


def test_broken_bodies_are_refused_in_the_same_shape(http: httpx.Client) -> None:
    for path in ("/v1/completions", "/v1/chat/completions"):
        for body in BODIES:
            answer = http.post(path, content=body, headers={"Content-Type": "text/nonsense"})
            assert answer.status_code in (400, 404), (body[:60], answer.text)
            assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_large_body_is_refused_while_it_comes(http: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(20):
            sent += 2**19
            yield b" " * 2**19

    assert http.post("/v1/completions", content=endless()).status_code == 413
    assert http.post("/v1/completions", content=b"x" * (2**20 + 1)).status_code == 413


def test_other_paths_and_methods(http: httpx.Client) -> None:
    assert http.get("/v1/nothing").status_code == 404
    assert http.get("/v1/completions").status_code == 405
    assert http.get("/v1/models/%2e%2e/%00").status_code == 404
    assert (
        http.post("/v1/completions", json=COMPLETION, headers={"Authorization": "Bearer " + "x" * 9000}).status_code
        == 401
    )
    assert http.get("/v1/completions").json()["error"]["type"] == "invalid_request_error"


def test_odd_but_right_requests_are_answered(http: httpx.Client) -> None:
    fine = [
        {"prompt": ""}, {"prompt": [5]}, {"prompt": [[5], [6, 7]]}, {"prompt": ["a", ""]}, {"max_tokens": 0, "echo": True},
        {"max_tokens": None, "temperature": None, "stop": None, "user": "u", "metadata": {"a": "b"}, "store": True},
        {"tools": None, "response_format": {"type": "text"}, "logit_bias": {}, "presence_penalty": 0, "unknown": 1},
        {"seed": -(2**63)}, {"seed": 2**63 - 1, "n": 8}, {"temperature": 5e-324}, {"top_p": 0}, {"stop": "a"},
        {"prompt": "\u0000<|end|>\ufffd"}, {"max_tokens": 2**20, "prompt": "a"},
    ]  # fmt: skip
    for more in fine:
        answer = http.post("/v1/completions", json=COMPLETION | more)
        assert answer.status_code == 200, (more, answer.text)


def test_a_lost_replica_is_asked_again_once(http: httpx.Client, backend: Counting) -> None:
    for stream in (False, True):
        backend.to_lose = 1
        assert http.post("/v1/completions", json=COMPLETION | {"stream": stream}).status_code == 200
        backend.to_lose = 2
        answer = http.post("/v1/completions", json=COMPLETION | {"stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "replica_lost")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_computation(url: str, backend: Counting, stream: bool) -> None:
    body = COMPLETION | {"prompt": ["It was"] * 200, "max_tokens": 120, "n": 8, "stream": stream}
    content = json.dumps(body).encode()
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(content)}\r\n\r\n"
    before = backend.computed
    with closing(socket.create_connection((host, int(port)))) as connection:
        connection.sendall(head.encode() + content)
        while backend.computed < before + 5:
            time.sleep(0.01)
    last = -1
    while last != backend.computed:  # ends only because the work, which would take minutes, has been dropped
        last = backend.computed
        time.sleep(0.5)
    assert backend.computed - before < 200 * 8 * 120


def test_readiness_waits_for_a_model() -> None:
    app = build_app(LocalBackend(Catalogue([]), {}), frozenset())

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://endpoint") as client:
            return await client.get("/readyz")

    assert asyncio.run(ask()).status_code == 503
