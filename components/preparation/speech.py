"""Chats as token ids with a loss mask, by a processor's own tokenizer and chat template."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import SourceError, StoreError
from components.preparation.processor import load_tokenizer

GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
"""Marks that transformers knows and jinja2 does not; what they enclose is found here without them."""
PLAIN_TEMPLATE = (
    "{%- for message in messages -%}{{- message['role'] + ': ' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- else -%}{{- '\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'assistant: ' -}}{%- endif -%}"
)
"""For a base that was never taught to chat: who speaks in words, since it has no tokens for that."""
NO_CHATS = "{{- raise_exception('This model has no chat template, so it cannot be taught to chat.') -}}"


@dataclass(frozen=True)
class Turn:
    """One message of a chat."""

    role: str
    text: str
    images: int = 0
    """Pictures before the text."""

    def message(self, mark: str) -> dict[str, Any]:
        """As a chat template takes it, with `mark` in the place of the text."""
        if not self.images:
            return {"role": self.role, "content": mark}
        return {"role": self.role, "content": [*({"type": "image"},) * self.images, {"type": "text", "text": mark}]}


class Speech:
    """Text and chats as the model of a processor folder reads them. Raises StoreError where it is no such folder."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        self.tokenizer = load_tokenizer(folder)
        self._named = {
            name: _content(settings.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        }
        self.end = self._id(self._named["eos_token"])
        self.pad = self._id(self._named["pad_token"]) if self._named["pad_token"] else self.end
        self.vocab_size = self.tokenizer.get_vocab_size()
        template = folder / "chat_template.jinja"
        self._template = _compiled(template.read_text() if template.is_file() else NO_CHATS)
        added = json.loads(self.tokenizer.to_str())["added_tokens"]
        self._special = {token["content"]: token["id"] for token in added if token["special"]}
        longest_first = sorted(self._special, key=len, reverse=True)
        self._splits = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    def chat(self, turns: list[Turn]) -> tuple[list[int], list[int]]:
        """Token ids of a chat, and a mask that is 1 on each answer and the token that ends it.

        Tokens are those of the rendered template, so that a served model reads what it was taught; but special tokens
        are those of the template alone, so that no message can forge a turn. Raises SourceError where the template
        refuses these roles.
        """
        ids: list[int] = []
        mask: list[int] = []
        answered = False
        for part in self._splits.split(self._rendered(turns)):
            if part in self._special:
                ids.append(self._special[part])
                mask.append(int(answered))
                answered = False
            elif part:
                text, answers = _filled(part, turns)
                found = self.tokenizer.encode(text, add_special_tokens=False)
                ids += found.ids
                mask += [int(any(a <= start < b for a, b in answers)) for start, _ in found.offsets]
                answered = bool(answers) and answers[-1][1] == len(text)
        return ids, mask

    def _rendered(self, turns: list[Turn]) -> str:
        """The template's text, with a mark in the place of each message's."""
        messages = [turn.message(_mark(number)) for number, turn in enumerate(turns)]
        try:
            return str(self._template.render(messages=messages, add_generation_prompt=False, **self._named))
        except Exception as error:  # a template may raise whatever it likes
            raise SourceError(f"The chat template refuses {[t.role for t in turns]}: {error!s:.200}.") from None

    def _id(self, token: str | None) -> int:
        found = self.tokenizer.token_to_id(token) if token else None
        if found is None:
            raise StoreError(f"The processor has no token {token!r}.")
        return int(found)


def _mark(number: int) -> str:
    return f"\ue000{number}\ue001"


def _filled(part: str, turns: list[Turn]) -> tuple[str, list[tuple[int, int]]]:
    """`part` with the messages in place of their marks, and from where to where those of the assistant reach."""
    text, answers = "", []
    for place, piece in enumerate(re.split("\ue000(\\d+)\ue001", part)):
        if place % 2:
            turn = turns[int(piece)]
            if turn.role == "assistant":
                answers.append((len(text), len(text) + len(turn.text)))
            piece = turn.text
        text += piece
    return text, answers


def _compiled(template: str) -> Any:
    """A chat template, compiled as transformers does it: in a sandbox, with the names that templates expect."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    names = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    names.filters["tojson"] = lambda value, **kinds: json.dumps(value, ensure_ascii=False, **kinds)
    names.globals["raise_exception"] = refuse
    return names.from_string(GENERATION.sub("", template))


def _content(token: Any) -> str:
    """The text of a token in tokenizer_config.json, which is a string or an object."""
    return str(token["content"]) if isinstance(token, dict) else str(token or "")
