"""Small problems that the tests of this folder share."""

import numpy as np
import scipy.sparse as sp

from linpoison.core import Dataset
from linpoison.losses import Hinge, Logistic, SmoothHinge, Squared, SquaredHinge

LOSSES = [Hinge(), SquaredHinge(), SmoothHinge(0.1), SmoothHinge(0.01), Logistic(), Squared()]
CONVENTIONS = {
    "penalised": {"penalize_intercept": True},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
}


def dense(n: int = 80, d: int = 6, seed: int = 0) -> Dataset:
    """Overlapping classes of unequal size, with an offset that an intercept must find."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.35, 1.0, -1.0)
    X = rng.standard_normal((n, d)) + 0.6 * y[:, None] + 0.8
    return Dataset(X, y)


def counts(n: int = 70, d: int = 90, seed: int = 1) -> Dataset:
    """Sparse word counts with more columns than rows."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    rate = 0.15 + 0.15 * (y[:, None] * np.linspace(-1, 1, d)[None, :] > 0)
    return Dataset(sp.csr_array(rng.poisson(rate).astype(float)), y)


def weighted(data: Dataset, seed: int = 2) -> Dataset:
    """The same rows with fractional copies, some of them zero."""
    weight = np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 3.0], size=data.n)
    return Dataset(data.X, data.y, weight)


def unscaled(n: int = 150, seed: int = 3) -> Dataset:
    """Columns of scales from 0.1 to 1000."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 12)) * np.logspace(-1, 3, 12)
    return Dataset(X, np.where(X[:, 0] / 0.1 + rng.standard_normal(n) > 0.3, 1.0, -1.0))


DATA = {
    "dense": dense(),
    "counts": counts(),
    "weighted": weighted(dense()),
    "weighted counts": weighted(counts()),
}
