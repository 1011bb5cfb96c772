"""Losses: values by hand, constants that are attained, cones by two solvers; the rest is in the contract."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linpoison.convex import solve
from linpoison.core import InputError
from linpoison.losses import LOSSES, Hinge, Logistic, SmoothHinge, Squared, SquaredHinge, make_loss

EVERY = [Hinge(), SquaredHinge(), SmoothHinge(), SmoothHinge(1.5), Logistic(), Squared()]
FLOATS = st.floats(-30, 30, allow_nan=False)
GRID = np.linspace(-60, 60, 240_001)


@pytest.mark.parametrize(
    ("loss", "values"),
    [
        (Hinge(), [3.0, 1.0, 0.5, 0.0, 0.0]),
        (SquaredHinge(), [4.5, 0.5, 0.125, 0.0, 0.0]),
        (Squared(), [4.5, 0.5, 0.125, 0.0, 2.0]),
        (Logistic(), [np.log1p(np.e**2), np.log(2), np.log1p(np.e**-0.5), np.log1p(np.e**-1), np.log1p(np.e**-3)]),
        (SmoothHinge(2.0), [2 * np.log1p(np.exp((1 - m) / 2)) for m in (-2, 0, 0.5, 1, 3)]),
    ],
)
def test_values_by_hand(loss, values):
    np.testing.assert_allclose(loss.value(np.array([-2.0, 0.0, 0.5, 1.0, 3.0])), values, rtol=1e-12)


@pytest.mark.parametrize("loss", EVERY)
@given(a=FLOATS, b=FLOATS)
def test_convex_with_the_stated_subgradient(loss, a, b):
    first, second = np.array(a), np.array(b)
    assert loss.value(second) >= loss.value(first) + loss.derivative(first) * (b - a) - 1e-9 * (1 + (b - a) ** 2)
    assert loss.pull(first) == max(0.0, -float(loss.derivative(first)))


@pytest.mark.parametrize("loss", EVERY)
def test_constants_are_the_greatest_values_on_a_dense_grid(loss):
    slope, curve = np.abs(loss.derivative(GRID)).max(), loss.second_derivative(GRID).max()
    if np.isfinite(loss.lipschitz):
        assert slope == pytest.approx(loss.lipschitz)
    else:
        assert np.abs(loss.derivative(np.array([-1e9]))) > 1e8
    if np.isfinite(loss.smoothness):
        assert curve == pytest.approx(loss.smoothness, rel=1e-6)
    # at a kink the subdifferential holds the pull 1
    reach = (GRID * (loss.pull(GRID) + (loss.kink == GRID))).max()
    assert reach == pytest.approx(loss.reach, rel=1e-6)
    assert reach <= loss.reach * (1 + 1e-12)


def test_only_the_hinge_has_a_kink():
    assert {loss.name for loss in EVERY if loss.kink is not None} == {"hinge"}
    hinge = Hinge()
    assert (hinge.derivative(np.array([1 - 1e-12, 1.0])) == [-1, 0]).all()


def test_reach_of_the_logistic_loss_is_lamberts_w():
    w = Logistic().reach
    assert w * np.exp(w) == pytest.approx(np.exp(-1), rel=1e-14)


def test_smooth_hinge_tends_to_the_hinge():
    m = np.linspace(-3, 3, 61)
    for width in (0.1, 0.01):
        gap = SmoothHinge(width).value(m) - Hinge().value(m)
        assert (gap >= -1e-12).all()
        assert gap.max() == pytest.approx(width * np.log(2))
    assert SmoothHinge(0.001).reach == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
@pytest.mark.parametrize("loss", EVERY)
def test_cvxpy_expression_equals_the_value(loss, solver):
    m = np.array([-3.0, 0.0, 0.7, 1.0, 2.5])
    variable = cp.Variable(5)
    expression = loss.expression(variable)
    assert expression.is_convex()
    info = solve(cp.Problem(cp.Minimize(cp.sum(expression)), [variable == m]), solver=solver)
    assert info.value == pytest.approx(loss.value(m).sum(), abs=1e-5)
    np.testing.assert_allclose(expression.value, loss.value(m), atol=1e-5)


@pytest.mark.parametrize("loss", EVERY)
@given(value=st.floats(1e-3, 40))
def test_margin_at_loss_is_the_inverse_of_the_decreasing_branch(loss, value):
    margin = np.array(loss.margin_at_loss(value))
    assert loss.value(margin) == pytest.approx(value, rel=1e-8)
    assert loss.derivative(margin) < 0
    assert loss.value(margin + 1e-3) < value < loss.value(margin - 1e-3)


def test_margin_at_loss_at_its_ends():
    assert Hinge().margin_at_loss(0.0) == SquaredHinge().margin_at_loss(0.0) == Squared().margin_at_loss(0.0) == 1.0
    assert Logistic().margin_at_loss(0.0) == np.inf
    assert SmoothHinge().margin_at_loss(0.0) == np.inf
    assert Logistic().margin_at_loss(1e4) == pytest.approx(-1e4)
    assert Logistic().margin_at_loss(1e-14) == pytest.approx(-np.log(1e-14))


@pytest.mark.parametrize("solver", ["CLARABEL", "ECOS"])
@pytest.mark.parametrize("loss", EVERY)
def test_least_mass_of_the_cone_is_pull_over_psi(loss, solver):
    rng = np.random.default_rng(5)
    for w, m in zip(rng.uniform(0.1, 2, 6), rng.uniform(-2.5, 0.9, 6), strict=True):
        mass = cp.Variable()
        pull, margin = cp.Variable(), cp.Variable()
        held = [pull == w, margin == w * m]
        info = solve(cp.Problem(cp.Minimize(mass), [*held, *loss.pull_constraints(pull, margin, mass)]), solver=solver)
        assert info.value == pytest.approx(w / float(loss.pull(np.array(m))), rel=1e-5)


@pytest.mark.parametrize("loss", [Hinge(), SquaredHinge()])
def test_no_mass_pulls_beyond_margin_one(loss):
    from linpoison.core import InfeasibleSet

    mass, pull = cp.Variable(), cp.Variable()
    with pytest.raises(InfeasibleSet):
        solve(cp.Problem(cp.Minimize(mass), [pull == 1, mass <= 1e3, *loss.pull_constraints(pull, 1.2 * pull, mass)]))


def test_losses_by_name_compare_by_what_they_are():
    assert {name: make_loss(name).name for name in LOSSES} == {name: name for name in LOSSES}
    assert make_loss("smooth_hinge") == SmoothHinge(0.1) != SmoothHinge(0.2)
    assert hash(SmoothHinge(0.1)) == hash(make_loss("smooth_hinge")) != hash(SmoothHinge(0.2))
    assert Hinge() != Logistic()
    assert repr(Hinge()) == "Hinge()"
    assert repr(SmoothHinge(0.25)) == "SmoothHinge(width=0.25)"


def test_bad_names_and_widths_are_refused():
    with pytest.raises(InputError, match="hinge, squared_hinge"):
        make_loss("nosuch")
    for width in (0, -1.0, np.nan, np.inf, "wide", True):
        with pytest.raises(InputError, match="width"):
            SmoothHinge(width)
