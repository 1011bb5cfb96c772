"""The size of features: standardising them, and saying where solvers will be slow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import issparse

from ..core import Array, Matrix


def standardize(train: Array, test: Array, *, divide_by_root_d: bool = False) -> tuple[Array, Array]:
    """Subtract the training mean and divide by the training standard deviation, column by column.

    A column that is constant in training is only centred, so that no NaN arises.

    Parameters
    ----------
    train : ndarray, shape (n, d)
    test : ndarray, shape (m, d)
    divide_by_root_d : bool, default False
        Whether to divide by sqrt(d) as well; the mean squared norm of a training row is then at most 1.

    Examples
    --------
    >>> train, test = standardize(np.array([[0.0, 7.0], [2.0, 7.0]]), np.array([[1.0, 8.0]]))
    >>> train.tolist(), test.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0]])
    """
    mean, spread = train.mean(axis=0), train.std(axis=0)
    constant = (train == train[0]).all(axis=0)
    scale = np.where(constant | (spread == 0), 1.0, spread)
    center = np.where(constant, train[0], mean)
    if divide_by_root_d:
        scale = scale * np.sqrt(train.shape[1])
    return (train - center) / scale, (test - center) / scale


UNEVEN = 1e3
"""Columns whose scales, or whose mean and spread, differ by more make solvers slow."""
FEW = 0.1
"""Share of the columns that may be narrower: embeddings have dimensions in which next to nothing varies."""


def scale_caution(X: Matrix, names: Sequence[str] | None = None) -> str:
    """What to say, before the work starts, of columns on very different scales or far from zero; empty for others.

    The regulariser weighs all coefficients alike, so that other units are another problem, which only the user can
    choose. The learners take rows of some hundreds of dense columns in any units; the programs of attacks need several
    times as long where one column is thousands of times as wide as the next, or as far from zero.
    """
    if issparse(X):
        return ""
    spread, middle = X.std(axis=0), np.abs(X.mean(axis=0))
    wide = np.flatnonzero(spread > 1e-12 * (1 + middle))
    if not wide.size:
        return ""
    ordered = wide[np.argsort(spread[wide], kind="stable")]
    largest, least = ordered[-1], ordered[int(FEW * (ordered.size - 1))]
    ratio, offset = spread[largest] / spread[least], (middle / np.where(spread > 0, spread, np.inf))
    if ratio > UNEVEN:
        what = f"{_column(largest, names)} is {ratio:.0e} times as wide as {_column(least, names)}"
    elif (far := int(np.argmax(offset))) in wide and offset[far] > UNEVEN:
        what = f"{_column(far, names)} lies {offset[far]:.0e} times its spread away from zero"
    else:
        return ""
    return (
        f"{what}: attacks may need several times as long, and the penalty hardly touches the wide columns. Standardise "
        "the columns, or hand in a pipeline that begins with StandardScaler as the estimator."
    )


def _column(number: int, names: Sequence[str] | None) -> str:
    return f"column {number if names is None else repr(names[number])}"
