"""Small problems of several classes."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from linpoison.attacks import Scenario
from linpoison.core import Budget, Dataset, Domain
from linpoison.defenses import make_defense
from linpoison.learners import AdaGradLearner, MultiLearner
from linpoison.losses import MultiProblem


def blobs(n: int = 60, d: int = 4, k: int = 3, seed: int = 0) -> Dataset:
    """k overlapping Gaussian classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return Dataset.coded(rng.standard_normal((n, d)) + 1.5 * np.eye(k, d)[y], y)


def digits(n: int = 900) -> tuple[Dataset, Dataset]:
    """scikit-learn's digits, pixels in [0, 1]: training and test rows."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(y.size)
    X, y, domain = X[order] / 16.0, y[order], Domain.box(0.0, 1.0, d=64)
    return Dataset.coded(X[:n], y[:n], domain=domain), Dataset.coded(X[n:], y[n:], domain=domain)


def scenario(n: int = 600, epsilon: float = 0.05) -> Scenario:
    """Digits under an early-stopped SVM."""
    train, test = digits(n)
    learner = AdaGradLearner(MultiProblem("crammer_singer"), step=0.1)
    return scenario_of(train, test, learner, epsilon)


def scenario_of(
    train: Dataset, test: Dataset, learner: MultiLearner, epsilon: float, guards=("l2", "loss")
) -> Scenario:
    """A question about k classes."""
    defenses = {name: make_defense(name, problem=learner.problem) for name in guards}
    return Scenario(train, learner.problem, Budget(epsilon), defenses, test, learner=learner)
