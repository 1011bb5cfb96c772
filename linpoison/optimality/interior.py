"""A primal-dual interior-point method for one weighted point of each class, with a bound that needs no trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Array, SolverFailed
from .elimination import Class, Gram, Local, Step, System
from .set_cone import Rows

_ROUNDS = 250
_FEASIBLE = 1e-8
_MODEST = 10.0
"""Second-order corrections beyond this many times the mean product come from a few far coordinates, and mislead."""
_KEEP = 0.99
_STUCK = 1e-5
_LEAST = 0.001
"""Share of the tolerance that slacks and duals may keep. Far below it the system is lost to rounding before curved
inequalities are met."""
_NEAR = 0.05
"""Share of the objective in slacks and duals from which the gap is worth computing."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """Points, weights and multipliers with the slacks and dual variables of all inequalities."""

    u: list[Array]
    s: list[Array]
    e: Array
    a: Array
    slack: Array
    dual: Array

    def moved(self, length: float, step: Iterate) -> Iterate:
        """The iterate after a share of a step."""
        return Iterate(
            [u + length * du for u, du in zip(self.u, step.u, strict=True)],
            [s + length * ds for s, ds in zip(self.s, step.s, strict=True)],
            self.e + length * step.e,
            self.a + length * step.a,
            self.slack + length * step.slack,
            self.dual + length * step.dual,
        )

    def room(self, step: Iterate) -> float:
        """The share of a step, at most 1, at which a slack or a dual would vanish."""
        worst = max(float((-step.slack / self.slack).max()), float((-step.dual / self.dual).max()), 1.0)
        return 1 / worst


@dataclass(frozen=True, eq=False)
class Nearest:
    """``min |r|^2 / 2`` over points and weights of the classes, and over multipliers.

    ::

        r = q + A a + sum_y e_y k_y - y (u_y, 0)
        u_y in e_y F_y,  e >= 0,  sum_y e_y <= 1,  0 <= a <= 1

    Each step solves one linear system in which all coordinates separate once the multipliers, the
    weights and the duals of the few rows are given: O(m) for the coordinates, and one Cholesky factor
    in the number of multipliers. Steps are Mehrotra's, with modest second-order corrections.

    Parameters
    ----------
    constant : ndarray, shape (m,)
        ``q``. Its first d entries belong to the features.
    matrix : sparse array, shape (m, k)
        ``A``.
    held : ndarray, optional
        Fixed weights.
    """

    constant: Array
    matrix: sp.csc_array
    members: Sequence[Class]
    held: Array | None = None

    @cached_property
    def _transposed(self) -> Any:
        return sp.csr_array(self.matrix.T)

    @cached_property
    def _cuts(self) -> Array:
        """Where the inequalities of each class end, then those of ``a >= 0``, ``a <= 1`` and ``e >= 0``."""
        k = self.matrix.shape[1]
        sizes = [*(member.cone.size for member in self.members), k, k]
        if self.held is None:
            sizes += [len(self.members), 1]
        return np.cumsum(sizes)[:-1]

    def residual(self, at: Iterate) -> Array:
        """``r``, shape (m,)."""
        r = self.constant + self.matrix @ at.a
        for member, u, e in zip(self.members, at.u, at.e, strict=True):
            r = r + e * member.mass
            r[: u.size] -= member.label * u
        return np.asarray(r)

    def solve(self, tol: float, floor: float) -> tuple[Iterate, int]:
        """Iterate until `gap` is at most `tol`.

        Parameters
        ----------
        floor : float
            Stop also where ``|r|`` is no more than this.

        Returns
        -------
        iterate : Iterate
            The last one, which need not meet the tolerance.
        rounds : int

        Raises
        ------
        SolverFailed
            If rounding leaves no system to solve.
        """
        at = self.start()
        for done in range(_ROUNDS):
            rows = self._rows(at)
            values = self._values(at, rows)
            at = self._tight(at, values)
            r = self.residual(at)
            size = float(r @ r) / 2
            feasible = float(np.abs(values + at.slack).max()) <= _FEASIBLE
            if feasible and (2 * size <= floor**2 or at.slack @ at.dual <= _NEAR * size and self.gap(at) <= tol):
                return at, done
            try:
                at, length = self._round(at, rows, values, r, _LEAST * tol * size / at.slack.size)
            except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
                raise SolverFailed(f"expected a definite system, got {error} after {done} steps.") from None
            if length < _STUCK:
                break
        return at, done

    def start(self) -> Iterate:
        """A point inside all inequalities but the slabs, with products of slacks and duals all alike."""
        count = len(self.members)
        inner = sum(member.cone.size for member in self.members)
        at = self._inside(np.full(count, (1 - 1 / inner) / count) if self.held is None else self.held)
        r = self.residual(at)
        return replace(at, dual=max(float(r @ r) / 2, 1e-300) / at.slack.size / at.slack)

    def _inside(self, e: Array) -> Iterate:
        """Points of these weights inside all inequalities but the slabs, with their slacks, yet without duals."""
        inside = [member.cone.inside() for member in self.members]
        u = [weight * point for weight, (point, _) in zip(e, inside, strict=True)]
        s = [weight * square for weight, (_, square) in zip(e, inside, strict=True)]
        none = np.zeros(0)
        at = Iterate(u, s, e, np.full(self.matrix.shape[1], 0.5), none, none)
        values = self._values(at, self._rows(at))
        return replace(at, slack=np.where(values < 0, -values, 0.1))

    def _tight(self, at: Iterate, values: Array) -> Iterate:
        """With the slack of a ball as its value says: a step meets that inequality to first order only."""
        places = [
            int(end) - member.cone.size + member.cone.n_local
            for member, end in zip(self.members, self._ends, strict=True)
            if member.cone.curved
        ]
        met = [i for i in places if values[i] < -0.1 * at.slack[i]]
        if not met:
            return at
        slack = at.slack.copy()
        slack[met] = -values[met]
        return replace(at, slack=slack)

    @property
    def _ends(self) -> Array:
        """Where the inequalities of each class end."""
        return self._cuts[: len(self.members)]

    def _rows(self, at: Iterate) -> list[Rows]:
        return [member.cone.rows(u, float(e)) for member, u, e in zip(self.members, at.u, at.e, strict=True)]

    def _values(self, at: Iterate, rows: list[Rows]) -> Array:
        """The left sides of all inequalities."""
        parts = self._along(at.u, at.s, at.e, at.a, rows)
        k = at.a.size
        start = int(self._cuts[len(self.members)])
        parts[start : start + k] -= 1
        if self.held is None:
            parts[-1] -= 1
        return parts

    def _along(self, u: list[Array], s: list[Array], e: Array, a: Array, rows: list[Rows]) -> Array:
        """The linear parts of all inequalities."""
        parts = [
            member.cone.along(row, *point)
            for member, row, *point in zip(self.members, rows, u, s, e.tolist(), strict=True)
        ]
        ends = [-e, e.sum(keepdims=True)] if self.held is None else []
        return np.concatenate([*parts, -a, a, *ends])

    def _forces(
        self, duals: Array, rows: list[Rows], share: float, r: Array, pulled: Array
    ) -> tuple[list[tuple[Array, Array, float]], Array]:
        """Minus the derivative of ``share |r|^2 / 2 + duals . inequalities``."""
        parts = np.split(duals, self._cuts)
        count = len(self.members)
        forces = []
        for i, (member, row) in enumerate(zip(self.members, rows, strict=True)):
            u, s, e = member.cone.transposed(row, parts[i])
            e += share * float(member.mass @ r)
            if self.held is None:
                e += float(parts[-1][0] - parts[-2][i])
            on_u = np.where(member.cone.free, member.label * share * r[: u.size] - u, 0.0)
            forces.append((on_u, -s, -e))
        return forces, parts[count] - parts[count + 1] - share * pulled

    def _round(
        self, at: Iterate, rows: list[Rows], values: Array, r: Array, least: float = 0.0
    ) -> tuple[Iterate, float]:
        """One predictor, one corrector, with products of at least `least` in mind."""
        system = self._system(at, rows, values)
        pulled = self._transposed @ r
        broken = values + at.slack

        def direction(target: Array, share: float) -> Iterate:
            offset = (share * at.dual * broken - target) / at.slack
            steps, a, gain, _ = system.solve(*self._forces(share * at.dual + offset, rows, share, r, pulled))
            u, s, e = [step.u for step in steps], [step.s for step in steps], np.array([step.e for step in steps])
            slack = -share * broken - self._along(u, s, e, a, rows)
            dual = (-target - at.dual * slack) / at.slack
            places, gains = self._shared(steps, gain)
            dual[places] = gains + offset[places]
            return Iterate(u, s, e, a, slack, dual)

        products = at.slack * at.dual
        mean = float(products.mean())
        step = direction(products, 1.0)
        center = (1 - at.room(step)) ** 3
        second = np.clip(step.slack * step.dual, -_MODEST * mean, _MODEST * mean)
        step = direction(products + second - max(center * mean, least), 1 - center**2)
        length = min(1.0, at.room(step) if at.room(step) == 1 else _KEEP * at.room(step))
        return at.moved(length, step), length

    def _system(self, at: Iterate, rows: list[Rows], values: Array) -> System:
        theta = np.split(at.dual / at.slack, self._cuts)
        locals_ = self._locals(at, rows, values, theta)
        count = len(self.members)
        weight = (theta[-2], float(theta[-1][0])) if self.held is None else None
        diagonal = theta[count] + theta[count + 1]
        return System(locals_, self.matrix, self._transposed, self._gram, diagonal, weight)

    def _locals(self, at: Iterate, rows: list[Rows], values: Array, theta: list[Array]) -> list[Local]:
        """The coordinates of each class, for the dual over slack of the inequalities of each."""
        duals, parts = np.split(at.dual, self._cuts), np.split(values, self._cuts)
        locals_ = []
        for i, member in enumerate(self.members):
            ball = float(duals[i][member.cone.n_local]) if member.cone.curved else 0.0
            locals_.append(Local(member, rows[i], at.u[i], at.s[i], float(at.e[i]), theta[i], parts[i], ball))
        return locals_

    def _shared(self, steps: list[Step], gain: float) -> tuple[Array, Array]:
        """Where the rows and the budget stand among the inequalities, and the gains of their duals."""
        places = [np.arange(end - step.gain.size, end) for end, step in zip(self._ends, steps, strict=True)]
        gains = [step.gain for step in steps]
        if self.held is None:
            places.append(self._cuts[-1:])
            gains.append(np.array([gain]))
        return np.concatenate(places), np.concatenate(gains)

    @cached_property
    def _gram(self) -> Gram:
        return Gram(self.matrix)

    def gap(self, at: Iterate) -> float:
        """``g / |r|^2``, where ``|r|^2 / 2 - g`` is at most the minimum, and so is ``|r| - g / |r|``.

        The linear function ``r . r'`` is bounded below over all points by the duals, whatever they are
        worth (`SetCone.bound`); ``g`` is how far its value at the iterate lies above the bound.
        """
        r = self.residual(at)
        pulled = self._transposed @ r
        worth = float((at.a * pulled - np.minimum(pulled, 0)).sum())
        duals = np.split(at.dual, self._cuts)
        lows, now = [], 0.0
        for i, (member, u, e) in enumerate(zip(self.members, at.u, at.e, strict=True)):
            y, head = member.label, r[: u.size]
            fixed = y * float(head @ member.cone.base)
            most = member.cone.bound(y * head, duals[i])
            lows.append(float(r @ member.mass) + fixed - most)
            now += e * float(r @ member.mass) - y * float(head @ u)
        low = float(np.dot(self.held, lows)) if self.held is not None else min(0.0, *lows)
        return (worth + now - low) / max(float(r @ r), 1e-300)
