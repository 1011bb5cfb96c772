"""The hinge loss in any units: the interior point against the conic reference, and against itself in other units."""

import numpy as np
import pytest
from learner_cases import CONVENTIONS, dense, unscaled, weighted

from linpoison.core import Dataset, SolverFailed
from linpoison.learners import make_learner
from linpoison.learners.reference import ReferenceLearner
from linpoison.learners.svm import HingeLearner
from linpoison.learners.svm_interior import interior_hinge
from linpoison.losses import Hinge, Logistic, Problem, Squared

UNITS = {
    "dollars": lambda X: X * np.logspace(6, -1, X.shape[1]),
    "large": lambda X: X * 1e8,
    "small": lambda X: X * 1e-8,
    "far": lambda X: X + 1e6,
    "one far column": lambda X: X + np.append(np.zeros(X.shape[1] - 1), 1e7),
    "a constant": lambda X: np.where(np.arange(X.shape[1]) == 1, 1e5, X),
}


@pytest.mark.parametrize("scaling", [{}, {"scaling": "sum", "n_reference": 30}], ids=["mean", "sum"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_is_the_reference(convention, scaling):
    data = weighted(dense())
    data = data.take(data.weight > 0)
    problem = Problem(Hinge(), 0.05, **CONVENTIONS[convention], **scaling)
    fit = interior_hinge(problem, data)
    assert fit.value == pytest.approx(problem.value(fit.model, data), rel=1e-12)
    assert -1e-12 <= fit.gap <= 1e-9 * fit.value
    assert fit.value == pytest.approx(problem.value(ReferenceLearner(problem).fit(data), data), rel=1e-7)


@pytest.mark.parametrize("reg", [1.0, 1e-4])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("units", UNITS)
def test_any_units_are_solved_with_proof(units, convention, reg):
    data = Dataset(UNITS[units](dense().X), dense().y)
    problem = Problem(Hinge(), reg, **CONVENTIONS[convention])
    fit = interior_hinge(problem, data)
    equal = units == "far" and convention == "none"  # columns that differ in their seventh digit
    assert abs(fit.gap) <= (1e-4 if equal else 1e-7) * fit.value
    found = HingeLearner(problem).fit(data)
    assert problem.value(found, data) <= fit.value * (1 + 1e-7)


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared()])
@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_a_free_intercept_makes_up_for_any_offset(loss, offset):
    data = dense()
    problem = Problem(loss, 0.01, penalize_intercept=False)
    near = make_learner(problem).fit(data)
    moved = Dataset(data.X + offset, data.y)
    far = make_learner(problem).fit(moved, start=near)
    assert problem.value(far, moved) == pytest.approx(problem.value(near, data), rel=1e-6)
    np.testing.assert_allclose(far.coef, near.coef, atol=1e-4 * np.abs(near.coef).max())


def test_other_units_cost_no_passes_of_liblinear(monkeypatch):
    monkeypatch.setattr(HingeLearner, "_liblinear", None)
    data = unscaled()
    problem = Problem(Hinge(), 0.01)
    model = HingeLearner(problem).fit(data)
    assert problem.value(model, data) == pytest.approx(
        problem.value(ReferenceLearner(problem).fit(data), data), rel=1e-6
    )


def test_a_hessian_without_digits_is_a_solver_that_failed():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(90, 3))
    data = Dataset(X + 1e8, np.where(X[:, 0] + 0.3 * rng.normal(size=90) > 0, 1, -1))
    with pytest.raises(SolverFailed, match="Rescale the features"):
        make_learner(Problem(Logistic(), 1e-5)).fit(data)


def test_where_no_solver_has_a_proof_the_best_model_of_all_is_taken():
    """Offsets of 1e9 under a penalised intercept: what stops early without a word was worse by a sixth."""
    rng = np.random.default_rng(16)
    y = np.where(np.arange(30) % 2, 1.0, -1.0)
    X = (rng.normal(size=(30, 12)) + 0.5 * y[:, None]) * np.logspace(-3, 3, 12) + 1e9 * (np.arange(12) % 2)
    problem, data = Problem(Hinge(), 8e-5), Dataset(X, y)
    fit = interior_hinge(problem, data)
    assert problem.value(HingeLearner(problem).fit(data), data) <= fit.value
