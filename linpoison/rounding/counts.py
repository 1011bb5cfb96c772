"""From weights to whole numbers of copies."""

from __future__ import annotations

import numpy as np

from ..core import Array, InputError, as_weights


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
