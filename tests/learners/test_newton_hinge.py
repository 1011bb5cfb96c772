"""The hinge of many dense rows: its certificate, and agreement with solvers that know nothing of it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from linpoison.core import Dataset, LinearModel
from linpoison.learners import make_learner
from linpoison.learners.newton import (
    MANY,
    NEAR_KINK,
    SignedRows,
    newton_hinge,
    newton_near,
    rounded_newton,
    step_length,
)
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared


def rows(n, d=5, far=0):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(n) < 0.3, 1.0, -1.0)
    X = rng.normal(size=(n, d)) + 0.7 * y[:, None]
    X[:far] = -200.0 * y[:far, None]
    return Dataset(X, y, 1.0 + (np.arange(n) % 7 == 0))


@pytest.mark.parametrize("far", [0, 40])
@pytest.mark.parametrize("intercept", [{}, {"penalize_intercept": False}, {"fit_intercept": False}])
def test_the_gap_holds_the_objective_of_the_conic_reference(intercept, far):
    problem, data = Problem(Hinge(), 0.02, **intercept), rows(3000, far=far)
    least = problem.value(make_learner(problem, method="reference").fit(data), data)
    found = newton_hinge(problem, data)
    assert found.value == pytest.approx(problem.value(found.model, data), abs=1e-12)
    assert found.value - found.gap <= least + 1e-9
    assert least - 1e-9 <= found.value <= least * (1 + 2e-5)
    again = newton_hinge(problem, data, found.model)
    assert again.value <= least * (1 + 2e-5)


def test_a_proof_holds_in_the_units_of_a_table():
    rng = np.random.default_rng(0)
    y = np.where(rng.random(1500) < 0.3, 1.0, -1.0)
    incomes = np.column_stack([rng.lognormal(10.2, 0.5, y.size) * (1 - 0.1 * y), rng.lognormal(8, 1, y.size)])
    flags = (rng.random((y.size, 6)) < 0.3 + 0.1 * (y[:, None] > 0)).astype(float)
    data, problem = Dataset(np.column_stack([incomes, flags, rng.normal(size=(y.size, 2))]), y), Problem(Hinge(), 0.01)
    start = newton_hinge(problem, data.take(np.arange(0, 1500, 2))).model
    for begun in (None, start):
        found = newton_hinge(problem, data, begun)
        assert 0 <= found.gap <= 1e-6 * found.value


def rounded(data, width, penalty):
    """The objective of `rounded_newton`, row by row."""
    Z, share = np.column_stack([data.X, np.ones(data.n)]) * data.y[:, None], data.weight / data.total

    def value(vector):
        gap = 1 - Z @ vector
        bent = np.where(np.abs(gap) < width, (gap + width) ** 2 / (4 * width), np.maximum(gap, 0))
        return share @ bent + penalty @ vector**2 / 2

    return share, value


def test_a_rounded_kink_is_learned_as_by_a_solver_that_only_asks_for_values():
    data, width, penalty = rows(300, far=9), 0.05, 0.1 * np.ones(6)
    share, value = rounded(data, width, penalty)
    found = rounded_newton(width, SignedRows(data), share, penalty, np.zeros(6), tol=1e-12)
    for start in (found, np.zeros(6)):
        assert value(found) <= minimize(value, start, method="Powell", options={"xtol": 1e-9}).fun + 1e-10
    slopes = [(value(found + step) - value(found - step)) / 2e-6 for step in 1e-6 * np.eye(6)]
    assert np.abs(slopes).max() < 1e-5


@pytest.mark.parametrize("far", [0, 400])
@pytest.mark.parametrize("start", [np.zeros(6), np.ones(6), [3.0, -2.0, 0.0, 0.0, 1.0, 5.0]])
def test_of_many_rows_those_beyond_the_kink_are_left_out_without_a_change_of_the_minimiser(far, start):
    data, width, penalty = rows(MANY + 500, far=far), 0.01, 0.1 * np.ones(6)
    share, value = rounded(data, width, penalty)
    found = rounded_newton(width, SignedRows(data), share, penalty, np.asarray(start), tol=1e-13)
    slopes = [(value(found + step) - value(found - step)) / 2e-6 for step in 1e-6 * np.eye(6)]
    assert np.abs(slopes).max() < 1e-5


def test_many_rows_are_learned_by_it_to_the_tolerance_of_the_others():
    problem, data = Problem(Hinge(), 0.02), rows(21_000)
    learner = make_learner(problem)
    quick = learner.fit(data)
    learner.newton_rows = 10**9
    slow = learner.fit(data)
    assert not np.array_equal(quick.coef, slow.coef)
    assert problem.value(quick, data) == pytest.approx(problem.value(slow, data), rel=1e-6)
    assert np.allclose(quick.coef, slow.coef, atol=2e-3)


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared(), SmoothHinge(0.3)])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"penalize_intercept": True}])
def test_scores_near_the_minimum_are_those_of_the_learner(loss, options):
    rng = np.random.default_rng(3)
    y = np.where(np.arange(90) % 3, 1.0, -1.0)
    data, problem = Dataset(rng.normal(size=(90, 4)) + 0.4 * y[:, None], y), Problem(loss, 0.05, **options)
    learner = make_learner(problem)
    more = data.mix(Dataset([[2.0, -1.0, 0.0, 1.0], [0.0, 3.0, 1.0, 0.0]], [-1, 1], [7.5, 2.0]))
    start, exact = learner.fit(data), learner.fit(more)
    near = newton_near(problem, more, start)
    Z = np.hstack([data.X, np.ones((90, 1))])
    tol = 2 * NEAR_KINK if loss.kink is not None else 1e-6
    np.testing.assert_allclose(Z @ near, Z @ exact.vector, atol=tol)
    assert np.abs(Z @ (exact.vector - start.vector)).max() > 10 * tol  # the start would not do


@pytest.mark.parametrize("scale", [1e5, 1e9])
def test_columns_that_depend_on_each_other_beside_far_rows_are_learned(scale):
    """A far row takes the last digit of the penalty there, and the Hessian is singular."""
    data, problem = rows(1200), Problem(Hinge(), 0.02)
    sure = data.X[:, :1] > 0
    X, y = np.hstack([data.X[:, :2], data.X[:, :1], sure, ~sure]), data.y.copy()
    X[:36], y[:36] = -scale * np.array([1.0, 2.0, 1.0, 1.0, 0.0]), 1.0
    learner, twice = make_learner(problem), Dataset(X, y)
    quick = problem.value(learner.fit(twice), twice)
    assert np.isfinite(newton_hinge(problem, twice).value)
    learner.newton_rows = 10**9
    assert quick == pytest.approx(problem.value(learner.fit(twice), twice), rel=1e-6)


@pytest.mark.parametrize("n", [700, MANY + 100])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_free_intercept_that_few_rows_hold_comes_back_from_far_out(n, share):
    """Near the kink are rows of one label alone at first, and most rows end up on its other side."""
    rng = np.random.default_rng(25)
    y = np.where(rng.random(n) < share, 1.0, -1.0)
    data = Dataset(rng.normal(size=(n, 3)) + y[:, None] * np.array([1.0, 0.4, 0.0]), y)
    problem = Problem(Hinge(), 0.01, penalize_intercept=False)
    fitted = newton_hinge(problem, data).model
    for sign in (1.0, -1.0):
        far = data.mix(Dataset([[300.0, 80.0, 40.0], [-700.0, 90.0, 0.0]], [sign, sign], [0.015 * n, 0.015 * n]))
        cold = newton_hinge(problem, far)
        for moved in (0.0, 30.0, -30.0):
            start = LinearModel(fitted.coef, fitted.intercept + moved)
            found, near = newton_hinge(problem, far, start), LinearModel.from_vector(newton_near(problem, far, start))
            assert found.gap <= 0.05 * found.value
            assert found.value == pytest.approx(cold.value, rel=2e-5)
            assert problem.value(near, far) <= cold.value * (1 + NEAR_KINK)


@pytest.mark.parametrize("end", [1e-3, 1e-9, 0.4, 0.9])
def test_a_slight_slope_at_the_end_of_a_step_is_no_sign_of_its_minimum(end):
    asked = []

    def slope(t):
        asked.append(t)
        return -1.0 if t < end else 0.02

    assert end <= step_length(slope, -1.0) <= 2 * end
    assert len(asked) < 100
