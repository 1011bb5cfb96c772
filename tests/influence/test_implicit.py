"""The implicit gradient against finite differences of the retrained target, and the Hessian's routes against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from influence_cases import CONVENTIONS, case, moved, retrained, slope

from linpoison.core import CapabilityError, Dataset, InputError, LinearModel, SolverFailed
from linpoison.influence import ImplicitGradient, MeanLoss, PoisonGradient, SoftError
from linpoison.learners import SmoothLearner, hessian, make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared

LOSSES = [SmoothHinge(0.1), SmoothHinge(0.5), Logistic(), Squared()]


def fitted(problem, data):
    learner = SmoothLearner(problem)
    learner.tol = 1e-14
    return learner.fit(data)


def gradient_of(problem, train, poison, target):
    data = train.mix(poison.as_dataset())
    return PoisonGradient.at(ImplicitGradient(problem, data, fitted(problem, data)), poison, target)


@pytest.mark.filterwarnings("ignore:Newton's method stopped")
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_equal_finite_differences_of_the_retrained_target(loss, convention, sparse):
    train, poison, rows = case(sparse)
    problem = Problem(loss, 0.2, **CONVENTIONS[convention])
    target = MeanLoss(rows, SmoothHinge(0.3)) if sparse else SoftError(rows, 0.4)
    answer = gradient_of(problem, train, poison, target)
    assert answer.value == pytest.approx(retrained(problem, train, poison, target), rel=1e-9)
    rng = np.random.default_rng(3)
    still = np.zeros(2)
    for _ in range(3):
        direction = rng.standard_normal(answer.rows.shape)
        direction *= 1 / np.linalg.norm(direction)
        by_hand = slope(lambda t, u=direction: retrained(problem, train, moved(poison, u, still, t), target), 4e-3)
        exact = float((answer.rows * direction).sum())
        assert exact == pytest.approx(by_hand, rel=1e-6, abs=1e-6 * np.linalg.norm(answer.rows))
    for unit in np.eye(2):
        by_hand = slope(lambda t, u=unit: retrained(problem, train, moved(poison, 0.0, u, t), target), 2e-2)
        assert answer.counts @ unit == pytest.approx(by_hand, rel=1e-6, abs=1e-6 * np.abs(answer.counts).max())


def test_weight_of_a_row_that_is_not_there_yet():
    """The gradient in the copies of a row at none of them is the derivative of adding it."""
    train, poison, rows = case(False)
    problem, target = Problem(SmoothHinge(0.2), 0.1), SoftError(rows)
    model = fitted(problem, train)
    answer = PoisonGradient.at(ImplicitGradient(problem, train, model), poison, target).counts
    for number, unit in enumerate(np.eye(2)):
        absent = moved(poison, 0.0, -poison.count, 1.0)
        step = 1e-4
        added = retrained(problem, train, moved(absent, 0.0, unit, step), target) - target.value(model)
        assert answer[number] == pytest.approx(added / step, rel=1e-3)


def dense_hessian(X, curvature, penalty):
    full = np.column_stack([X.toarray() if sp.issparse(X) else X, np.ones(X.shape[0])])
    return np.diag(penalty) + (full * curvature[:, None]).T @ full


def test_conjugate_gradients_that_stall_are_refused(monkeypatch):
    train, _, rows = case(False)
    problem = Problem(Logistic(), 1e-4)
    model = make_learner(problem).fit(train)
    implicit = ImplicitGradient(problem, train, model)
    monkeypatch.setattr(hessian, "DIRECT", 1)
    monkeypatch.setattr(hessian, "STALLED", 1)
    implicit._hessian.max_iter = 1
    with pytest.raises(SolverFailed, match="Scale the columns"):
        implicit.solve(SoftError(rows).gradient(model))


def test_rows_of_no_curvature_are_left_out_of_the_factor():
    train, _, _ = case(True)
    problem = Problem(SmoothHinge(0.001), 0.1)
    implicit = ImplicitGradient(problem, train, make_learner(problem).fit(train))
    assert 0 < implicit._hessian.rows.shape[0] < train.n
    full = dense_hessian(
        train.X,
        problem.loss.second_derivative(implicit.model.margins(train)) * train.weight / train.total,
        0.1 * np.ones(train.d + 1),
    )
    v = np.random.default_rng(0).standard_normal(train.d + 1)
    np.testing.assert_allclose(implicit.solve(v), np.linalg.solve(full, v), rtol=1e-7, atol=1e-9)


def test_band_of_the_hinge_follows_larger_moves_of_the_exact_svm():
    """The hinge's own path is piecewise: over moves that let rows cross the margin, the band has the trend."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(3000) < 0.5, 1.0, -1.0)
    train = Dataset(rng.standard_normal((3000, 3)) + 0.5 * y[:, None], y)
    rows = Dataset(rng.standard_normal((500, 3)) + np.array([1.0, -0.5, 0.0]), np.ones(500))
    problem, target = Problem(Hinge(), 0.1), SoftError(rows, 0.3)
    point = np.array([[2.0, 0.5, 1.0]])

    def value(X, copies):
        return target.value(make_learner(problem).fit(train.mix(Dataset(X, [-1], [copies]))))

    poison = Dataset(point, [-1], [150.0])
    data = train.mix(poison)
    model = make_learner(problem).fit(data)
    implicit = ImplicitGradient(problem, data, model, band=0.1)
    v = target.gradient(model)
    by_hand = [(value(point + u, 150.0) - value(point - u, 150.0)) / 0.8 for u in 0.4 * np.eye(3)[:, None]]
    error = np.linalg.norm(implicit.of_rows(v, poison)[0] - by_hand)
    assert error < 0.1 * np.linalg.norm(by_hand)
    gained = (value(point, 170.0) - value(point, 130.0)) / 40
    assert PoisonGradient.at(implicit, poison, target).counts[0] == pytest.approx(gained, rel=0.1)


def test_band_is_the_mean_of_the_hinge_over_margins():
    train, _, _ = case(False)
    implicit = ImplicitGradient(Problem(Hinge(), 0.1), train, LinearModel(np.zeros(5)), band=0.5)
    margins = np.array([0.0, 0.5, 0.75, 1.0, 1.4, 1.6])
    np.testing.assert_allclose(implicit._link.slopes(margins), [-1, -1, -0.75, -0.5, -0.1, 0], atol=1e-12)
    np.testing.assert_allclose(implicit._link.bends(margins), [0, 0, 1, 1, 1, 0])


def test_bad_arguments_are_refused():
    train, _, _ = case(False)
    zero = LinearModel(np.zeros(5))
    with pytest.raises(CapabilityError, match="band"):
        ImplicitGradient(Problem(Hinge(), 0.1), train, zero)
    with pytest.raises(CapabilityError, match="Leave it out"):
        ImplicitGradient(Problem(Logistic(), 0.1), train, zero, band=0.1)
    with pytest.raises(InputError, match="above 0"):
        ImplicitGradient(Problem(Hinge(), 0.1), train, zero, band=0.0)
    with pytest.raises(InputError, match="5 coefficients"):
        ImplicitGradient(Problem(Logistic(), 0.1), train, LinearModel(np.zeros(4)))
    with pytest.raises(InputError, match=r"shape \(6,\)"):
        ImplicitGradient(Problem(Logistic(), 0.1), train, zero).solve(np.zeros(5))
    far = LinearModel(np.zeros(5), 1e6)
    flat = ImplicitGradient(Problem(SmoothHinge(1e-3), 0.1, penalize_intercept=False), train.of_class(1.0), far)
    with pytest.raises(InputError, match="Penalise the intercept"):
        flat.solve(np.ones(6))
