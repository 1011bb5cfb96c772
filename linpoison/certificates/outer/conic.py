"""The outer set of reachable parameters as cone programs, solved for their multipliers: that of the hinge."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...convex.cones import Cones, Solution, Term
from ...core.parts import dense
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
NEAR = 0.2
"""Distance from a kink within which they are in any case."""
GROWTHS = (0.1, 0.1, 0.2, 0.4, 0.4)
"""The same in further programs, where values that were fixed are on the wrong side."""
WRONG = 1e-6
"""What fixed values on the wrong side may be worth, relative to ``1 + |value|``."""


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


class Sides(NamedTuple):
    """Of a solution, by which two of the variables of a clean row have their values: both of shape (n,)."""

    margins: Array
    """``xi_i`` is ``1 - m_i`` below 1, and zero above it."""
    slopes: Array
    """``a_i`` is 1 where the objective grows in it, and zero where it falls."""


class HingeProgram(Program):
    """Hinge: a second-order cone program in ``(v, a, xi, u_y, w_y)``, with variables for rows near the kinks alone.

    At a solution ``xi_i`` is ``1 - m_i`` far below the kink and zero far above it. Likewise ``a_i`` is 1 or zero where
    ``1 + y_i (x_i, 1) . p / (s + tau)``, the slope of the objective in it, is far from zero. So a row may have one
    variable, the other, both, or none. A solution is that of the whole program if no value that was fixed is on the
    other side of its kink; those that are become variables. On which side they are, the solution for the nearest
    direction says. No bound rests on that. Where both bounds of a margin are known, chords join the two: such rows
    have both variables or, with ``a_i = xi_i = 0`` or ``a_i = 1, xi_i = 1 - m_i``, which chords allow, none.
    """

    def __init__(self, claim: Claim, screening: Screening, solver: str | None) -> None:
        self.at = np.zeros(claim.train.d + 1)
        super().__init__(claim, screening, solver)
        self.free = (screening.upper >= 1) & (screening.lower <= 1)
        self.chorded = np.isfinite(screening.lower) & np.isfinite(screening.upper)
        self.start = screening.center if screening.capped else clean_vector(claim)
        margins = signed_scores(claim, self.start)
        self.seen: list[tuple[Array, Sides]] = [(np.zeros(self.at.size), Sides(margins, 1 - margins))]
        self.asked, self.gap = self.seen[0][0], 0.0

    def settle(self, extend: Extend, brisk: bool = True, sign: bool = False) -> Solution | None:
        """See `Program.settle`; where the `sign` of its value is all that is asked for, once that is decided."""
        # With all variables the value is no more than that of what is solved plus the gap, as the multipliers prove.
        # And it is hardly less than by the gap: rows below the kink whose xi_i is zero loosen (s) and (tau) by
        # sum_i c_i (1 - m_i) / n, a part of the gap over s + tau, and the value grows by s + tau for a unit of that.
        sides = self._nearest()
        bent, loose = (np.full(self.free.size, self.free.sum() <= WHOLE) for _ in range(2))
        for near in (NEAR, *GROWTHS):
            bent, loose = bent | (np.abs(sides.margins - 1) < near), loose | (np.abs(sides.slopes) < near)
            cones = self.built(bent, loose, sides)
            extend(cones, self.blocks.v, self.at)
            answer = cones.solve(self.solver, brisk)
            if answer is None:
                return None
            self.answer = answer
            sides, crossed, turned, self.gap = self._checked()
            if self.gap <= WRONG * (1 + abs(answer.value)) or (sign and 2 * self.gap < abs(answer.value)):
                break
            bent, loose = bent | crossed, loose | turned
        self.seen.append((self.asked, sides))
        return answer

    def _nearest(self) -> Sides:
        """The sides at the solution for the nearest direction, or at the last one where there is none."""
        if not self.asked.any():
            return self.seen[-1][1]
        lengths = [float(np.linalg.norm(goal)) for goal, _ in self.seen]
        alike = [
            float(goal @ self.asked) / length if length else 0.0
            for (goal, _), length in zip(self.seen, lengths, strict=True)
        ]
        return self.seen[int(np.argmax(alike))][1]

    def built(self, bent: Any, loose: Any, sides: Sides) -> Cones:
        """The program where the free rows that are `bent` have a variable `xi`, and `a` those that are `loose`."""
        high, claim = self.screening.upper, self.claim
        below, rising = sides.margins < 1, sides.slopes > 0
        both = self.chorded & (bent | loose | (below != rising))
        self.bent, self.loose = self.free & (bent | both), self.free & (loose | both)
        self.below = ~self.bent & np.where(self.free, below, high < 1)
        self.rising = ~self.loose & np.where(self.free, rising, high < 1)
        cones, self.blocks = self.common[0].copy(), self.common[1]
        kinked, open_ = np.flatnonzero(self.bent), np.flatnonzero(self.loose)
        v, share = self.blocks.v, self.share
        a, xi = self.a, self.xi = cones.variable(open_.size), cones.variable(kinked.size)
        pull: Term = (a, -dense(self.rows[open_]).T * share[open_])
        ones = combine(claim, share * self.rising)
        self.balance = cones.zero([(v, claim.reg * claim.mask), pull, *self.pulled(-1.0)], -ones)
        # The losses of the clean rows in sum, sum_i c_i (xi_i - a_i) / n: so that two cones have one column for them
        lost = self.lost = cones.variable(1)
        terms: list[Term] = [(lost, 1.0), (xi, -share[kinked]), (a, share[open_])]
        fixed = float(share @ self.rising) - float(share @ self.below)
        cones.zero([*terms, (v, combine(claim, share * self.below))], fixed)
        losses: list[Term] = [(lost, -1.0)]
        spent = [(self.blocks.pull[y], claim.epsilon) for y in LABELS]
        size = np.sqrt(claim.reg) * claim.mask
        self.level = cones.square([(v, size)], np.zeros(v.stop), [*losses, *spent], 0.0, self.size)
        self.produced = self.product(cones, losses, 0.0)
        rows = dense(self.rows[kinked])
        self.losses = cones.nonneg([(xi, 1.0), (v, rows)], -np.ones(kinked.size))
        self.ceiling = self.cap(cones)
        self._chords(cones)
        cones.nonneg([(xi, 1.0)], np.zeros(kinked.size))
        cones.nonneg([(a, 1.0)], np.zeros(open_.size))
        cones.nonneg([(a, -1.0)], np.ones(open_.size))
        cones.nonneg([(self.blocks.pull[y], -1.0) for y in LABELS], 1.0)
        return cones

    def _chords(self, cones: Cones) -> None:
        """``xi_i <= (1 - l_i) a_i`` and ``xi_i <= (1 - m_i) + (h_i - 1) (1 - a_i)`` where both bounds are known."""
        self.known = np.flatnonzero(self.chorded & self.bent)
        self.chords: list[slice] = []
        if not self.known.size:
            return
        below, above = 1 - self.screening.lower[self.known], self.screening.upper[self.known] - 1
        of_xi, of_a = (np.cumsum(which)[self.known] - 1 for which in (self.bent, self.loose))
        kinked, open_ = int(self.bent.sum()), int(self.loose.sum())
        taken, rows = (self.xi, picked(of_xi, -1.0, kinked)), dense(self.rows[self.known])
        first = cones.nonneg([taken, (self.a, picked(of_a, below, open_))], np.zeros(self.known.size))
        terms: list[Term] = [taken, (self.blocks.v, -rows), (self.a, picked(of_a, -above, open_))]
        self.chords = [first, cones.nonneg(terms, 1 + above)]

    def _checked(self) -> tuple[Sides, Any, Any, float]:
        """The sides at the solution, which fixed values are on the wrong one, and what that is worth in all.

        The multipliers found suit the whole program, and prove so much more than the value of this one.
        """
        margins = signed_scores(self.claim, self.v)
        weight = self.weight_of(self.level) + self.multipliers_of_product(self.produced)["tau"]
        slopes = 1 + signed_scores(self.claim, -self.answer.z[self.balance]) / max(weight, 1e-300)
        short = np.maximum(np.where(self.below, margins - 1, 1 - margins), 0) * (self.free & ~self.bent)
        steep = np.maximum(np.where(self.rising, -slopes, slopes), 0) * (self.free & ~self.loose)
        return Sides(margins, slopes), short > 0, steep > 0, weight * float(self.share @ (short + steep))

    def multipliers(self, goal: Array, brisk: bool = False) -> list[Multipliers]:
        self.asked = np.asarray(goal)
        answer = self.settle(lambda cones, v, at: cones.minimise(v, goal), brisk, sign=brisk)
        return [] if answer is None else [self.found()]

    def found(self) -> Multipliers:
        n, z, product = self.claim.train.n, self.answer.z, self.multipliers_of_product(self.produced)
        s = self.weight_of(self.level)
        beta, gam, dele = np.zeros(n), np.zeros(n), np.zeros(n)
        beta[self.bent] = z[self.losses]
        for place, chord in zip((gam, dele), self.chords, strict=False):
            place[self.known] = np.maximum(z[chord], 0)
        room = (s + product["tau"]) * self.share + gam + dele
        b = np.divide(beta, room, out=np.zeros(n), where=room > 0)
        b[self.below] = 1.0
        found = {"p": -z[self.balance], "s": s, "b": np.clip(b, 0, 1), "gam": gam, "dele": dele}
        return {**found, "r": self.direction_of(self.ceiling), **product}

    def begin(self) -> None:
        self.asked = np.zeros(self.at.size)

    def solved(self, goal: Array) -> None:
        self.seen[-1] = (goal, self.seen[-1][1])

    @property
    def member(self) -> Array:
        """Where a gap is left, the model drawn to the clean minimiser until its own score has lost twice as much."""
        if not self.gap or not self.asked.any():
            return self.v
        fall = float(self.asked @ (self.start - self.v))
        return np.asarray(self.v + min(1.0, 2 * self.gap / max(fall, 1e-300)) * (self.start - self.v))

    def value(self, goal: Array) -> float:
        return -float(goal @ self.v)
