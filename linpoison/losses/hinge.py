"""The hinge loss and its square."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.validation import Array
from .base import MarginLoss


class Hinge(MarginLoss):
    """``phi(m) = max(0, 1 - m)``.

    Examples
    --------
    >>> Hinge().value(np.array([-1.0, 1.0, 3.0]))
    array([2., 0., 0.])
    """

    name = "hinge"
    lipschitz = 1.0
    smoothness = float("inf")
    soft_hinge = (1.0, 0.0)

    def value(self, m: Array) -> Array:
        return np.maximum(0.0, 1.0 - m)

    def derivative(self, m: Array) -> Array:
        return np.where(m < 1.0, -1.0, 0.0)

    def second_derivative(self, m: Array) -> Array:
        return np.zeros_like(m)

    def expression(self, m: Any) -> Any:
        import cvxpy as cp

        return cp.pos(1 - m)

    def margin_at_loss(self, value: float) -> float:
        return 1.0 - value

    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        return [pull == mass, pulled_margin <= pull]

    def gain(self, pull: Any, mass: Any) -> tuple[Any, list[Any]]:
        return pull, [pull >= 0, pull <= mass]

    def worst_pull(self, r: Array) -> tuple[Array, Array]:
        return 1.0 + r, np.ones_like(r)

    worst_loss = worst_pull


class SquaredHinge(MarginLoss):
    """``phi(m) = max(0, 1 - m)^2 / 2``.

    scikit-learn's ``LinearSVC(loss="squared_hinge")`` has no factor 1/2; the adapter accounts
    for it.
    """

    name = "squared_hinge"
    lipschitz = float("inf")
    smoothness = 1.0

    def value(self, m: Array) -> Array:
        return 0.5 * np.maximum(0.0, 1.0 - m) ** 2

    def derivative(self, m: Array) -> Array:
        return -np.maximum(0.0, 1.0 - m)

    def second_derivative(self, m: Array) -> Array:
        return np.where(m < 1.0, 1.0, 0.0)

    def expression(self, m: Any) -> Any:
        import cvxpy as cp

        return cp.square(cp.pos(1 - m)) / 2

    def margin_at_loss(self, value: float) -> float:
        return 1.0 - float(np.sqrt(2 * max(value, 0.0)))

    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        return _quadratic_pull(pull, pulled_margin, mass)

    def gain(self, pull: Any, mass: Any) -> tuple[Any, list[Any]]:
        return quadratic_gain(pull, mass), [pull >= 0]

    def worst_pull(self, r: Array) -> tuple[Array, Array]:
        return quadratic_worst_pull(r)


def quadratic_worst_pull(r: Array) -> tuple[Array, Array]:
    """``sup_t (1 - t) (t + r) = (1 + r)^2 / 4`` over t of at most 1, attained at ``t = (1 - r) / 2``."""
    ahead = (1 + r).clip(min=0)
    return ahead**2 / 4, ahead / 2


def quadratic_gain(pull: Any, mass: Any) -> Any:
    """``w - w^2 / (2 e)``: the minimum of ``e (1 - m)^2 / 2 + w m`` over the margin."""
    import cvxpy as cp

    if isinstance(mass, np.ndarray):
        return pull - cp.multiply(0.5 / mass, cp.square(pull))
    return pull - cp.quad_over_lin(pull, mass) / 2


def _quadratic_pull(pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
    """``w / (1 - m) <= e``, that is ``w^2 <= e (w - w m)``: a rotated second-order cone."""
    import cvxpy as cp

    return [cp.quad_over_lin(pull, pull - pulled_margin) <= mass]
