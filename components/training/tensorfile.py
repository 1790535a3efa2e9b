"""Writing the safetensors format, with the digest of what was meant to be written.

The library's own `save_file` copies every tensor while it holds the interpreter, which keeps the training loop waiting;
here bytes go from the tensor's memory to the file, and both the hashing and the writing let other threads run. The
format: 8 bytes with the length of a JSON header, the header, the data (https://github.com/huggingface/safetensors).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
PIECE = 4 * 2**20
"""Bytes that are hashed and written at once: they are still in the processor's cache when they are written."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write `tensors` (on the CPU) to `path` as safetensors; returns the SHA-256 (hex) of the bytes. Raises OSError."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # so that all data is aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb", buffering=0) as file:
        hashed = hashlib.sha256()
        head = memoryview(len(text).to_bytes(8, "little") + text)
        for content in (head, *(_bytes(tensors[name]) for name in names)):
            for start in range(0, len(content), PIECE):
                piece = content[start : start + PIECE]
                hashed.update(piece)
                while len(piece):  # a raw write may take a part only
                    piece = piece[file.write(piece) :]
    return hashed.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    flat: Any = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()
    return memoryview(flat)
