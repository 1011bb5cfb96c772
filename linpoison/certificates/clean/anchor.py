"""A good dual point of the clean rows: multipliers whose Fenchel-Young gap is as small as rounding allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from ...core.validation import Array
from ...learners import make_learner
from ...losses import Problem
from ..claim import Claim
from .losses import SoftHinge, soft_hinge
from .rows import combine, extended, one, signed_scores

NEWTON_WIDTH = 2000
"""Most features for which Newton's steps polish a smooth loss."""
KINKS = (1e-7, 1e-5, 1e-3, 1e-2)
"""Distances from the kink, relative to the range of the margins, within which a multiplier is left open."""


def anchor(claim: Claim) -> Array:
    """Multipliers ``a0`` in [0, 1] of the clean rows with ``claim.reg P v = (1/n) sum c_i a0_i y_i (x_i, 1)``, nearly.

    ``v`` minimises the clean rows' loss with the regulariser ``claim.reg``, the one that holds with all of the
    poison in. What they are worth is found by `clean.screen.screen`, which believes nothing.

    Returns
    -------
    ndarray, shape (n,)
    """
    loss = soft_hinge(claim.problem.loss)
    v = clean_vector(claim)
    return _open_multipliers(claim, v) if loss.sharp else loss.pull(signed_scores(claim, _polished(claim, loss, v)))


def clean_vector(claim: Claim) -> Array:
    """The minimiser on the clean rows with the regulariser ``claim.reg``, shape (d + 1,)."""
    problem: Problem = replace(claim.problem, reg=claim.reg, scaling="mean", n_reference=None)
    v = make_learner(problem).fit(claim.train).vector.copy()
    v[-1] *= one(claim)
    return v


def _polished(claim: Claim, loss: SoftHinge, v: Array) -> Array:
    """A few Newton steps on the gradient, kept while it shrinks."""
    if claim.train.d > NEWTON_WIDTH:
        return v
    best, kept = np.inf, v
    for _ in range(5):
        m = signed_scores(claim, v)
        a = loss.pull(m)
        gradient = claim.reg * claim.mask * v - combine(claim, claim.train.weight * a) / claim.mass
        size = float(np.linalg.norm(gradient))
        if not size < best:
            return kept
        best, kept = size, v
        v = v - np.linalg.lstsq(_curvature(claim, loss, a), gradient, rcond=None)[0]
    return kept


def _curvature(claim: Claim, loss: SoftHinge, a: Array) -> Array:
    rows = _dense(claim, slice(None))
    bend = claim.train.weight * a * (1 - a) / (loss.width * claim.mass)
    return np.asarray(np.diag(claim.reg * claim.mask) + rows.T @ (bend[:, None] * rows))


def _open_multipliers(claim: Claim, v: Array) -> Array:
    """Hinge: 1 below the kink, 0 above it, and at it what makes the clean gradient vanish (bounded least squares)."""
    m = signed_scores(claim, v)
    target, share = claim.reg * claim.mask * v, claim.share
    best, found = np.inf, (m < 1).astype(np.float64)
    for width in KINKS:
        trial = _with_open(claim, m, width * (1 + float(np.abs(m - 1).max())), target, share)
        gap = _gap(claim, trial)
        if gap < best:
            best, found = gap, trial
    return found


def _with_open(claim: Claim, m: Array, width: float, target: Array, share: Array) -> Array:
    a = (m < 1).astype(np.float64)
    free = np.flatnonzero(np.abs(m - 1) <= width)
    if not free.size:
        return a
    a[free] = 0.0
    rest = target - combine(claim, share * a)
    columns = (_dense(claim, free) * share[free, None]).T
    scale = float(np.abs(columns).max()) or 1.0
    solved = lsq_linear(columns / scale, rest / scale, (0, 1), method="bvls" if free.size < 200 else "trf", tol=1e-14)
    a[free] = np.clip(solved.x, 0, 1)
    return _on_kink(claim, a, share) if claim.strongly_convex else a


def _on_kink(claim: Claim, a: Array, share: Array) -> Array:
    """The multipliers strictly inside [0, 1] moved so that their margins are exactly 1, if they then stay inside."""
    inside = np.flatnonzero((a > 1e-9) & (a < 1 - 1e-9))
    if not inside.size or inside.size > 2 * (claim.train.d + 1):
        return a
    rows = _dense(claim, inside)
    missing = 1 - signed_scores(claim, combine(claim, share * a) / claim.reg)[inside]
    step = np.linalg.lstsq(rows @ rows.T * share[inside] / claim.reg, missing, rcond=None)[0]
    moved = a.copy()
    moved[inside] += step
    return moved if bool(((moved >= 0) & (moved <= 1)).all()) else a


def _gap(claim: Claim, a: Array) -> float:
    v = combine(claim, claim.train.weight * a) / (claim.mass * claim.reg)
    gaps = soft_hinge(claim.problem.loss).gaps(signed_scores(claim, v), a)
    return float(claim.train.weight @ gaps)


def _dense(claim: Claim, chosen: Any) -> Array:
    """``y_i (x_i, 1)`` of some rows."""
    return extended(claim, claim.train.X[chosen], claim.train.y[chosen])
