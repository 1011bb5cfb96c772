"""The logistic loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from ..core.validation import Array
from .base import MarginLoss
from .smooth_hinge import _log_expm1, entropy, omega


class Logistic(MarginLoss):
    """``phi(m) = log(1 + exp(-m))``.

    Examples
    --------
    >>> round(Logistic().reach, 5)
    0.27846
    """

    name = "logistic"
    lipschitz = 1.0
    smoothness = 0.25
    soft_hinge = (0.0, 1.0)
    free_intercept = True

    def value(self, m: Array) -> Array:
        return np.logaddexp(0.0, -m)

    def derivative(self, m: Array) -> Array:
        return -expit(-m)

    def second_derivative(self, m: Array) -> Array:
        s = expit(m)
        return s * (1.0 - s)

    def expression(self, m: Any) -> Any:
        import cvxpy as cp

        return cp.logistic(-m)

    def margin_at_loss(self, value: float) -> float:
        return -_log_expm1(value)

    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        import cvxpy as cp

        return [cp.ExpCone(pulled_margin, pull, mass - pull)]

    def gain(self, pull: Any, mass: Any) -> tuple[Any, list[Any]]:
        return entropy(pull, mass), []

    def worst_pull(self, r: Array) -> tuple[Array, Array]:
        return omega(1.0, -1.0, r)
