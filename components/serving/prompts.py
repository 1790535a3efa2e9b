"""What a request asks the model to read: text, token ids, or a conversation through the artifact's own template."""

from dataclasses import dataclass
from typing import Any

from components.serving.api_errors import CONTEXT_EXCEEDED, ApiError
from components.serving.loading import Loaded


@dataclass(frozen=True)
class Prompt:
    """Token ids with the text they stand for."""

    text: str
    ids: list[int]


def read_prompts(loaded: Loaded, job: dict[str, Any]) -> list[Prompt]:
    """The prompts of `job`, each within the model's context. Raises ApiError (400)."""
    if job["messages"] is not None:
        prompts = [conversation(loaded, job["messages"])]
    else:
        prompts = [
            _text(loaded, prompt) if isinstance(prompt, str) else _ids(loaded, prompt) for prompt in job["prompts"]
        ]
    return within(loaded, prompts, "prompt" if job["messages"] is None else "messages")


def within(loaded: Loaded, prompts: list[Prompt], param: str) -> list[Prompt]:
    """`prompts`, none of which is longer than the model's context. Raises ApiError (400) that names `param`."""
    for prompt in prompts:
        if len(prompt.ids) > loaded.context:
            message = f"The prompt has {len(prompt.ids)} tokens; this model's context holds {loaded.context}."
            raise ApiError(400, message, param=param, code=CONTEXT_EXCEEDED)
    return prompts


def _text(loaded: Loaded, text: str) -> Prompt:
    ids = loaded.tokenizer(text)["input_ids"]
    return Prompt(text, ids or _start(loaded))


def _ids(loaded: Loaded, ids: list[int]) -> Prompt:
    size = loaded.model.config.vocab_size
    outside = [token for token in ids if not 0 <= token < size]
    if outside:
        raise ApiError(400, f"Token id {outside[0]} is outside this model's vocabulary of {size}.", param="prompt")
    return Prompt(loaded.tokenizer.decode(ids, clean_up_tokenization_spaces=False), ids)


def _start(loaded: Loaded) -> list[int]:
    """The token that a document starts with or follows, for a prompt without any."""
    tokenizer = loaded.tokenizer
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise ApiError(
            400, "The prompt is empty, and this model has no token that a document starts with.", param="prompt"
        )
    return [token]


def conversation(loaded: Loaded, messages: list[dict[str, Any]]) -> Prompt:
    """Messages through the chat template of the model. Raises ApiError (400)."""
    if not loaded.tokenizer.chat_template:
        message = "This model has no chat template, so it cannot chat; use /v1/completions."
        raise ApiError(400, message, param="model", code="no_chat_template")
    try:
        # transformers renders in jinja2's ImmutableSandboxedEnvironment
        text = loaded.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template may raise whatever it likes about messages that it does not support
        raise ApiError(400, f"The chat template refuses these messages: {error!s:.200}.", param="messages") from error
    return Prompt(text, loaded.tokenizer(text, add_special_tokens=False)["input_ids"] or _start(loaded))
