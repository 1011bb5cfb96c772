"""What floating-point sums may be off by: the constants of the standard model of rounding."""

from __future__ import annotations

import numpy as np

UNIT = float(np.finfo(np.float64).eps) / 2
"""Unit of rounding ``u``: the result of one operation has a relative error of at most ``u``."""


def gamma(count: float) -> float:
    """No less than ``m u / (1 - m u)``: a sum of `count` products, in any order, errs by so much of their magnitudes.

    A tenth is added, which pays for the rounding of the charges themselves. Infinite for sums of more than 1e14 terms.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition 2002, lemma 3.1 and section 3.5.

    Examples
    --------
    >>> gamma(10) < 1.3e-15
    True
    """
    return 1.1 * count * UNIT if count < 1e14 else float("inf")
