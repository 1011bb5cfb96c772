"""Support and projection over a structured set, with multipliers that are kept from call to call."""

from __future__ import annotations

from functools import cached_property
from math import exp, inf, log, sqrt
from typing import Any

import numpy as np

from ..core.validation import Array
from .base import FeasibleSet, as_vector
from .piece import Tube
from .programs import NearestProgram, SupportProgram
from .solvers import GAP, CoreSolver, Projector, Supporter
from .structure import Structure, structure_of

_ROUNDS, _MEMORY = 400, 12
_BRIEF, _FEW = 100, 500  # rounds where rows are short: those that need more mostly end at none, and a program is cheap
_TIGHT, _NEAR = 1e-10, 1e-7


class TubeSolver:
    """Support or projection over ``K`` and ``|(I - B B') (x - c)| <= r`` by projections on ``K`` alone.

    The tube's function is ``min_a |x - c - B a|^2``. For a fixed multiplier ``nu`` and point ``q = c + B a``
    of the subspace the rest is a projection on ``K``, of ``q + w / nu`` (support) or of
    ``(z + nu q) / (1 + nu)`` (projection). The fixed point ``q = c + B B' (x - c)``, with ``nu`` such that
    the radius is met, is found by Anderson's extrapolation. With ``u = nu (x - q)`` as multiplier of the
    residual the dual bound over ``K`` gives the gap.

    Parameters
    ----------
    outer : Structure
        ``K``; a tube of its own is not looked at.

    References
    ----------
    Walker, Ni: Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011).
    """

    def __init__(self, outer: Structure, tube: Tube) -> None:
        self.outer, self.basis, self.radius = outer, tube.basis, tube.radius
        self.origin, self.somewhere = outer.origin, tube.center
        self.center = tube.center - outer.origin
        self.nearest, self.farthest = Projector(self.outer), Supporter(self.outer)

    def forget(self) -> None:
        """Start the next call from nothing."""
        self.nearest.start = None
        self.farthest.forget()

    def project(self, z: Array) -> tuple[Array, float] | None:
        """The nearest point and the relative duality gap; None where it was not found."""
        found = self.nearest(z)
        if found is None or self._inside(found[0]):
            return found
        first = max(sqrt(float(np.sum(self._residual(z) ** 2))) / max(self.radius, 1e-300) - 1, 1e-3)
        return self._iterate(found[0], first, 1.0, z, inf)

    def support(self, w: Array) -> tuple[Array, float] | None:
        """A support point for a direction of length 1 and the relative gap; None where it was not found."""
        found = self.farthest(w)
        if found is None or self._inside(found[0]):
            return found
        across = sqrt(float(np.sum((w - self.basis @ (w @ self.basis)) ** 2)))
        first = max(across, 1e-3) / max(self.radius, 1e-300)
        # a point in the tube that is this good is one to a gap of GAP: max_K w . x is at most found[1] reach above
        enough = float(w @ found[0]) - (GAP - max(found[1], 0.5 * GAP)) * self.outer.reach
        return self._iterate(found[0], first, 0.0, w, enough)

    def _residual(self, x: Array) -> Array:
        offset = x - self.center
        return np.asarray(offset - self.basis @ (offset @ self.basis))

    def _inside(self, x: Array) -> bool:
        return sqrt(float(np.sum(self._residual(x) ** 2))) <= self.radius * (1 + _TIGHT)

    def _iterate(self, x: Array, nu: float, kappa: float, pull: Array, enough: float) -> tuple[Array, float] | None:
        """The point at the fixed point, once the gap is small; or one in the tube with ``pull . x >= enough``."""
        if self.radius == 0:
            return None
        residual, memory, near = self._residual(x), _Extrapolation(_MEMORY), _NEAR
        q, size = x - residual, self.radius
        rounds = _BRIEF if q.size <= _FEW else _ROUNDS
        for turn in range(rounds):
            if turn == rounds // 2:  # steps of long ago lead astray where the point has a kink to pass
                memory = _Extrapolation(_MEMORY // 2)
            found = self.nearest((pull + nu * q) / (kappa + nu))
            if found is None:
                return None
            x = found[0]
            residual = self._residual(x)
            length = sqrt(float(residual @ residual))
            there = x - residual
            if length <= size * (1 + _TIGHT):
                if float(pull @ x) >= enough:
                    return x, GAP
                if length >= size * (1 - _TIGHT) and sqrt(float(np.sum((there - q) ** 2))) <= near * size:
                    gap = self._gap(x, nu * residual, kappa, nu, pull)
                    if gap <= GAP:
                        return x, gap
                    near /= 30
            # The multiplier enters as log(kappa + nu), in which the radius asks for a step of its own.
            height = size * log(kappa + nu)
            step = np.append(there - q, size * log(max(length / size, 0.2)))
            state = memory.next(np.append(q, height), step)
            q = state[:-1]
            nu = max((kappa + nu) * exp(min(max((state[-1] - height) / size, -1.5), 1.5)) - kappa, 1e-2 * nu)
        return None

    def _gap(self, x: Array, u: Array, kappa: float, nu: float, pull: Array) -> float:
        """The relative gap to the bound over ``K`` with `u` as the tube's multiplier."""
        # u is orthogonal to the subspace, so that u . x <= u . c + r |u| over the tube, and over K and the tube w . x
        # <= max_K (w - u) . x + u . c + r |u|; |x - z|^2 / 2 is at least the minimum over K with u . x added, less
        # that.
        paid = float(u @ self.center) + self.radius * sqrt(float(u @ u))
        if kappa == 0:
            multipliers = [nu * t for t in self.nearest.start or []]
            bound = self.farthest.bound(pull - u, multipliers) + paid
            return abs(bound - float(pull @ x)) / (self.outer.reach or 1.0)
        found = self.nearest(pull - u)
        if found is None:
            return inf
        y, value = found[0], 0.5 * float((x - pull) @ (x - pull))
        below = 0.5 * float((y - pull) @ (y - pull)) + float(u @ y) - paid
        return abs(value - below) / max(0.5 * float(pull @ pull), value, 1e-300)


class _Extrapolation:
    """Anderson's acceleration of a fixed-point iteration, with least squares over the last steps."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.states: list[Array] = []
        self.steps: list[Array] = []
        self.last: tuple[Array, Array] | None = None

    def next(self, state: Array, step: Array) -> Array:
        """The next state, after a step ``g(state) - state``."""
        if self.last is not None:
            self.states = [*self.states, state - self.last[0]][-self.memory :]
            self.steps = [*self.steps, step - self.last[1]][-self.memory :]
        self.last = state, step
        if not self.steps:
            return np.asarray(state + step)
        changes = np.array(self.steps)
        gram = changes @ changes.T
        gram += (1e-12 * np.trace(gram) + 1e-300) * np.eye(len(gram))
        weights = np.linalg.solve(gram, changes @ step)
        return np.asarray(state + step - weights @ (np.array(self.states) + changes))


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
