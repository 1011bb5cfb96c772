"""The row on which one model loses most against another, over a convex set, with a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import Array, CapabilityError, LinearModel
from ..losses import MarginLoss
from ..sets import FeasibleSet, Oracle

_DIVISIONS = 60  # of the path, at most
SLACK = 1e-7
"""What supports may miss of the true ones, relative to the size of margins."""
CELLS = 400
"""Bits that a straight line is divided into."""


@dataclass(frozen=True, eq=False)
class LossGap:
    """A row of great loss difference.

    Parameters
    ----------
    x : ndarray of shape (d,)
    value : float
        ``phi(m_t) - phi(m_p)`` at `x`.
    bound : float
        No row of the set has more, up to the accuracy of the supports.
    """

    x: Array
    value: float
    bound: float


@dataclass(frozen=True, eq=False)
class _Corner:
    """A point of the frontier: a row, its margins under both models, and the direction that it supports."""

    x: Array
    current: float
    target: float
    a: float = 0.0
    b: float = 0.0


class GapOracle:
    """Maximise ``phi(y f_t(x)) - phi(y f_p(x))`` over a convex set, for a fixed target model ``f_p``.

    The value falls with the margin ``m_t`` under the current model and rises with the margin ``m_p``
    under the target: whatever the loss, a maximiser lies on the lower right frontier of the convex set
    of all pairs ``(m_t, m_p)``, which supports in the directions ``y (b theta_p - a theta_t)``,
    ``a, b >= 0``, trace out. Between two neighbouring frontier points the next direction is the normal of their
    chord (the sandwich method); where no point lies beyond the chord the chord is the frontier, and is
    searched along its length. A piece from P to R lies under both their supporting lines, which meet in Q; on a
    bit of the path P, Q, R the value is at most ``phi`` of its least ``m_t`` less ``phi`` of its greatest
    ``m_p``. The piece of the greatest bound is divided next. For the hinge this solves the two
    linear programs of Suya et al.; for the logistic loss it is a global search where theirs is local.

    Parameters
    ----------
    feasible : FeasibleSet
    label : {-1, +1}
    loss : MarginLoss
        That does not increase in the margin.
    target : LinearModel
    tol : float, default 1e-3
        Difference of bound and value, relative to the larger of 1 and the bound, at which the search ends.
    """

    def __init__(
        self, feasible: FeasibleSet, label: float, loss: MarginLoss, target: LinearModel, *,
        tol: float = 1e-3,
    ) -> None:  # fmt: skip
        require_decreasing(loss)
        self.oracle, self.label, self.loss, self.target = Oracle(feasible), label, loss, target
        self.tol = tol

    def worst(self, current: LinearModel) -> LossGap:
        """The row on which `current` loses most against the target.

        Raises
        ------
        InputError
            If the set is unbounded in a direction that matters.
        """
        first, last = self._corner(current, 1.0, 0.0), self._corner(current, 0.0, 1.0)
        pieces = [(self._most(first, last), first, last)]
        best = max((first, last), key=self._value)
        closed = -np.inf
        for _ in range(_DIVISIONS):
            pieces.sort(key=lambda piece: piece[0])
            bound, low, high = pieces[-1]
            value = self._value(best)
            if max(bound, closed) - value <= self.tol * max(1.0, abs(bound)):
                break
            pieces.pop()
            between, gain = self._beyond(current, low, high)
            if between is None:
                along, limit = self._along(low, high, gain)
                best, closed = max((best, along), key=self._value), max(closed, min(limit, bound))
            else:
                best = max((best, between), key=self._value)
                pieces += [(self._most(low, between), low, between), (self._most(between, high), between, high)]
            if not pieces:
                break
        limit = max([closed, self._value(best), *(piece[0] for piece in pieces)])
        return LossGap(best.x, self._value(best), limit + SLACK * max(1.0, abs(limit)))

    def _corner(self, current: LinearModel, a: float, b: float) -> _Corner:
        x = self.oracle.support(self.label * (b * self.target.coef - a * current.coef))
        one, other = (self.label * float(model.decision_function(x[None, :])[0]) for model in (current, self.target))
        return _Corner(x, one, other, a, b)

    def _value(self, corner: _Corner) -> float:
        return float(self.loss.value(np.array(corner.current)) - self.loss.value(np.array(corner.target)))

    def _most(self, low: _Corner, high: _Corner) -> float:
        """The bound on a piece of the frontier."""
        normals = np.array([[-low.a, low.b], [-high.a, high.b]])
        ends = np.array([[low.current, low.target], [high.current, high.target]])
        if abs(np.linalg.det(normals)) <= 1e-12 * np.linalg.norm(normals[0]) * np.linalg.norm(normals[1]):
            return self._path(ends)
        meet = np.linalg.solve(normals, np.einsum("ij,ij->i", normals, ends))
        meet = np.clip(meet, ends.min(axis=0), ends.max(axis=0))
        return self._path(np.array([ends[0], meet, ends[1]]))

    def _path(self, corners: Array) -> float:
        """The bound along straight lines between pairs of margins."""
        share = np.linspace(0.0, 1.0, CELLS + 1)
        tops = []
        for start, end in zip(corners[:-1], corners[1:], strict=True):
            before, after = (
                self.loss.value(start[0] + share * (end[0] - start[0])),
                self.loss.value(start[1] + share * (end[1] - start[1])),
            )
            tops.append(np.max(np.maximum(before[:-1], before[1:]) - np.minimum(after[:-1], after[1:])))
        return float(max(tops))

    def _beyond(self, current: LinearModel, low: _Corner, high: _Corner) -> tuple[_Corner | None, float]:
        """The frontier point farthest beyond the chord and how far, infinite if unknown; None where none is."""
        a, b = high.target - low.target, high.current - low.current
        size = max(abs(a), abs(b))
        if size <= 1e-9 or a <= 0 or b <= 0:
            return None, np.inf
        found = self._corner(current, a / size, b / size)
        gain = (b * (found.target - low.target) - a * (found.current - low.current)) / size
        scale = max(1.0, abs(found.target), abs(found.current))
        return (found if gain > SLACK * scale * 10 else None), max(gain, 0.0)

    def _along(self, low: _Corner, high: _Corner, gain: float) -> tuple[_Corner, float]:
        """The best point of a chord and the bound on all points that lie at most `gain` beyond it."""
        share = np.linspace(0.0, 1.0, CELLS + 1)
        current = low.current + share * (high.current - low.current)
        target = low.target + share * (high.target - low.target)
        place = int(np.argmax(self.loss.value(current) - self.loss.value(target)))
        x = low.x + share[place] * (high.x - low.x)
        best = _Corner(x, float(current[place]), float(target[place]))
        if not np.isfinite(gain):
            return best, np.inf
        shift = np.array([-gain, gain])
        return best, self._path(np.array([[low.current, low.target], [high.current, high.target]]) + shift)


def require_decreasing(loss: MarginLoss) -> None:
    """CapabilityError for a loss that increases again."""
    if loss.turn is not None:
        raise CapabilityError("a loss that does not increase in the margin", f"the {loss.name} loss", "Use hinge.")
