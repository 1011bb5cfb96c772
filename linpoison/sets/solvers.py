"""Support and projection of a structured set by Newton's method on their duals."""

from __future__ import annotations

from functools import cached_property
from math import inf, sqrt

import numpy as np

from ..core.validation import Array
from .crossover import Crossover
from .faces import BallFaces
from .lagrangian import Lagrangian, Multipliers, Point
from .newton import maximize
from .structure import Structure

TOL = 1e-11
GAP = 1e-9
"""What counts as solved: relative violation of a constraint, and relative duality gap."""
_COLD = ((1.0, 0.1), (0.1, 0.03))
_WARM = ((0.05, 0.02),)
_TILT = 2e-10
"""Shares of the ball on the way to the envelope, with tolerances: the crossover does the rest."""
_PROXIMAL = (1e-1, 1e-2, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5)


class Projector:
    """``min |x - z|^2 / 2`` over a structured set, starting from the multipliers of the call before."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.dual = Lagrangian(structure)
        self.start: Multipliers | None = None

    def __call__(self, z: Array) -> tuple[Array, float] | None:
        """The nearest point and the relative duality gap; None where it was not found."""
        dual = self.dual
        dual.load(z, 1.0, 0.0)
        length = float(z @ z)
        scale = scales(dual, min(self.structure.reach, 1 + sqrt(length)))
        point = maximize(dual, self.start or self._first(z), scale, TOL)
        if point is None:
            self.start = None
            return None
        self.start = point.theta
        square = float(point.x @ point.x)
        value = 0.5 * square - float(z @ point.x)
        return point.x, abs(value - point.dual) / max(0.5 * length, 0.5 * square, 1e-300)

    def _first(self, z: Array) -> Multipliers:
        theta = [0.0] * self.dual.size
        if self.dual.core:
            offset = z if self.structure.center is None else z - self.structure.center
            theta[0] = max(0.5 * (sqrt(float(offset @ offset)) / self.dual.radius - 1), 0.0)
        return theta


class Supporter:
    """``max w . x`` over a structured set for directions of length 1."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.dual = Lagrangian(structure)
        self.crossover = Crossover(self.dual)
        self.faces = BallFaces(structure) if BallFaces.fits(structure) else None
        self.start: Multipliers | None = None

    def __call__(self, w: Array) -> tuple[Array, float] | None:
        """A support point and the relative duality gap; None where it was not found."""
        if self.structure.reach == inf:
            return None
        found = None if self.faces is None else self.faces(w)
        if found is None and self.dual.core:
            found = self._by_core(w)
        return found or self._by_steps(w)

    def forget(self) -> None:
        """Start the next call from nothing."""
        self.start = None
        if self.faces is not None:
            self.faces.forget()

    def bound(self, w: Array, theta: Multipliers) -> float:
        """An upper bound on ``w . x`` from any multipliers with their signs; infinite where they prove none."""
        if self.dual.counts:
            return self.crossover.bound(w, np.array(theta))
        if not self.dual.core:
            return self.crossover.bound(w, np.array(theta)) if self.structure.bounded_box else inf
        self.dual.load(w, 0.0, 1.0)
        return -self.dual.at([max(theta[0], 1e-13 / self.dual.radius), *theta[1:]]).dual

    def _by_core(self, w: Array) -> tuple[Array, float] | None:
        """With a multiplier of the core above zero."""
        if self.start is not None:
            found = self._descend(w, self.start, _WARM)
            if found is not None:
                return found
        return self._descend(w, [1 / (2 * self.dual.radius)] + [0.0] * (self.dual.size - 1), _COLD)

    def _descend(
        self, w: Array, theta: Multipliers, path: tuple[tuple[float, float], ...], floor: float = 1e-2, rounds: int = 6
    ) -> tuple[Array, float] | None:
        dual, floor = self.dual, floor / self.dual.radius
        scale = scales(dual, dual.radius if dual.counts else self.structure.reach)
        self.start = None
        if not dual.counts:
            dual.load(w, 0.0, 1.0)
            point = maximize(dual, theta, scale, TOL, floor)
            if point is None:
                return None
            self.start = point.theta
            return point.x, abs(float(w @ point.x) + point.dual) / (self.structure.reach or 1.0)
        for share, tol in path:
            dual.load(w, 0.0, share)
            point = maximize(dual, theta, scale, tol, floor, rounds)
            if point is None:
                return None
            theta = point.theta
        x = self.crossover.finish(w, theta)
        if x is None:
            return None
        self.start = self.crossover.duals if self.crossover.duals[0] > 1e-6 / dual.radius else None
        return x, self.crossover.gap

    def _by_steps(self, w: Array) -> tuple[Array, float] | None:
        """By proximal points, where a box or the rows alone decide."""
        dual, s = self.dual, self.structure
        x = np.clip(0.0 if s.center is None else s.center, s.lower, s.upper)
        theta = [0.0] * dual.size
        scale = scales(dual, s.reach)
        for share in _PROXIMAL:
            kappa = share / (s.reach or 1.0)
            dual.load(w + kappa * x, kappa, 0.0)
            point = maximize(dual, theta, scale, TOL)
            if point is None:
                return None
            theta, x = point.theta, point.x
            faint = dual.counts and theta[0] * dual.radius < 1e-6
            vertex = self.crossover.finish(w, theta) if s.bounded_box and not faint else None
            if vertex is not None:
                return vertex, self.crossover.gap
            gap = self._gap(w, point)
            if gap <= GAP:
                return (self._tilted(w, theta) if faint else None) or (x, gap)
            if faint and s.bounded_box:
                vertex = self.crossover.finish(w, theta)
                if vertex is not None:
                    return vertex, self.crossover.gap
        return None

    def _tilted(self, w: Array, theta: Multipliers) -> tuple[Array, float] | None:
        """A vertex of the face that `w` supports, where the core does not decide: tilt `w` a little and follow."""
        noise = np.random.default_rng(0).normal(size=w.size)
        tilted = w + noise * (_TILT / sqrt(float(noise @ noise)))
        found = self._descend(tilted, [_TILT / (2 * self.dual.radius), *theta[1:]], _COLD, 0.0, 30)
        self.start = None
        if found is None:
            return None
        bound = self.crossover.bound(w, np.array(self.crossover.duals))
        gap = abs(bound - float(w @ found[0])) / (self.structure.reach or 1.0)
        return (found[0], gap) if gap <= GAP else None

    def _gap(self, w: Array, point: Point) -> float:
        """The relative gap to the bound that the multipliers of a proximal step prove for `w` itself."""
        dual, s = self.dual, self.structure
        if not dual.core:
            return inf
        target = w - np.array(point.theta[1:]) @ s.rows
        target = target - np.where(point.x >= s.upper, np.maximum(target, 0.0), 0.0)
        target = target - np.where(point.x <= s.lower, np.minimum(target, 0.0), 0.0)
        least = float(np.linalg.norm(target)) / (2 * dual.radius)
        theta = [max(point.theta[0], least, 1e-14 / dual.radius), *point.theta[1:]]
        dual.load(w, 0.0, 0.0)
        return abs(float(w @ point.x) + dual.at(theta).dual) / (s.reach or 1.0)


class CoreSolver:
    """Support and projection without a tube."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.origin, self.somewhere = structure.origin, structure.somewhere

    @cached_property
    def project(self) -> Projector:
        """The nearest point, built at the first call."""
        return Projector(self.structure)

    @cached_property
    def support(self) -> Supporter:
        """A support point, built at the first call."""
        return Supporter(self.structure)

    def forget(self) -> None:
        """Start the next call from nothing."""
        self.project.start = None
        self.support.forget()


def scales(dual: Lagrangian, reach: float) -> Multipliers:
    """The size of each constraint's values."""
    return [dual.radius**2] * dual.first + [max(reach, 1e-300)] * (dual.size - dual.first)
