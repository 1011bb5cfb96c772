"""Ridge classification when the attacker flips labels: the worst case in closed form."""

from __future__ import annotations

import time

import numpy as np

from ...core.validation import Array, check_number
from ..certificate import Certificate, Witness, check
from ..claim import Claim
from ..rounding import UNIT, gamma
from .attacks import Index
from .model import RidgeSystem


def label_flips_ridge(claim: Claim, flips: float) -> Certificate:
    """The greatest negative margin of each row when the attacker may flip labels of clean rows.

    ::

        v = H^-1 (1/n) sum_i c_i (1 - 2 f_i) y_i x_i,   0 <= f_i <= 1,   sum_i c_i f_i <= flips,

    is linear in the flips, so that the worst are the `flips` rows with the greatest ``-2/n y_i c'H^-1 x_i``.

    Parameters
    ----------
    claim : Claim
        With the squared loss, and rows; its budget and its sets are not used.
    flips : float
        How many clean rows, counted with their weights, may carry the other label.

    Returns
    -------
    Certificate
        Of kind "score" and exact; its claim has the budget ``flips / n``, which here means flips. The
        witness lists the rows to flip, in order, -1 where fewer are worth flipping.

    References
    ----------
    Meyer, Albarghouthi, D'Antoni. Certifying data-bias robustness in linear regression, 2022.

    Examples
    --------
    >>> from linpoison.core import Dataset
    >>> from linpoison.losses import Problem, Squared
    >>> from linpoison.sets import Ball, ByLabel
    >>> train = Dataset([[1.0], [-1.0], [0.8], [-0.8]], [1, -1, 1, -1])
    >>> sets = ByLabel({1: Ball([1.0], 0.5), -1: Ball([-1.0], 0.5)})
    >>> claim = Claim(train, Problem(Squared(), 0.1, fit_intercept=False), sets, 0.0, Dataset([[1.0]], [1]))
    >>> label_flips_ridge(claim, 1).bound.round(4)
    array([-0.4348])
    """
    start = time.perf_counter()
    flips = check_number(flips, "flips", at_least=0)
    spoken = claim.at(flips / claim.mass)
    gains, order = _flip_gains(spoken)
    count = min(int(np.ceil(flips)), order.shape[1])
    chosen = np.where(np.take_along_axis(gains, order[:, :count], axis=1) > 0, order[:, :count], -1)
    bound, exact = recompute_flips(spoken, {}), np.full(len(gains), True)
    return Certificate.proved("ridge-flips", spoken, bound, {"flipped": chosen}, start, exact=exact)


def _words(claim: Claim, witness: Witness) -> tuple[str, ...]:
    flips = claim.epsilon * claim.mass
    return (
        f"the attacker flips labels of clean rows of total weight at most {flips:g}, and inserts nothing",
        *claim.at(0.0).assumptions()[3:],
    )


@check("ridge-flips", kind="score", words=_words)
@np.errstate(over="ignore", invalid="ignore")  # what is not finite proves nothing
def recompute_flips(claim: Claim, witness: Witness) -> Array:
    """The bound itself, in closed form: the witness is not needed.

    A copy of row i is worth ``2/n`` times ``-y_i x_i'H^-1 c = -y_i (x_i'q + x_i'H^-1 s)`` for any ``q`` and
    ``s = c - H q``, and ``|x_i'H^-1 s| <= |s|_{H^-1} / sqrt(q_i)`` because ``q_i x_i x_i' <= H``, with ``q_i`` the
    share of the row. This and the rounding of ``x_i'q`` is added to what each flip gains (`ridge.model` has the rest).
    """
    gains, order = _flip_gains(claim)
    copies = claim.train.weight[order]
    budget = claim.epsilon * claim.mass * (1 + gamma(2 * claim.train.n + 8))
    taken = np.clip(budget - (np.cumsum(copies, axis=1) - copies), 0.0, copies)
    gained = np.sum(taken * np.maximum(np.take_along_axis(gains, order, axis=1), 0.0), axis=1)
    high = RidgeSystem.of(claim.at(0.0)).about.high
    bound = high + gained * (1 + gamma(2 * claim.train.n + 16)) + 4 * UNIT * (np.abs(high) + gained)
    return np.where(np.isfinite(bound), bound, np.inf)


@np.errstate(over="ignore", invalid="ignore")
def _flip_gains(claim: Claim) -> tuple[Array, Index]:
    """No less than what flipping a copy of each clean row adds, shape (rows, n), and the order from the greatest."""
    system = RidgeSystem.of(claim.at(0.0))
    clean, rows, about = claim.train, system.rows, system.about
    q = about.responses.T
    cost = gamma(len(q) + 8) * rows.lengths(system.scale)[:, None] * np.linalg.norm(q * system.scale[:, None], axis=0)
    share = np.where(rows.share > 0, rows.share, np.inf)
    cost = cost + about.left / np.sqrt(share)[:, None] * (1 + 8 * UNIT)
    gains = 2 / claim.mass * (cost - clean.y[:, None] * rows.scores(q)).T
    gains = gains + gamma(64) * np.abs(gains)
    return gains, np.argsort(-gains, axis=1, kind="stable")
