"""Small claims for the certificates of the hinge loss, and attacks on them by brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from linpoison.certificates.claim import Claim
from linpoison.core import Dataset, Poison
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, Box, ByLabel, Slab, intersect

CONVENTIONS = {
    "penalised": {},
    "no intercept": {"fit_intercept": False},
    "free": {"penalize_intercept": False},
    "sum": {"scaling": "sum", "n_reference": 10},
}
SHAPES = ("ball", "ball and slab", "box")


def small_claim(convention="penalised", *, n=10, d=2, epsilon=0.1, reg=0.2, seed=0, shape="ball", rows=2, weight=None):
    """Two overlapping clouds, all inside the sets."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X = 0.7 * rng.normal(size=(n, d)) + 0.6 * y[:, None]
    Z = 0.5 * rng.normal(size=(rows, d)) + 0.6 * y[:rows, None]
    sets = ByLabel({label: around(X[y == label], shape) for label in (1, -1)})
    problem = Problem(Hinge(), reg, **CONVENTIONS[convention])
    return Claim(Dataset(X, y, weight), problem, sets, epsilon, Dataset(Z, y[:rows]))


def around(X, shape):
    """A set that holds all rows."""
    center = X.mean(axis=0)
    ball = Ball(center, float(np.linalg.norm(X - center, axis=1).max()) + 1e-6)
    if shape == "ball":
        return ball
    if shape == "box":
        return Box(X.min(axis=0) - 1e-6, X.max(axis=0) + 1e-6)
    normal = np.eye(X.shape[1])[0]
    return intersect(ball, Slab(normal, float(center[0]), float(np.abs(X[:, 0] - center[0]).max()) + 1e-6))


def aims_of(claim):
    """``k (z, 1)`` of the rows."""
    one = float(claim.problem.fit_intercept)
    return np.column_stack([claim.rows.X, np.full(claim.rows.n, one)]) * claim.rows.y[:, None]


def damage(claim, train, poison=None):
    """Negative margins of the rows after retraining."""
    data = train if poison is None else train.mix(poison.as_dataset())
    return -aims_of(claim) @ make_learner(claim.problem).fit(data).vector


def random_poison(claim, rng, points=3):
    """Rows of the sets, near their boundaries, of all the mass."""
    y = rng.choice([-1.0, 1.0], size=points)
    X = np.vstack(
        [claim.sets[label].project(3 * rng.normal(size=(1, claim.train.d))) for label in y.astype(int).tolist()]
    )
    share = rng.dirichlet(np.ones(points))
    return Poison(X, y, share * claim.epsilon * claim.mass)


def brute_force(claim, count, flips):
    """The greatest negative margins over all sets of at most `count` rows deleted or flipped."""
    best = np.full(claim.rows.n, -np.inf)
    for size in range(count + 1):
        for chosen in combinations(range(claim.train.n), size):
            sign = np.ones(claim.train.n)
            sign[list(chosen)] = -1.0
            train = replace(claim.train, y=claim.train.y * sign) if flips else claim.train.take(sign > 0)
            best = np.maximum(best, damage(claim, train))
    return best
