"""Scaling laws: how a loss depends on parameters and tokens, and what follows for a compute budget.

Two forms, both sums of powers under a logarithm, so that both are fitted the same way (`components.planning.fitting`).
Losses are in nats per token, compute in FLOPs by C = 6ND.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.flops import training_flops

Array = NDArray[np.float64]
FLOPS_PER_PARAMETER_AND_TOKEN = training_flops(1, 1)
Real = TypeVar("Real", float, Array)


class Law(Protocol):
    """What both forms can say."""

    @property
    def floor(self) -> float:
        """The loss that no compute gets below."""

    @property
    def gain_exponent(self) -> float:
        """The power of compute by which the loss above the floor falls, where size and tokens are optimal."""

    def loss(self, parameters: Real, tokens: Real) -> Real:
        """The loss of a model of so many parameters after so many tokens."""

    def optimal_parameters(self, flops: float) -> float:
        """The size that gives the least loss for `flops`."""


@dataclass(frozen=True)
class Hoffmann:
    """L = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models")."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    @property
    def floor(self) -> float:
        """E, the entropy of the text as far as this law sees it."""
        return self.E

    @property
    def gain_exponent(self) -> float:
        """Both terms fall as C^(-alpha beta / (alpha + beta)) along the optimum (their equation 4)."""
        return self.alpha * self.beta / (self.alpha + self.beta)

    def loss(self, parameters: Real, tokens: Real) -> Real:
        """The law itself."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    def optimal_parameters(self, flops: float) -> float:
        """G (C/6)^(beta / (alpha + beta)) with G = (alpha A / beta B)^(1 / (alpha + beta)) (their equation 4)."""
        balance = np.log(self.alpha) + np.log(self.A) - np.log(self.beta) - np.log(self.B)
        product = np.log(flops / FLOPS_PER_PARAMETER_AND_TOKEN)
        return float(np.exp((balance + self.beta * product) / (self.alpha + self.beta)))


@dataclass(frozen=True)
class Kaplan:
    """L = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D (Kaplan et al. 2020, equation 1.5)."""

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float

    @property
    def floor(self) -> float:
        """Nothing: this form has no entropy of the text."""
        return 0.0

    @property
    def gain_exponent(self) -> float:
        """Both terms fall as C^(-r / (1 + r)) along the optimum, with r = alpha_N / alpha_D; the sum is to the alpha_D."""
        return self.alpha_N * self.alpha_D / (self.alpha_N + self.alpha_D)

    def loss(self, parameters: Real, tokens: Real) -> Real:
        """The law itself."""
        terms = (self.N_c / parameters) ** (self.alpha_N / self.alpha_D) + self.D_c / tokens
        return terms**self.alpha_D

    def optimal_parameters(self, flops: float) -> float:
        """Where the derivative of the sum along N D = C / 6 is zero: N^(1 + r) = r N_c^r C / (6 D_c)."""
        ratio = self.alpha_N / self.alpha_D
        product = flops / FLOPS_PER_PARAMETER_AND_TOKEN
        # In logarithms: N_c^r overflows nothing then.
        log = np.log(ratio) + ratio * np.log(self.N_c) + np.log(product) - np.log(self.D_c)
        return float(np.exp(log / (1 + ratio)))


@dataclass(frozen=True)
class Optimum:
    """The best use of a compute budget."""

    flops: float
    parameters: float
    tokens: float
    loss: float
    gain: float
    """How much the loss falls for each further FLOP, where size and tokens stay optimal."""

    def gain_per_money(self, flops_per_money: float) -> float:
        """How much the loss falls for each further unit of money, which buys so many FLOPs."""
        return self.gain * flops_per_money


def optimum(law: Law, flops: float) -> Optimum:
    """The size and tokens by which `flops` give the least loss, that loss, and what more compute would gain."""
    parameters = law.optimal_parameters(flops)
    tokens = flops / (FLOPS_PER_PARAMETER_AND_TOKEN * parameters)
    loss = law.loss(parameters, tokens)
    return Optimum(flops, parameters, tokens, loss, law.gain_exponent * (loss - law.floor) / flops)
