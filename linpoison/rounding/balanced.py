"""Whole rows that add up to a real point and score alike."""

from __future__ import annotations

import numpy as np

from ..core import Array, InputError, check_integer


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
