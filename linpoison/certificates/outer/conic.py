"""The outer set of reachable parameters as cone programs, solved for their multipliers: that of the hinge."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...convex.cones import Cones, Solution, Term
from ...core.validation import Array
from ..claim import Claim
from ..clean.anchor import clean_vector
from ..clean.losses import soft_hinge
from ..clean.rows import LABELS, combine, signed_scores
from ..clean.screen import Screening
from ..joint import Extend
from .conic_smooth import SmoothProgram
from .program import Multipliers, Program, picked

WHOLE = 80
"""Clean rows up to which all of them are in the program of the hinge."""
NEAR = 0.4
"""Distance from the kink within which they are in any case."""
WRONG = 1e-7
"""By how much a margin may lie on the wrong side."""
GROWTHS = 8
"""Programs in turn, each with more rows."""


def make_program(
    claim: Claim, screening: Screening, *, rounds: int = 3, solver: str | None = None
) -> HingeProgram | SmoothProgram:
    """The program of a claim: cap and bounds on the margins as far as the screening has them.

    Parameters
    ----------
    claim : Claim
    screening : Screening
    rounds : int, default 3
        Quadratic models, one after the other, of a smooth loss.
    solver : str, optional
        See `linpoison.convex.solve`.
    """
    if soft_hinge(claim.problem.loss).sharp:
        return HingeProgram(claim, screening, solver)
    return SmoothProgram(claim, screening, solver, rounds)


class HingeProgram(Program):
    """Hinge: a second-order cone program in ``(v, a, xi, u_y, w_y)``, with variables for rows near the kink alone.

    Far above the kink ``a_i = xi_i = 0`` at the solution, far below it ``a_i = 1``, ``xi_i = 1 - m_i``. A solution is
    that of the whole program if no row left out has its margin on the other side of the kink, nor the slope of its
    ``a_i``, ``s + tau + y_i (x_i, 1) . p``, the other sign; rows that do are let in. On which side the others are, the
    solution for the nearest direction says. No bound rests on that.
    """

    def __init__(self, claim: Claim, screening: Screening, solver: str | None) -> None:
        self.at = np.zeros(claim.train.d + 1)
        super().__init__(claim, screening, solver)
        self.free = (screening.upper >= 1) & (screening.lower <= 1)
        start = screening.center if screening.capped else clean_vector(claim)
        self.seen: list[tuple[Array, Array]] = [(np.zeros(start.size), signed_scores(claim, start))]
        self.asked = self.seen[0][0]

    def settle(self, extend: Extend, brisk: bool = True) -> Solution | None:
        margins = self._nearest()
        near = (np.abs(margins - 1) < NEAR) | (self.free.sum() <= WHOLE)
        for _ in range(1 + GROWTHS):
            cones = self.built(near, margins)
            extend(cones, self.blocks.v, self.at)
            answer = cones.solve(self.solver, brisk)
            if answer is None:
                return None
            self.answer = answer
            margins, wrong = self._checked()
            if not wrong.any():
                break
            near = near | wrong | (np.abs(margins - 1) < NEAR)
        self.seen.append((self.asked, margins))
        return answer

    def _nearest(self) -> Array:
        """The margins of the solution for the nearest direction, or of the last one where there is none."""
        if not self.asked.any():
            return self.seen[-1][1]
        lengths = [float(np.linalg.norm(goal)) for goal, _ in self.seen]
        alike = [
            float(goal @ self.asked) / length if length else 0.0
            for (goal, _), length in zip(self.seen, lengths, strict=True)
        ]
        return self.seen[int(np.argmax(alike))][1]

    def built(self, near: Any, margins: Array) -> Cones:
        """The program of the free rows that are `near`; `margins` say on which side the others are."""
        high, claim = self.screening.upper, self.claim
        self.out = self.free & ~near
        self.ones = np.flatnonzero((high < 1) | (self.out & (margins < 1)))
        self.open = np.flatnonzero(self.free & near)
        cones, self.blocks = self.common[0].copy(), self.common[1]
        weight, rows, v = self.share[self.open], self.rows[self.open], self.blocks.v
        rows = rows.toarray() if hasattr(rows, "toarray") else rows
        a, xi = self.a, self.xi = cones.variable(self.open.size), cones.variable(self.open.size)
        fixed = np.zeros(claim.train.n)
        fixed[self.ones] = self.share[self.ones]
        pull_of_ones = combine(claim, fixed)
        pull: Term = (a, -(weight[:, None] * rows).T)
        self.balance = cones.zero([(v, claim.reg * claim.mask), pull, *self.pulled(-1.0)], -pull_of_ones)
        lost = self.lost = cones.variable(1)  # of the clean rows in sum, so that two cones have one column for them
        cones.zero([(lost, 1.0), (xi, -weight), (a, weight), (v, pull_of_ones)], 0.0)
        losses: list[Term] = [(lost, -1.0)]
        spent = [(self.blocks.pull[y], claim.epsilon) for y in LABELS]
        size = np.sqrt(claim.reg) * claim.mask
        self.level = cones.square([(v, size)], np.zeros(v.stop), [*losses, *spent], 0.0, self.size)
        self.produced = self.product(cones, losses, 0.0)
        self.losses = cones.nonneg([(xi, 1.0), (v, rows)], -np.ones(self.open.size))
        self.ceiling = self.cap(cones)
        self._chords(cones, rows, a, xi)
        cones.nonneg([(xi, 1.0)], np.zeros(self.open.size))
        cones.nonneg([(a, 1.0)], np.zeros(self.open.size))
        cones.nonneg([(a, -1.0)], np.ones(self.open.size))
        cones.nonneg([(self.blocks.pull[y], -1.0) for y in LABELS], 1.0)
        return cones

    def _chords(self, cones: Cones, rows: Array, a: slice, xi: slice) -> None:
        """``xi_i <= (1 - l_i) a_i`` and ``xi_i <= (1 - m_i) + (h_i - 1) (1 - a_i)`` where both bounds are known."""
        low, high = self.screening.lower[self.open], self.screening.upper[self.open]
        at = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
        self.known, self.chords = self.open[at], []
        if not at.size:
            return
        below, above, n = 1 - low[at], high[at] - 1, self.open.size
        taken = picked(at, -1.0, n)
        first = cones.nonneg([(xi, taken), (a, picked(at, below, n))], np.zeros(at.size))
        terms: list[Term] = [(xi, taken), (self.blocks.v, -rows[at]), (a, picked(at, -above, n))]
        self.chords = [first, cones.nonneg(terms, 1 + above)]

    def _checked(self) -> tuple[Array, Any]:
        """The margins of the solution, and the rows left out that are on the wrong side of it."""
        margins = signed_scores(self.claim, self.v)
        weight = self.weight_of(self.level) + self.multipliers_of_product(self.produced)["tau"]
        slope = 1 + signed_scores(self.claim, -self.answer.z[self.balance]) / max(weight, 1e-300)
        side = np.where(np.isin(np.arange(margins.size), self.ones), 1.0, -1.0)
        return margins, self.out & (np.minimum(side * (1 - margins), side * slope) < -WRONG)

    def multipliers(self, goal: Array, brisk: bool = False) -> list[Multipliers]:
        self.asked = np.asarray(goal)
        answer = self.settle(lambda cones, v, at: cones.minimise(v, goal), brisk)
        return [] if answer is None else [self.found()]

    def found(self) -> Multipliers:
        n, z, product = self.claim.train.n, self.answer.z, self.multipliers_of_product(self.produced)
        s = self.weight_of(self.level)
        beta, gam, dele = np.zeros(n), np.zeros(n), np.zeros(n)
        beta[self.open] = z[self.losses]
        for place, chord in zip((gam, dele), self.chords, strict=False):
            place[self.known] = np.maximum(z[chord], 0)
        room = (s + product["tau"]) * self.share + gam + dele
        b = np.divide(beta, room, out=np.zeros(n), where=room > 0)
        b[self.ones] = 1.0
        found = {"p": -z[self.balance], "s": s, "b": np.clip(b, 0, 1), "gam": gam, "dele": dele}
        return {**found, "r": self.direction_of(self.ceiling), **product}

    def begin(self) -> None:
        self.asked = np.zeros(self.at.size)

    def value(self, goal: Array) -> float:
        return -float(goal @ self.v)
