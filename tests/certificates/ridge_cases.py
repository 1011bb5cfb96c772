"""Small ridge claims, and poison to throw at them."""

import numpy as np

from linpoison.certificates.claim import Claim
from linpoison.core import Dataset, Poison
from linpoison.learners import make_learner
from linpoison.losses import Problem, Squared
from linpoison.sets import Ball, ByLabel, Intersection, Slab

CONVENTIONS = [
    {"penalize_intercept": True, "fit_intercept": True},
    {"penalize_intercept": False, "fit_intercept": True},
    {"penalize_intercept": True, "fit_intercept": False},
]


def ridge_problem(convention=0, scaling="mean", reg=0.15, n=40):
    return Problem(Squared(), reg, scaling=scaling, n_reference=n, **CONVENTIONS[convention])


def ridge_claim(epsilon=0.1, *, problem=None, kind="ball", n=40, d=4, rows=12, seed=0, gap=0.6):
    """Two Gaussian classes inside their sets, and rows of both labels."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    center = np.full(d, gap / 2)
    X = y[:, None] * center + 0.5 * rng.normal(size=(n, d)) + 0.2
    train = Dataset(X, y)
    sets = make_sets(kind, train, center)
    z = np.where(rng.random(rows) < 0.5, 1.0, -1.0)
    test = Dataset(z[:, None] * center + 0.5 * rng.normal(size=(rows, d)) + 0.2, z)
    return Claim(train, problem or ridge_problem(n=n), sets, epsilon, test)


def make_sets(kind, train, center):
    sets = {}
    for label in (1, -1):
        X = train.X[train.y == label]
        mean = X.mean(axis=0)
        ball = Ball(mean, np.linalg.norm(X - mean, axis=1).max() + 1e-9)
        slab = Slab(center, float(center @ mean), float(np.abs((X - mean) @ center).max()) + 1e-9)
        sets[label] = ball if kind == "ball" else Intersection([ball, slab])
    return ByLabel(sets)


def random_poison(claim, rng, k=None):
    """Rows of the sets, most of them on the border, with masses that add up to the budget."""
    k = k or int(rng.integers(1, 5))
    y = np.where(rng.random(k) < 0.5, 1.0, -1.0)
    X = np.array([claim.sets[int(label)].support(rng.normal(size=claim.train.d)) for label in y])
    inward = rng.random((k, 1)) * (rng.random((k, 1)) < 0.3)
    middle = np.array([claim.sets[int(label)].project(np.zeros((1, claim.train.d)))[0] for label in y])
    mass = rng.dirichlet(np.ones(k)) * claim.epsilon * claim.mass
    return Poison((1 - inward) * X + inward * middle, y, mass)


def scores(claim, poison=None, method="auto"):
    """Negative margins of the rows after retraining."""
    data = claim.train if poison is None else claim.train.mix(poison.as_dataset())
    return -make_learner(claim.problem, method=method).fit(data).margins(claim.rows)
