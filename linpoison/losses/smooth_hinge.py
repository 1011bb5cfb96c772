"""The smoothed hinge of the influence attack."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

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
    def reach(self) -> float:  # type: ignore[override]
        """``sup_t t psi(t)``, found numerically (unimodal in t > 0)."""
        top = 1 + 40 * self.width
        best = minimize_scalar(lambda t: -t * expit((1 - t) / self.width), bounds=(0, top), options={"xatol": 1e-12})
        return float(-best.fun)

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

    def __repr__(self) -> str:
        return f"SmoothHinge(width={self.width:g})"


def entropy(pull: Any, mass: Any) -> Any:
    """``-w log(w / e) - (e - w) log((e - w) / e)``: the minimum of ``e log(1 + exp(-m)) + w m`` over the margin."""
    import cvxpy as cp

    return -cp.rel_entr(pull, mass) - cp.rel_entr(mass - pull, mass)


def _log_expm1(t: float) -> float:
    """``log(exp(t) - 1)`` without overflow; minus infinity at 0."""
    if t <= 0:
        return -np.inf
    return float(t + np.log1p(-np.exp(-t))) if t > 1e-12 else float(np.log(t))
