"""A score certificate that needs nothing but the data: models stay in a ball around the clean one."""

from __future__ import annotations

import numpy as np

from linpoison.certificates.certificate import Certificate, check
from linpoison.certificates.claim import Claim
from linpoison.learners import make_learner
from linpoison.losses import Problem

NAME = "test-ball"


def strong(claim):
    """The clean problem with the regulariser that holds once all of the budget is spent."""
    problem = claim.problem
    return Problem(
        problem.loss,
        claim.reg,
        penalize_intercept=problem.penalize_intercept,
        fit_intercept=problem.fit_intercept,
    )


@check(NAME, scores=True)
def recompute_ball_score(claim: Claim, witness):
    """``-k z.v + |z| (sqrt(2 excess / reg) + epsilon R / reg)`` for any v of finite value.

    ``excess`` bounds the objective at v less its minimum by the gradient's length: the objective is strongly convex.
    """
    v = np.asarray(witness["v"])
    rows = claim.demand_rows()
    if v.shape != (rows.d + 1,) or not np.isfinite(v).all():
        return np.full(rows.n, np.inf)
    margins = claim.train.y * (claim.train.X @ v[:-1] + v[-1])
    pull = -claim.problem.loss.derivative(margins) * claim.train.y * claim.train.weight / claim.mass
    slope = claim.reg * claim.mask * v - np.append(claim.train.X.T @ pull, pull.sum())
    ones = 1.0 if claim.problem.fit_intercept else 0.0
    slope[-1] *= ones
    far = max(np.sqrt(_reach(part) ** 2 + ones) for part in claim.sets.values())
    radius = np.linalg.norm(slope) / claim.reg + claim.epsilon * far / claim.reg
    squares = (rows.X**2).sum(axis=1) if not rows.is_sparse else rows.X.multiply(rows.X).sum(axis=1)
    score = rows.X @ v[:-1] + ones * v[-1]
    return -rows.y * score + np.sqrt(np.asarray(squares).ravel() + ones) * radius * (1 + 1e-9) + 1e-12


def _reach(ball):
    return np.linalg.norm(ball.center) + ball.radius


def certify_ball_score(claim: Claim) -> Certificate:
    """For smooth 1-Lipschitz losses and balls."""
    v = make_learner(strong(claim)).fit(claim.train).vector
    witness = {"v": v}
    bound = recompute_ball_score(claim, witness)
    return Certificate(NAME, "score", claim, bound, False, claim.assumptions(), witness)
