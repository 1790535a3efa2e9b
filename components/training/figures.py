"""What is shown of a phase beside its losses: speed, utilisation, memory, waiting."""

import math
import time

import torch
from torch import nn

from components.artifacts import Samples
from components.flops import decoder_token_flops, product_rate
from components.recipe import TrainPhase
from components.training.group import Group
from components.training.loader import Loader
from components.training.peak import peak_memory
from components.training.precision import chosen
from components.training.progress import Line

PEAK_SECONDS = 0.25
"""How long the machine's peak is measured for before the first step of an attempt."""


class Figures:
    """Figures over the time since the training began or went on, of which rank 0 speaks for all."""

    def __init__(self, phase: TrainPhase, samples: Samples, model: nn.Module, loader: Loader, group: Group) -> None:
        described = samples.json("samples.json")
        is_text = phase.objective == "causal_lm"
        self.loader = loader
        self._flops = decoder_token_flops(model, loader.context) if is_text else None
        dtype = torch.float32 if chosen(phase) == "fp32" else torch.bfloat16
        each = product_rate(PEAK_SECONDS, group.device, dtype) if self._flops else math.inf
        self._compiled = phase.compile
        self._device, self._peak = group.device, each * group.world_size
        size = described.get("num_bytes") if is_text else None
        self._bits = described["num_tokens"] / size / math.log(2) if size else None
        self.begin(0)

    def begin(self, tokens: int) -> None:
        """Count from now on, when `tokens` have been learnt from."""
        self._start, self._tokens, self._waited = time.monotonic(), tokens, self.loader.seconds
        self._steps, self._first = 0, 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def stepped(self) -> None:
        """One more step is done."""
        self._steps += 1
        if self._steps == 1:
            self._first = self.seconds

    def of(self, line: Line) -> Line:
        """The figures beside a line with `loss` and `tokens`.

        tokens_per_second: over all workers. flops_utilisation: FLOPs of the model, of attention only those that a causal
        mask needs, over the peak product, in that precision (bf16 for fp8), of as many threads or GPUs as work.
        bits_per_byte: of the batch, at the samples' mean of bytes in a token. input_wait: part of the time in which
        rank 0 reads samples. memory_bytes: rank 0's peak. warm_up_seconds, of a compiled model: what its first step took
        more than the mean of the others.
        """
        seconds = max(self.seconds, 1e-9)
        speed = (line["tokens"] - self._tokens) / seconds
        shown: Line = {"tokens_per_second": round(speed, 1), "memory_bytes": peak_memory(self._device)}
        shown["input_wait"] = round((self.loader.seconds - self._waited) / seconds, 4)
        if self._compiled and self._steps > 1:
            usual = (seconds - self._first) / (self._steps - 1)
            shown["warm_up_seconds"] = round(max(0.0, self._first - usual), 1)
        if self._flops:
            shown["flops_utilisation"] = round(speed * self._flops / self._peak, 4)
        if self._bits:
            shown["bits_per_byte"] = line["loss"] * self._bits
        return shown
