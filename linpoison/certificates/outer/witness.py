"""A compact witness of the outer set: a few vectors for each row stand for multipliers of all clean rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from ...core.validation import Array
from ..certificate import Witness
from ..claim import Claim
from ..clean.losses import soft_hinge
from ..clean.rows import combine, extended, signed_scores
from ..clean.screen import Screening, screen
from .bound import evaluate

Flags = np.ndarray[Any, np.dtype[np.bool_]]

ENTRIES = 500_000
"""Entries of a (rows, n) array that are handled at a time."""
STEEP = 30.0
"""Greatest ``1 / (1 - l)`` and ``1 / (h - 1)`` that are used; any value gives a bound."""


def multipliers(claim: Claim, screening: Screening, witness: Witness) -> dict[str, Array]:
    """The arguments of `evaluate` that a witness stands for, each with one row for every row of the claim.

    With ``q_i = y_i (x_i, 1) . p``, ``m_i = y_i (x_i, 1) . e``, ``sigma_i = expit((1 - m_i) / width)`` for hinge,

    ::

        beta_i - del_i = (c_i/n) [sigma_i (s + (-s - q_i)_+ / (1 - l_i)) - (1 - sigma_i) (s + q_i)_+ / (h_i - 1)]
        r              = -2 s lam e - k z - lam p + sum_i (beta_i - del_i) y_i (x_i, 1)

    where the quotients, the parts beyond ``[0, s]``, are there for open rows with bounds on their margins only.
    For the smooth losses ``b_i = psi(m_i)``.
    """
    p, e, s, width = (np.asarray(witness[name], dtype=np.float64) for name in ("p", "e", "s", "width"))
    s, weight, loss = np.maximum(s, 0.0), claim.share, soft_hinge(claim.problem.loss)
    found: dict[str, Array] = {"p": p, "s": s}
    with np.errstate(over="ignore", invalid="ignore"):
        margins = signed_scores(claim, e)
        if loss.sharp:
            sigma = expit((loss.kink - margins) / np.maximum(width, 1e-12)[:, None])
            pull = weight * _pulls(claim, screening, p, s[:, None], sigma)
            found |= _split(pull, weight * s[:, None])
        else:
            found["b"] = loss.pull(margins)
            pull = weight * s[:, None] * found["b"]
        if screening.capped:
            rows = claim.demand_rows()
            moved = claim.reg * (2 * s[:, None] * e + p)
            found["r"] = combine(claim, pull) - moved - extended(claim, rows.X, rows.y)
    return found


def _pulls(claim: Claim, screening: Screening, p: Array, s: Array, sigma: Array) -> Array:
    """``beta_i - del_i`` for a weight of one."""
    level = s + signed_scores(claim, p)
    ones, open_, below, above = sides(screening)
    pull = sigma * (s + below * np.maximum(-level, 0)) - (1 - sigma) * above * np.maximum(level, 0)
    return np.where(ones, s, pull * open_)


def _split(pull: Array, share: Array) -> dict[str, Array]:
    """``beta`` as a share ``b`` of ``s c_i/n + gam_i + del_i``, with the least ``gam`` and ``del``."""
    gam, dele = np.maximum(pull - share, 0), np.maximum(-pull, 0)
    room = share + gam + dele
    return {"b": np.maximum(pull, 0) / np.where(room > 0, room, 1.0), "gam": gam, "dele": dele}


def witness_bound(claim: Claim, witness: Witness, screening: Screening | None = None) -> Array:
    """The bound that a witness of `outer.dual.minimise_bound` proves, without a solver.

    Parameters
    ----------
    claim : Claim
        With N rows, those of the witness.
    witness : mapping
        ``a0`` (n,), ``p`` and ``e`` (N, d + 1), ``s`` and ``width`` (N,). Any values give a bound.
    screening : Screening, optional
        What ``a0`` implies, where that is known already.

    Returns
    -------
    ndarray, shape (N,)
        Bounds of ``-k (z, 1) . v`` over every reachable ``v``, infinite where the witness proves nothing.
    """
    rows = claim.demand_rows()
    screening = screen(claim, witness["a0"]) if screening is None else screening
    bound, step = np.empty(rows.n), max(1, ENTRIES // claim.train.n)
    for start in range(0, rows.n, step):
        chosen = np.arange(start, min(start + step, rows.n))
        part = claim.about(rows.take(chosen))
        mine = {name: np.asarray(witness[name])[chosen] for name in ("p", "e", "s", "width")}
        bound[chosen] = evaluate(part, screening, **multipliers(part, screening, mine))
    return bound


def sides(screening: Screening) -> tuple[Flags, Flags, Array, Array]:
    """Rows known to have the multiplier 1, rows whose multiplier is open, ``1 / (1 - l)`` and ``1 / (h - 1)``."""
    low, high = screening.lower, screening.upper
    ones, open_ = high < 1, (high >= 1) & (low <= 1)
    known = open_ & np.isfinite(low) & np.isfinite(high)
    below = np.where(known, 1 / np.maximum(1 - np.where(known, low, 0.0), 1 / STEEP), 0.0)
    above = np.where(known, 1 / np.maximum(np.where(known, high, 2.0) - 1, 1 / STEEP), 0.0)
    return ones, open_, below, above
