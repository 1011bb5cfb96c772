"""Programs with the scores of several rows in them: one model does all the damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..convex.cones import Cones, Solution
from ..core.poison import Poison
from ..core.validation import Array

PRICE = 100.0
"""What a rule of `Joint.relaxed` costs that is broken by the greatest margin, in shares of all rows."""


class Answer(NamedTuple):
    """Of a solution: marks, multipliers and scores of the rows, all (m,), its value, and the poison that it advises."""

    marks: Array
    mu: Array
    scores: Array
    value: float
    poison: Poison | None


Extend = Callable[[Cones, slice, Array], None]
"""Adds to a program, given where its leading variables are, and by what they are moved."""


@dataclass(eq=False)
class Joint:
    """Programs over reachable models `v` and marks of rows, made from the program of one row.

    Parameters
    ----------
    settle : callable
        ``settle(extend)``: briskly, the solution of the program with what `extend` adds, None where no solver answers.
    scores : ndarray, shape (m, p)
        Of the leading variables, and of what they are moved by: ``-m_j(v)`` is their sum, and `middle`.
    middle : ndarray, shape (m,)
    lead : callable
        The leading variables of the last solution, moved.
    poison : callable
        What the last solution advises.
    told : callable
        Is told the multipliers of each solution.
    most : ndarray, shape (m,)
        ``h``: no less than each margin; infinite where no bound is known.
    like : callable
        Is told the multipliers of a similar program before one is solved, zeros for that of the last one.
    """

    settle: Callable[[Extend], Solution | None]
    scores: Array
    middle: Array
    lead: Callable[[], Array]
    poison: Callable[[], Poison | None]
    told: Callable[[Array], None]
    most: Array
    like: Callable[[Array], None] = lambda mu: None

    def worst(self, marks: NDArray[np.bool_]) -> Answer | None:
        """``max_v min_j -m_j(v)`` over the marked rows; None where no solver answers."""
        place: dict[str, slice] = {}
        marked = np.flatnonzero(marks)

        def extend(cones: Cones, lead: slice, at: Array) -> None:
            level = cones.variable(1)
            cones.minimise(level, -1.0)
            scores, middle = self.scores[marked], self.middle[marked]
            terms = [(lead, scores), (level, -np.ones((marked.size, 1)))]
            place["rule"] = cones.nonneg(terms, scores @ at + middle)

        self.like(np.zeros(self.most.size))
        answer = self.settle(extend) if marked.size else None
        if answer is None:
            return None
        return self._answered(answer, place["rule"], marked, marks.astype(np.float64), -answer.value)

    def relaxed(self, fixed: Array, share: Array, near: Answer | None = None) -> Answer | None:
        """The greatest share of marks ``b`` in [0, 1], some `fixed` at 0 or 1 (-1: free), that one model can have.

        The answer is expected to be `near` another one.

        ::

            max_{v, b, t}  sum_j q_j b_j - P t        -m_j(v) + h_j (1 - b_j) + t >= 0,      t >= 0

        By duality the multipliers `mu` of the rules prove no less: ``sum_j q_j b_j`` is at most ``B(mu) + sum_j mu_j
        h_j + sum_j (q_j - mu_j h_j) b_j``, ``B`` being the bound on the score of the combined row.
        """
        bounded, free = np.isfinite(self.most), np.flatnonzero(fixed == -1)
        high = np.where(bounded, self.most.clip(min=0), 1.0)
        price = PRICE * float(share.sum()) / max(float(high.max()), 1e-9)
        rows = np.flatnonzero(bounded)
        place: dict[str, slice] = {}

        def extend(cones: Cones, lead: slice, at: Array) -> None:
            marks, slack = cones.variable(free.size), cones.variable(1)
            place.update(marks=marks, slack=slack)
            cones.minimise(marks, -share[free])
            cones.minimise(slack, price)
            scores, middle = self.scores[rows], self.middle[rows]
            marking = -high[rows, None] * (rows[:, None] == free)
            terms = [(lead, scores), (marks, marking), (slack, np.ones((rows.size, 1)))]
            place["rule"] = cones.nonneg(terms, scores @ at + middle + high[rows] * (fixed[rows] != 1))
            cones.nonneg([(marks, 1.0)], np.zeros(free.size))
            cones.nonneg([(marks, -1.0)], np.ones(free.size))
            cones.nonneg([(slack, 1.0)], 0.0)

        self.like(np.zeros(self.most.size) if near is None else near.mu)
        answer = self.settle(extend)
        if answer is None:
            return None
        marks = np.where(fixed == 1, 1.0, 0.0)
        marks[free] = answer.x[place["marks"]]
        value = float(share @ marks) - price * float(answer.x[place["slack"]].item())
        return self._answered(answer, place["rule"], rows, marks, value)

    def _answered(self, found: Solution, rule: slice, rows: NDArray[np.intp], marks: Array, value: float) -> Answer:
        """With the multipliers of the rule, which is of some of the rows."""
        mu = np.zeros(self.most.size)
        mu[rows] = np.maximum(found.z[rule], 0)
        self.told(mu)
        return Answer(marks, mu, self.scores @ self.lead() + self.middle, value, self.poison())
