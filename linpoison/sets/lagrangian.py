"""The dual function of a support or a projection over a structured set."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import numpy as np

from ..core.validation import Array
from .structure import Structure

Multipliers = list[float]


@dataclass(frozen=True, eq=False, slots=True)
class Point:
    """The dual function at one vector of multipliers.

    Parameters
    ----------
    theta : list of float, length n
        Multiplier of the core, if there is one, then those of the rows.
    x : ndarray, shape (d,)
        The minimiser of the Lagrangian.
    value : list of float, length n
        The core's function and ``A x``, whose excess over the limits is the gradient.
    trace : ndarray
        The minimiser before the bounds cut it (ball), or the indices that lie between kinks (counts).
    """

    theta: Multipliers
    x: Array
    value: Multipliers
    dual: float
    trace: Any


class Lagrangian:
    """``kappa/2 |x|^2 - pull . x + mu h(x) + lam . (A x - limits)``, minimised over the box in closed form.

    ``h`` is ``|x|^2 - radius^2`` for a plain ball. For counts it is ``(1 - omega)`` times the envelope plus
    `omega` times the ball, so that `omega` leads from one to the other. Each evaluation costs two products
    with a table of a few rows of length d and a few passes over vectors of length d.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.core = structure.radius is not None
        self.radius = float(structure.radius or 0.0)
        self.counts = structure.center is not None
        top = [structure.center] if structure.center is not None else []
        self.table = np.vstack([np.zeros(structure.d), *top, structure.rows])
        self.first, self.lead = int(self.core), 1 + int(self.counts)
        self.size = self.first + structure.rows.shape[0]
        self.low = [-inf] * self.first + structure.low.tolist()
        self.high = [0.0] * self.first + structure.high.tolist()
        self.both = [low == high for low, high in zip(self.low, self.high, strict=True)]
        self.below = bool(np.isfinite(structure.lower).any())
        self.above = bool(np.isfinite(structure.upper).any())
        self.constant = -(self.radius**2)
        self.whole = True
        if structure.center is not None:
            self.constant += float(structure.center @ structure.center)
            bounds = np.concatenate([structure.lower, structure.upper])
            self.whole = bool((bounds == np.rint(bounds)).all())
        self._weights = np.zeros(self.table.shape[0])
        self.kappa, self.omega, self.ceiling, self.bent = 0.0, 1.0, inf, self.core

    def load(self, pull: Array, kappa: float, omega: float) -> None:
        """Set the objective ``kappa/2 |x|^2 - pull . x`` and the share of the plain ball."""
        self.table[0] = pull
        self.kappa, self.omega = kappa, omega if self.counts else 1.0
        self.bent = self.core and kappa == 0
        reach = self.structure.reach
        self.ceiling = (0.5 * kappa * reach + sqrt(float(pull @ pull))) * reach if reach < inf else inf

    def limit(self, j: int, multiplier: float) -> float:
        """The side of constraint `j` that a multiplier of this sign pushes from."""
        return self.low[j] if multiplier < 0 else self.high[j]

    def at(self, theta: Multipliers) -> Point:
        """Evaluate the dual function, for a positive sum of `kappa` and the core's multiplier."""
        mu = theta[0] if self.core else 0.0
        period = self.kappa + 2 * mu
        y = self._target(theta, mu, period)
        if self.omega < 1:
            x, trace = self._shrunk(y, mu * (1 - self.omega) / period)
        else:
            x, trace = self.cut(y), y
        inner, square = (self.table @ x).tolist(), float(x @ x)
        value = inner[self.lead - self.first :]
        if self.core:
            value[0] = square + self.constant + self._beyond(x, trace) - (2 * inner[1] if self.counts else 0.0)
        dual = 0.5 * self.kappa * square - inner[0]
        for j, multiplier in enumerate(theta):
            if multiplier:
                dual += multiplier * (value[j] - self.limit(j, multiplier))
        return Point(theta, x, value, dual, trace)

    def _target(self, theta: Multipliers, mu: float, period: float) -> Array:
        """The minimiser without bounds and kinks."""
        # kappa x - pull + 2 mu (x - c) + A'lam = 0; coordinates separate, so that bounds and kinks act on each by
        # itself
        weights = self._weights
        weights[0] = 1 / period
        if self.counts:
            weights[1] = 2 * mu / period
        for j in range(self.first, self.size):
            weights[self.lead - self.first + j] = -theta[j] / period
        return weights @ self.table

    def cut(self, y: Array) -> Array:
        """Cut to the bounds."""
        if self.below:
            y = np.maximum(y, self.structure.lower)
            return np.minimum(y, self.structure.upper, out=y) if self.above else y
        return np.minimum(y, self.structure.upper) if self.above else y

    def _shrunk(self, y: Array, jump: float) -> tuple[Array, Any]:
        """Whole numbers, moved on where the rest of the target exceeds the jump of the slope."""
        # The envelope interpolates x^2 between whole numbers k: with e = x - k it adds |e| - e^2 to x^2. A coordinate
        # is period ((e - rest)^2 / 2 + jump (|e| - e^2)): least at e = 0 while |rest| <= jump, else at (|rest| - jump)
        # / (1 - 2 jump) on the side of the rest, for jump < 1/2 = the most that |rest| can be.
        whole = np.rint(y)
        rest = np.subtract(y, whole, out=y)
        trace = np.flatnonzero(np.abs(rest) > jump)
        x = self.cut(whole)
        part = rest[trace]
        part -= np.minimum(np.maximum(part, -jump), jump)
        moved = whole[trace] + part / (1 - 2 * jump)
        lower, upper = self.structure.lower[trace], self.structure.upper[trace]
        x[trace] = np.minimum(np.maximum(moved, lower), upper)
        return x, trace[(moved > lower) & (moved < upper)]

    def _beyond(self, x: Array, trace: Any) -> float:
        """What the envelope adds to ``|x|^2``: the variance of unbiased rounding."""
        if self.omega == 1:
            return 0.0
        near = x[trace] if self.whole else x
        part = near - np.rint(near)
        return (1 - self.omega) * float(np.abs(part).sum() - part @ part)

    def hessian(self, point: Point) -> list[Multipliers]:
        """Minus the second derivative of the dual function, n by n."""
        # The minimiser moves by -(curvature)^-1 times the slopes of the constraints, in the coordinates that are
        # neither at a bound nor at a kink; the gradient of the dual function is the values there: slopes (curvature)^-1
        # slopes'.
        if self.omega < 1:
            slopes = self.table[self.lead - self.first :, point.trace]
            slopes[: self.first] = self._slope(point)
        else:
            slopes = self.table[self.lead - self.first :].copy()
            if self.core:
                slopes[0] = point.x if not self.counts else point.x - self.table[1]
                slopes[0] *= 2
            if self.below or self.above:
                slopes *= point.x == point.trace
        slopes /= sqrt(self.curvature(point.theta))
        return (slopes @ slopes.T).tolist()  # type: ignore[no-any-return]

    def _slope(self, point: Point) -> Array:
        """Slope of the mixture at the coordinates between its kinks."""
        x = point.x[point.trace]
        slope = 2 * (x - self.table[1, point.trace])
        return np.asarray(slope + (1 - self.omega) * (1 - 2 * (x - np.floor(x))))

    def linear(self, point: Point) -> Multipliers:
        """The values with the core's as ``2 r (r - radius)``, ``r`` the norm: what Newton's method should see."""
        # Without kappa x is linear in 1 / mu, and about so is r, but not r^2: Newton's method finds a zero of r -
        # radius in a step. The factor 2 r = d(r^2) / dr keeps the second derivatives those of the dual function.
        if not self.bent:
            return point.value
        norm = sqrt(max(point.value[0] + self.radius**2, 0.0))
        return [2 * norm * (norm - self.radius), *point.value[1:]]

    def largest_curvatures(self, theta: Multipliers) -> Multipliers:
        """What the second derivatives would be if every coordinate moved freely."""
        most = 1 / max(self.kappa + (2 * theta[0] if self.core else 0.0), 1e-300)
        return [4 * self.radius**2 * most] * self.first + [most] * (self.size - self.first)

    def curvature(self, theta: Multipliers) -> float:
        """Second derivative of the Lagrangian in a coordinate between its kinks."""
        return self.kappa + (2 * theta[0] * self.omega if self.core else 0.0)
