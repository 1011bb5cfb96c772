"""The squared loss of ridge classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.validation import Array
from .base import MarginLoss
from .hinge import _quadratic_pull, quadratic_gain, quadratic_worst_pull


class Squared(MarginLoss):
    """``phi(m) = (1 - m)^2 / 2``, which equals ``(y - f)^2 / 2`` for labels in {-1, +1}.

    It increases beyond margin 1; there a point pushes the other way.
    """

    name = "squared"
    lipschitz = float("inf")
    smoothness = 1.0
    turn = 1.0
    quadratic = True
    free_intercept = True

    def value(self, m: Array) -> Array:
        return 0.5 * (1.0 - m) ** 2

    def derivative(self, m: Array) -> Array:
        return m - 1.0

    def second_derivative(self, m: Array) -> Array:
        return np.ones_like(m)

    def expression(self, m: Any) -> Any:
        import cvxpy as cp

        return cp.square(1 - m) / 2

    def margin_at_loss(self, value: float) -> float:
        return 1.0 - float(np.sqrt(2 * max(value, 0.0)))

    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        return _quadratic_pull(pull, pulled_margin, mass)

    def gain(self, pull: Any, mass: Any) -> tuple[Any, list[Any]]:
        return quadratic_gain(pull, mass), []

    def worst_pull(self, r: Array) -> tuple[Array, Array]:
        return quadratic_worst_pull(r)
