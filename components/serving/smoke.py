"""The endpoint as its users meet it: a short conversation through the real `openai` client."""

from typing import Any

from components.errors import ServiceError
from components.passages import question_of

WHITE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
"""The smallest image."""


def smoke_test(base_url: str, api_key: str, model: str, prompt: str, engine: str = "decoder") -> dict[str, Any]:
    """Ask `model` what its `engine` is for; what it answered. Raises ServiceError if that is not as it must be.

    `base_url` ends in /v1.
    """
    import openai

    # no retries, and no proxy of the environment between here and the endpoint
    with openai.OpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=0,
        timeout=60,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    ) as client:
        try:
            _must(client.models.retrieve(model).id == model, f"{model} is listed under another name")
            return {"model": model, **ASKED[engine](client, model, prompt)}
        except openai.OpenAIError as error:
            raise ServiceError(f"The endpoint at {base_url} failed its smoke test: {error}.") from error


def _complete(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """Whole, streamed and scored; a model without a chat template is asked for completions only."""
    return {"said": _ask(client, model, prompt), "scored": _score(client, model, prompt)}


def _fill(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """Whole and streamed."""
    return {"said": _ask(client, model, prompt)}


def _embed(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """A text alone and beside another: the same vector both times, of length 1, and not the other's."""
    alone = client.embeddings.create(model=model, input=prompt).data[0].embedding
    first, other = (row.embedding for row in client.embeddings.create(model=model, input=[prompt, "Another."]).data)
    _must(abs(sum(x * x for x in alone) - 1) < 1e-3, "the vector is not of length 1")
    _must(max(abs(a - b) for a, b in zip(alone, first, strict=True)) < 1e-4, "the vector depends on other texts")
    _must(first != other, "two texts have the same vector")
    return {"width": len(alone)}


def _match(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """Texts and a white image have vectors, and the image is told between two texts."""
    found = _embed(client, model, prompt)
    asked = {"model": model, "input": WHITE, "labels": [prompt, "Another."]}
    answer = client.post("/classifications", cast_to=object, body=asked)
    scores = [row["score"] for row in answer["labels"]]
    _must(abs(sum(scores) - 1) < 1e-3, f"these are no probabilities: {scores}")
    return {**found, "labels": answer["labels"]}


def _classify(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """A text has probabilities of the model's own labels."""
    answer = client.post("/classifications", cast_to=object, body={"model": model, "input": prompt})
    scores = [row["score"] for row in answer["labels"]]
    _must(abs(sum(scores) - 1) < 1e-3, f"these are no probabilities: {scores}")
    return {"labels": answer["labels"]}


def _mark(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """A part of the passage, where it says that it stands."""
    question, passage = question_of(prompt)
    asked = {"model": model, "question": question, "passage": passage}
    answer = client.post("/answers", cast_to=object, body=asked)
    _must(answer["answer"] == passage[answer["start"] : answer["end"]] != "", f"this stands elsewhere: {answer}")
    return {"said": answer["answer"]}


def _look(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """About a white image, whole and streamed."""
    return {
        "said": _ask(
            client, model, [{"type": "image_url", "image_url": {"url": WHITE}}, {"type": "text", "text": prompt}]
        )
    }


def _draw(client: Any, model: str, prompt: str) -> dict[str, Any]:
    """The same picture for the same seed."""
    import base64
    import io

    from PIL import Image

    asked = {"model": model, "prompt": prompt, "response_format": "b64_json", "extra_body": {"seed": 0}}
    first, again = (client.images.generate(**asked).data[0].b64_json for _ in range(2))
    _must(first == again, "the same seed gave another picture")
    return {"size": Image.open(io.BytesIO(base64.b64decode(first))).size}


def _ask(client: Any, model: str, prompt: Any) -> str:
    import openai

    common = {"model": model, "max_tokens": 24, "temperature": 0}
    chat = common | {"messages": [{"role": "user", "content": prompt}]}
    try:
        whole = client.chat.completions.create(**chat).choices[0].message.content
        chunks = client.chat.completions.create(**chat, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    except openai.BadRequestError as error:
        if error.code not in ("no_chat_template", "wrong_endpoint"):
            raise
        whole = client.completions.create(**common, prompt=prompt).choices[0].text
        chunks = client.completions.create(**common, prompt=prompt, stream=True)
        streamed = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    _must(streamed == whole, f"streamed {streamed!r} is not {whole!r}")
    return whole


def _score(client: Any, model: str, prompt: str) -> int:
    """How many tokens of the prompt were scored."""
    scored = client.completions.create(model=model, prompt=prompt, max_tokens=1, temperature=0, echo=True, logprobs=1)
    choice = scored.choices[0]
    values = choice.logprobs.token_logprobs
    _must(choice.text.startswith(prompt), f"the echo {choice.text!r} does not start with the prompt")
    _must(values[0] is None and all(value <= 0 for value in values[1:]), f"these are no log-probabilities: {values}")
    return scored.usage.prompt_tokens


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ServiceError(f"The endpoint failed its smoke test: {otherwise}.")


ASKED = {
    "classifier": _classify,
    "decoder": _complete,
    "encoder": _embed,
    "images": _draw,
    "reader": _mark,
    "seq2seq": _fill,
    "towers": _match,
    "visual": _look,
}
"""How a model is tried, by the engine that holds it."""
