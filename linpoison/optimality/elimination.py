"""The linear system of an interior-point step: coordinates first, then multipliers, then a handful of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from ..core.validation import Array
from .set_cone import Rows, SetCone

_HEAVY = 20
"""Rows of a matrix with more entries than this are multiplied as dense ones."""


@dataclass(frozen=True, eq=False)
class Class:
    """One class: its label, its cone, and how its weight moves the residual, ``r += e k - y (u, 0)``."""

    label: float
    cone: SetCone
    mass: Array


class Gram:
    """``A' W A`` for a sparse `A`, its few well-filled rows as dense ones.

    Parameters
    ----------
    matrix : sparse array, shape (m, k)
    """

    def __init__(self, matrix: Any) -> None:
        rows = sp.csr_array(matrix)
        filled = np.diff(rows.indptr)
        self.heavy, self.light = np.flatnonzero(filled > _HEAVY), np.flatnonzero((filled > 0) & (filled <= _HEAVY))
        self.dense = rows[self.heavy].toarray()
        self.thin = sp.csr_array(rows[self.light])
        self.thin_t = sp.csr_array(self.thin.T)
        self.lengths = np.diff(self.thin.indptr)

    def __call__(self, weight: Array) -> Array:
        """The product for a diagonal `weight`, shape (k, k)."""
        total = (self.dense.T * weight[self.heavy]) @ self.dense
        scaled = self.thin.copy()
        scaled.data = scaled.data * np.repeat(weight[self.light], self.lengths)
        return np.asarray(total + (self.thin_t @ scaled).toarray())


class Step(NamedTuple):
    """The step of one class, and what the duals of its rows gain from it: ``theta (row . step)``.

    The gain is an unknown of its own, since the product of a large ``theta`` and a small step would
    lose the digits that the duals need.
    """

    u: Array
    s: Array
    e: float
    gain: Array


@dataclass(frozen=True, eq=False)
class Local:
    """The coordinates of one class, eliminated.

    In the moving frame ``u = e x + u~`` at the current point ``x = u / e``. The unknowns ``(u~_j, s~_j)``
    of a coordinate meet the others through the residual, the weight, and the rows.

    Parameters
    ----------
    theta : ndarray
        Dual over slack of each inequality.
    values : ndarray
        Value of each inequality at the current point.
    ball : float
        Dual of a ball's row, whose curvature counts.
    """

    member: Class
    rows: Rows
    u: Array
    s: Array
    e: float
    theta: Array
    values: Array
    ball: float

    @cached_property
    def _sums(self) -> tuple[Array, Array, Array, Array]:
        """Over the pieces of a coordinate: theta, its mean slope, and theta times tilt with and without slope."""
        index, slope, _ = self.member.cone.pieces
        theta, tilt = self.member.cone.parts(self.theta)[2], self.tilts[2]
        dual = theta * tilt
        sums = self.member.cone.collect @ np.column_stack([theta, theta * slope, dual * slope, dual])
        mean = sums[:, 1] / np.where(sums[:, 0] > 0, sums[:, 0], 1.0)
        return sums[:, 0], mean, sums[:, 2], sums[:, 3]

    @cached_property
    def tilts(self) -> list[Array]:
        """Coefficient of the weight in each inequality in the moving frame, by kind."""
        return self.member.cone.parts(self.values / self.e)

    @cached_property
    def response(self) -> Array:
        """How ``u~_j`` follows a force, ``l_j``; zero in fixed coordinates."""
        cone, (upper, lower, piece, _) = self.member.cone, self.member.cone.parts(self.theta)
        index, slope, _ = cone.pieces
        stiff = cone.collect @ (piece * (slope - self._sums[1][index]) ** 2)
        stiff[cone.above] += upper
        stiff[cone.below] += lower
        stiff += 2 * self.ball / self.e
        return np.where(cone.free, 1 / np.where(cone.free, stiff, 1.0), 0.0)

    @cached_property
    def loose(self) -> Array:
        """How ``s~_j`` follows a force while ``u~_j`` is held."""
        theta = self._sums[0]
        return np.where(theta > 0, 1 / np.where(theta > 0, theta, 1.0), 0.0)

    @cached_property
    def links(self) -> tuple[Array, Array]:
        """What the weight (first) and the rows push on ``u~`` once ``s~`` is eliminated, and on ``s~``."""
        cone, (upper, lower, _, _) = self.member.cone, self.member.cone.parts(self.theta)
        points, squares, _ = self.rows
        on_u = self._sums[2].copy()
        on_u[cone.above] += upper * self.tilts[0]
        on_u[cone.below] -= lower * self.tilts[1]
        on_s = np.vstack([-self._sums[3], squares])
        return np.vstack([on_u, points]) + self._sums[1] * on_s, on_s

    @cached_property
    def moved(self) -> Array:
        """How the residual follows the weight and the duals of the rows, shape (1 + number of rows, m)."""
        m = np.zeros((self.links[0].shape[0], self.member.mass.size))
        m[:, : self.u.size] = self.member.label * self.response * self.links[0]
        m[0] += self.member.mass
        m[0, : self.u.size] -= self.member.label * self.u / self.e
        return m

    @cached_property
    def own(self) -> Array:
        """The symmetric system of the weight and the rows alone."""
        on_u, on_s = self.links
        matrix = -(on_u * self.response) @ on_u.T - (on_s * self.loose) @ on_s.T
        tilts, theta = np.concatenate(self.tilts[:3]), self.theta[: self.member.cone.n_local]
        matrix[0, 0] += theta @ tilts**2
        matrix[0, 1:] += self.tilts[3]
        matrix[1:, 0] += self.tilts[3]
        matrix[np.arange(1, len(matrix)), np.arange(1, len(matrix))] -= 1 / self.member.cone.parts(self.theta)[3]
        return matrix

    def reduce(self, f_u: Array, f_s: Array, f_e: float) -> tuple[Array, Array, Array]:
        """Forces on the original unknowns, as those on ``u~``, ``s~`` and on the weight and the rows."""
        f_e += float(f_u @ self.u + f_s @ self.s) / self.e
        on_u, on_s = self.links
        force = f_u + self._sums[1] * f_s
        rest = -on_u @ (self.response * force) - on_s @ (self.loose * f_s)
        rest[0] += f_e
        return force, f_s, rest

    def expand(self, force: Array, f_s: Array, few: Array, pull: Array) -> Step:
        """The step for the solution `few` of the rest and the change `pull` of the residual."""
        on_u, on_s = self.links
        u = self.response * (force - few @ on_u + self.member.label * pull[: self.u.size])
        s = self.loose * (f_s - few @ on_s) + self._sums[1] * u
        ratio = float(few[0]) / self.e
        return Step(u + ratio * self.u, s + ratio * self.s, float(few[0]), few[1:])


class System:
    """``(J'J / soft + G' theta G) step = force``, factorised.

    Parameters
    ----------
    matrix : sparse array, shape (m, k)
    diagonal : ndarray, shape (k,)
        What the bounds of the multipliers add.
    weight : tuple of ndarray (classes,) and float, optional
        ``theta`` of the bounds of the weights and of their sum; None where the weights are fixed.
    soft : float, default 1.0
        Near zero for residuals that have to vanish.

    Raises
    ------
    numpy.linalg.LinAlgError
        If rounding has made the system indefinite.
    """

    def __init__(
        self,
        locals_: list[Local],
        matrix: Any,
        transposed: Any,
        gram: Gram,
        diagonal: Array,
        weight: tuple[Array, float] | None,
        soft: float = 1.0,
    ) -> None:
        self.locals, self.matrix, self.transposed = locals_, matrix, transposed
        stretch = np.full(matrix.shape[0], soft)
        for local in locals_:
            stretch[: local.u.size] += local.response
        self.give = 1 / stretch
        self.moved = np.vstack([local.moved for local in locals_])
        self.cuts = np.cumsum([0, *(local.moved.shape[0] for local in locals_)])
        few = scipy.linalg.block_diag(*(local.own for local in locals_)) + (self.moved * self.give) @ self.moved.T
        few = self._without_multipliers(few, gram, diagonal)
        self.firsts = self.cuts[:-1]
        if weight is None:
            few[self.firsts], few[:, self.firsts] = 0.0, 0.0
            few[self.firsts, self.firsts] = 1.0
        else:
            few[self.firsts, self.firsts] += weight[0]
            few = np.pad(few, (0, 1))
            few[self.firsts, -1], few[-1, self.firsts], few[-1, -1] = 1.0, 1.0, -1 / weight[1]
        self.held = weight is None
        self.scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(few)), 1e-300))
        self.few = scipy.linalg.lu_factor(few * np.outer(self.scale, self.scale), check_finite=False)

    def _without_multipliers(self, few: Array, gram: Gram, diagonal: Array) -> Array:
        self.many = gram(self.give)
        self.many[np.diag_indices_from(self.many)] += diagonal
        self.cross = self.transposed @ (self.give * self.moved).T
        if not diagonal.size:
            self.answered = self.cross
            return few
        self.factor = scipy.linalg.cho_factor(self.many, lower=True, overwrite_a=True, check_finite=False)
        self.answered = scipy.linalg.cho_solve(self.factor, self.cross, check_finite=False)
        return few - self.cross.T @ self.answered

    def solve(
        self, forces: list[tuple[Array, Array, float]], on_multipliers: Array, left: Array | None = None
    ) -> tuple[list[Step], Array, float, Array]:
        """The step of each class, that of the multipliers, the gain of the dual of the budget, and the pull.

        The pull is ``(J step + left) / soft``, free of the cancellation in that formula.
        """
        reduced = [local.reduce(*force) for local, force in zip(self.locals, forces, strict=True)]
        change = np.zeros(self.give.size) if left is None else left.copy()
        for local, (force, _, _) in zip(self.locals, reduced, strict=True):
            change[: local.u.size] -= local.member.label * local.response * force
        change *= self.give
        rest = np.concatenate([part for _, _, part in reduced]) - self.moved @ change
        many = on_multipliers - self.transposed @ change
        few, gain = self._few(rest - self.answered.T @ many)
        many = many - self.cross @ few
        if many.size:
            many = scipy.linalg.cho_solve(self.factor, many, check_finite=False)
        pull = change + self.give * (few @ self.moved + self.matrix @ many)
        ranges = zip(self.locals, reduced, self.cuts[:-1], self.cuts[1:], strict=True)
        steps = [local.expand(f_u, f_s, few[i:j], pull) for local, (f_u, f_s, _), i, j in ranges]
        return steps, many, gain, pull

    def _few(self, rest: Array) -> tuple[Array, float]:
        """Weights and gains of the rows; the gain of the budget apart."""
        if self.held:
            rest[self.firsts] = 0.0
        else:
            rest = np.append(rest, 0.0)
        few = self.scale * scipy.linalg.lu_solve(self.few, self.scale * rest, check_finite=False)
        return (few, 0.0) if self.held else (few[:-1], float(few[-1]))
