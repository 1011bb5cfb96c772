"""Support and projection by a conic program, for sets without a closed form and as the referee of those with one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..convex import Restated, UnboundedProblem, chosen_solver, solve
from ..core.validation import Array, Matrix
from .ball import unit
from .base import FeasibleSet, Relation, unbounded


class SupportProgram:
    """``max w . x`` over a set, for many directions."""

    def __init__(self, feasible: FeasibleSet) -> None:
        import cvxpy as cp

        self._set, self._x = feasible, cp.Variable(feasible.d)
        self._inside = feasible.constraints(self._x)
        self._program = Restated(self._along, feasible.d)

    def _along(self, w: Any) -> Any:
        import cvxpy as cp

        return cp.Problem(cp.Maximize(w @ self._x), self._inside)

    def __call__(self, w: Array, solver: str | None = None) -> Array:
        """A point of the set with the greatest ``w . x``, shape (d,)."""
        problem = self._program.at(unit(w))
        try:
            solve(problem, solver=solver, check=lambda: _violation(self._set, self._x), tight=solver is not None)
        except UnboundedProblem:
            raise unbounded("set") from None
        return np.array(self._x.value)


class NearestProgram:
    """``min |x - z|^2`` over a set, for many points."""

    def __init__(self, feasible: FeasibleSet) -> None:
        import cvxpy as cp

        self._set, self._x = feasible, cp.Variable(feasible.d)
        self._inside = feasible.constraints(self._x)
        self._program = Restated(self._near, feasible.d)

    def _near(self, z: Any) -> Any:
        import cvxpy as cp

        return cp.Problem(cp.Minimize(cp.sum_squares(self._x - z)), self._inside)

    def __call__(self, z: Array, solver: str | None = None) -> Array:
        """The point of the set nearest to `z`, shape (d,)."""
        problem = self._program.at(z)
        solve(problem, solver=solver, check=lambda: _violation(self._set, self._x), tight=solver is not None)
        return np.array(self._x.value)


def _violation(feasible: FeasibleSet, x: Any) -> float:
    return float(feasible.violation(np.asarray(x.value)[None, :])[0])


_INSIDE = 1e-8


@dataclass(frozen=True, eq=False, repr=False)
class SolvedBy(FeasibleSet):
    """The set `feasible`, stated to cvxpy for every support and every projection.

    The structured solvers are not asked, so that this is what they are compared with. Rows that violate
    nothing by more than 1e-8 are their own projection, as in `Intersection`.

    Parameters
    ----------
    feasible : FeasibleSet
    solver : str
        An installed solver of cvxpy.

    Raises
    ------
    UnfitSolver
        From `support` and `project`, if the solver cannot take the cones of the set.

    Examples
    --------
    >>> from linpoison.sets import Ball
    >>> SolvedBy(Ball([0.0, 0.0], 1.0), "CLARABEL").support([0.0, 2.0]).round(6) + 0.0
    array([0., 1.])
    """

    feasible: FeasibleSet
    solver: str
    relation: Relation = field(init=False)

    def __post_init__(self) -> None:
        self._set(solver=chosen_solver(self.solver), relation=self.feasible.relation)

    @property
    def d(self) -> int:
        return self.feasible.d

    @property
    def extent(self) -> float:  # type: ignore[override]
        return self.feasible.extent

    @property
    def has_support_bound(self) -> bool:
        return self.feasible.has_support_bound

    def _support_bound(self, w: Array) -> float:
        return self.feasible._support_bound(w)

    def _cone(self, u: Any, t: Any) -> list[Any]:
        return self.feasible._cone(u, t)

    def _violation(self, X: Matrix) -> Array:
        return self.feasible._violation(X)

    def _support(self, w: Array) -> Array:
        return self._support_program(w, self.solver)

    def _project(self, X: Array) -> Array:
        for row in np.flatnonzero(self._violation(X) > _INSIDE):
            X[row] = self._nearest_program(X[row], self.solver)
        return X

    @cached_property
    def _support_program(self) -> SupportProgram:
        return SupportProgram(self.feasible)

    @cached_property
    def _nearest_program(self) -> NearestProgram:
        return NearestProgram(self.feasible)

    def __repr__(self) -> str:
        return f"SolvedBy({self.feasible!r}, {self.solver!r})"
