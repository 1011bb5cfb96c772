"""The warm hinge solver against the conic reference, from good and absurd starts."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.core import Dataset, InputError, LinearModel
from linpoison.learners import make_learner
from linpoison.learners.reference import ReferenceLearner
from linpoison.learners.svm import HingeLearner
from linpoison.learners.svm_warm import warm_hinge
from linpoison.losses import Hinge, Problem

CONVENTIONS = {
    "penalised": {"penalize_intercept": True},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
}


def sample(seed, *, n=60, d=5, sparse=False, equal=0):
    """Overlapping classes, uneven weights, and some row `equal` times over under the wrong label."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    X = rng.poisson(0.8, (n, d)) + 0.7 * (y[:, None] > 0) * (np.arange(d) < 2)
    weight = rng.choice([0.3, 1.0, 2.5], n)
    if equal:
        X = np.vstack([X, np.tile(X[0] * 3, (equal, 1))])
        y = np.append(y, np.full(equal, -y[0]))
        weight = np.append(weight, np.ones(equal))
    return Dataset(sp.csr_array(X) if sparse else X, y, weight)


def starts(problem, data):
    good = HingeLearner(problem).fit(data.take(np.arange(data.n - 6)))
    return {
        "good": good,
        "zero": LinearModel(np.zeros(data.d)),
        "absurd": LinearModel(np.full(data.d, -1e6), 3e7),
        "opposite": LinearModel(-good.coef, -good.intercept),
    }


@pytest.mark.parametrize("scaling", [{}, {"scaling": "sum", "n_reference": 30}], ids=["mean", "sum"])
@pytest.mark.parametrize("equal", [0, 12], ids=["distinct", "equal"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_is_the_reference(convention, sparse, equal, scaling):
    data = sample(equal + 7 * sparse, sparse=sparse, equal=equal)
    problem = Problem(Hinge(), 0.05, **CONVENTIONS[convention], **scaling)
    reference = ReferenceLearner(problem).fit(data)
    best = problem.value(reference, data)
    for name, start in starts(problem, data).items():
        fit = warm_hinge(problem, data, start)
        assert fit.value == pytest.approx(problem.value(fit.model, data), rel=1e-12)
        assert -1e-12 <= fit.gap <= 1e-9 * fit.value, name
        assert fit.value == pytest.approx(best, rel=1e-6), name
        np.testing.assert_allclose(fit.model.coef, reference.coef, atol=2e-3)
        if not problem.fit_intercept:
            assert fit.model.intercept == 0.0


@pytest.mark.parametrize("reg", [1e-3, 0.05, 5.0])
@pytest.mark.parametrize("seed", range(6))
def test_is_the_reference_for_weak_and_strong_regularisation(seed, reg):
    data = sample(seed, n=40, d=8, sparse=bool(seed % 2), equal=seed)
    problem = Problem(Hinge(), reg, penalize_intercept=bool(seed % 3))
    model = make_learner(problem).fit(data, start=LinearModel(np.ones(8), 1.0))
    assert problem.value(model, data) == pytest.approx(
        problem.value(ReferenceLearner(problem).fit(data), data), rel=1e-6
    )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_gap_bounds_the_distance_to_the_best_at_every_step(convention):
    data = sample(3, equal=9)
    problem = Problem(Hinge(), 0.02, **CONVENTIONS[convention])
    best = warm_hinge(problem, data, LinearModel(np.zeros(data.d))).value
    for steps in range(8):
        early = warm_hinge(problem, data, LinearModel(np.ones(data.d)), max_steps=steps)
        assert early.steps <= steps
        assert early.value - best <= early.gap + 1e-12


def test_copies_are_weights():
    data = sample(1)
    weight = np.random.default_rng(0).integers(1, 4, data.n)
    problem = Problem(Hinge(), 0.05)
    start = LinearModel(np.zeros(data.d))
    index = np.repeat(np.arange(data.n), weight)
    weighted = warm_hinge(problem, replace(data, weight=weight.astype(float)), start)
    copied = warm_hinge(problem, Dataset(data.X[index], data.y[index]), start)
    assert weighted.model.distance(copied.model) < 1e-3
    assert weighted.value == pytest.approx(copied.value, rel=2e-9)


def test_a_start_at_the_answer_is_left_sooner():
    data = sample(5, n=200)
    problem = Problem(Hinge(), 0.05)
    cold = warm_hinge(problem, data, LinearModel(np.full(data.d, 50.0)))
    assert warm_hinge(problem, data, cold.model).steps <= cold.steps


def test_two_rows_in_closed_form():
    data = Dataset([[-1.0], [1.0]], [-1, 1])
    fit = warm_hinge(Problem(Hinge(), 2.0, fit_intercept=False), data, LinearModel([7.0]))
    assert fit.model.coef[0] == pytest.approx(0.5, abs=1e-4)
    assert fit.value == pytest.approx(0.75, rel=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_learner_agrees_from_any_start_and_repeats_itself(convention):
    data = sample(2, equal=5)
    data = replace(data, weight=np.where(np.arange(data.n) % 9 == 8, 0.0, data.weight))
    problem = Problem(Hinge(), 0.05, **CONVENTIONS[convention])
    learner = make_learner(problem)
    cold = learner.fit(data)
    for start in starts(problem, data).values():
        warm = learner.fit(data, start=start)
        assert problem.value(warm, data) == pytest.approx(problem.value(cold, data), rel=1e-6)
        again = learner.fit(data, start=start)
        np.testing.assert_array_equal(warm.vector, again.vector)


def test_an_open_gap_is_left_to_libsvm(monkeypatch):
    data = sample(4)
    problem = Problem(Hinge(), 0.05, penalize_intercept=False)
    start = LinearModel(np.ones(data.d))
    early = warm_hinge(problem, data, start, max_steps=1)
    assert early.gap > 1e-3
    monkeypatch.setattr("linpoison.learners.svm.warm_hinge", lambda *_, **__: early)
    np.testing.assert_array_equal(HingeLearner(problem).fit(data, start).vector, HingeLearner(problem).fit(data).vector)


def test_a_closed_gap_needs_no_libsvm(monkeypatch):
    def refuse(*_):
        raise AssertionError("libsvm")

    data = sample(4)
    problem = Problem(Hinge(), 0.05, penalize_intercept=False)
    monkeypatch.setattr(HingeLearner, "_libsvm", refuse)
    HingeLearner(problem).fit(data, LinearModel(np.ones(data.d)))


def test_a_start_of_another_size_is_refused():
    with pytest.raises(InputError, match="start of 5 coefficients"):
        make_learner(Problem(Hinge(), 0.1)).fit(sample(0), start=LinearModel(np.zeros(4)))


@pytest.mark.parametrize(("offset", "scale", "reg"), [(1e8, 1.0, 1e-8), (0.0, 1e10, 1e-1), (1e2, 1e10, 10.0)])
def test_rounding_that_leaves_no_system_leaves_an_open_gap(offset, scale, reg):
    """Columns far apart in size: Newton's system is lost, which is for the learner to mend and not for the user."""
    rng, y = np.random.default_rng(0), np.where(np.arange(12) % 2, 1.0, -1.0)
    for _ in range(20):
        X = (rng.normal(size=(12, 2)) + 0.6 * y[:, None] + np.array([offset, 0.0])) * np.array([1.0, scale])
        found = warm_hinge(Problem(Hinge(), reg), Dataset(X, y), LinearModel(np.zeros(2)))
        assert not np.isnan([found.gap, found.value]).any()
