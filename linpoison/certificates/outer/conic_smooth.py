"""The outer set of a smooth loss as cone programs, models of it in turn, solved for their multipliers."""

from __future__ import annotations

from math import inf

import numpy as np
import scipy.sparse as sp

from ...convex.cones import Cones, Solution, Term
from ...core.parts import dense
from ...core.validation import Array
from ..claim import Claim
from ..clean.anchor import clean_vector
from ..clean.rows import LABELS, combine, signed_scores
from ..clean.screen import Screening
from ..joint import Extend
from .band import Band
from .program import Multipliers, Program, picked


class SmoothProgram(Program):
    """Smooth loss: the losses and their conjugates by quadratic models, the poison by its exponential cones.

    An interior-point method does not get through thousands of entropies that differ by ``epsilon``. Their models
    are sums of squares. What a model misses makes its multipliers worse, never the bound wrong. Variables are the moves
    from ``at``, a model, and from ``at_a``, the slopes of its losses.
    """

    def __init__(self, claim: Claim, screening: Screening, solver: str | None, rounds: int) -> None:
        self.start = self.at = screening.center if claim.strongly_convex else clean_vector(claim)
        super().__init__(claim, screening, solver)
        self.rounds = rounds
        self.band = Band.of(self.loss, screening)
        self.known = np.flatnonzero(np.isfinite(screening.lower) & np.isfinite(screening.upper))

    def settle(self, extend: Extend, brisk: bool = True) -> Solution | None:
        cones = self.model.copy()
        extend(cones, self.blocks.v, self.at)
        answer = cones.solve(self.solver, brisk)
        if answer is not None:
            self.answer = answer
        return answer

    def multipliers(self, goal: Array, brisk: bool = False) -> list[Multipliers]:
        v, a = self.start, self.loss.pull(signed_scores(self.claim, self.start))
        found: list[Multipliers] = []
        for _ in range(self.rounds):
            self.approximate(v, a)
            if self.settle(lambda cones, v, at: cones.minimise(v, goal), brisk) is None:
                break
            v, a = self.v, self.at_a + self.answer.x[self.change]
            found.append(self.found())
        return found

    def begin(self) -> None:
        self.approximate(self.start, self.loss.pull(signed_scores(self.claim, self.start)))

    def solved(self, goal: Array) -> None:
        """Nothing: each program begins at the clean model."""

    @property
    def member(self) -> Array:
        return self.v

    def value(self, goal: Array) -> float:
        return -inf

    def approximate(self, v: Array, a: Array) -> None:
        """The program with second-order models of ``phi`` at the margins of `v` and of ``phi*`` at `a`."""
        claim, loss, n = self.claim, self.loss, self.claim.train.n
        m = signed_scores(claim, v)
        pull, a = loss.pull(m), np.clip(a, 1e-6, 1 - 1e-6)
        losses = loss.width * np.logaddexp(0, (loss.kink - m) / loss.width) + loss.conjugate(a)
        bend_m = 0.5 * self.share * np.maximum(pull * (1 - pull), 1e-6) / loss.width
        bend_a = np.sqrt(0.5 * self.share * loss.width / (a * (1 - a)))
        tilt = self.share * (loss.width * np.log(a / (1 - a)) - loss.kink)
        self.at, self.at_a = v, a
        cones, self.blocks = self.begun()
        move, self.change, self.raised = self.blocks.v, cones.variable(n), cones.variable(1)
        # sum_i bend_m_i (row_i . move)^2 = |F move|^2 with as many rows as there are features
        rows = dense(self.rows)
        factor = _root(rows.T @ (bend_m[:, None] * rows))
        spread = [
            (move, np.vstack([factor, np.zeros((n, v.size))])),
            (self.change, sp.vstack([sp.coo_array((v.size, n)), picked(np.arange(n), bend_a, n)])),
        ]
        cones.square(spread, np.zeros(v.size + n), [(self.raised, 1.0)], 0.0)
        self.balance = cones.zero(
            [(move, claim.reg * claim.mask), (self.change, -(self.share[:, None] * rows).T), *self.pulled(-1.0)],
            claim.reg * claim.mask * v - combine(claim, self.share * a),
        )
        lost: list[Term] = [(self.raised, -1.0), (move, combine(claim, self.share * pull)), (self.change, -tilt)]
        self._level(cones, lost, float(self.share @ losses))
        self.produced = self.product(cones, lost, -float(self.share @ losses))
        self.ceiling = self.cap(cones)
        self._slabs(cones, rows)
        cones.nonneg([(self.change, 1.0)], a - self.band.least)
        cones.nonneg([(self.change, -1.0)], self.band.most - a)
        self.model = cones

    def _level(self, cones: Cones, lost: list[Term], losses: float) -> None:
        """(s), with the gain of the poison by the exponential cones of its entropies."""
        claim, loss, blocks = self.claim, self.loss, self.blocks
        mass, entropy = self.mass, self.entropy = cones.variable(2), cones.variable(2)
        room = [*lost, (blocks.v, -2 * claim.reg * claim.mask * self.at)]
        for number, label in enumerate(LABELS):
            mine, its = (slice(block.start + number, block.start + number + 1) for block in (mass, entropy))
            column = np.eye(3)[:, :, None]
            cones.exponential([(its, -column[0]), (blocks.pull[label], column[1] - column[2]), (mine, column[2])])
            room += [(blocks.pull[label], claim.epsilon * loss.kink), (its, -claim.epsilon * loss.width)]
        cones.nonneg([(mass, 1.0)], np.zeros(2))
        cones.nonneg([(mass, -1.0)], 1.0)
        size, penalised = np.sqrt(claim.reg) * claim.mask, claim.mask * self.at
        base = -claim.reg * float(penalised @ penalised) - losses
        self.level = cones.square([(blocks.v, size)], np.zeros(size.size), room, base, self.size)

    def _slabs(self, cones: Cones, rows: Array) -> None:
        """``bottom_i <= a_i + slope_i m_i <= top_i`` where the margin is known to lie between bounds."""
        known, band = self.known, self.band
        self.slabs = []
        if not known.size:
            return
        sloped = band.slope[known, None] * rows[known]
        now = self.at_a[known] + sloped @ self.at
        for sign, end in ((-1.0, band.top[known]), (1.0, band.bottom[known])):
            terms: list[Term] = [(self.change, picked(known, sign, self.share.size)), (self.blocks.v, sign * sloped)]
            self.slabs.append(cones.nonneg(terms, sign * (now - end)))

    def found(self) -> Multipliers:
        n, v, z = self.claim.train.n, self.v, self.answer.z
        gam, dele = np.zeros(n), np.zeros(n)
        for place, slab in zip((gam, dele), self.slabs, strict=False):
            place[self.known] = np.maximum(z[slab], 0)
        b = self.loss.pull(signed_scores(self.claim, v))
        found = {"p": -z[self.balance], "s": self.weight_of(self.level), "b": b, "gam": gam, "dele": dele}
        return {**found, "r": self.direction_of(self.ceiling), **self.multipliers_of_product(self.produced)}


def _root(square: Array) -> Array:
    """``F`` with ``F' F = square``, which is not negative."""
    values, vectors = np.linalg.eigh(square)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
