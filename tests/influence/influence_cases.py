"""Small poisoned problems and derivatives of the retrained target by finite differences."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from linpoison.core import Dataset, Poison
from linpoison.learners import SmoothLearner

CONVENTIONS = {
    "penalised": {"penalize_intercept": True},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
    "sum": {"scaling": "sum", "n_reference": 50.0},
    "sum, free": {"scaling": "sum", "n_reference": 50.0, "penalize_intercept": False},
}


def rows_of(sparse: bool, n: int, d: int, seed: int) -> Dataset:
    """Overlapping classes with fractional weights; CSR rows are word counts."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 3 > 0, 1.0, -1.0)
    weight = rng.choice([0.5, 1.0, 2.0], size=n)
    if sparse:
        rate = 0.25 + 0.2 * (y[:, None] * np.linspace(-1, 1, d)[None, :] > 0)
        return Dataset(sp.csr_array(rng.poisson(rate).astype(float)), y, weight)
    return Dataset(rng.standard_normal((n, d)) + 0.4 * y[:, None] + 0.2, y, weight)


def case(sparse: bool) -> tuple[Dataset, Poison, Dataset]:
    """Clean rows, two weighted poison rows and target rows; CSR ones with more columns than rows."""
    n, d = (40, 60) if sparse else (60, 5)
    rng = np.random.default_rng(9)
    X = np.abs(rng.standard_normal((2, d))) if sparse else rng.standard_normal((2, d))
    stored = sp.csr_array(X) if sparse else X
    return rows_of(sparse, n, d, 0), Poison(stored, [1, -1], [3.5, 4.0]), rows_of(sparse, 30, d, 1)


def retrained(problem, train, poison, target):
    """The target's value at the model learned from clean rows and poison."""
    learner = SmoothLearner(problem)
    learner.tol = 1e-14
    return target.value(learner.fit(train.mix(poison.as_dataset())))


def slope(function, step):
    """A central difference of fourth order at zero."""
    near, far = function(step) - function(-step), function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def moved(poison, direction, counts, step):
    """The poison with its rows moved along a direction and its counts along another."""
    X = poison.X.toarray() if sp.issparse(poison.X) else poison.X
    shifted = X + step * direction
    return Poison(sp.csr_array(shifted) if sp.issparse(poison.X) else shifted, poison.y, poison.count + step * counts)
