"""The loops that ours is compared with, each as its users would start it: transformers' Trainer and nanoGPT's.

`python speed_peers.py NAME FOLDER STEPS PRECISION` trains on the samples in FOLDER and prints one JSON line: the clock
after each step (seconds by its number), the loss of each (nats a token), and the parameters. The first weights, the order
of samples and all settings of the Trainer are those of our phase; nanoGPT draws random windows, as it does.
"""

import json
import math
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention

from components.artifacts import Samples
from components.training.config import TrainConfig
from components.training.loader import Loader
from components.training.model import fresh_model


def train_with_trainer(config: TrainConfig, samples: Samples, folder: Path, steps: int, bf16: bool) -> dict:
    """transformers' Trainer with a checkpoint in the middle."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    phase, loader, clock, losses = config.phase, Loader.of(config.phase, samples), [], []

    class Windows(torch.utils.data.Dataset):
        """Our samples in our order."""

        def __len__(self) -> int:
            return steps * phase.batch_size

        def __getitem__(self, index: int) -> dict:
            batch = loader.samples([index])
            labels = batch.labels[0]
            return {"input_ids": batch.input_ids[0], "labels": labels, "shift_labels": labels}

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            clock.append(time.monotonic())

        def on_log(self, args, state, control, logs, **rest):
            losses.extend([logs["loss"]] if "loss" in logs else [])

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=phase.batch_size,
        train_sampling_strategy="sequential",
        learning_rate=phase.learning_rate,
        adam_beta2=0.95,
        weight_decay=phase.weight_decay,
        max_grad_norm=phase.clip_norm,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": phase.final_learning_rate},
        warmup_steps=round(phase.warmup * steps),
        bf16=bf16,
        use_cpu=True,
        logging_steps=1,
        save_steps=steps // 2,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    model = fresh_model(config, samples)
    Trainer(model, arguments, train_dataset=Windows(), callbacks=[Clock()]).train()
    return {
        "clock": dict(enumerate(clock, 1)),
        "losses": losses,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


class Block(nn.Module):
    """nanoGPT's: layer norms without bias, full attention heads, GELU and an MLP of 4 widths, no dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.c_fc, self.mlp_proj = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, time_, width = x.shape
        split = self.c_attn(self.ln_1(x)).split(width, dim=2)
        q, k, v = (part.view(rows, time_, self.heads, width // self.heads).transpose(1, 2) for part in split)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(rows, time_, width))
        return x + self.mlp_proj(gelu(self.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    """nanoGPT's model: learned positions, tied embedding, initialised with 0.02."""

    def __init__(self, vocab_size: int, context: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f, self.lm_head = nn.LayerNorm(width, bias=False), nn.Linear(width, vocab_size, bias=False)
        self.wte.weight = self.lm_head.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scaled = "c_proj" in name or "mlp_proj" in name
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if scaled else 0.02)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return cross_entropy(self.lm_head(self.ln_f(x)).flatten(0, 1), targets.flatten(), ignore_index=-1)


def train_with_nanogpt(config: TrainConfig, samples: Samples, folder: Path, steps: int, bf16: bool) -> dict:
    """nanoGPT's train.py on a CPU (its README: without compilation), with a checkpoint in the middle."""
    phase, described = config.phase, samples.json("samples.json")
    context, clock, losses = described["context"], [], []
    torch.manual_seed(1337)
    fields = fresh_model(config, samples).config
    model = GPT(
        described["vocab_size"], context, fields.hidden_size, fields.num_hidden_layers, fields.num_attention_heads
    )
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": phase.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=phase.learning_rate, betas=(0.9, 0.95))
    autocast = torch.amp.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext()
    warmup, low = round(phase.warmup * steps), phase.learning_rate * phase.final_learning_rate

    def get_batch() -> tuple[torch.Tensor, torch.Tensor]:
        data = np.memmap(samples.path / "tokens.bin", dtype=described["dtype"], mode="r")
        starts = torch.randint(len(data) - context, (phase.batch_size,))
        x = torch.stack([torch.from_numpy(data[i : i + context].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + context].astype(np.int64)) for i in starts])
        return x, y

    x, y = get_batch()
    for step in range(steps):
        done = (step - warmup) / max(1, steps - warmup)
        cosine = low + 0.5 * (1 + math.cos(math.pi * done)) * (phase.learning_rate - low)
        rate = phase.learning_rate * (step + 1) / (warmup + 1) if step < warmup else cosine
        for group in optimizer.param_groups:
            group["lr"] = rate
        with autocast:
            loss = model(x, y)
        x, y = get_batch()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), phase.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step + 1 == steps // 2:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "nanogpt.pt")
        clock.append(time.monotonic())
    return {
        "clock": dict(enumerate(clock, 1)),
        "losses": losses,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


if __name__ == "__main__":
    name, place, number, precision = sys.argv[1:]
    loop = {"trainer": train_with_trainer, "nanogpt": train_with_nanogpt}[name]
    read = TrainConfig.model_validate_json((Path(place) / "config.json").read_text())
    print(json.dumps(loop(read, Samples(Path(place) / "samples"), Path(place), int(number), precision == "bf16")))
