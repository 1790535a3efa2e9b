"""Byte-level BPE for short texts beside images: a text starts and ends with a token, as CLIP's does (Radford et al. 2021)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.preparation.processor import train_tokenizer
from components.preparation.processors import Processor

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, START, END = "<|pad|>", "<|startoftext|>", "<|endoftext|>"
SPECIAL = (PAD, END, START)
"""In the order of their ids. The end token must not be token 2: CLIP's code takes a model whose end token is 2 for an early
release, and pools its texts at the token with the largest id."""


def train(texts: Iterable[str], vocab_size: int) -> "Tokenizer":
    """A byte-level BPE tokenizer of at most `vocab_size` tokens; text is put in lower case."""
    from tokenizers import normalizers, processors

    tokenizer = train_tokenizer((text.lower() for text in texts), vocab_size, special=SPECIAL)
    tokenizer.normalizer = normalizers.Lowercase()
    marks = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=marks)
    return tokenizer


def save(tokenizer: "Tokenizer", folder: Path, context: int) -> None:
    """Write the folder that `AutoTokenizer.from_pretrained` loads."""
    folder.mkdir(parents=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": None,  # every byte is a token
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


PROCESSOR = Processor(train=train, save=save)
