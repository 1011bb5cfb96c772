"""Rounding of a real point to whole-number rows: at random with the same mean, or with scores alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp

from ..core import Array, InputError, Matrix, as_weights, check_among, check_integer
from ..sets import FeasibleSet

Law = Literal["independent", "stratified"]


def round_point(
    x: Array,
    rows: int,
    rng: np.random.Generator,
    *,
    law: Law = "stratified",
    inside: FeasibleSet | None = None,
    attempts: int = 64,
    sparse: bool = False,
) -> Matrix:
    """Round one real point to `rows` whole-number rows.

    Coordinate ``i`` of each row is ``ceil(x_i)`` with probability ``x_i - floor(x_i)`` and
    ``floor(x_i)`` otherwise, so that every row has mean `x`.

    Parameters
    ----------
    x : ndarray of shape (d,)
    rows : int
        Number of rows to draw.
    rng : numpy.random.Generator
    law : {"stratified", "independent"}
        ``independent``: rows are independent draws (Koh et al., section 3.3). ``stratified``: each
        row follows the same law, but in every coordinate the number of rows rounded up is within
        one of its expectation, so that the mean of the rows is nearly `x` itself.
    inside : FeasibleSet, optional
        Rows outside this set are drawn again, up to `attempts` times; of the draws that all fall
        outside, the one with the least violation is kept.
    attempts : int, default 64
    sparse : bool, default False
        Return CSR rows, and make no dense ones on the way.

    Returns
    -------
    ndarray or csr_array of shape (rows, d), whole numbers

    References
    ----------
    Koh, Steinhardt, Liang, section 3.3. The reference implementation draws ``independent`` rows
    from the global random state and never draws again.
    """
    check_integer(rows, "rows", at_least=0)
    check_among(law, "the law", "independent", "stratified")
    base = np.floor(x + 1e-9)
    fraction = np.clip(x - base, 0.0, 1.0)
    fraction[fraction < 1e-6] = 0.0
    base[fraction > 1 - 1e-6] += 1
    fraction[fraction > 1 - 1e-6] = 0.0
    floor = _Floor(base, np.flatnonzero(fraction), sparse)
    ups = np.zeros((rows, floor.loose.size))
    if ups.size:
        pattern = _stratified if law == "stratified" else _independent
        ups = pattern(fraction[floor.loose], rows, rng)
        if inside is not None:
            _redraw_outside(ups, fraction[floor.loose], floor, inside, attempts, rng)
    return floor.raised(ups)


class _Floor:
    """A whole point below all its roundings.

    Parameters
    ----------
    base : ndarray of shape (d,)
    loose : ndarray of int
        Coordinates that may be rounded up.
    """

    def __init__(self, base: Array, loose: np.ndarray, sparse: bool) -> None:
        self.base, self.loose, self.sparse = base, loose, sparse
        self.used = np.union1d(np.flatnonzero(base), loose) if sparse else np.arange(base.size)
        self.places = np.searchsorted(self.used, loose)

    def raised(self, ups: Array) -> Matrix:
        """The rows whose loose coordinates lie above the base by `ups`, shape (rows, number of them)."""
        drawn = np.tile(self.base[self.used], (ups.shape[0], 1))
        drawn[:, self.places] += ups
        if not self.sparse:
            return drawn
        short = sp.csr_array(drawn)
        return sp.csr_array((short.data, self.used[short.indices], short.indptr), shape=(len(drawn), self.base.size))


def _independent(fraction: Array, rows: int, rng: np.random.Generator) -> Array:
    return (rng.random((rows, fraction.size)) < fraction).astype(float)


def _stratified(fraction: Array, rows: int, rng: np.random.Generator) -> Array:
    """Systematic sampling: in a random order of the rows, a coordinate goes up where its comb hits."""
    order = rng.permuted(np.tile(np.arange(rows), (fraction.size, 1)), axis=1).T
    offset = rng.random(fraction.size)
    level = fraction * order + offset
    return np.floor(level + fraction) - np.floor(level)


def _redraw_outside(
    ups: Array,
    fraction: Array,
    floor: _Floor,
    inside: FeasibleSet,
    attempts: int,
    rng: np.random.Generator,
) -> None:
    """Draw rows outside the set again, in place."""
    worst = inside.violation(floor.raised(ups))
    for row in np.flatnonzero(worst > 0):
        fresh = _independent(fraction, attempts, rng)
        violation = inside.violation(floor.raised(fresh))
        best = int(np.argmin(violation))
        if violation[best] < worst[row]:
            ups[row] = fresh[best]


def largest_remainder(weights: Array, total: int) -> np.ndarray:
    """Whole numbers proportional to `weights` that add up to `total` (Hamilton's method).

    Parameters
    ----------
    weights : array_like of shape (k,)
        Non-negative; at least one is positive.
    total : int

    Returns
    -------
    ndarray of int, shape (k,)
        Each entry is its exact share rounded down or up; ties go to the earlier entry.

    Examples
    --------
    >>> largest_remainder([0.5, 0.3, 0.2], 4).tolist()
    [2, 1, 1]
    """
    values = np.asarray(weights, dtype=np.float64)
    values = as_weights(values, values.size, "weights")
    if total < 0 or (total > 0 and values.sum() <= 0):
        raise InputError("a total of at least 0 and a positive weight to share it", f"{total} over {values.tolist()}")
    shares = total * values / max(values.sum(), np.finfo(float).tiny)
    counts = np.floor(shares + 1e-9).astype(int)
    order = np.argsort(-(shares - counts), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts


def copies_of(total: int, repeats: int) -> np.ndarray:
    """Copies of each distinct row when `total` rows are made of rows repeated `repeats` times.

    Examples
    --------
    >>> copies_of(7, 3).tolist()
    [3, 3, 1]
    """
    full, rest = divmod(total, repeats)
    return np.array([repeats] * full + ([rest] if rest else []), dtype=int)


def round_balanced(point: Array, copies: int, direction: Array) -> Array:
    """Round a point of real counts to whole rows whose sum and whose scores are as near to its own as can be.

    Every feature adds up to the nearest whole number of ``copies * point``, so that the mean row is off by
    ``1 / (2 copies)`` at most; independent draws are off by ``sqrt(f (1 - f) / copies)`` for a fraction ``f``. Which
    rows are rounded up is settled feature by feature, those of the greatest ``|direction|`` first: the rows of the
    least score so far where that raises it, of the greatest where that lowers it. Equal scores matter for the hinge,
    where a row beyond its margin does not pull at all.

    Parameters
    ----------
    point : ndarray, shape (d,)
        Not negative.
    copies : int
    direction : ndarray, shape (d,)
        Coefficients of the model that scores.

    Returns
    -------
    ndarray, shape (copies, d)

    Examples
    --------
    >>> import numpy as np
    >>> round_balanced(np.array([0.5, 1.5]), 2, np.array([1.0, 1.0]))
    array([[1., 1.],
           [0., 2.]])
    """
    check_integer(copies, "copies", at_least=1)
    if point.shape != direction.shape or point.ndim != 1:
        raise InputError("a point and a direction of the same length", f"{point.shape} and {direction.shape}")
    if not (np.isfinite(point).all() and (point >= 0).all()):
        raise InputError("counts that are finite and not negative", "others", "Clip them to the domain first.")
    total = np.rint(copies * point).astype(np.int64)
    base = total // copies
    rows = np.tile(base.astype(np.float64), (copies, 1))
    extra, scores = total - copies * base, np.zeros(copies)
    loose = np.flatnonzero(extra)
    for feature in loose[np.argsort(-np.abs(direction[loose]), kind="stable")]:
        step = float(direction[feature])
        raised = np.argsort(scores if step > 0 else -scores, kind="stable")[: extra[feature]]
        rows[raised, feature] += 1
        scores[raised] += step
    return rows
