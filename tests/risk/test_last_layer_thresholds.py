"""The necessary conditions for cross-entropy: the constant, two classes, and poisons that were really learned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from linpoison.certificates.theory import reachability_threshold
from linpoison.core import Dataset, LinearModel
from linpoison.learners import make_learner
from linpoison.losses import Logistic, MultiProblem, Problem, Softmax
from linpoison.risk import Condition, LBFGSTrainer, LinearRisk, Sample, least_residuals, reachability


@pytest.mark.parametrize("c", [2, 3, 10, 1000])
def test_the_reach_is_the_supremum_over_all_scores(c):
    def pulled(h):
        p = np.exp(h - h.max())
        p /= p.sum()
        return float(p @ h) - float(h[0])

    rng = np.random.default_rng(c)
    best = max(-minimize(pulled, rng.normal(size=c)).fun for _ in range(3)) if c <= 10 else 0.0
    t = np.linspace(0, 12, 100_001)
    dense = float((t * (c - 1) / (np.exp(t) + c - 1)).max())
    assert LinearRisk(c).reach == pytest.approx(dense, rel=1e-7)
    assert best == pytest.approx(dense if c <= 10 else 0.0, rel=1e-6)


def test_two_classes_are_logistic_regression():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.choice([-1.0, 1.0], size=30)
    coef = np.array([-1.0, 0.4, 0.3])
    binary = reachability_threshold(Problem(Logistic(), 0.02, fit_intercept=False), LinearModel(coef), Dataset(X, y))
    # |W|^2 of (-coef, coef) / 2 is half of |coef|^2
    w, rows = np.append(-coef, coef) / 2, Sample(X, (y > 0).astype(int))
    both = reachability(LinearRisk(2, 0.04, fit_intercept=False), w, rows)
    assert both.threshold == pytest.approx(binary.epsilon)
    assert reachability(LinearRisk(2, fit_intercept=False), w, rows).threshold < both.threshold


@pytest.mark.parametrize("penalize", [True, False])
def test_what_was_learned_with_poison_needs_no_more_than_the_poison(penalize):
    rng = np.random.default_rng(1)
    y = np.arange(45) % 3
    clean = Dataset.coded(np.eye(3)[y][:, :2] * 2 + rng.normal(size=(45, 2)), y)
    poison = Dataset.coded(clean.X[:9] * 2, (y[:9] + 1) % 3, np.full(9, 8.0), n_classes=3)
    problem = MultiProblem(Softmax(), 0.05, penalize_intercept=penalize)
    model = make_learner(problem, method="reference").fit(clean.mix(poison))
    risk, w = LinearRisk(3, 0.05, penalize_intercept=penalize), np.append(model.coef, model.intercept)
    found = reachability(risk, w, Sample(clean.X, clean.y))
    assert 0 < found.threshold <= poison.total / clean.total * (1 + 1e-6)


def test_weights_are_copies_and_the_growth_of_the_regulariser_matters():
    X, labels, w = np.array([[2.0], [-1.0], [-0.5]]), [0, 1, 1], np.array([-0.5, 0.5])
    risk = LinearRisk(2, 0.1, fit_intercept=False)
    weighted, copied = Sample(X, labels, [2.0, 1.0, 0.0]), Sample(X[[0, 0, 1]], [0, 0, 1])
    grown = reachability(risk, w, weighted)
    assert grown.threshold == pytest.approx(reachability(risk, w, copied).threshold)
    condition = Condition.of(risk, w, copied)
    held = reachability(risk, w, copied, Condition(condition.rest, np.zeros(2)))
    assert 0 < held.threshold < grown.threshold
    assert reachability(LinearRisk(2, 5.0, fit_intercept=False), w, copied).threshold == np.inf


@pytest.mark.parametrize("reg", [0.0, 0.05])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_rank_is_at_most_the_number_of_rows_that_a_model_was_learned_with(reg, count):
    rng = np.random.default_rng(count)
    X, y = rng.normal(size=(80, 7)), rng.integers(6, size=80)
    clean, mass = Sample(X, y), 0.4
    poison = Sample(2 * X[:count], (y[:count] + 1) % 6, np.full(count, mass * 80 / count))
    risk = LinearRisk(6, reg)
    w = LBFGSTrainer(1e-12).fit(risk, clean.joined(poison, risk)).w
    left = least_residuals(risk, w, clean, mass)
    assert np.count_nonzero(left) == count
    assert (np.diff(left) < 0).all()


def test_no_poison_of_few_rows_leaves_less_than_the_bound():
    rng = np.random.default_rng(0)
    clean, risk, w = Sample(rng.normal(size=(30, 4)), np.arange(30) % 4), LinearRisk(4, 0.1), rng.normal(size=20)
    left = least_residuals(risk, w, clean, 0.5)
    assert len(left) == 5  # with the regulariser, all four singular values count
    assert len(least_residuals(LinearRisk(4), w, clean, 0.5)) == 4  # slopes of cross-entropy add up to zero
    condition = Condition.of(risk, w, clean)
    for s in range(4):
        found = []
        for _ in range(200):
            X, y, share = (
                rng.normal(size=(s, 4), scale=3),
                rng.integers(4, size=s),
                0.5 * rng.dirichlet(np.ones(s)) if s else 0,
            )
            pull = risk.loss_vjp(w, X, y, share) if s else 0.0
            found.append(np.linalg.norm(condition.rest + 0.5 * condition.growth + pull))
        assert min(found) >= left[s] * (1 - 1e-12)


def test_a_free_matrix_proves_no_more_than_the_trace():
    """Equation (3.11): ``A = I + u 1'`` has the numerator and the supremum of I, and no other matrix a finite one."""
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(30, 4)), np.arange(30) % 3, rng.normal(size=12)
    risk = LinearRisk(3, fit_intercept=False)
    G, W = risk.data_grad(w, X, y).reshape(3, 4), w.reshape(3, 4)
    M = G @ W.T
    shifted = np.eye(3) + np.outer(rng.normal(size=3), np.ones(3))
    assert np.trace(shifted @ M) == pytest.approx(np.trace(M))
    assert np.trace(M) == pytest.approx(reachability(risk, w, Sample(X, y)).numerator)
    tilted = np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    supplied = []
    for t in (10.0, 100.0, 1000.0):
        scores = t * rng.normal(size=(4000, 3))
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        slopes = [np.eye(3)[k] - p for k in range(3)]
        supplied.append(max(float(((s @ tilted.T) * scores).sum(axis=1).max()) for s in slopes))
    assert supplied[1] > 5 * supplied[0]
    assert supplied[2] > 5 * supplied[1]
