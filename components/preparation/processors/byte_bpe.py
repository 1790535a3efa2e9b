"""Byte-level BPE with tokens for chats, which decoders read."""

from components.preparation.processor import save_processor, train_tokenizer
from components.preparation.processors import Processor

PROCESSOR = Processor(train=train_tokenizer, save=save_processor)
