"""The size of features: standardising them, and refusing what floating point cannot square."""

from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..core.validation import Array, Matrix

LARGEST = 1e150  # the square of a larger number overflows
SMALLEST = 1e-150  # the square of a smaller number is zero


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


def check_scale(matrix: Matrix, name: str) -> None:
    """Raise unless squares of the features stay in the range of floating point."""
    largest = max(abs(float(matrix.max())), abs(float(matrix.min())))
    if largest > LARGEST:
        raise InputError(
            f"features of at most {LARGEST:g} in size in {name}", f"{largest:g}", "Rescale the features first."
        )
    if 0 < largest < SMALLEST:
        raise InputError(
            f"features of at least {SMALLEST:g} in size in {name}", f"{largest:g} as the largest",
            "Rescale the features first.",
        )  # fmt: skip
