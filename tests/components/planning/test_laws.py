"""Scaling laws: the replication of Chinchilla, known laws found again, and the optimum against plain minimisation."""

import csv
from math import log
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from components.errors import InputError
from components.planning.fitting import HoffmannForm, KaplanForm, Runs, fit, objective
from components.planning.laws import Hoffmann, Kaplan, optimum

POINTS = Path(__file__).parents[2] / "data" / "chinchilla_points.csv"
HOFFMANN_2022 = Hoffmann(E=1.6934, A=406.4, B=410.7, alpha=0.3392, beta=0.2849)
KAPLAN_2020 = Kaplan(N_c=8.8e13, D_c=5.4e13, alpha_N=0.076, alpha_D=0.095)
BESIROGLU_2024 = Hoffmann(E=1.8172, A=477.8, B=2143, alpha=0.3473, beta=0.3672)


@pytest.fixture(scope="module")
def chinchilla():
    """The runs as the replication takes them: without the five highest losses, tokens from C = 6ND."""
    with POINTS.open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    kept = sorted(rows, key=lambda row: row["loss"])[:-5]
    return Runs.of([(row["parameters"], row["flops"] / (6 * row["parameters"]), row["loss"]) for row in kept])


def grid(law, noise=0.0):
    """Losses of `law` for sizes of 1e7 to 1e10 and tokens of 1e9 to 1e12."""
    sizes, tokens = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    errors = np.random.default_rng(0).normal(0, noise, sizes.shape)
    return Runs(sizes, tokens, law.loss(sizes, tokens) * np.exp(errors))


def test_the_chinchilla_points_give_the_replications_law(chinchilla):
    """Besiroglu et al. 2024: objective 0.00101827; exponents with standard errors 0.0154 and 0.0206."""
    found = fit(HoffmannForm, chinchilla, resamples=24)
    assert found.objective == pytest.approx(0.00101827, rel=1e-4)
    assert found.objective <= objective(BESIROGLU_2024, chinchilla)
    assert found.law.alpha == pytest.approx(0.3478, abs=0.0154)
    assert found.law.beta == pytest.approx(0.3659, abs=0.0206)
    assert pytest.approx(1.8169, abs=0.0257) == found.law.E
    assert found.standard_error("alpha") == pytest.approx(0.0154, rel=0.5)
    assert found.standard_error("beta") == pytest.approx(0.0206, rel=0.5)
    low, high = found.interval("alpha")
    assert low < found.law.alpha < high


@pytest.mark.parametrize(("form", "law"), [(HoffmannForm, HOFFMANN_2022), (KaplanForm, KAPLAN_2020)])
def test_a_known_law_is_found_again(form, law):
    found = fit(form, grid(law)).law
    for name, value in vars(law).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.01), name


def test_the_floor_is_held_to_what_is_known_of_it():
    free, held = (fit(HoffmannForm, grid(HOFFMANN_2022), most_floor=most).law for most in (10.0, 1.2))
    assert pytest.approx(HOFFMANN_2022.E, rel=0.01) == free.E
    assert pytest.approx(1.2, rel=1e-6) == held.E
    here = grid(HOFFMANN_2022)
    assert held.loss(here.parameters, here.tokens) == pytest.approx(here.losses, rel=0.05)


def test_an_outlier_hardly_moves_the_law():
    runs = grid(HOFFMANN_2022)
    runs.losses[7] *= 1.5
    found = fit(HoffmannForm, runs).law
    assert found.alpha == pytest.approx(HOFFMANN_2022.alpha, rel=0.01)
    assert found.beta == pytest.approx(HOFFMANN_2022.beta, rel=0.01)


def test_the_interval_of_a_prediction_holds_the_truth_and_widens_with_noise():
    quiet, loud = (fit(HoffmannForm, grid(HOFFMANN_2022, noise), resamples=12) for noise in (0.001, 0.01))
    truth = HOFFMANN_2022.loss(7e10, 1.4e12)
    widths = []
    for found in (quiet, loud):
        low, high = found.loss_interval(7e10, 1.4e12, level=0.95)
        assert low * 0.99 < truth < high * 1.01
        widths.append(high - low)
    assert widths[0] < widths[1]


@pytest.mark.parametrize("law", [HOFFMANN_2022, KAPLAN_2020, BESIROGLU_2024])
def test_the_optimum_is_where_plain_minimisation_ends(law):
    flops = 1e21
    best = optimum(law, flops)
    found = minimize_scalar(
        lambda n: law.loss(np.exp(n), flops / (6 * np.exp(n))), bounds=(log(1e6), log(1e13)), options={"xatol": 1e-9}
    )
    assert best.parameters == pytest.approx(np.exp(found.x), rel=1e-3)
    assert best.loss == pytest.approx(found.fun, rel=1e-9)
    assert 6 * best.parameters * best.tokens == pytest.approx(flops)
    more = optimum(law, flops * 1.0001)
    assert best.gain == pytest.approx((best.loss - more.loss) / (flops * 0.0001), rel=1e-3)
    assert best.gain_per_money(1e18) == pytest.approx(best.gain * 1e18)


def test_the_size_of_chinchilla_depends_on_rounded_coefficients():
    """Hoffmann et al. 2022, as computed from their printed and from their unrounded coefficients."""
    rounded = Hoffmann(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
    assert optimum(rounded, 5.76e23).parameters == pytest.approx(32.2e9, rel=0.01)
    assert optimum(HOFFMANN_2022, 5.76e23).parameters == pytest.approx(40.3e9, rel=0.01)


@pytest.mark.parametrize("form", [HoffmannForm, KaplanForm])
def test_losses_that_do_not_depend_on_size_still_give_a_law(form):
    """Six runs that were short of tokens: their optimum is far away, and finite."""
    rows = [(n, d, 20 * d**-0.13) for n in (6e4, 1e5) for d in (5e4, 1e5, 3e5)]
    found = fit(form, Runs.of(rows), resamples=3)
    assert found.law.loss(4e5, 6e4) == pytest.approx(20 * 6e4**-0.13, rel=0.01)
    best = optimum(found.law, 1.4e11)
    assert 0 < best.parameters < 6e4 / 100
    assert np.isfinite(best.tokens)


def test_what_no_law_can_come_from_is_refused():
    with pytest.raises(InputError, match="4 runs cannot determine the 5 coefficients"):
        fit(HoffmannForm, Runs.of([(1e6, 1e8, 3.0)] * 4))
    with pytest.raises(InputError, match="losses above 0"):
        fit(HoffmannForm, Runs.of([(1e6, 1e8, 0.0)] * 6))
