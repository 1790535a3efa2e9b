"""Fitting scaling laws to runs: Huber loss on the logarithm of the loss, many starts, bootstrap intervals.

After Hoffmann et al. 2022 (approach 3) and its replication by Besiroglu et al. 2024 ("Chinchilla Scaling: A Replication
Attempt"). Their starts are a grid over all coefficients; here it is one over the exponents alone, because for given
exponents the other coefficients are a linear least squares problem.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import exp, inf, log
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.errors import InputError
from components.planning.laws import Array, Hoffmann, Kaplan, Law

DELTA = 1e-3
"""Where the Huber loss turns from a parabola into a line: from there on a run counts as an outlier."""
DESCENTS = 8
"""From so many of the nearest starts L-BFGS descends."""
SLOPES = (0.05, 5.0)
"""Bounds of the exponents of size and tokens, which a few runs alone may leave free."""
SHARES = (-14.0, 50.0)
"""Bounds of the logarithm of a term at the mean run: below a millionth of a nat it is not there."""
MOST = 700.0
"""The largest power of e that a float holds."""
SMALLEST = 1e-12
"""What a coefficient that least squares puts at zero starts from."""
AnyLaw = TypeVar("AnyLaw", bound=Law)


class Runs(NamedTuple):
    """What was trained, and what came out: three arrays of one length."""

    parameters: Array
    tokens: Array
    losses: Array

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float]]) -> "Runs":
        """From (parameters, tokens, loss) of each run."""
        return cls(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)

    def chosen(self, which: "NDArray[np.int64]") -> "Runs":
        """The runs numbered `which`."""
        return Runs(*(column[which] for column in self))


class Form(ABC, Generic[AnyLaw]):
    """A law as the fit sees it: a vector of coefficients from which ln L and its derivatives follow.

    Sizes and tokens are taken in units of their geometric means. Otherwise a coefficient and its exponent change nearly
    the same thing, and descent along them is slow.
    """

    exponents: tuple[tuple[float, ...], tuple[float, ...]]
    """Values to start the two exponents from."""
    bounds: tuple[tuple[float, float], ...]
    """Of each coefficient."""

    def __init__(self, runs: Runs, most_floor: float) -> None:  # of which a form without a floor makes nothing
        self.log_size, self.log_tokens = (float(np.log(column).mean()) for column in (runs.parameters, runs.tokens))

    def logs(self, runs: Runs) -> tuple[Array, Array]:
        """ln of sizes and of tokens, in these units."""
        return np.log(runs.parameters) - self.log_size, np.log(runs.tokens) - self.log_tokens

    @abstractmethod
    def start(self, runs: Runs, first: float, second: float) -> Array:
        """The coefficients for these exponents, by linear least squares."""

    @abstractmethod
    def log_loss(self, theta: Array, sizes: Array, tokens: Array) -> tuple[Array, Array]:
        """(ln L of each run, its derivative by each coefficient), from what `logs` gives."""

    @abstractmethod
    def law(self, theta: Array) -> AnyLaw:
        """The law of these coefficients."""


class HoffmannForm(Form[Hoffmann]):
    """theta = (ln E, ln A, ln B, alpha, beta)."""

    exponents = ((0.1, 0.25, 0.4, 0.6, 0.9, 1.3),) * 2
    bounds = (SHARES, SHARES, SHARES, SLOPES, SLOPES)

    def __init__(self, runs: Runs, most_floor: float) -> None:
        super().__init__(runs, most_floor)
        low, high = SHARES
        self.bounds = ((low, min(high, log(most_floor))), *self.bounds[1:])

    def start(self, runs: Runs, first: float, second: float) -> Array:
        """E, A and B by least squares on relative errors."""
        sizes, tokens = self.logs(runs)
        columns = np.stack([np.ones_like(sizes), np.exp(-first * sizes), np.exp(-second * tokens)], axis=1)
        return np.append(_log_amplitudes(columns / runs.losses[:, None]), [first, second])

    def log_loss(self, theta: Array, sizes: Array, tokens: Array) -> tuple[Array, Array]:
        """The logarithm of a sum of three exponentials."""
        e, a, b, alpha, beta = theta
        value, share = _log_sum([np.full_like(sizes, e), a - alpha * sizes, b - beta * tokens])
        return value, np.stack([share[0], share[1], share[2], -sizes * share[1], -tokens * share[2]])

    def law(self, theta: Array) -> Hoffmann:
        """The law of these coefficients."""
        e, a, b, alpha, beta = map(float, theta)
        return Hoffmann(
            exp(e), exp(min(a + alpha * self.log_size, MOST)), exp(min(b + beta * self.log_tokens, MOST)), alpha, beta
        )


class KaplanForm(Form[Kaplan]):
    """theta = (ln of N_c^r, ln D_c, r, alpha_D) with r = alpha_N / alpha_D."""

    exponents = ((0.3, 0.6, 0.9, 1.3), (0.03, 0.06, 0.1, 0.2, 0.4))
    bounds = (SHARES, (-MOST, MOST), SLOPES, (0.01, 5.0))

    def start(self, runs: Runs, first: float, second: float) -> Array:
        """N_c^r and D_c by least squares on the relative errors of L^(1 / alpha_D)."""
        sizes, tokens = self.logs(runs)
        columns = np.stack([np.exp(-first * sizes), np.exp(-tokens)], axis=1)
        return np.append(_log_amplitudes(columns / (runs.losses ** (1 / second))[:, None]), [first, second])

    def log_loss(self, theta: Array, sizes: Array, tokens: Array) -> tuple[Array, Array]:
        """alpha_D times the logarithm of a sum of two exponentials."""
        p, q, r, s = theta
        value, share = _log_sum([p - r * sizes, q - tokens])
        return s * value, np.stack([s * share[0], s * share[1], -sizes * s * share[0], value])

    def law(self, theta: Array) -> Kaplan:
        """The law of these coefficients."""
        p, q, r, s = map(float, theta)
        return Kaplan(
            N_c=exp(min(p / r + self.log_size, MOST)), D_c=exp(min(q + self.log_tokens, MOST)), alpha_N=r * s, alpha_D=s
        )


@dataclass(frozen=True)
class Fit(Generic[AnyLaw]):
    """A fitted law, and the same form fitted to resamples of its runs."""

    law: AnyLaw
    objective: float
    """The sum of the Huber losses."""
    resamples: tuple[AnyLaw, ...] = ()

    def interval(self, name: str, level: float = 0.8) -> tuple[float, float]:
        """The middle `level` of the resamples' values of a coefficient, such as "alpha"."""
        return _middle([getattr(law, name) for law in self.resamples], level)

    def loss_interval(self, parameters: float, tokens: float, level: float = 0.8) -> tuple[float, float]:
        """The middle `level` of the losses that the resamples predict."""
        return _middle([law.loss(parameters, tokens) for law in self.resamples], level)

    def standard_error(self, name: str) -> float:
        """The standard deviation of a coefficient over the resamples."""
        return float(np.std([getattr(law, name) for law in self.resamples], ddof=1))


def fit(
    form: type[Form[AnyLaw]], runs: Runs, *, most_floor: float = inf, resamples: int = 0, seed: int = 0
) -> Fit[AnyLaw]:
    """The law of `form` nearest to `runs`, and to so many resamples of them, drawn with replacement.

    `most_floor`, in nats per token, is what the law's own floor is at most: runs that lie far above it do not say where it is.
    Raises InputError where there are fewer runs than coefficients, or a size, a number of tokens or a loss is not above 0.
    """
    from threadpoolctl import threadpool_limits

    _check(runs, len(form.bounds))
    with threadpool_limits(1):  # threads that wait for each other over matrices of five rows
        return _fit(form(runs, most_floor), runs, resamples, seed)


def _fit(made: Form[AnyLaw], runs: Runs, resamples: int, seed: int) -> Fit[AnyLaw]:
    inside = np.transpose(made.bounds)
    starts = [np.clip(made.start(runs, *both), *inside) for both in product(*made.exponents)]
    nearest = sorted(starts, key=lambda theta: _cost(made, runs, theta)[0])[:DESCENTS]
    cost, best = min((_descend(made, runs, start) for start in nearest), key=lambda pair: pair[0])
    draws, laws = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = runs.chosen(draws.integers(0, len(runs.losses), len(runs.losses)))
        laws.append(made.law(_descend(made, drawn, best)[1]))
    return Fit(made.law(best), cost, tuple(laws))


def objective(law: Law, runs: Runs) -> float:
    """The sum of the Huber losses of ln L over `runs`."""
    return float(_huber(np.log(law.loss(runs.parameters, runs.tokens)) - np.log(runs.losses))[0].sum())


def _descend(form: Form[AnyLaw], runs: Runs, start: Array) -> tuple[float, Array]:
    """The objective and the coefficients where L-BFGS ends that begins at `start`."""
    from scipy.optimize import minimize

    sizes, tokens = form.logs(runs)
    wanted = np.log(runs.losses)

    def cost(theta: Array) -> tuple[float, Array]:
        value, slopes = form.log_loss(theta, sizes, tokens)
        losses, gradient = _huber(value - wanted)
        return float(losses.sum()) / DELTA, (slopes * gradient).sum(axis=1) / DELTA

    # Over delta, the objective is of the order of the number of runs, which the default tolerances are meant for.
    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-13, "gtol": 1e-8, "maxcor": 30}
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=form.bounds, options=options)
    return float(found.fun) * DELTA, found.x


def _cost(form: Form[AnyLaw], runs: Runs, theta: Array) -> tuple[float, Array]:
    value, _ = form.log_loss(theta, *form.logs(runs))
    return float(_huber(value - np.log(runs.losses))[0].sum()), theta


def _huber(residuals: Array) -> tuple[Array, Array]:
    """Huber's loss of each residual, and its derivative."""
    size = np.abs(residuals)
    inside = size <= DELTA
    return np.where(inside, residuals**2 / 2, DELTA * (size - DELTA / 2)), np.clip(residuals, -DELTA, DELTA)


def _log_sum(terms: list[Array]) -> tuple[Array, Array]:
    """(ln of the sum of the exponentials of `terms`, the share of each term in that sum)."""
    stacked = np.stack(terms)
    highest = stacked.max(axis=0)
    parts = np.exp(stacked - highest)
    total = parts.sum(axis=0)
    return highest + np.log(total), parts / total


def _log_amplitudes(columns: Array) -> Array:
    """The logarithms of the non-negative factors by which the columns add up to ones, by least squares."""
    from scipy.optimize import nnls

    scale = np.linalg.norm(columns, axis=0)
    factors, _ = nnls(columns / scale, np.ones(len(columns)))
    return np.log(np.maximum(factors, SMALLEST) / scale)


def _middle(values: Sequence[float], level: float) -> tuple[float, float]:
    low, high = np.quantile(np.array(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(runs: Runs, least: int) -> None:
    if len(runs.losses) < least:
        raise InputError(f"{len(runs.losses)} runs cannot determine the {least} coefficients of the law.")
    if not all(np.all(np.isfinite(column) & (column > 0)) for column in runs):
        raise InputError("A scaling law needs sizes, tokens and losses above 0.")
