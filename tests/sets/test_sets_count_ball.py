"""The envelope of the ball for counts: what it holds, and that its structured solutions are exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from linpoison.core import Domain, InfeasibleSet, InputError
from linpoison.sets import Ball, CountBall, in_domain


@st.composite
def count_balls(draw):
    d = draw(st.integers(1, 6))
    quarter = st.integers(0, 14).map(lambda k: k / 4)
    center = draw(st.lists(quarter, min_size=d, max_size=d))
    upper = draw(st.lists(st.integers(0, 6), min_size=d, max_size=d))
    least = np.linalg.norm(np.clip(np.round(center), 0, upper) - center)
    return CountBall(center, least + draw(st.floats(0.01, 3.0)), upper)


def all_pieces_lp(ball, w):
    """Every piece of every coordinate up to `upper`, no cap and no presolve of ours: HiGHS itself."""
    d, cap = ball.d, np.minimum(ball.upper, 20).astype(int)
    rows, rhs = [], []
    for i, k in ((j, k) for j in range(d) for k in range(1, cap[j] + 1)):
        row = np.zeros(2 * d)
        row[i], row[d + i] = 2 * k - 1, -1
        rows.append(row)
        rhs.append(k * (k - 1))
    rows.append(np.concatenate([-2 * ball.center, np.ones(d)]))
    rhs.append(ball.radius**2 - ball.center @ ball.center)
    bounds = [(0, u) for u in cap] + [(0, None)] * d
    return -linprog(np.concatenate([-w, np.zeros(d)]), np.array(rows), rhs, bounds=bounds, method="highs").fun


@settings(max_examples=80)
@given(ball=count_balls(), seed=st.integers(0, 10_000))
def test_support_is_the_linear_program_and_almost_whole(ball, seed):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=ball.d) * rng.integers(0, 2, size=ball.d)
    x = ball.support(w)
    assert w @ x == pytest.approx(all_pieces_lp(ball, w), abs=1e-8)
    assert ball.violation(x[None, :])[0] < 1e-9
    assert np.sum(x != np.round(x)) <= 1


def test_support_at_the_size_of_a_text_problem():
    rng = np.random.default_rng(0)
    d = 2000
    center, upper = rng.exponential(0.05, size=d), rng.integers(1, 50, size=d)
    ball, w = CountBall(center, 9.0, upper), rng.normal(size=d)
    x = ball.support(w)
    assert np.sum(x != np.round(x)) <= 1
    assert ball.violation(x[None, :])[0] < 1e-8
    # Weak duality with the multiplier of the fractional coordinate bounds every other point.
    index = np.flatnonzero(x != np.round(x))[0]
    k = np.ceil(x[index])
    lam = w[index] / (2 * k - 1 - 2 * center[index])
    assert lam > 0
    grid = np.arange(0, 51)[:, None]
    values = w * grid - lam * (grid - center) ** 2
    values[grid > upper] = -np.inf
    assert w @ x == pytest.approx(values.max(axis=0).sum() + lam * ball.radius**2, rel=1e-10)


@settings(max_examples=30)
@given(ball=count_balls())
def test_whole_points_are_those_of_the_ball(ball):
    grids = itertools.islice(itertools.product(*(range(int(u) + 1) for u in ball.upper)), 3000)
    X = np.array(list(grids), dtype=float)
    in_ball = Ball(ball.center, ball.radius).contains(X)
    np.testing.assert_array_equal(ball.contains(X), in_ball)
    assert (X[in_ball] <= ball.largest).all()


@settings(max_examples=30)
@given(ball=count_balls(), seed=st.integers(0, 10_000))
def test_envelope_lies_in_the_ball_and_below_the_caps(ball, seed):
    X = np.random.default_rng(seed).uniform(0, ball.upper, size=(200, ball.d))
    X = np.vstack([X, ball.project(X)])
    inside = X[ball.contains(X, 1e-9)]
    assert len(inside)
    assert Ball(ball.center, ball.radius).contains(inside, 1e-7).all()
    assert (inside <= ball.largest + 1e-9).all()


@given(st.lists(st.floats(0, 30), min_size=1, max_size=5))
def test_expected_square_norm_is_that_of_random_rounding(x):
    x = np.array(x)
    low, part = np.floor(x), x - np.floor(x)
    expected = np.sum((1 - part) * low**2 + part * (low + 1) ** 2)
    pieces = np.arange(1, 33)[:, None]
    by_pieces = np.sum(np.max((2 * pieces - 1) * x - pieces * (pieces - 1), axis=0))
    point = CountBall(np.zeros(x.size), 0.0, np.full(x.size, 31.0))
    assert point.violation(x[None, :])[0] ** 2 == pytest.approx(expected)
    assert point.violation(sp.csr_array(x[None, :]))[0] ** 2 == pytest.approx(by_pieces)


def test_violation_has_the_unit_of_the_features():
    ball = CountBall([0.0, 0.0], 1.0, [9, 9])
    np.testing.assert_allclose(ball.violation([[3.0, 0.0], [-0.5, 0.0], [12.0, 0.0], [0.5, 0.5]]), [2, 0.5, 11, 0])
    assert CountBall([0.0, 9.0], 1.0, [0, 9]).violation([[0.75, 9.0]])[0] == pytest.approx(0.75)


def test_empty_count_ball_is_named():
    empty = CountBall([0.5, 0.5], 0.7, [1, 1])
    for call in (lambda: empty.support([1.0, 1.0]), lambda: empty.project([[0.0, 0.0]])):
        with pytest.raises(InfeasibleSet, match="0.7"):
            call()


def test_single_point_is_allowed():
    ball = CountBall([2.0, 0.0], 0.0, [5, 5])
    np.testing.assert_array_equal(ball.support([1.0, 1.0]), [2, 0])
    np.testing.assert_allclose(ball.project([[4.0, 3.0]]), [[2, 0]], atol=1e-5)


@pytest.mark.parametrize("upper", [[1.5, 1], [-1, 1], [np.nan, 1], [1, 1, 1]])
def test_upper_counts_are_checked(upper):
    with pytest.raises(InputError, match="upper counts"):
        CountBall([0.0, 0.0], 1.0, upper)


def test_relation():
    assert CountBall([0.0], 1.0, [3]).relation == "outer"
    assert CountBall([0.0], 1.0, [3], relation="inner").relation == "inner"


def test_a_ball_around_a_mean_that_was_dragged_off_stays_a_ball():
    free = Domain.counts(np.inf, 5)
    assert isinstance(in_domain(Ball(np.full(5, 0.5), 30.0), free), CountBall)
    wide = in_domain(Ball(np.full(5, 1e7), 1e7), free)  # an envelope would take as many pieces as it holds counts
    assert isinstance(wide, Ball)
