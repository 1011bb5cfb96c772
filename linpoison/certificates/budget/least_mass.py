"""A primal-dual interior-point method for the least weight of the classes at which a residual vanishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...core.errors import SolverFailed
from ...core.validation import Array
from ...optimality.elimination import Step, System
from ...optimality.interior import Iterate, Nearest
from ...optimality.set_cone import Rows

_ROUNDS = 200
_KEEP = 0.99
_MODEST = 10.0
_STUCK = 1e-3
_LEAST = 0.1
"""Share of the tolerance that slacks and duals may keep, as in `Nearest`."""
_PATIENCE = 5
_START = 0.01
_UNLIMITED = 1e-200
"""Dual over slack of a limit on the weights, where there is none."""


class Saddle(NamedTuple):
    """An iterate with the duals of the residual's entries, ``p``."""

    at: Iterate
    p: Array


class _Lengths(NamedTuple):
    primal: float
    dual: float


@dataclass(frozen=True, eq=False)
class LeastMass(Nearest):
    """``min sum_y e_y`` over points and weights of the classes, and over multipliers.

    ::

        0 = q + A a + sum_y e_y k_y - y (u_y, 0)
        u_y in e_y F_y,  e >= 0,  0 <= a <= 1

    The coordinates separate as in `Nearest`: that the residual `r` vanishes is asked for by proximal steps on its
    duals, ``J step - soft dp = -r``, which is what the least squares of `Nearest` become for a weight of
    ``1 / soft``, and leaves no trace where the duals settle. Steps are Mehrotra's, with a length each for
    points and for duals.

    Parameters
    ----------
    constant, matrix, members : as in `Nearest`
    soft : float
        Small beside ``|r|^2`` over the weights, great beside its rounding.
    tol : float
        Relative difference between the weights and their bound that is wanted: slacks and duals keep a share of it.
    """

    soft: float = 1e-4
    tol: float = 0.0

    def descend(self, done: Callable[[Saddle, float, float], bool]) -> int:
        """Iterate until ``done(saddle, length of the residual, largest violation)``; returns the number of steps.

        Raises
        ------
        SolverFailed
            If it is never done, or rounding leaves no system to solve.
        """
        now, short = self.begin(), 0
        for step in range(_ROUNDS):
            rows = self._rows(now.at)
            values = self._values(now.at, rows)
            now = now._replace(at=self._tight(now.at, values))
            r = self.residual(now.at)
            if done(now, float(np.linalg.norm(r)), float(np.abs(values + now.at.slack).max())):
                return step
            try:
                now, length = self._advance(now, rows, values, r)
            except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
                raise SolverFailed(f"expected a definite system, got {error} after {step} steps.") from None
            short = short + 1 if length < _STUCK else 0
            if short > _PATIENCE:
                break
        raise SolverFailed(f"expected a residual of zero at least weight, got none after {step} steps.")

    def begin(self) -> Saddle:
        """Points inside all inequalities but the slabs, of total weight one, with products all alike."""
        at = self._inside(np.full(len(self.members), 1 / len(self.members)))
        return Saddle(replace(at, dual=_START / at.slack), np.zeros(self.constant.size))

    @cached_property
    def _cuts(self) -> Array:
        """Where the inequalities of each class end, then those of ``a >= 0`` and ``a <= 1``; ``e >= 0`` is last."""
        k = self.matrix.shape[1]
        return np.cumsum([*(member.cone.size for member in self.members), k, k])

    def _along(self, u: list[Array], s: list[Array], e: Array, a: Array, rows: list[Rows]) -> Array:
        points = zip(self.members, rows, u, s, e.tolist(), strict=True)
        parts = [member.cone.along(row, *point) for member, row, *point in points]
        return np.concatenate([*parts, -a, a, -e])

    def _values(self, at: Iterate, rows: list[Rows]) -> Array:
        values = self._along(at.u, at.s, at.e, at.a, rows)
        values[self._cuts[-2] : self._cuts[-1]] -= 1
        return values

    def _forces(
        self, duals: Array, rows: list[Rows], share: float, r: Array, pulled: Array
    ) -> tuple[list[tuple[Array, Array, float]], Array]:
        """Minus the derivative of ``share (sum(e) + r . residual) + duals . inequalities``, for duals `r`."""
        parts = np.split(duals, self._cuts)
        count, forces = len(self.members), []
        for i, (member, row) in enumerate(zip(self.members, rows, strict=True)):
            u, s, e = member.cone.transposed(row, parts[i])
            e += share * (1 + float(member.mass @ r)) - float(parts[-1][i])
            on_u = np.where(member.cone.free, member.label * share * r[: u.size] - u, 0.0)
            forces.append((on_u, -s, -e))
        return forces, parts[count] - parts[count + 1] - share * pulled

    def _advance(self, now: Saddle, rows: list[Rows], values: Array, r: Array) -> tuple[Saddle, float]:
        """One predictor, one corrector; the greater of the two lengths of the step."""
        at, p = now
        system = self._system(at, rows, values)
        pulled = self._transposed @ p
        broken = values + at.slack

        def direction(target: Array, share: float) -> Saddle:
            offset = (share * at.dual * broken - target) / at.slack
            forces = self._forces(share * at.dual + offset, rows, share, p, pulled)
            steps, a, _, dp = system.solve(*forces, share * r)
            u, s, e = [step.u for step in steps], [step.s for step in steps], np.array([step.e for step in steps])
            slack = -share * broken - self._along(u, s, e, a, rows)
            dual = (-target - at.dual * slack) / at.slack
            places, gains = self._gained(steps)
            dual[places] = gains + offset[places]
            return Saddle(Iterate(u, s, e, a, slack, dual), dp)

        products = at.slack * at.dual
        mean = float(products.mean())
        step = direction(products, 1.0)
        room = _room(at, step.at)
        slack, dual = at.slack + room.primal * step.at.slack, at.dual + room.dual * step.at.dual
        center = min(1.0, float(slack @ dual) / float(products.sum())) ** 3
        second = np.clip(step.at.slack * step.at.dual, -_MODEST * mean, _MODEST * mean)
        least = _LEAST * self.tol * float(at.e.sum()) / products.size
        step = direction(products + second - max(center * mean, least), 1 - center**2)
        return _moved(now, step, _room(at, step.at))

    def _system(self, at: Iterate, rows: list[Rows], values: Array) -> System:
        theta = np.split(at.dual / at.slack, self._cuts)
        locals_ = self._locals(at, rows, values, theta)
        count = len(self.members)
        diagonal = theta[count] + theta[count + 1]
        weight = (theta[-1], _UNLIMITED)
        return System(locals_, self.matrix, self._transposed, self._gram, diagonal, weight, self.soft)

    def _gained(self, steps: list[Step]) -> tuple[Array, Array]:
        """Where the rows stand among the inequalities, and the gains of their duals."""
        places = [np.arange(end - step.gain.size, end) for end, step in zip(self._ends, steps, strict=True)]
        return np.concatenate(places), np.concatenate([step.gain for step in steps])


def _room(at: Iterate, step: Iterate) -> _Lengths:
    """The share of a step, at most 1, at which a slack (first) or a dual would vanish."""
    slack, dual = float((-step.slack / at.slack).max()), float((-step.dual / at.dual).max())
    return _Lengths(1 / max(slack, 1.0), 1 / max(dual, 1.0))


def _moved(now: Saddle, step: Saddle, room: _Lengths) -> tuple[Saddle, float]:
    """The next saddle, not quite as far as there is room, and the greater length."""
    primal, dual = (length if length == 1 else _KEEP * length for length in room)
    at = now.at.moved(primal, step.at)
    at = replace(at, dual=now.at.dual + dual * step.at.dual)
    return Saddle(at, now.p + dual * step.p), max(primal, dual)
