"""Losses, problems and learners of k classes: derivatives, closed forms and second solvers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from multi_cases import blobs
from sklearn.linear_model import LogisticRegression

from linpoison.attacks.many.influence import Surrogate, soft_error
from linpoison.core import CapabilityError, Dataset, InputError, MultiModel
from linpoison.learners import (
    AdaGradLearner,
    LearnerWarning,
    LibraryLearner,
    MultiReferenceLearner,
    NewtonLearner,
    make_learner,
    newton_multi,
)
from linpoison.losses import CrammerSinger, MultiProblem, Softmax

LOSSES = [CrammerSinger(), Softmax(), Softmax(1.0, 0.4)]


def a_model(k: int = 3, d: int = 4) -> MultiModel:
    return MultiModel.from_matrix(np.random.default_rng(5).standard_normal((k, d + 1)))


def differences(value, matrix: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """Central differences of a function of a matrix."""
    result = np.zeros_like(matrix)
    for index in np.ndindex(*matrix.shape):
        step = np.zeros_like(matrix)
        step[index] = h
        result[index] = (value(matrix + step) - value(matrix - step)) / (2 * h)
    return result


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("penalize", [True, False])
def test_gradient_of_the_objective(loss, penalize):
    data = replace(blobs(), weight=np.random.default_rng(1).random(60))
    problem = MultiProblem(loss, 0.1, penalize)
    expected = differences(lambda m: problem.value(MultiModel.from_matrix(m), data), a_model().matrix)
    assert np.allclose(problem.gradient(a_model(), data), expected, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_loss_stated_to_the_conic_solver(loss):
    import cvxpy as cp

    scores, y = np.random.default_rng(0).standard_normal((7, 4)), np.array([0, 1, 2, 3, 0, 1, 2])
    assert np.allclose(loss.expression(cp.Constant(scores), y).value, loss.value(scores, y))


def test_soft_hinge_tends_to_the_hinge_from_above():
    scores, y = 3 * np.random.default_rng(0).standard_normal((50, 4)), np.arange(50) % 4
    hard, soft = CrammerSinger().value(scores, y), Softmax(1.0, 0.01).value(scores, y)
    assert (soft >= hard - 1e-12).all()
    assert np.abs(soft - hard).max() <= 0.01 * np.log(4) + 1e-12


def test_rank_is_the_hinge_without_its_clip():
    scores = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert CrammerSinger().rank(scores, np.array([0, 0])).tolist() == [-2.0, 4.0]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("penalize", [True, False])
@pytest.mark.parametrize("sparse", [False, True])
def test_fast_learners_agree_with_the_conic_reference(loss, penalize, sparse):
    data = replace(blobs(), weight=1.0 + np.arange(60) % 3)
    problem = MultiProblem(loss, 0.05, penalize)
    slow = MultiReferenceLearner(problem).fit(data)
    rows = replace(data, X=sp.csr_array(data.X)) if sparse else data
    found = newton_multi(problem, rows, gap_tol=1e-8)
    assert -1e-12 <= found.gap <= 1e-8 * found.value
    assert found.value == pytest.approx(problem.value(found.model, data), rel=1e-12)
    assert abs(found.value - problem.value(slow, data)) < 1e-6
    shift = (found.model.matrix - slow.matrix).mean(axis=0)  # free intercepts are unique up to a common number
    assert np.allclose(found.model.matrix - shift, slow.matrix, atol=2e-3)
    assert newton_multi(problem, rows, slow, gap_tol=1e-5).value <= found.value * (1 + 1e-5)


def test_fast_learners_agree_with_scikit_learn():
    data = blobs()
    smooth, hinge = MultiProblem("softmax", 0.05, False), MultiProblem("crammer_singer", 0.05)
    regression = LogisticRegression(C=1 / (0.05 * 60), tol=1e-9).fit(data.X, data.codes)
    values = smooth.value(MultiModel(regression.coef_, regression.intercept_), data)
    assert smooth.value(NewtonLearner(smooth).fit(data), data) == pytest.approx(values, abs=1e-7)
    values = [hinge.value(kind.fit(data), data) for kind in (NewtonLearner(hinge), LibraryLearner(hinge, tol=1e-8))]
    assert values[0] == pytest.approx(values[1], abs=1e-7)


def test_newton_says_where_it_stopped():
    with pytest.warns(LearnerWarning, match="approximate"):
        NewtonLearner(MultiProblem("softmax", 1e-3), max_steps=1).fit(blobs())
    stopped = newton_multi(MultiProblem("softmax", 1e-3), blobs(), max_steps=1)
    best = newton_multi(MultiProblem("softmax", 1e-3), blobs(), stopped.model)
    assert 0 < stopped.value - best.value <= stopped.gap


@pytest.mark.parametrize("loss", ["softmax", "crammer_singer"])
def test_a_start_far_out_ends_at_the_same_model(loss):
    problem, data = MultiProblem(loss, 0.01, penalize_intercept=False), blobs()
    best = newton_multi(problem, data, gap_tol=1e-6)
    for size in (1e3, 1e9):  # every row is sure of a class: nothing bends but the penalty
        start = MultiModel.from_matrix(size * np.random.default_rng(0).normal(size=(3, 5)))
        assert newton_multi(problem, data, start, gap_tol=1e-6).value == pytest.approx(best.value, rel=1e-5)
    sure = replace(data, X=1e4 * np.eye(3, 4)[data.codes])
    start = MultiModel.from_matrix(np.eye(3, 5))
    found = newton_multi(problem, sure, start, gap_tol=1e-4, max_steps=200)
    assert found.gap >= 0
    assert found.value < problem.value(start, sure)


def test_adagrad_approaches_the_reference():
    data, problem = blobs(), MultiProblem("crammer_singer", 0.1)
    found = AdaGradLearner(problem, passes=300).fit(data)
    best = problem.value(MultiReferenceLearner(problem).fit(data), data)
    assert best - 1e-8 <= problem.value(found, data) <= 1.03 * best


def test_adagrad_is_seeded_and_visits_copies():
    data, problem = blobs(), MultiProblem("crammer_singer")
    same = [AdaGradLearner(problem, seed=3).fit(data).matrix for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert (same[0] != AdaGradLearner(problem, seed=4).fit(data).matrix).any()
    doubled = replace(data, weight=np.full(data.n, 2.0))
    assert (AdaGradLearner(problem, seed=3).fit(doubled).matrix != same[0]).any()
    with pytest.raises(InputError, match="whole weights"):
        AdaGradLearner(problem).fit(replace(data, weight=np.full(data.n, 0.5)))


def test_choice_of_learner():
    assert isinstance(make_learner(MultiProblem("crammer_singer")), AdaGradLearner)
    assert isinstance(make_learner(MultiProblem("crammer_singer", 0.1)), LibraryLearner)
    assert isinstance(make_learner(MultiProblem("crammer_singer", 0.1, False)), NewtonLearner)
    assert isinstance(make_learner(MultiProblem("softmax", 0.1), method="reference"), MultiReferenceLearner)
    for wrong in ("nothing", None):
        with pytest.raises(InputError):
            make_learner(MultiProblem(), method=wrong)
    with pytest.raises(CapabilityError, match="penalised intercepts"):
        LibraryLearner(MultiProblem("crammer_singer", 0.1, False))


def test_surrogate_hessian_and_influence():
    data, problem = blobs(), MultiProblem(Softmax(1.0, 0.7), 0.1)
    model, V = a_model(), np.random.default_rng(2).standard_normal((3, 5))
    h = 1e-6
    ahead, behind = (MultiModel.from_matrix(model.matrix + s * h * V) for s in (1, -1))
    expected = (problem.gradient(ahead, data) - problem.gradient(behind, data)) / (2 * h)
    product = Surrogate(problem).hessian(model, data)
    assert np.allclose(product(V), expected, atol=1e-7)
    assert np.allclose(Surrogate(problem, single=True).hessian(model, data)(V), expected, atol=1e-5)
    assert np.linalg.norm(product(Surrogate(problem).influence(model, data, V)) - V) <= 0.0101 * np.linalg.norm(V)


def test_surrogate_trains_to_the_reference():
    data, problem = blobs(), MultiProblem(Softmax(1.0, 0.7), 0.1)
    found = Surrogate(problem).train(data, MultiModel.zeros(3, 4), 30)
    best = problem.value(MultiReferenceLearner(problem).fit(data), data)
    assert abs(problem.value(found, data) - best) < 1e-5
    with pytest.raises(InputError):
        Surrogate(MultiProblem("crammer_singer", 0.1))


def test_soft_error_and_its_gradient():
    data = blobs()
    expected = differences(lambda m: soft_error(MultiModel.from_matrix(m), data, 0.5)[0], a_model().matrix)
    assert np.allclose(soft_error(a_model(), data, 0.5)[1], expected, atol=1e-7)
    assert soft_error(a_model(), data, 1e-9)[0] == pytest.approx(a_model().error(data))


@pytest.mark.parametrize(
    ("X", "y", "options"),
    [
        ([[1.0]], [0.5], {}),
        ([[1.0]], [-1], {}),
        ([[1.0]], [0, 1], {}),
        ([[1.0], [2.0]], [0, 2], {"n_classes": 2}),
        ([[np.nan]], [0], {}),
        ([[1.0]], ["a"], {}),
    ],
)
def test_bad_rows_are_refused(X, y, options):
    with pytest.raises(InputError):
        Dataset.coded(X, y, **options)


def test_rows_are_mixed_and_taken():
    data = Dataset.coded([[1.0], [2.0]], [0, 1], [2.0, 0.0])
    assert data.mix(data.take([1])).y.tolist() == [0, 1, 1]
    for wrong in (Dataset.coded([[1.0, 2.0]], [0]), Dataset.coded([[1.0]], [2])):
        with pytest.raises(InputError):
            data.mix(wrong)
    with pytest.raises(InputError, match="each of 2 classes"):
        AdaGradLearner(MultiProblem()).fit(data)
