"""The hinge of many dense rows: its certificate, and agreement with solvers that know nothing of it."""

import numpy as np
import pytest

from linpoison.core import Dataset
from linpoison.learners import make_learner
from linpoison.learners.newton import newton_hinge
from linpoison.losses import Hinge, Problem


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


def test_many_rows_are_learned_by_it_to_the_tolerance_of_the_others():
    problem, data = Problem(Hinge(), 0.02), rows(21_000)
    learner = make_learner(problem)
    quick = learner.fit(data)
    learner.newton_rows = 10**9
    slow = learner.fit(data)
    assert not np.array_equal(quick.coef, slow.coef)
    assert problem.value(quick, data) == pytest.approx(problem.value(slow, data), rel=1e-6)
    assert np.allclose(quick.coef, slow.coef, atol=2e-3)
