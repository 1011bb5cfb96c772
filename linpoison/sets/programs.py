"""Support and projection by a conic program, for sets without a closed form and as the referee of those with one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..convex import UnboundedProblem, solve
from ..core.validation import Array
from .ball import unit
from .base import FeasibleSet, unbounded


class SupportProgram:
    """``max w . x`` over a set, compiled once and solved for many directions."""

    def __init__(self, feasible: FeasibleSet) -> None:
        import cvxpy as cp

        self._set = feasible
        self._x, self._w = cp.Variable(feasible.d), cp.Parameter(feasible.d)
        self._problem = cp.Problem(cp.Maximize(self._w @ self._x), feasible.constraints(self._x))

    def __call__(self, w: Array, solver: str | None = None) -> Array:
        """A point of the set with the greatest ``w . x``, shape (d,)."""
        self._w.value = unit(w)
        try:
            solve(self._problem, solver=solver, check=lambda: _violation(self._set, self._x), tight=solver is not None)
        except UnboundedProblem:
            raise unbounded("set") from None
        return np.array(self._x.value)


class NearestProgram:
    """``min |x - z|^2`` over a set, compiled once and solved for many points."""

    def __init__(self, feasible: FeasibleSet) -> None:
        import cvxpy as cp

        self._set = feasible
        self._x, self._z = cp.Variable(feasible.d), cp.Parameter(feasible.d)
        self._problem = cp.Problem(cp.Minimize(cp.sum_squares(self._x - self._z)), feasible.constraints(self._x))

    def __call__(self, z: Array, solver: str | None = None) -> Array:
        """The point of the set nearest to `z`, shape (d,)."""
        self._z.value = z
        solve(self._problem, solver=solver, check=lambda: _violation(self._set, self._x), tight=solver is not None)
        return np.array(self._x.value)


def _violation(feasible: FeasibleSet, x: Any) -> float:
    return float(feasible.violation(np.asarray(x.value)[None, :])[0])
