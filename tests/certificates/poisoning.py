"""Small problems, and poison that tries to break a bound on them."""

from __future__ import annotations

import numpy as np

from linpoison.certificates.claim import Claim
from linpoison.core import Dataset
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import Ball, Box, ByLabel, Slab, intersect

LOSSES = [Hinge(), SquaredHinge(), SmoothHinge(0.3), Logistic(), Squared()]
INTERCEPTS = {
    "penalised": {},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
}
SCALINGS = {"mean": {}, "sum": {"scaling": "sum", "n_reference": 30.0}}


def rows(seed=0, n=24, d=3, shift=0.8):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    return Dataset(rng.normal(size=(n, d)) + shift * y[:, None], y)


def balls(train, radius=1.7):
    return ByLabel({k: Ball(train.X[train.y == k].mean(axis=0), radius) for k in (1, -1)})


def boxes(train):
    return ByLabel({k: Box(np.full(train.d, -1.5), np.full(train.d, 2.0 + k)) for k in (1, -1)})


def mixed(train):
    w = np.ones(train.d)
    parts = balls(train, 1.9)
    return ByLabel({k: intersect(parts[k], Slab(w, float(w @ parts[k].center), 1.0)) for k in (1, -1)})


SETS = {"balls": balls, "boxes": boxes, "mixed": mixed}


def claim_of(loss=None, sets="balls", epsilon=0.1, train=None, **options):
    train = rows() if train is None else train
    problem = Problem(loss or Hinge(), options.pop("reg", 0.2), **options)
    return Claim(train, problem, SETS[sets](train), epsilon, rows(seed=1))


def retrained(claim, X, y, mass, method="auto"):
    """What the learner makes of clean rows and poison rows whose weights add up to `mass` of the clean rows."""
    weight = np.full(len(y), mass * claim.mass / len(y))
    return make_learner(claim.problem, method=method).fit(claim.train.mix(Dataset(X, y, weight))).vector


def poisoned(claim, rng, tries=4, shares=(1.0,)):
    """Models after poison of random rows of the sets, and after rows that are the worst for earlier models."""
    vectors = []
    for _ in range(tries):
        k = int(rng.integers(1, 4))
        y = rng.choice([-1.0, 1.0], size=k)
        directions = rng.normal(size=(k, claim.train.d))
        for _ in range(3):
            X = np.array([claim.sets[label].support(w) for label, w in zip(y, directions, strict=True)])
            mass = float(rng.choice(shares)) * claim.epsilon
            v = retrained(claim, X, y, mass)
            vectors.append(v)
            directions = -y[:, None] * (v[:-1] + 0.1 * rng.normal(size=X.shape) * np.abs(v[:-1]).max())
    return vectors
