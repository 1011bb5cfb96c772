"""Randomised rounding of a real point to whole-number rows with the same mean."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..core.errors import InputError
from ..core.validation import Array, check_integer
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
) -> Array:
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

    Returns
    -------
    ndarray of shape (rows, d), whole numbers

    References
    ----------
    Koh, Steinhardt, Liang, section 3.3. The reference implementation draws ``independent`` rows
    from the global random state and never draws again.
    """
    check_integer(rows, "rows", at_least=0)
    if law not in ("independent", "stratified"):
        raise InputError("the law 'independent' or 'stratified'", repr(law))
    base = np.floor(x + 1e-9)
    fraction = np.clip(x - base, 0.0, 1.0)
    fraction[fraction < 1e-6] = 0.0
    base[fraction > 1 - 1e-6] += 1
    fraction[fraction > 1 - 1e-6] = 0.0
    loose = np.flatnonzero(fraction)
    drawn = np.tile(base, (rows, 1))
    if not rows or not loose.size:
        return drawn
    pattern = _stratified if law == "stratified" else _independent
    drawn[:, loose] += pattern(fraction[loose], rows, rng)
    return drawn if inside is None else _redraw_outside(drawn, base, fraction, loose, inside, attempts, rng)


def _independent(fraction: Array, rows: int, rng: np.random.Generator) -> Array:
    return (rng.random((rows, fraction.size)) < fraction).astype(float)


def _stratified(fraction: Array, rows: int, rng: np.random.Generator) -> Array:
    """Systematic sampling: in a random order of the rows, a coordinate goes up where its comb hits."""
    order = rng.permuted(np.tile(np.arange(rows), (fraction.size, 1)), axis=1).T
    offset = rng.random(fraction.size)
    level = fraction * order + offset
    return np.floor(level + fraction) - np.floor(level)


def _redraw_outside(
    drawn: Array,
    base: Array,
    fraction: Array,
    loose: np.ndarray,
    inside: FeasibleSet,
    attempts: int,
    rng: np.random.Generator,
) -> Array:
    worst = inside.violation(drawn)
    for row in np.flatnonzero(worst > 0):
        fresh = np.tile(base, (attempts, 1))
        fresh[:, loose] += _independent(fraction[loose], attempts, rng)
        violation = inside.violation(fresh)
        best = int(np.argmin(violation))
        if violation[best] < worst[row]:
            drawn[row] = fresh[best]
    return drawn
