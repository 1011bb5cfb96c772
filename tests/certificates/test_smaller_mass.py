"""What is certified at a budget holds for every smaller mass, also where clean rows lie outside the sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from poisoning import retrained

from linpoison.certificates import (
    certify_average_loss,
    certify_ball,
    certify_deletions,
    certify_flips,
    certify_margin,
    certify_ridge,
)
from linpoison.certificates.claim import Claim
from linpoison.certificates.ridge import model as ridge_model
from linpoison.certificates.saddle.certify import average_value
from linpoison.certificates.theory import certify_exact, certify_naive, certify_steinhardt
from linpoison.core import Dataset
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared
from linpoison.sets import Ball, ByLabel

EPSILON = 0.6
POINT = {k: Ball(np.array([2.7 * k, 0.0]), 1e-3) for k in (1, -1)}
"""Poison that the model fits well already: it changes little but the weight of the regulariser."""

SCORES = {
    "ball": certify_ball,
    "naive": certify_naive,
    "steinhardt": certify_steinhardt,
    "strong": lambda claim: certify_steinhardt(claim, strong_convexity=True),
    "conic": lambda claim: certify_margin(claim, method="conic"),
    "fast": lambda claim: certify_margin(claim, method="fast", refine=True),
}


def light_claim(loss, **options) -> Claim:
    """Noisy clean rows, outside of two points that the model fits better: less poison leaves a longer model."""
    X = np.array([[k, 0.2 * (i - 2)] for k in (1.0, -1.0) for i in range(5)])
    train = Dataset(X, np.where(np.arange(10) % 5 == 4, -1, 1) * np.sign(X[:, 0]))
    tests = Dataset([[1.0, 0.3], [-1.0, 0.3], [-0.5, 1.0], [1.0, -1.0]], [1, -1, 1, -1])
    return Claim(train, Problem(loss, 0.5, **options), ByLabel(POINT), EPSILON, tests)


def models(claim: Claim):
    """Models of every mass up to the budget, on either point or both."""
    points = [(np.array([claim.sets[k].center for k in ks]), np.array(ks, float)) for ks in ((1,), (-1,), (1, -1))]
    for mass in np.linspace(0, claim.epsilon, 7):
        yield from (retrained(claim, X, y, mass, "reference") for X, y in points)


def worst_scores(claim: Claim):
    data = claim.rows
    return np.max([-data.y * (data.X @ v[:-1] + v[-1]) for v in models(claim)], axis=0)


@pytest.mark.parametrize("intercept", [{}, {"penalize_intercept": False}, {"fit_intercept": False}])
@pytest.mark.parametrize("loss", [Hinge(), Logistic()])
def test_scores_of_margin_losses(loss, intercept):
    claim = light_claim(loss, **intercept)
    worst = worst_scores(claim)
    assert claim.filled
    for name, certify in SCORES.items():
        assert (certify(claim).bound >= worst - 1e-6).all(), name


@pytest.mark.parametrize("intercept", [{}, {"penalize_intercept": False}, {"fit_intercept": False}])
def test_scores_of_ridge(intercept):
    claim = light_claim(Squared(), **intercept)
    found, worst = certify_ridge(claim).bound, worst_scores(claim)
    assert (found >= worst - 1e-7).all()


def test_less_poison_really_does_more(monkeypatch):
    """Without the copies of clean rows the bounds of the whole budget are broken by a part of it."""
    claim = light_claim(Squared())
    worst, whole = worst_scores(claim), certify_ridge(claim).bound
    distance = ridge_model._distance
    monkeypatch.setattr(ridge_model, "_distance", lambda system, V: (distance(system, V)[0], np.zeros(len(V))))
    assert (certify_ridge(replace(claim)).bound < worst - 1e-3).any()
    monkeypatch.undo()
    assert (whole >= worst - 1e-7).all()


@pytest.mark.parametrize("kind", SCORES)
def test_each_margin_certificate_needs_the_copies(kind, monkeypatch):
    claims = [light_claim(loss) for loss in (Hinge(), Logistic())]
    if kind == "ball":
        near = ByLabel({k: Ball(np.array([0.1 * k, 0.0]), 1e-3) for k in (1, -1)})
        claims = [replace(claim, sets=near, problem=replace(claim.problem, fit_intercept=False)) for claim in claims]
    before = [SCORES[kind](claim).bound for claim in claims]
    monkeypatch.setattr(Claim, "filled", False)
    after = [SCORES[kind](replace(claim)).bound for claim in claims]
    assert any((a < b - 1e-6).any() for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("intercept", [{}, {"penalize_intercept": False}])
def test_searches_and_deletions(intercept):
    claim = light_claim(Hinge(), **intercept)
    claim = claim.about(claim.rows.take([0, 2]))
    worst = worst_scores(claim)
    assert (certify_exact(claim, tol=0.05, max_nodes=40, rounds=0).bound >= worst - 1e-6).all()
    learner = make_learner(claim.problem, method="reference")
    left = [replace(claim, train=claim.train.take(np.arange(10) != i)) for i in (0, 4, 9)]
    signs = 1.0 - 2.0 * np.eye(10)[[0, 4, 9]]
    flipped = [replace(claim, train=replace(claim.train, y=claim.train.y * sign)) for sign in signs]
    for certify, changed in ((certify_deletions, left), (certify_flips, flipped)):
        bound = certify(claim, 1, rounds=0).bound
        for other in changed:
            data = other.train
            for mass in np.linspace(0, EPSILON, 4):
                X, y = np.array([POINT[1].center, POINT[-1].center]), np.array([1.0, -1.0])
                weight = np.full(2, mass * claim.mass / 2)
                v = learner.fit(data.mix(Dataset(X, y, weight))).vector
                assert (bound >= -claim.rows.y * (claim.rows.X @ v[:-1] + v[-1]) - 1e-6).all()


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared()])
def test_average_losses(loss):
    claim = light_claim(loss)
    reached = list(models(claim))
    for plain in (True, False):
        bound = certify_average_loss(claim, plain=plain).bound
        assert all(average_value(claim, v, plain=plain) <= bound + 1e-6 for v in reached), f"plain={plain}"


def test_only_mean_scaling_with_rows_outside_is_filled():
    claim = light_claim(Hinge())
    wide = ByLabel({k: Ball(np.zeros(2), 9.0) for k in (1, -1)})
    assert claim.filled
    assert not replace(claim, sets=wide).filled
    assert not claim.at(0.0).filled
    assert not light_claim(Hinge(), scaling="sum", n_reference=10.0).filled
