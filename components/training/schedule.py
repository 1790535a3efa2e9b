"""The learning rate of each step of a phase."""

import math

from components.recipe import TrainPhase


def learning_rate(phase: TrainPhase, step: int, total: int) -> float:
    """Linear warm-up, then a cosine (Loshchilov and Hutter 2017) down to `final_learning_rate` of the peak."""
    warmup = round(phase.warmup * total)
    if step < warmup:
        return phase.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total - 1 - warmup)
    low = phase.final_learning_rate
    return phase.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
