"""The optimality condition of a decoy: zero at the optimum, the gradient of the objective elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import lsq_linear

from linpoison.attacks import Stationarity
from linpoison.core import Dataset, LinearModel, Poison
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge

RNG = np.random.default_rng(0)
BASE = gaussians(n=70, d=4, seed=6).train
TRAIN = Dataset(BASE.X, BASE.y, RNG.integers(1, 4, 70).astype(float))
SMOOTH = [Logistic(), SmoothHinge(0.2), SquaredHinge(), Squared()]
CONVENTIONS = [
    {},
    {"penalize_intercept": False},
    {"fit_intercept": False},
    {"scaling": "sum", "n_reference": 50.0},
]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_zero_at_the_optimum_of_an_svm_for_some_multipliers(convention):
    problem = Problem(Hinge(), 0.05, **convention)
    condition = Stationarity(TRAIN, problem, make_learner(problem).fit(TRAIN))
    assert 0 < condition.on_kink.sum() < 20
    start = condition.residual({}, 0.0, np.zeros(int(condition.on_kink.sum())))
    matrix = condition.kink_matrix.toarray()
    rows = slice(None) if problem.fit_intercept else slice(0, -1)
    found = lsq_linear(matrix[rows], -start[rows], bounds=(0, 1), tol=1e-14)
    assert np.linalg.norm(condition.residual({}, 0.0, found.x)) < 1e-5
    assert np.linalg.norm(start) > 1e-3


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", SMOOTH)
def test_zero_at_the_optimum_of_a_smooth_loss(loss, convention):
    problem = Problem(loss, 0.05, **convention)
    condition = Stationarity(TRAIN, problem, make_learner(problem).fit(TRAIN))
    assert not condition.on_kink.any()
    assert np.linalg.norm(condition.residual({}, 0.0, np.zeros(0))) < 1e-5


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", [Hinge(), *SMOOTH])
def test_residual_is_the_gradient_on_clean_rows_and_poison(loss, convention, sparse):
    """``r = (N / n) grad`` for poison of known pulls; the gradient itself is checked by finite differences."""
    problem = Problem(loss, 0.05, **convention)
    train = Dataset(sp.csr_array(TRAIN.X), TRAIN.y, TRAIN.weight) if sparse else TRAIN
    decoy = LinearModel(RNG.normal(size=4), 0.3 * problem.fit_intercept)
    poison = Poison(-decoy.coef * np.array([[1.0], [-0.5]]), [1, -1], [7.5, 3.0])
    pulls = loss.pull(poison.y * decoy.decision_function(poison.X)) * poison.count / train.total
    condition = Stationarity(train, problem, decoy, 1e-9)
    entries = {y: (w, w * x) for y, w, x in zip(poison.y, pulls, poison.X, strict=True)}
    residual = condition.residual(entries, poison.total / train.total, np.zeros(0))
    mixed = train.mix(poison.as_dataset())
    expected = problem.gradient(decoy, mixed) * mixed.total / train.total
    expected[-1] *= problem.fit_intercept
    np.testing.assert_allclose(residual, expected, atol=1e-12)


def test_multipliers_of_one_count_rows_on_the_kink_in_full():
    train = Dataset([[1.0, 0.0], [3.0, 1.0], [-1.0, 2.0], [0.5, 0.0]], [1, 1, -1, 1], [2.0, 1.0, 1.0, 1.0])
    problem = Problem(Hinge(), 0.1)
    decoy = LinearModel([1.0, 0.0])
    condition = Stationarity(train, problem, decoy)
    assert condition.on_kink.tolist() == [True, False, True, False]
    penalty = [0.1, 0, 0]
    np.testing.assert_allclose(condition.residual({}, 0.0, np.zeros(2)), np.array([-0.1, 0, -0.2]) + penalty)
    in_full = -(2 * np.array([1.0, 0, 1]) - np.array([-1.0, 2, 1]) + np.array([0.5, 0, 1])) / 5
    np.testing.assert_allclose(condition.residual({}, 0.0, np.ones(2)), in_full + penalty)


def test_the_regulariser_grows_with_the_rows_only_under_mean_scaling():
    decoy = LinearModel(np.ones(4), 2.0)
    mean = Stationarity(TRAIN, Problem(Logistic(), 0.1), decoy).penalty
    np.testing.assert_allclose(mean[1], 0.1 * decoy.vector)
    total = Stationarity(TRAIN, Problem(Logistic(), 0.1, scaling="sum", n_reference=50), decoy).penalty
    np.testing.assert_allclose(total[0], 0.1 * 50 / TRAIN.total * decoy.vector)
    assert not total[1].any()
