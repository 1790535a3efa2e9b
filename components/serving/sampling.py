"""How the next token is chosen, and what the model itself thought of it."""

from typing import Any


class Sampler:
    """Greedy at temperature 0, else nucleus sampling with a generator of its own, so that requests never share luck."""

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        import torch

        self._temperature, self._top_p = temperature, top_p
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def choose(self, logits: Any) -> int:
        """One token id from `logits` (vocabulary)."""
        if self._temperature == 0:
            return int(logits.argmax())
        wide = logits.double()
        scaled = (wide - wide.max()) / self._temperature  # the largest is 0, so no temperature overflows
        probabilities, order = scaled.softmax(-1).sort(descending=True, stable=True)
        before = probabilities.cumsum(-1) - probabilities  # mass of the likelier tokens
        probabilities[before >= self._top_p] = 0  # the likeliest always stays: nothing is before it
        probabilities[0] = probabilities[0].clamp_min(1e-12)
        return int(order[probabilities.multinomial(1, generator=self._generator)])


def logprobs(logits: Any, chosen: int, num_top: int) -> tuple[float, list[tuple[int, float]]]:
    """Log-probability of `chosen` and the `num_top` likeliest (id, logprob), of the model's raw distribution."""
    raw = logits.float().log_softmax(-1)
    top = raw.topk(min(num_top, raw.shape[-1]))
    return float(raw[chosen]), list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
