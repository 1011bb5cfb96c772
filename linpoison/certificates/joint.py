"""Programs with the scores of several rows in them: one model does all the damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.poison import Poison
from ..core.validation import Array

PRICE = 100.0
"""What a rule of `Joint.relaxed` costs that is broken by the greatest margin, in shares of all rows."""


class Answer(NamedTuple):
    """Of a solution: marks and multipliers of the rows, both (m,), its value, and the poison that it advises."""

    marks: Array
    mu: Array
    value: float
    poison: Poison | None


@dataclass(eq=False)
class Joint:
    """Programs over reachable models `v` and marks of rows, made from the program of one row.

    Parameters
    ----------
    source : callable
        Returns the scores ``-m_j(v)`` (m,) as an expression, and the constraints on `v`, a list that is another one
        where the program has changed.
    settle : callable
        ``settle(make)``: whether a solver left values of the program that ``make()`` returns.
    poison : callable
        What the last solution advises.
    told : callable
        Is told the multipliers of each solution.
    most : ndarray, shape (m,)
        ``h``: no less than each margin; infinite where no bound is known.
    """

    source: Callable[[], tuple[Any, list[Any]]]
    settle: Callable[[Callable[[], Any]], bool]
    poison: Callable[[], Poison | None]
    told: Callable[[Array], None]
    most: Array
    _parts: dict[str, Any] = field(default_factory=dict)

    def worst(self, marks: NDArray[np.bool_]) -> Answer | None:
        """``max_v min_j -m_j(v)`` over the marked rows; None where no solver answers."""
        import cvxpy as cp

        level, ease = self._variables("level", "ease", lambda: (cp.Variable(), cp.Parameter(marks.size, nonneg=True)))
        ease.value = np.where(marks, 0.0, 4 * np.where(np.isfinite(self.most), self.most, 0.0).max(initial=1.0))
        mu = self._solved("worst", lambda scores: (level, [scores + ease >= level]))
        return None if mu is None else Answer(marks.astype(np.float64), mu * marks, float(level.value), self.poison())

    def relaxed(self, fixed: Array, share: Array) -> Answer | None:
        """The greatest share of marks ``b`` in [0, 1], some `fixed` at 0 or 1 (-1: free), that one model can have.

        ::

            max_{v, b, t}  sum_j q_j b_j - P t        -m_j(v) + h_j (1 - b_j) + t >= 0,      t >= 0

        By duality the multipliers `mu` of the rules prove no less: ``sum_j q_j b_j`` is at most ``B(mu) + sum_j mu_j
        h_j + sum_j (q_j - mu_j h_j) b_j``, ``B`` being the bound on the score of the combined row.
        """
        import cvxpy as cp

        m, bounded = fixed.size, np.isfinite(self.most)
        high = np.where(bounded, self.most.clip(min=0), 1.0)
        marks, slack = self._variables("marks", "slack", lambda: (cp.Variable(m), cp.Variable(nonneg=True)))
        low, top = self._variables("low", "top", lambda: (cp.Parameter(m), cp.Parameter(m)))
        low.value, top.value = (fixed == 1) * 1.0, (fixed != 0) * 1.0
        price = PRICE * float(share.sum()) / max(float(high.max()), 1e-9)
        aside = np.where(bounded, 0.0, 1e2 * high.max())

        def made(scores: Any) -> tuple[Any, list[Any]]:
            rule = scores + cp.multiply(high, 1 - marks) + slack + aside >= 0
            return share @ marks - price * slack, [rule, marks >= low, marks <= top]

        mu = self._solved("relaxed", made)
        if mu is None:
            return None
        value = float(share @ marks.value) - price * float(slack.value)
        return Answer(np.asarray(marks.value), mu * bounded, value, self.poison())

    def _variables(self, one: str, other: str, make: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
        if one not in self._parts:
            self._parts[one], self._parts[other] = make()
        return self._parts[one], self._parts[other]

    def _solved(self, name: str, made: Callable[[Any], tuple[Any, list[Any]]]) -> Array | None:
        """Multipliers of the first of the rules that `made` returns after its objective; None where none answers."""
        if not self.settle(lambda: self._program(name, made)):
            return None
        mu = np.maximum(np.asarray(self._parts[name][2].dual_value, dtype=np.float64).ravel(), 0)
        self.told(mu)
        return mu

    def _program(self, name: str, made: Callable[[Any], tuple[Any, list[Any]]]) -> Any:
        """The program of a name, made anew where its source has changed."""
        import cvxpy as cp

        scores, constraints = self.source()
        if name not in self._parts or self._parts[name][0] is not constraints:
            goal, rules = made(scores)
            self._parts[name] = constraints, cp.Problem(cp.Maximize(goal), [*constraints, *rules]), rules[0]
        return self._parts[name][1]
