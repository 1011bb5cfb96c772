"""Support and projection over a structured set, with multipliers that are kept from call to call."""

from __future__ import annotations

from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from ..core.validation import Array
from .base import FeasibleSet, as_vector
from .programs import NearestProgram, SupportProgram
from .solvers import CoreSolver
from .structure import structure_of
from .tube_solver import TubeSolver


class Oracle:
    """Support and projection of one set for loops: what a call learns, the next one starts from.

    For an intersection of at most one ball (or its envelope for counts) with slabs, half-spaces, boxes
    and a subspace tube,

        max w . x  or  min |x - z|^2 / 2   over   lower <= x <= upper,  low <= A x <= high,  h(x) <= 0,

    all coordinates separate once the multipliers ``mu`` of ``h`` and ``lam`` of the rows are fixed. The
    dual is a concave function of these few numbers, maximised by Newton's method with its exact second
    derivative at O(m d) an evaluation. A linear program (counts) is approached through a mixture of ball
    and envelope and ends in a basic solution. Every answer is checked: ``gap`` is the relative distance
    between its objective and a bound that holds for every point of the set, and where it is not reached
    a conic program answers instead. Other sets answer by their own closed forms.

    Attributes
    ----------
    gap : float
        Relative duality gap of the last call, infeasibility included; NaN where no bound was computed
        (a set's own closed form, or a conic program).
    fallbacks : int
        How many calls a conic program had to answer.

    Examples
    --------
    >>> from linpoison.sets import Ball, Halfspace, Intersection
    >>> oracle = Oracle(Intersection([Ball([0.0, 0.0], 1.0), Halfspace([1.0, 0.0], 0.6)]))
    >>> oracle.support([1.0, 0.0]).round(6)
    array([0.6, 0. ])
    >>> oracle.project([2.0, 2.0]).round(6)
    array([0.6, 0.8])
    >>> oracle.gap < 1e-8, oracle.fallbacks
    (True, 0)
    """

    def __init__(self, feasible: FeasibleSet) -> None:
        self.feasible = feasible
        self.gap = float("nan")
        self.fallbacks = 0

    def support(self, w: Any) -> Array:
        """A point of the set with the greatest ``w . x``, shape (d,); errors as `FeasibleSet.support`."""
        direction = as_vector(w, "direction w", self.feasible.d)
        self.gap = float("nan")
        if self._closed:
            return self.feasible._support(direction)
        if self._solver is None:
            return self._by_program(self._support_program, direction)
        size = float(np.linalg.norm(direction))
        if size == 0:
            return self.project(self._solver.somewhere)
        found = self._solver.support(direction / size)
        return self._by_program(self._support_program, direction) if found is None else self._answer(*found)

    def project(self, z: Any) -> Array:
        """The point of the set nearest to `z`, shape (d,); errors as `FeasibleSet.project`."""
        point = as_vector(z, "point z", self.feasible.d)
        self.gap = float("nan")
        if self._closed:
            return np.asarray(self.feasible._project(point[None, :])[0])
        found = None if self._solver is None else self._solver.project(point - self._solver.origin)
        return self._by_program(self._nearest_program, point) if found is None else self._answer(*found)

    @property
    def reach(self) -> float:
        """What `gap` is relative to, for directions of length 1: at least the size of the set."""
        structure = None if self._closed else structure_of(self.feasible)
        if structure is None:
            return inf
        return max(structure.reach, float(structure.radius or 0.0), 1.0)

    def forget(self) -> None:
        """Start the next call from nothing, so that its answer does not depend on earlier ones."""
        if self._solver is not None:
            self._solver.forget()

    def __repr__(self) -> str:
        return f"Oracle({self.feasible!r})"

    @cached_property
    def _closed(self) -> bool:
        """Whether the set answers by itself."""
        return self.feasible.parts == (self.feasible,)

    @cached_property
    def _solver(self) -> CoreSolver | TubeSolver | None:
        structure = None if self._closed else structure_of(self.feasible)
        if structure is None:
            return None
        return CoreSolver(structure) if structure.tube is None else TubeSolver(structure, structure.tube)

    def _answer(self, x: Array, gap: float) -> Array:
        self.gap = gap
        return x if self._solver is None else x + self._solver.origin

    def _by_program(self, program: SupportProgram | NearestProgram, vector: Array) -> Array:
        self.fallbacks += 1
        return program(vector)

    @cached_property
    def _support_program(self) -> SupportProgram:
        return SupportProgram(self.feasible)

    @cached_property
    def _nearest_program(self) -> NearestProgram:
        return NearestProgram(self.feasible)

    def __getstate__(self) -> dict[str, Any]:
        return {"feasible": self.feasible, "gap": self.gap, "fallbacks": self.fallbacks}
