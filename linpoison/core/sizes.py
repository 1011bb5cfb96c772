"""Refusing features that floating point cannot square."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .errors import InputError
from .validation import Matrix

LARGEST = 1e150  # the square of a larger number overflows
SMALLEST = 1e-150  # the square of a smaller number is zero


def check_squares(matrix: Matrix, name: str) -> None:
    """`check_scale`, where a sum of all squares gives reason to: that costs next to nothing."""
    values = matrix.data if sp.issparse(matrix) else matrix.ravel(order="K")
    with np.errstate(over="ignore", under="ignore"):
        squares = float(values @ values)
    if min(matrix.shape) and not SMALLEST < squares < np.inf:
        check_scale(matrix, name)


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
