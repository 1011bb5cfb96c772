"""The KKT program of the hinge loss as a nearest point between structured sets, for many features."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..core import LABELS, Array, Poison, SolveInfo, SolverFailed
from ..sets import ByLabel, Halfspace, intersect
from ..sets.structure import Structure, structure_of
from .elimination import Class
from .interior import Iterate, Nearest
from .set_cone import SetCone
from .stationarity import VANISHING, KKTSolution, Stationarity

GAP = 1e-3
"""Relative gap at which the solver stops: the residual is at most this share above the optimum."""
HUGE = 20_000
"""Features from which a residual that vanishes is taken as it is."""
ACCEPTED = 1e-2
"""Relative gap up to which an answer is taken where rounding ends the iterations early."""
WEIGHTLESS = 1e-6
VIOLATION = 1e-5


@dataclass(frozen=True, eq=False)
class NearestPoint:
    """The joint program of `KKTProgram` for the hinge, by a method made for it.

    ::

        minimise    | r |,   r = q + A a + sum_y e_y c1 - y (u_y, e_y)
        subject to  u_y in e_y F'_y,  e >= 0,  e_+ + e_- <= epsilon,  0 <= a <= 1

    where ``F'_y`` are the points of ``F_y`` whose margin under the decoy is at most 1, and ``q``, ``A``
    and ``c1`` come from `Stationarity`. Like a conic solver it is an interior-point method, but in each
    step all coordinates are eliminated in closed form (`Local`), so that a step costs O(d) and one
    Cholesky factor in the number of rows on the kink, and memory is that of a few vectors for each
    inequality. First-order methods are slow here: moving both points together leaves ``r`` as it is.

    It stops at a relative duality gap of `GAP`, by a bound that holds whatever the multipliers are worth:
    for any ``r``,

        min |r'|^2 / 2  >=  r . r' - |r|^2 / 2  >=  |r|^2 / 2 - g,

    with ``g`` of Frank and Wolfe, its support functions bounded above by their Lagrangian duals.

    Parameters
    ----------
    condition : Stationarity
        Of a problem with the hinge loss.
    sets : ByLabel
    epsilon : float
    free_multipliers, with_intercept : bool
        See `KKTProgram`.

    References
    ----------
    Wright, Primal-Dual Interior-Point Methods (1997), chapters 10 and 11; Jaggi, Revisiting
    Frank-Wolfe (2013), for the gap.
    """

    condition: Stationarity
    sets: ByLabel
    epsilon: float
    free_multipliers: bool = True
    with_intercept: bool = True

    @property
    def applies(self) -> bool:
        """Whether the loss is the hinge without class weights, and both sets have a bounded structure that is known."""
        problem = self.condition.problem
        if problem.loss.kink is None or problem.class_weight or not self.condition.decoy.coef.any():
            return False
        return all(
            structure is not None and structure.tube is None and np.isfinite(structure.reach)
            for structure in self._structures.values()
        )

    @cached_property
    def _structures(self) -> dict[float, Structure | None]:
        """The structures of ``F'_y``."""
        decoy = self.condition.decoy
        return {
            y: structure_of(intersect(self.sets[y], Halfspace(y * decoy.coef, 1 - y * decoy.intercept))) for y in LABELS
        }

    def solve(self, split: float | None = None) -> KKTSolution:
        """The relaxed poison with its gap.

        Parameters
        ----------
        split : float, optional
            Hold ``e_+`` at this value and ``e_-`` at the rest of epsilon.

        Raises
        ------
        SolverFailed
            If the gap or the sets are not met, or if the residual vanishes and there are fewer than
            `HUGE` features: then there are many solutions, and the conic program picks one of least
            mass. With more features it would take too long, and any solution will do.
        """
        start = time.perf_counter()
        if not self.applies:
            raise SolverFailed("expected the hinge loss and structured sets, got others.")
        condition = self.condition
        masses = {} if split is None else {1.0: split / self.epsilon, -1.0: 1 - split / self.epsilon}
        labels = [y for y in LABELS if masses.get(y, 1.0) > WEIGHTLESS]
        program = self._program(labels, masses)
        floor = 100 * VANISHING * condition.size / self.epsilon
        at, rounds = program.solve(GAP, floor)
        gap = program.gap(at)
        vanishes = np.linalg.norm(program.residual(at)) <= floor
        if vanishes and condition.train.d < HUGE:
            raise SolverFailed("expected a residual above zero, got none.")
        if not (vanishes or gap <= ACCEPTED):
            raise SolverFailed(f"expected a relative gap below {ACCEPTED:g}, got {gap:.1e} after {rounds} steps.")
        status = "optimal, residual below the floor" if vanishes else "optimal"
        return self._solution(labels, program, at, gap, f"{status}, {rounds} steps", start)

    def _program(self, labels: list[float], masses: Mapping[float, float]) -> Nearest:
        """In units of the budget."""
        condition = self.condition
        c0, c1 = condition.penalty
        matrix = condition.kink_matrix if self.free_multipliers else condition.kink_matrix[:, :0]
        members = []
        for y in labels:
            structure = self._structures[y]
            if structure is None:
                raise SolverFailed("expected structured sets, got others.")
            cone = SetCone(structure)
            members.append(Class(y, cone, c1 - y * np.append(structure.origin + cone.base, 1.0)))
        constant = (condition.constant + c0) / self.epsilon
        if not (self.with_intercept and condition.problem.fit_intercept):
            constant = np.append(constant[:-1], 0.0)
            matrix = sp.vstack([matrix[:-1], sp.csc_array((1, matrix.shape[1]))])
            members = [Class(m.label, m.cone, np.append(m.mass[:-1], 0.0)) for m in members]
        held = np.array([masses[y] for y in labels]) if masses else None
        return Nearest(constant, sp.csc_array(matrix / self.epsilon), members, held)

    def _solution(
        self, labels: list[float], program: Nearest, at: Iterate, gap: float, status: str, start: float
    ) -> KKTSolution:
        condition, total = self.condition, self.condition.train.total
        pulls: dict[float, tuple[float, Array]] = {}
        for y, member, u, share in zip(labels, program.members, at.u, at.e.tolist(), strict=True):
            if share > WEIGHTLESS:
                x = u / share + member.cone.base + member.cone.structure.origin
                pulls[y] = (self.epsilon * share, self.epsilon * share * x)
        points = np.array([u / e for e, u in pulls.values()]).reshape(-1, condition.train.d)
        masses = np.array([e for e, _ in pulls.values()])
        poison = Poison(points, np.array(list(pulls)), total * masses)
        multipliers = np.zeros(int(condition.on_kink.sum()))
        multipliers[: at.a.size] = np.clip(at.a, 0.0, 1.0)
        residual = condition.residual(pulls, float(masses.sum()), multipliers)
        violation = float(self.sets.violation(poison.X, poison.y)[poison.count >= 0.5].max(initial=0.0))
        if violation > VIOLATION:
            raise SolverFailed(f"expected points of the sets, got a violation of {violation:.1e}.")
        counted = residual[:-1] if not self.with_intercept else residual
        value = float(counted @ counted) / self.epsilon**2
        info = SolveInfo("NEAREST", status, value, time.perf_counter() - start, violation)
        return KKTSolution(poison, residual, violation, multipliers, info, gap)
