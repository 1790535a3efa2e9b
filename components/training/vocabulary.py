"""What objectives that corrupt text must know of a tokenizer: its special tokens."""

import json
import re
from dataclasses import dataclass
from typing import Any

from components.artifacts import Samples
from components.errors import TrainingError

SENTINEL = re.compile(r"<extra_id_(\d+)>")


@dataclass(frozen=True)
class Vocabulary:
    """Token ids of a processor."""

    size: int
    pad: int
    eos: int
    mask: int | None
    """The token that stands for a hidden one (BERT's [MASK]), where there is one."""
    special: frozenset[int]
    """Tokens that are no text: never hidden."""
    sentinels: tuple[int, ...]
    """T5's <extra_id_0>, <extra_id_1>, ...: each stands for a hidden span."""

    @classmethod
    def of(cls, samples: Samples) -> "Vocabulary":
        """The vocabulary that `samples` are encoded with. Raises TrainingError where they have no processor."""
        described = samples.json("samples.json")
        try:
            added = json.loads((samples.processor / "tokenizer.json").read_text())["added_tokens"]
            settings = json.loads((samples.processor / "tokenizer_config.json").read_text())
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{samples.processor} is no tokenizer folder: {error}") from None
        ids = {str(token["content"]): int(token["id"]) for token in added}
        numbered = {int(match[1]): ids[name] for name in ids if (match := SENTINEL.fullmatch(name))}
        return cls(
            size=described["vocab_size"],
            pad=described["pad_token_id"],
            eos=described["eos_token_id"],
            mask=ids.get(_content(settings.get("mask_token"))),
            special=frozenset(int(token["id"]) for token in added if token["special"]),
            sentinels=tuple(numbered[number] for number in sorted(numbered)),
        )


def _content(token: Any) -> str:
    """The text of a token in tokenizer_config.json, which is a string or an object."""
    return str(token["content"] if isinstance(token, dict) else token)
