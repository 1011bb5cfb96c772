"""Smooth losses: the logistic one, and the smoothed hinge of the influence attack."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, wrightomega

from ..core.validation import Array, check_number
from .base import MarginLoss


class SmoothHinge(MarginLoss):
    """``phi(m) = width log(1 + exp((1 - m) / width))``, which tends to the hinge as the width does to 0.

    Parameters
    ----------
    width : float, default 0.1
        ``delta`` in Koh et al., appendix B.1.
    """

    name = "smooth_hinge"
    lipschitz = 1.0

    def __init__(self, width: float = 0.1) -> None:
        self.width = check_number(width, "width", above=0)

    @property
    def smoothness(self) -> float:  # type: ignore[override]
        """``1 / (4 width)``."""
        return 0.25 / self.width

    @property
    def soft_hinge(self) -> tuple[float, float]:  # type: ignore[override]
        """``(1, width)``."""
        return 1.0, self.width

    @property
    def continuation(self) -> tuple[MarginLoss, ...]:  # type: ignore[override]
        """Widths that shrink to 4 times its own, from 0.2 or somewhat more."""
        steps = max(0, int(np.ceil(np.log(0.2 / self.width) / np.log(4))))
        return tuple(SmoothHinge(self.width * 4.0**step) for step in range(steps, 0, -1))

    def value(self, m: Array) -> Array:
        return self.width * np.logaddexp(0.0, (1.0 - m) / self.width)

    def derivative(self, m: Array) -> Array:
        return -expit((1.0 - m) / self.width)

    def second_derivative(self, m: Array) -> Array:
        s = expit((1.0 - m) / self.width)
        return s * (1.0 - s) / self.width

    def expression(self, m: Any) -> Any:
        import cvxpy as cp

        return self.width * cp.logistic((1 - m) / self.width)

    def margin_at_loss(self, value: float) -> float:
        return 1.0 - self.width * _log_expm1(value / self.width)

    def pull_constraints(self, pull: Any, pulled_margin: Any, mass: Any) -> list[Any]:
        import cvxpy as cp

        return [cp.ExpCone((pulled_margin - pull) / self.width, pull, mass - pull)]

    def gain(self, pull: Any, mass: Any) -> tuple[Any, list[Any]]:
        return pull + self.width * entropy(pull, mass), []

    def worst_pull(self, r: Array) -> tuple[Array, Array]:
        return omega(self.width, 1 / self.width - 1, r)

    def __repr__(self) -> str:
        return f"SmoothHinge(width={self.width:g})"


def entropy(pull: Any, mass: Any) -> Any:
    """``-w log(w / e) - (e - w) log((e - w) / e)``: the minimum of ``e log(1 + exp(-m)) + w m`` over the margin."""
    import cvxpy as cp

    return -cp.rel_entr(pull, mass) - cp.rel_entr(mass - pull, mass)


def omega(width: float, shift: float, r: Array) -> tuple[Array, Array]:
    """``width W(exp(r / width + shift))`` with Lambert's W, and its derivative.

    ``sup_t (t + r) / (1 + exp((t - k) / width))`` for ``shift = k / width - 1``: the derivative in t vanishes where
    ``z = (t + r) / width - 1`` has ``z exp(z) = exp((r + k) / width - 1)``, and the value there is ``width z``.
    """
    value = np.asarray(wrightomega(np.asarray(r / width + shift, dtype=np.float64)))
    return width * value, value / (1 + value)


def _log_expm1(t: float) -> float:
    """``log(exp(t) - 1)`` without overflow; minus infinity at 0."""
    if t <= 0:
        return -np.inf
    return float(t + np.log1p(-np.exp(-t))) if t > 1e-12 else float(np.log(t))


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
