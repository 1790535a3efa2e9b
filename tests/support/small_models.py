"""A decoder of another family, as transformers itself saves one: for tests of what is taken from elsewhere."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from components.preparation.processor import train_tokenizer

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe of use.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXTS = ["It is a truth universally acknowledged, that a single man must be in want of a wife."] * 20


def save_small_model(folder: Path, *, chat_template: str | None = CHATML, **settings) -> Path:
    """A GPT-2 of two layers with a tokenizer of its own, in `folder`."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(TEXTS, 340),
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=chat_template,
    )
    config = GPT2Config(
        n_layer=2, n_head=2, n_embd=32, n_positions=128, vocab_size=352, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder, **settings)
    tokenizer.save_pretrained(folder)
    return folder
