"""Corpus to samples: the processor, the encoding and the packing."""
