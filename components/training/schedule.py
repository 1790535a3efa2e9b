"""The learning rate of each step of a phase."""

import math

from components.recipe import TrainPhase


def learning_rate(phase: TrainPhase, step: int, total: int) -> float:
    """Linear warm-up, then what `phase.schedule` says.

    cosine: a half cosine (Loshchilov and Hutter 2017) down to `final_learning_rate` of the peak. wsd: stable at the
    peak, then an exponential decay to the same over the last `decay` of the steps (MiniCPM, Hu et al. 2024). constant:
    stable to the end.
    """
    warmup = round(phase.warmup * total)
    if step < warmup:
        return phase.learning_rate * (step + 1) / (warmup + 1)
    low = phase.final_learning_rate
    match phase.schedule:
        case "constant":
            factor = 1.0
        case "wsd":
            start = max(warmup, total - round(phase.decay * total))
            factor = low ** max(0.0, (step + 1 - start) / max(1, total - start))
        case "cosine":
            done = (step - warmup) / max(1, total - 1 - warmup)
            factor = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return phase.learning_rate * factor
