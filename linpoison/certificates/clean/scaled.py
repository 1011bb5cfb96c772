"""Whether rows bear the marks of a scaler that was fitted on them, which planted rows would have moved."""

from __future__ import annotations

import numpy as np

from ...core.validation import Array

NEAR, NEAR_SINGLE = 1e-9, 1e-5
"""Distance from 0 and 1 at which a statistic of a column is one of them, in double and in single precision."""
GRID = 1000
"""Columns of whole multiples of ``1 / GRID`` bear no marks: theirs are a coincidence."""


def is_scaled(X: Array) -> bool:
    """Whether a `StandardScaler`, `RobustScaler` or `PowerTransformer`, or their like, was fitted on these very rows.

    They leave a column of mean 0 and deviation 1 (of n or of n - 1 rows, as pandas has it), or all columns of deviation
    1, or all of median 0 and quartiles at a distance of 1. That is so in rows that came in single precision, too. What
    leaves numbers on a grid, such as dummies, is passed over, and what other scalers leave cannot be told from data
    that are so: a least entry of 0 and a greatest one of 1.

    Parameters
    ----------
    X : ndarray, shape (n, d)

    Examples
    --------
    >>> is_scaled(np.array([[1.5, 0.0], [0.0, 0.0], [-1.5, 0.0]]) / 1.5**0.5), is_scaled(np.eye(2) * 2 - 1)
    (True, False)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        X = X[:, (np.abs(GRID * X - np.round(GRID * X)) > 1e-6).any(axis=0)]
        if len(X) < 2 or not X.size:
            return False
        near = np.where((X.astype(np.float32) == X).all(axis=0), NEAR_SINGLE, NEAR)
        spread, (low, middle, high) = X.std(axis=0), np.percentile(X, (25, 50, 75), axis=0)
        unit = np.minimum(np.abs(spread - 1), np.abs(spread * np.sqrt(len(X) / (len(X) - 1)) - 1)) < near
        quartiles = (np.abs(middle) < near) & (np.abs(high - low - 1) < near)
        return bool((unit & (np.abs(X.mean(axis=0)) < near)).any() or unit.all() or quartiles.all())
