"""Hyperparameters of pretraining from few dials: size and token budget give the rest, by published rules.

They hold for a phase of the objective causal_lm that starts from random weights and says how many `tokens` it takes.
What the recipe gives stays; what it leaves out is filled in before the recipe is anything to anybody, so the values
themselves are recorded, digested and compared.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from components.errors import UnknownName
from components.models import family

DEEPSEEK = "DeepSeek LLM (Bi et al. 2024), section 3.1"
POWER_LINES = "AdamW timescale: Wang and Aitchison 2024; Bergsma et al. 2025 (Power Lines)"
HOFFMANN = "Hoffmann et al. 2022: a cosine as long as the run"
LONGEST_TIMESCALE = 1.0
"""AdamW averages over at most the whole run."""


class Advice(NamedTuple):
    """A value, and the rule behind it."""

    value: Any
    source: str


class Dials(NamedTuple):
    """What the rules go by."""

    non_embedding: int
    """Parameters of the hidden layers that work on a token."""
    parameters: int
    """With the embedding."""
    attention_width: int
    """Width of all heads, over all layers."""
    tokens: int
    context: int

    @property
    def flops(self) -> float:
        """Training FLOPs without embeddings, with all scores of attention: the compute that DeepSeek's fits are over."""
        return self.tokens * (6.0 * self.non_embedding + 12.0 * self.attention_width * self.context)


def advised(dials: Dials, *, batch_size: int | None = None, learning_rate: float | None = None) -> dict[str, Advice]:
    """Batch in samples, peak learning rate, weight decay (for the batch and rate that are given, if any) and schedule.

    With C the compute in FLOPs, N the parameters, D the tokens: a batch of 0.2920 C^0.3271 tokens, here the nearest power
    of two of samples, and a rate of 0.3118 C^-0.1250 (fitted for AdamW from 1e17 to 2e19 FLOPs). A weight decay of
    B / (rate x D x t), where B is the batch in tokens and t = 1.084 (D/N)^-0.527 the part of the run that AdamW averages over.
    """
    batch = nearest_power_of_two(0.2920 * dials.flops**0.3271 / dials.context)
    rate = three_digits(0.3118 * dials.flops**-0.1250)
    timescale = min(LONGEST_TIMESCALE, 1.084 * (dials.tokens / dials.parameters) ** -0.527)
    decay = (batch_size or batch) * dials.context / ((learning_rate or rate) * dials.tokens * timescale)
    return {
        "batch_size": Advice(batch, DEEPSEEK),
        "learning_rate": Advice(rate, DEEPSEEK),
        "weight_decay": Advice(three_digits(decay), POWER_LINES),
        "schedule": Advice("cosine", HOFFMANN),
    }


def advice(phase: Mapping[str, Any], name: Any, size: Any, vocab_size: Any, context: Any) -> dict[str, Advice]:
    """What the rules say about `phase`, whose model is `size` of the family `name`; empty where they do not hold."""
    tokens = phase.get("tokens")
    if not all(isinstance(number, int) and number > 0 for number in (tokens, vocab_size, context)):
        return {}
    if phase.get("objective", "causal_lm") != "causal_lm" or phase.get("init", "random") != "random":
        return {}
    try:
        fields = family(name).fields(size)
    except (UnknownName, TypeError):  # whoever reads the recipe says so
        return {}
    dials = _dials(fields, vocab_size, tokens, context)
    given = {key: phase[key] for key in ("batch_size", "learning_rate") if _positive(phase.get(key))}
    return advised(dials, **given) if dials else {}


def filled(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a recipe with what its phases leave out by the rules; what is not well formed stays as it is."""
    phases, prepare = content.get("train"), content.get("prepare", {})
    if not isinstance(phases, list | tuple) or not isinstance(prepare, dict):
        return content
    model = content.get("family", "llama"), content.get("size")
    shape = prepare.get("vocab_size", 2048), prepare.get("context", 256)
    return {**content, "train": [_filled(phase, *model, *shape) for phase in phases]}


def nearest_power_of_two(number: float) -> int:
    """At least 1: what 2, 4 and 8 workers can share."""
    power = 1
    while power * 2**0.5 < number:
        power *= 2
    return power


def three_digits(number: float) -> float:
    """Rounded to three significant digits, as people write such numbers."""
    return float(f"{number:.3g}")


def _filled(phase: Any, name: Any, size: Any, vocab_size: Any, context: Any) -> Any:
    if not isinstance(phase, dict):
        return phase
    found = advice(phase, name, size, vocab_size, context)
    return {**{key: advised.value for key, advised in found.items()}, **phase}


def _dials(fields: Mapping[str, Any], vocab_size: int, tokens: Any, context: int) -> Dials | None:
    """From the configuration of a decoder with gated MLPs; None where it is no such thing."""
    try:
        hidden, layers, heads = (fields[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
        mlp, keys = fields["intermediate_size"], fields["num_key_value_heads"]
    except KeyError:
        return None
    width = fields.get("head_dim") or hidden // heads
    experts = fields.get("num_experts_per_tok") or 1
    layer = 2 * hidden * width * (heads + keys) + 3 * experts * hidden * mlp
    embeddings = hidden * vocab_size * (1 if fields.get("tie_word_embeddings") else 2)
    return Dials(layers * layer, layers * layer + embeddings, layers * heads * width, tokens, context)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0
