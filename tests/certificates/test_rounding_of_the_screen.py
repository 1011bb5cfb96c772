"""What is proved of the clean rows holds of the exact dual point, not of the one in floating point."""

from __future__ import annotations

import numpy as np
import pytest

from linpoison.certificates import Claim
from linpoison.certificates.clean.anchor import anchor
from linpoison.certificates.clean.rows import lengths
from linpoison.certificates.clean.screen import dual_point, intercept_reach, screen
from linpoison.core import Dataset
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge
from linpoison.sets import Ball, ByLabel, Slab

EXACT = np.longdouble
pytestmark = pytest.mark.skipif(np.finfo(EXACT).eps > 1e-18, reason="needs numbers of more digits than a double")


def far_claim(n, d, offset, loss, reg=0.01):
    """Rows far from the origin: what they pull cancels, and what rounding leaves of it does not."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = rng.normal(size=(n, d)) + 0.1 * y[:, None] + offset
    sets = ByLabel({k: Ball(np.full(d, offset + 0.1 * k), 4.0 * np.sqrt(d)) for k in (1, -1)})
    return Claim(Dataset(X, y, rng.choice([1.0, 2.0], n)), Problem(loss, reg, fit_intercept=False), sets, 0.0)


def exactly(claim, a):
    """The dual point and its gap (hinge), in more digits."""
    data = claim.train
    X, y, weight = (np.asarray(part, dtype=EXACT) for part in (data.X, data.y, data.weight))
    share = weight / weight.sum()
    v = X.T @ (share * y * a.astype(EXACT)) / EXACT(claim.reg)
    m = y * (X @ v)
    return v, m, float(share @ ((1 - a) * np.maximum(1 - m, 0) + a * np.maximum(m - 1, 0)))


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e4])
@pytest.mark.parametrize(("n", "d"), [(50, 3), (2000, 40)])
def test_the_exact_dual_point_is_near_and_its_gap_is_covered(n, d, offset):
    claim = far_claim(n, d, offset, Hinge())
    a = np.random.default_rng(1).uniform(size=n)
    v, m, gap = exactly(claim, a)
    point = dual_point(claim, a, claim.reg)
    assert float(np.linalg.norm(point.center[:-1] - v)) <= point.moved
    assert gap <= point.gap
    off = np.abs(point.margins - m) - lengths(claim.train.X, 0.0) * point.moved
    assert (off <= point.blur).all()
    assert point.gap == pytest.approx(gap, rel=1e-6)


def test_a_padding_of_one_unit_is_not_enough():
    """The small row is lost between two great ones that cancel, and with it the gap that it opens at these."""
    train = Dataset([[1e8], [5e-9], [1e8]], [1, 1, -1])
    sets = ByLabel({k: Ball([0.0], 2e8) for k in (1, -1)})
    claim, a = Claim(train, Problem(Hinge(), 0.01, fit_intercept=False), sets, 0.0), np.ones(3)
    gap, point = exactly(claim, a)[2], dual_point(claim, a, claim.reg)
    once = float(np.abs(1 - point.margins).mean()) * (1 + 1e-9) + 1e-16 * (1 + 1e8 * abs(float(point.center[0])))
    assert gap > 5 * once
    assert gap <= point.gap <= point.slack**2 * claim.reg


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), SmoothHinge(0.3)])
def test_at_the_size_of_mnist_17_the_padding_is_small(loss):
    """At n = 13,000 and d = 784 it moves a margin by a thousandth at most."""
    claim = far_claim(13_000, 784, 0.0, loss, reg=0.1)
    a = np.random.default_rng(2).uniform(size=13_000)
    point = dual_point(claim, a, claim.reg)
    free = float((claim.train.weight @ (point.blur + lengths(claim.train.X, 0.0) * point.moved)) / claim.mass)
    assert np.sqrt(free / claim.reg) * float(lengths(claim.train.X, 0.0).max()) < 2e-3


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), SmoothHinge(0.3)])
def test_the_minimiser_lies_in_the_ball_without_poison(loss):
    claim = far_claim(60, 3, 5.0, loss, reg=0.5)
    found = screen(claim, anchor(claim))
    v = make_learner(claim.problem, method="reference").fit(claim.train).vector
    assert float(np.linalg.norm(v - found.center)) <= found.radius + 1e-5


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), SmoothHinge(0.3)])
def test_no_free_intercept_is_beyond_its_reach(loss):
    rng = np.random.default_rng(3)
    reached = 0.0
    for seed in range(6):
        y = np.where(np.arange(12) < 1 + seed, 1.0, -1.0)
        X = rng.normal(size=(12, 2)) * 0.3
        sets = ByLabel({k: Ball(np.zeros(2), 1.0) for k in (1, -1)})
        claim = Claim(Dataset(X, y), Problem(loss, 0.5, penalize_intercept=False), sets, 0.4)
        for label in (1.0, -1.0):
            poison = Dataset(sets[int(label)].support(rng.normal(size=2))[None], [label], [0.4 * 12])
            b = make_learner(claim.problem).fit(claim.train.mix(poison)).intercept
            reached = max(reached, abs(b) / intercept_reach(claim))
    assert 0.2 < reached < 1
    open_ended = ByLabel({k: Slab([1.0, 0.0], 0.0, 1.0) for k in (1, -1)})
    assert intercept_reach(Claim(claim.train, claim.problem, open_ended, 0.4)) == np.inf
