"""Requests in OpenAI's shapes: what is accepted, within which limits, and what is refused by name.

A field that is not known here and changes nothing (`user`, `metadata`, `store`...) is accepted and ignored. One that
would change the answer and is not supported is refused, because ignoring it would answer another question.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_PROMPTS = 256
MAX_IMAGES = 16
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "grammar": (),
    "guided_json": (),
    "json_schema": (),
    "logit_bias": ({},),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_k": (0, -1),
    "use_beam_search": (False,),
    "web_search_options": (),
}
"""Fields that are not supported and change the answer, with the values (beside null) that ask for nothing."""

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
Texts = Annotated[list[str], Field(fail_fast=True)]
ListsOfIds = Annotated[list[TokenIds], Field(fail_fast=True)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class Message(BaseModel):
    """One turn of a conversation; content may be text or a list of parts, texts and images."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str
    images: list[str] = Field([], max_length=MAX_IMAGES)
    """Data URIs, in their order."""

    @model_validator(mode="before")
    @classmethod
    def _joined(cls, message: Any) -> Any:
        parts = message.get("content") if isinstance(message, dict) else None
        if not isinstance(parts, list):
            return {**message, "images": []} if isinstance(message, dict) else message
        texts, images = [], []
        for part in parts:
            match part:
                case {"type": "text", "text": str(text)}:
                    texts.append(text)
                case {"type": "image_url", "image_url": {"url": str(url)}} | {
                    "type": "image_url",
                    "image_url": str(url),
                }:
                    images.append(url)
                case _:
                    raise ValueError("content holds a part that is neither text nor image_url")
        return {**message, "content": "".join(texts), "images": images}

    def plain(self) -> dict[str, Any]:
        """As a chat template reads it; `developer` is the newer name of `system`."""
        said = {"role": "system" if self.role == "developer" else self.role, "content": self.content}
        return {**said, "images": self.images} if self.images else said


class StreamOptions(BaseModel):
    """What a stream carries beside the text."""

    model_config = ConfigDict(extra="ignore", strict=True)

    include_usage: bool = False


class Generation(BaseModel):
    """What both endpoints take."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, protected_namespaces=())

    model: str = Field(min_length=1, max_length=200)
    n: int | None = Field(1, ge=1, le=8)
    temperature: float | None = Field(1.0, ge=0, le=2)
    top_p: float | None = Field(1.0, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_unsupported(cls, body: Any) -> Any:
        for field, neutral in NEUTRAL.items():
            value = body.get(field) if isinstance(body, dict) else None
            if value is not None and not _is_one_of(value, neutral):
                raise ValueError(f"{field} is not supported")
        return body

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _shared(self) -> dict[str, Any]:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop
        return {
            "n": self.n or 1,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "seed": self.seed,
            "stop": stops or [],
        }


class CompletionRequest(Generation):
    """POST /v1/completions."""

    prompt: str | Texts | TokenIds | ListsOfIds = Field(union_mode="left_to_right")
    max_tokens: int | None = Field(16, ge=0, le=2**20)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = False

    @field_validator("prompt")
    @classmethod
    def _some_prompts(cls, prompt: Any) -> Any:
        if isinstance(prompt, list) and not prompt:
            raise ValueError("there is no prompt in the list")
        if isinstance(prompt, list) and not isinstance(prompt[0], int) and len(prompt) > MAX_PROMPTS:
            raise ValueError(f"at most {MAX_PROMPTS} prompts in one request, got {len(prompt)}")
        return prompt

    def job(self, digest: str) -> dict[str, Any]:
        """What the engine is asked."""
        one = isinstance(self.prompt, str) or isinstance(self.prompt[0], int)
        return self._shared() | {
            "endpoint": "completions",
            "digest": digest,
            "prompts": [self.prompt] if one else self.prompt,
            "messages": None,
            "max_tokens": 16 if self.max_tokens is None else self.max_tokens,
            "logprobs": self.logprobs,
            "echo": bool(self.echo),
        }


class ChatRequest(Generation):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=1000, fail_fast=True)
    max_tokens: int | None = Field(None, ge=1, le=2**20)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**20)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @model_validator(mode="after")
    def _top_needs_logprobs(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self

    def job(self, digest: str) -> dict[str, Any]:
        """What the engine is asked."""
        return self._shared() | {
            "endpoint": "chat/completions",
            "digest": digest,
            "prompts": None,
            "messages": [message.plain() for message in self.messages],
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "logprobs": (self.top_logprobs or 0) if self.logprobs else None,
            "echo": False,
        }


class EmbeddingsRequest(BaseModel):
    """POST /v1/embeddings."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())

    model: str = Field(min_length=1, max_length=200)
    input: str | Texts | TokenIds | ListsOfIds = Field(union_mode="left_to_right")
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: None = None

    @field_validator("input")
    @classmethod
    def _some_texts(cls, given: Any) -> Any:
        if not given or (isinstance(given, list) and "" in given):
            raise ValueError("an empty text has no embedding")
        if isinstance(given, list) and not isinstance(given[0], int) and len(given) > MAX_PROMPTS:
            raise ValueError(f"at most {MAX_PROMPTS} texts in one request, got {len(given)}")
        return given

    def job(self, digest: str) -> dict[str, Any]:
        """What the engine is asked."""
        one = isinstance(self.input, str) or isinstance(self.input[0], int)
        return {"endpoint": "embeddings", "digest": digest, "texts": [self.input] if one else self.input}


class ClassificationsRequest(BaseModel):
    """POST /v1/classifications: which of `labels` goes with `input`, a text or an image as a data URI.

    Without `labels`, they are those that the model was trained for, where it was.
    """

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    model: str = Field(min_length=1, max_length=200)
    input: str = Field(min_length=1)
    labels: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=2, max_length=MAX_PROMPTS)] | None = (
        None
    )

    def job(self, digest: str) -> dict[str, Any]:
        """What the engine is asked."""
        return {"endpoint": "classifications", "digest": digest, "input": self.input, "labels": self.labels}


class AnswersRequest(BaseModel):
    """POST /v1/answers: which part of `passage` answers `question`."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    model: str = Field(min_length=1, max_length=200)
    question: str = Field(min_length=1)
    passage: str = Field(min_length=1)

    def job(self, digest: str) -> dict[str, Any]:
        """What the engine is asked."""
        return {"endpoint": "answers", "digest": digest, "question": self.question, "passage": self.passage}


class ImagesRequest(BaseModel):
    """POST /v1/images/generations. Beside OpenAI's fields there is `seed`, by which the same pictures are drawn again."""

    model_config = ConfigDict(extra="ignore", strict=True, protected_namespaces=())

    model: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1)
    n: int | None = Field(1, ge=1, le=8)
    size: str | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    response_format: Literal["b64_json"] | None = "b64_json"
    output_format: Literal["png"] | None = "png"
    stream: Literal[False] | None = False

    def job(self, digest: str) -> dict[str, Any]:
        """What the engine is asked."""
        asked = {"prompt": self.prompt, "n": self.n or 1, "size": self.size, "seed": self.seed}
        return {"endpoint": "images/generations", "digest": digest, **asked}


def _is_one_of(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Equal and of a like kind: True is not 1."""
    return any(value is other or (value == other and not isinstance(value, bool)) for other in neutral)
