"""The necessary conditions for cross-entropy: the constant, two classes, and poisons that were really learned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from linpoison.certificates.thresholds import (
    cross_entropy_reach,
    cross_entropy_threshold,
    last_layer_threshold,
    reachability_threshold,
)
from linpoison.core import Dataset, InputError, LinearModel
from linpoison.learners import make_learner
from linpoison.losses import Logistic, MultiProblem, Problem, Softmax


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
    assert cross_entropy_reach(c) == pytest.approx(dense, rel=1e-7)
    assert best == pytest.approx(dense if c <= 10 else 0.0, rel=1e-6)


def test_two_classes_are_logistic_regression():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.choice([-1.0, 1.0], size=30)
    coef = np.array([-1.0, 0.4, 0.3])
    binary = reachability_threshold(Problem(Logistic(), 0.02, fit_intercept=False), LinearModel(coef), Dataset(X, y))
    # |W|^2 of (-coef, coef) / 2 is half of |coef|^2
    both = last_layer_threshold(X, np.vstack([-coef, coef]) / 2, np.zeros(2), (y > 0).astype(int), reg=0.04)
    assert both.epsilon == pytest.approx(binary.epsilon)
    plain = cross_entropy_threshold(np.column_stack([-X @ coef, X @ coef]) / 2, (y > 0).astype(int))
    assert plain.epsilon < both.epsilon


@pytest.mark.parametrize("penalize", [True, False])
def test_what_was_learned_with_poison_needs_no_more_than_the_poison(penalize):
    rng = np.random.default_rng(1)
    y = np.arange(45) % 3
    clean = Dataset.coded(np.eye(3)[y][:, :2] * 2 + rng.normal(size=(45, 2)), y)
    poison = Dataset.coded(clean.X[:9] * 2, (y[:9] + 1) % 3, np.full(9, 8.0), n_classes=3)
    problem = MultiProblem(Softmax(), 0.05, penalize_intercept=penalize)
    model = make_learner(problem, method="reference").fit(clean.mix(poison))
    found = last_layer_threshold(clean.X, model.coef, model.intercept, clean.y, reg=0.05, penalize_intercept=penalize)
    assert 0 < found.epsilon <= poison.total / clean.total * (1 + 1e-6)


def test_weights_are_copies_and_scaling_matters():
    logits, labels = [[0.0, 2.0], [1.0, 0.0], [0.5, 0.0]], [0, 1, 1]
    weighted = cross_entropy_threshold(logits, labels, weight=[2.0, 1.0, 0.0], penalty=0.1)
    copied = cross_entropy_threshold([logits[0], logits[0], logits[1]], [0, 0, 1], penalty=0.1)
    assert weighted.epsilon == pytest.approx(copied.epsilon)
    held = cross_entropy_threshold(logits, labels, penalty=0.1, scaling="sum")
    grown = cross_entropy_threshold(logits, labels, penalty=0.1)
    assert held.epsilon < grown.epsilon
    assert cross_entropy_threshold(logits, labels, penalty=5.0).epsilon == np.inf


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="n_classes"):
        cross_entropy_reach(1)
    with pytest.raises(InputError, match="labels from 0 to 1"):
        cross_entropy_threshold([[0.0, 1.0]], [2])
    with pytest.raises(InputError, match="whole labels"):
        cross_entropy_threshold([[0.0, 1.0]], [0.5])
    with pytest.raises(InputError, match="finite logits"):
        cross_entropy_threshold([[0.0, np.nan]], [0])
    with pytest.raises(InputError, match="scaling"):
        cross_entropy_threshold([[0.0, 1.0]], [0], scaling="max")
    with pytest.raises(InputError, match="positive weight"):
        cross_entropy_threshold([[0.0, 1.0]], [0], weight=[0.0])
    with pytest.raises(InputError, match="c intercepts"):
        last_layer_threshold([[1.0]], [[1.0], [2.0]], [0.0], [0])
