"""WordPiece in lower case, which BERT reads (Devlin et al. 2019): a text is [CLS] its pieces [SEP]."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.preparation.processors import Processor

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, START, END, MASK)
"""The special tokens, whose ids are 0 to 4."""


def train(texts: Iterable[str], vocab_size: int) -> "Tokenizer":
    """A WordPiece tokenizer of at most `vocab_size` tokens; text is put in lower case and loses its accents."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))  # type: ignore[call-arg]
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        pair=f"{START} $A {END} $B:1 {END}:1",
        special_tokens=[(START, SPECIAL.index(START)), (END, SPECIAL.index(END))],
    )
    return tokenizer


def save(tokenizer: "Tokenizer", folder: Path, context: int) -> None:
    """Write the folder that `AutoTokenizer.from_pretrained` loads."""
    folder.mkdir(parents=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "cls_token": START,
        "sep_token": END,
        "eos_token": END,
        "mask_token": MASK,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


PROCESSOR = Processor(train=train, save=save)
