"""Ridge classification when the attacker flips labels: the worst case in closed form, of one model or of many parts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.validation import Array, check_number
from ..certificate import Certificate, Witness, check
from ..claim import Claim, at_most
from ..partition.hashing import parts_of, whole
from ..rounding import UNIT, gamma
from .model import RidgeSystem
from .rows import CleanRows


def label_flips_ridge(claim: Claim, flips: float, *, n_parts: int = 1, seed: int = 0) -> Certificate:
    """The greatest negative margin of each row when the attacker may flip labels of clean rows.

    ::

        v = H^-1 (1/n) sum_i c_i (1 - 2 f_i) y_i x_i,   0 <= f_i <= 1,   sum_i c_i f_i <= flips,

    is linear in the flips, so that the worst are the `flips` rows with the greatest ``-2/n y_i c'H^-1 x_i``. The
    average of models of parts is linear in all labels too, if a row belongs to a part by its features (`parts_of`).

    Parameters
    ----------
    claim : Claim
        With the squared loss, and rows; its budget and its sets are not used.
    flips : float
        How many clean rows, counted with their weights, may carry the other label.
    n_parts : int, default 1
        Parts of the rows, each with a model of its own; their scores are averaged.
    seed : int, default 0
        Key of the hash that divides the rows.

    Returns
    -------
    Certificate
        Of kind "score" and exact; its claim has the budget ``flips / n``, which here means flips. The
        witness lists the rows to flip, in order, -1 where fewer are worth flipping, and the parts if there are some.

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
    parts = {} if n_parts == 1 else {"n_parts": np.array(whole(n_parts, "n_parts", 1)), "seed": np.array(seed)}
    gains = _averaged(spoken, parts)[1]
    order = np.argsort(-gains, axis=1, kind="stable")[:, : min(int(np.ceil(flips)), gains.shape[1])]
    chosen = np.where(np.take_along_axis(gains, order, axis=1) > 0, order, -1)
    bound, exact = recompute_flips(spoken, parts), np.full(len(gains), True)
    return Certificate.proved("ridge-flips", spoken, bound, {"flipped": chosen, **parts}, start, exact=exact)


@np.errstate(over="ignore", invalid="ignore")
def flips_withstood(claim: Claim, most: int, *, n_parts: int = 1, seed: int = 0) -> NDArray[np.intp]:
    """For each row of the claim the greatest number of flips, up to `most`, that provably leave its label; or -1.

    Of rows without weights; parts as in `label_flips_ridge`.
    """
    high, gains = _averaged(claim, {"n_parts": np.array(n_parts), "seed": np.array(seed)})
    gained = np.cumsum(-np.sort(-np.maximum(gains, 0.0), axis=1), axis=1)
    bounds = np.column_stack([high, _risen(high[:, None], gained, claim.train.n)])[:, : most + 1]
    return np.asarray(np.cumprod(bounds < 0, axis=1).sum(axis=1) - 1)


def _words(claim: Claim, witness: Witness) -> tuple[str, ...]:
    flips, (n_parts, seed) = claim.epsilon * claim.mass, _parts(witness)
    divided = (
        f"the rows are divided into {n_parts} parts by a hash of their features with the key {seed}, one model is "
        "trained on each, and the average of their scores decides",
    )
    return (
        f"the attacker flips labels of clean rows of total weight at most {at_most(flips)}, and inserts nothing",
        *(divided if n_parts > 1 else ()),
        *claim.at(0.0).assumptions()[3:],
    )


@check("ridge-flips", kind="score", words=_words)
@np.errstate(over="ignore", invalid="ignore")  # what is not finite proves nothing
def recompute_flips(claim: Claim, witness: Witness) -> Array:
    """The bound itself, in closed form: of the witness only the parts count.

    A copy of row i is worth ``2/n`` times ``-y_i x_i'H^-1 c = -y_i (x_i'q + x_i'H^-1 s)`` for any ``q`` and
    ``s = c - H q``, and ``|x_i'H^-1 s| <= |s|_{H^-1} / sqrt(q_i)`` because ``q_i x_i x_i' <= H``, with ``q_i`` the
    share of the row. This and the rounding of ``x_i'q`` is added to what each flip gains (`ridge.model` has the rest).
    """
    high, gains = _averaged(claim, witness)
    order = np.argsort(-gains, axis=1, kind="stable")
    copies = claim.train.weight[order]
    budget = claim.epsilon * claim.mass * (1 + gamma(2 * claim.train.n + 8))
    taken = np.clip(budget - (np.cumsum(copies, axis=1) - copies), 0.0, copies)
    gained = np.sum(taken * np.maximum(np.take_along_axis(gains, order, axis=1), 0.0), axis=1)
    bound = _risen(high, gained, claim.train.n)
    return np.where(np.isfinite(bound), bound, np.inf)


def _risen(high: Array, gained: Array, n: int) -> Array:
    """No less than the sum of a bound and of what up to n flips gain, which were added up."""
    return np.asarray(high + gained * (1 + gamma(2 * n + 16)) + 4 * UNIT * (np.abs(high) + gained))


def _parts(witness: Witness) -> tuple[int, int]:
    """Number of parts and key of the hash."""
    return whole(witness.get("n_parts", np.array(1)), "n_parts", 1), whole(witness.get("seed", np.array(0)), "seed", 0)


def _averaged(claim: Claim, witness: Witness) -> tuple[Array, Array]:
    """No less than the scores without flips, shape (rows,), and than what a flip of each row adds, shape (rows, n)."""
    n_parts, seed = _parts(witness)
    if n_parts > max(2, claim.train.n):
        raise InputError(f"at most {claim.train.n} parts of {claim.train.n} rows", f"{n_parts}")
    m = claim.demand_rows().n
    high, size, gains = np.zeros(m), np.zeros(m), np.zeros((m, claim.train.n))
    for system, rows, mass in _systems(claim.at(0.0), n_parts, seed):
        high, size = high + system.about.high, size + np.abs(system.about.high)
        gains[:, rows] = _flip_gains(system, mass)
    if n_parts > 1:
        high, gains = (high + gamma(n_parts + 8) * size) / n_parts, gains / n_parts * (1 + 4 * UNIT)
    return high, gains


def _systems(claim: Claim, n_parts: int, seed: int) -> Iterator[tuple[RidgeSystem, NDArray[np.intp], float]]:
    """The system of each part that has rows, which rows these are, and what they weigh."""
    train, problem = claim.train, claim.problem
    if n_parts == 1:
        yield RidgeSystem.of(claim), np.arange(train.n), claim.mass
        return
    RidgeSystem.of(claim)  # or refuse the loss
    part = parts_of(train.X, n_parts, seed)
    for number in range(n_parts):
        rows = np.flatnonzero(part == number)
        mass = math.fsum(train.weight[rows])
        if mass > 0:
            data = CleanRows.made(train.take(rows), train.weight[rows] / mass, problem)
            yield RidgeSystem(claim, data, problem.reg_at(mass) * claim.mask[: data.E.shape[1]]), rows, mass


@np.errstate(over="ignore", invalid="ignore")
def _flip_gains(system: RidgeSystem, mass: float) -> Array:
    """No less than what flipping a copy of each row of a system adds, shape (rows of the claim, n)."""
    # The label of a copy of row i weighs 1/mass in m = sum q_i y_i x_i: turning it moves c'H^-1 m by -2/mass y_i
    # x_i'H^-1 c
    rows, about = system.rows, system.about
    q = about.responses.T
    cost = gamma(len(q) + 8) * rows.lengths(system.scale)[:, None] * np.linalg.norm(q * system.scale[:, None], axis=0)
    share = np.where(rows.share > 0, rows.share, np.inf)
    cost = cost + about.left / np.sqrt(share)[:, None] * (1 + 8 * UNIT)
    gains = 2 / mass * (cost - rows.y[:, None] * rows.scores(q)).T
    return np.asarray(gains + gamma(64) * np.abs(gains))
