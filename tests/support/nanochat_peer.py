"""nanochat's training loop on a GPU: `python nanochat_peer.py NANOCHAT SAMPLES ROWS ACCUMULATION STEPS LAYERS WIDTH HEADS KV`.

NANOCHAT is a clone of github.com/karpathy/nanochat. Its model, its optimizer, its compilation and the order of its
scripts/base_train.py; the tokens are those of our samples, in its own way of a pinned buffer. Prints one JSON line: the
seconds at which each step ended, the loss of each, floating-point operations of a token and what computes attention.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

nanochat, samples, *numbers = sys.argv[1:]
rows, accumulation, steps, layers, width, heads, kv_heads = map(int, numbers)
sys.path.insert(0, nanochat)
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # as base_train.py does

from nanochat.flash_attention import HAS_FA3  # noqa: E402
from nanochat.gpt import GPT, GPTConfig  # noqa: E402

torch.manual_seed(42)
torch.cuda.manual_seed(42)
torch.set_float32_matmul_precision("high")  # as nanochat's compute_init
described = json.loads((Path(samples) / "samples.json").read_text())
context, vocab_size = described["context"], described["vocab_size"]
config = GPTConfig(context, vocab_size, layers, heads, kv_heads, width, window_pattern="L")
with torch.device("meta"):
    model = GPT(config)
model.to_empty(device="cuda")
model.init_weights()
original = model
model = torch.compile(model, dynamic=False)
optimizer = original.setup_optimizer(weight_decay=0.28)
tokens = np.memmap(Path(samples) / "tokens.bin", dtype=described["dtype"], mode="r")
place = 0


def next_batch():
    """The next rows, as nanochat's loader hands them over: pinned, and copied beside."""
    global place
    size = rows * context + 1
    if place + size > len(tokens):
        place = 0
    read = torch.from_numpy(tokens[place : place + size].astype(np.int64)).pin_memory()
    place += size - 1
    x, y = (part.view(rows, context) for part in (read[:-1], read[1:]))
    return x.to("cuda", non_blocking=True), y.to("cuda", non_blocking=True)


x, y = next_batch()
clock, losses = [], []
for step in range(steps):
    torch.cuda.synchronize()
    for _ in range(accumulation):
        loss = model(x, y)
        train_loss = loss.detach()
        (loss / accumulation).backward()
        x, y = next_batch()
    optimizer.step()
    model.zero_grad(set_to_none=True)
    losses.append(train_loss.item())
    torch.cuda.synchronize()
    clock.append(time.monotonic())
    if step == 0:
        gc.collect()
        gc.freeze()
        gc.disable()
attention = 6 * layers * width * context  # of a causal mask, as we count it
flops = 6 * original.num_matmul_params() + attention
print(
    json.dumps(
        {
            "clock": dict(enumerate(clock, 1)),
            "losses": losses,
            "flops_per_token": flops,
            "attention": "FlashAttention 3" if HAS_FA3 else "torch's",
            "memory_bytes": torch.cuda.max_memory_allocated(),
        }
    )
)
