"""Byte-level BPE with T5's sentinels, which stand for hidden spans (Raffel et al. 2020): a text ends with </s>."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.preparation.processor import train_tokenizer
from components.preparation.processors import Processor

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, END = "<pad>", "</s>"
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))


def train(texts: Iterable[str], vocab_size: int) -> "Tokenizer":
    """A byte-level BPE tokenizer of at most `vocab_size` tokens, the 102 special ones among them."""
    from tokenizers import processors

    tokenizer = train_tokenizer(texts, vocab_size, special=(PAD, END, *SENTINELS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer


def save(tokenizer: "Tokenizer", folder: Path, context: int) -> None:
    """Write the folder that `AutoTokenizer.from_pretrained` loads."""
    folder.mkdir(parents=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": None,  # every byte is a token
        "additional_special_tokens": list(SENTINELS),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


PROCESSOR = Processor(train=train, save=save)
