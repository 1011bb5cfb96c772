"""The hinge loss from a start: proximal steps on the dual, each by semismooth Newton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, LinearModel, Matrix, Poison
from ..losses import Problem
from .base import ProvenFit
from .hessian import Hessian, squared_lengths

_DIRECT = 1500
"""Rows or columns up to which a Newton system is factorised: long rows keep conjugate gradients from their end."""
_SMALL = 30_000
"""Entries up to which sparse rows are made dense: there, what a sparse product costs is its bookkeeping."""


@dataclass(frozen=True)
class WarmFit(ProvenFit):
    """A model from a start, and its proof.

    Parameters
    ----------
    steps : int
        Newton steps taken.
    """

    steps: int


def warm_hinge(
    problem: Problem,
    data: Dataset,
    start: LinearModel,
    *,
    gap_tol: float = 1e-9,
    max_steps: int = 150,
) -> WarmFit:
    """The hinge-loss minimiser from the neighbourhood of `start`.

    ::

        max_a  sum_i a_i - |sum_i a_i y_i x_i|^2 / (2 reg_N),   0 <= a_i <= u_i = c_i / N

    with a one behind each ``x_i`` for a penalised intercept, and ``sum_i a_i y_i = 0`` for a free
    one. A proximal term ``-sum_i width_i (a_i - center_i)^2 / (2 u_i)`` makes the primal smooth,
    with ``a_i = clip(center_i + u_i (1 - margin_i) / width_i, 0, u_i)``; only rows with ``a_i``
    inside its bounds enter the Newton system, so rows far from the margin of 1 cost a product.
    The center then moves to ``a`` and the width shrinks. Equal rows are no obstacle: the term
    keeps every system regular.

    Parameters
    ----------
    problem : Problem
        With the hinge loss.
    data : Dataset
        Rows of positive weight and of both classes.
    start : LinearModel
        Any guess; the zero model takes its place if it has the lower objective.
    gap_tol : float, default 1e-9
        Largest duality gap relative to the objective.
    max_steps : int, default 150
        Bound on Newton steps. The caller judges the gap of what is returned then.

    Notes
    -----
    The proximal point method on the dual, which is the augmented Lagrangian method on the primal with the
    slacks as multipliers, see Rockafellar (1976), Mathematics of Operations Research 1, 97-116.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> data = Dataset([[1.0], [-2.0]], [1, -1])
    >>> found = warm_hinge(Problem(Hinge(), 0.5), data, LinearModel([0.0]))
    >>> found.gap <= 1e-9 * found.value
    True
    """
    rows = Poison(data.X, data.y, data.weight).merged().as_dataset()
    if rows.is_sparse and rows.n * rows.d <= _SMALL:
        rows = Dataset(rows.X.toarray(), rows.y, rows.weight)
    return _Search(problem, rows, start).run(gap_tol, max_steps)


class _Search:
    """Model, multipliers and center of one fit; vectors are ``(theta, b)``."""

    first_width = 0.1
    shrink = 0.3
    least_width = 1e-2
    enough = 0.05
    long = 6.0  # times the median length, from which a row's width grows

    def __init__(self, problem: Problem, data: Dataset, start: LinearModel) -> None:
        self.problem, self.data = problem, data
        self.cap = data.weight / data.total
        self.reg = problem.reg_at(data.total)
        self.penalty = self.reg * problem.penalty_mask(data.d)
        self.free = problem.fit_intercept and not problem.penalize_intercept
        self.vector = start.vector.copy()
        self.vector[-1] *= float(problem.fit_intercept)
        if not problem.value(LinearModel(self.vector[:-1], self.vector[-1]), data) < 1.0:
            self.vector[:] = 0.0
        lengths = np.sqrt(squared_lengths(data.X))
        self.stretch = np.maximum(1.0, lengths / (self.long * np.median(lengths)))
        self._narrow(0.5 * self.cap, self.first_width)
        self.signed = _signed(problem, data)
        self.margins = self._margins(self.vector)
        self.center = self._multipliers(self.margins)

    def run(self, gap_tol: float, max_steps: int) -> WarmFit:
        for step in range(max_steps + 1):
            dual = self._multipliers(self.margins)
            gradient = self.penalty * self.vector - self._combined(dual)
            value, gap = self._certificate(dual, gradient)
            if gap <= gap_tol * value or step == max_steps:
                break
            if self._solved(gradient, gap):
                self._narrow(dual, max(self.shrink * self.width, self.least_width))
                dual = self._multipliers(self.margins)
                gradient = self.penalty * self.vector - self._combined(dual)
            try:
                self._newton_step(dual, gradient)
            except np.linalg.LinAlgError:  # rounding left no definite system: the caller judges the gap
                break
        return WarmFit(LinearModel(self.vector[:-1], float(self.vector[-1])), gap, value, step)

    def _narrow(self, center: Array, width: float) -> None:
        self.center, self.width = center, width
        self.steep = self.cap / (width * self.stretch)

    def _margins(self, vector: Array) -> Array:
        return np.asarray(self.signed @ vector)

    def _multipliers(self, margins: Array) -> Array:
        return np.asarray(np.minimum(np.maximum(self.center + self.steep * (1.0 - margins), 0.0), self.cap))

    def _combined(self, dual: Array) -> Array:
        """``sum_i a_i y_i (x_i, 1)``, without the one if no intercept is fitted."""
        return np.asarray(self.signed.T @ dual)

    def _certificate(self, dual: Array, gradient: Array) -> tuple[float, float]:
        """Objective and duality gap."""
        value = 0.5 * float(self.penalty @ self.vector**2)
        value += float(self.cap @ np.maximum(0.0, 1.0 - self.margins))
        reached = self.penalty * self.vector - gradient
        if self.free:
            dual = self._balanced(dual)
            reached = self._combined(dual)[:-1]
        return value, value - float(dual.sum()) + 0.5 * float(reached @ reached) / self.reg

    def _balanced(self, dual: Array) -> Array:
        """The multipliers with those of the heavier class scaled down to the weight of the other."""
        positive = self.data.y > 0
        mass = dual[positive].sum(), dual[~positive].sum()
        low = min(mass)
        scale = np.where(positive, low / max(mass[0], 1e-300), low / max(mass[1], 1e-300))
        return np.asarray(dual * np.minimum(scale, 1.0))

    def _solved(self, gradient: Array, gap: float) -> bool:
        """Whether the smooth problem is solved as well as the distance to the true one deserves."""
        rest = 0.5 * float(gradient[:-1] @ gradient[:-1]) / self.reg
        last = abs(float(gradient[-1]))
        return rest + (last if self.free else 0.5 * last**2 / self.reg) <= self.enough * gap

    def _newton_step(self, dual: Array, gradient: Array) -> None:
        inside = (dual > 0) & (dual < self.cap)
        if not inside.any():
            inside[np.argmin(np.abs(1.0 - self.margins))] = True
        hessian = Hessian(
            self.data.X,
            np.where(inside, self.steep, 0.0),
            self.penalty,
            fit_intercept=self.problem.fit_intercept,
            rtol=1e-5,
            max_iter=500,
            direct=_DIRECT,
        )
        direction = hessian.solve(-gradient)
        self.vector = self.vector + self._length(direction) * direction
        self.margins = self._margins(self.vector)

    def _length(self, direction: Array) -> float:
        """One, or where the smooth objective is least along the direction if that comes before.

        Its slope grows in pieces that are lines: a Newton step ends on the root as soon as it starts on the same piece.
        """
        change = self._margins(direction)
        base, bend = float(self.penalty @ (self.vector * direction)), float(self.penalty @ direction**2)

        def slope(t: float) -> tuple[float, float]:
            dual = self._multipliers(self.margins + t * change)
            inside = (dual > 0) & (dual < self.cap)
            return base + t * bend - float(dual @ change), bend + float((self.steep * inside) @ change**2)

        first, last = slope(0.0)[0], slope(1.0)[0]
        if first >= 0 or last <= 0.1 * abs(first):
            return 1.0
        low, high, t = 0.0, 1.0, first / (first - last)
        while high - low > 1e-10:
            value, curvature = slope(t)
            low, high = (t, high) if value < 0 else (low, t)
            step = value / curvature
            if abs(step) <= 1e-10:
                break
            t = t - step if low < t - step < high else 0.5 * (low + high)
        return t


def _signed(problem: Problem, data: Dataset) -> Matrix:
    """``y_i (x_i, 1)``, with a zero in place of the one if no intercept is fitted."""
    last = data.y[:, None] * float(problem.fit_intercept)
    if data.is_sparse:
        return sp.csr_array(sp.hstack([sp.diags_array(data.y) @ data.X, sp.csr_array(last)]))
    return np.hstack([data.X * data.y[:, None], last])
