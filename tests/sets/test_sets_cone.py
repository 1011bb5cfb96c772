"""The cone that a set states to cvxpy is the set that its numpy views describe."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from set_cases import CENTER, CLOSED, NORMAL, SETS, D

from linpoison.convex import solve
from linpoison.core import InfeasibleSet, InputError
from linpoison.sets import Ball, CountBall, Intersection, SubspaceTube

RECESSION = {
    "ball": np.zeros((0, D)),
    "slab": np.linalg.svd(NORMAL[None, :])[2][1:],
    "halfspace": np.vstack([-NORMAL, np.linalg.svd(NORMAL[None, :])[2][1:]]),
    "tube": CLOSED["tube"].basis.T,
    "box": np.array([[0, 1.0, 0, 0, 0], [0, 0, -1.0, 0, 0]]),
    "non_negative": np.eye(D),
    "count_ball": np.zeros((0, D)),
    "count_ball_open": np.zeros((0, D)),
    "ball_slab_halfspace": np.zeros((0, D)),
}


@pytest.mark.parametrize("name", RECESSION)
def test_scale_zero_gives_the_recession_cone(name):
    rng = np.random.default_rng(2)
    u, w = cp.Variable(D), cp.Parameter(D)
    problem = cp.Problem(cp.Maximize(w @ u), [*SETS[name].constraints(u, 0.0), cp.norm2(u) <= 1])
    for direction in RECESSION[name]:
        w.value = direction / np.linalg.norm(direction)
        assert solve(problem).value == pytest.approx(1, abs=1e-6)
    if not len(RECESSION[name]):
        w.value = rng.normal(size=D)
        assert solve(problem).value == pytest.approx(0, abs=1e-5)


def test_number_and_expression_as_scale_agree():
    feasible, w = SETS["counts_and_slab"], np.arange(1.0, D + 1)
    u, t = cp.Variable(D), cp.Variable()
    by_number = solve(cp.Problem(cp.Maximize(w @ u), feasible.constraints(u, 2.0))).value
    by_variable = solve(cp.Problem(cp.Maximize(w @ u), [*feasible.constraints(u, t), t == 2])).value
    assert by_number == pytest.approx(by_variable, abs=1e-5)
    assert by_number == pytest.approx(2 * w @ feasible.support(w), abs=1e-5)


def test_constraints_check_their_arguments():
    with pytest.raises(InputError, match="u of shape"):
        SETS["ball"].constraints(cp.Variable(D + 1), 1.0)
    for bad in (-1.0, float("nan"), "1"):
        with pytest.raises(InputError, match="t as a number"):
            SETS["ball"].constraints(cp.Variable(D), bad)


def test_radius_zero_is_an_equation():
    x = cp.Variable(D)
    solve(cp.Problem(cp.Minimize(x[0]), Ball(CENTER, 0.0).constraints(x)))
    np.testing.assert_allclose(x.value, CENTER, atol=1e-7)


def test_tube_without_directions_is_a_ball():
    tube, ball = SubspaceTube(np.zeros((D, 0)), 1.3, CENTER), Ball(CENTER, 1.3)
    X = np.random.default_rng(3).normal(size=(6, D))
    np.testing.assert_allclose(tube.violation(X), ball.violation(X))
    np.testing.assert_allclose(tube.support(NORMAL), ball.support(NORMAL))
    x = cp.Variable(D)
    value = solve(cp.Problem(cp.Maximize(NORMAL @ x), tube.constraints(x))).value
    assert value == pytest.approx(NORMAL @ ball.support(NORMAL), abs=1e-6)


def test_envelope_variables_only_where_there_is_more_than_one_piece():
    ball = CountBall([0.2, 0.3, 4.0], 1.0, [1, 50, 50])
    constraints = ball.constraints(cp.Variable(3), cp.Variable())
    sizes = sorted(variable.size for constraint in constraints for variable in constraint.variables())
    np.testing.assert_array_equal(ball.largest, [1, 2, 5])
    assert max(sizes) == 3
    assert 2 in sizes
    assert len(constraints) <= 5


@pytest.mark.parametrize(
    "parts", [(Ball([3.0] * D, 1.0), Ball([-3.0] * D, 1.0)), (Ball([-3.0] * D, 1.0), SETS["non_negative"])]
)
def test_empty_intersection_is_named(parts):
    empty = Intersection(parts)
    with pytest.raises(InfeasibleSet):
        empty.support(np.ones(D))
    with pytest.raises(InfeasibleSet):
        empty.project(np.zeros((1, D)))
