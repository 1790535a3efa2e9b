"""The processor of a language model: a byte-level BPE tokenizer with special tokens and a chat template."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import StoreError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END, PAD, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
SPECIAL = (END, PAD, USER, ASSISTANT)
"""The special tokens, whose ids are 0, 1, 2 and 3."""

CHAT_TEMPLATE = (
    "{%- set lead = namespace(text='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{%- set lead.text = message['content'] + '\\n\\n' -%}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- '<|user|>' + lead.text + message['content'] + '<|end|>' -}}{%- set lead.text = '' -%}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<|assistant|>' + message['content'] + '<|end|>' -}}"
    "{%- else -%}{{- raise_exception('Unknown role ' + message['role'] + ': use system, user or assistant.') -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""A turn is its role's token, the text and the end token; a system message leads the user turn that follows it."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, special: Sequence[str] = SPECIAL) -> "Tokenizer":
    """A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019) of at most `vocab_size` tokens.

    The `special` tokens have the first ids.

    Every byte is a token, nothing is normalised, no space is added: decoding gives back the text, whatever it is.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_processor(tokenizer: "Tokenizer", folder: Path, context: int) -> None:
    """Write the folder that `AutoTokenizer.from_pretrained` loads."""
    folder.mkdir(parents=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": None,  # every byte is a token; left out, Qwen's class would add one to the vocabulary
        "additional_special_tokens": [USER, ASSISTANT],
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer of a processor folder, for text that people wrote: "<|end|>" in it is text, not the end token."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise StoreError(f"{folder} has no tokenizer.json, so it is no processor.")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.encode_special_tokens = True
    return tokenizer
