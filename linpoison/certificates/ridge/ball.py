"""The best comparator for each test row when poison lies in balls: Newton's method for many rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from ...core.validation import Array
from ...sets import Ball, ByLabel
from .model import GROUPS, RidgeSystem

STEPS = 2.0 ** np.arange(3, -40, -1)
STAGES = 25
FINEST = 1e-10
MAX_STEPS = 25
_BEGIN = 0.1
_LABEL_OF = np.arange(len(GROUPS)) // 2
_LABELS, _SIGNS = np.array(GROUPS, dtype=float).T[..., None, None]
"""Of the four groups, along the first axis: reductions over it are of whole arrays."""


class Shares(NamedTuple):
    """Comparators and what they say about the poison, one row for each test row."""

    V: Array
    """Comparators, shape (rows, D)."""
    points: Array
    """The point of each group with the greatest residual, shape (rows, 4, d)."""
    share: Array
    """Shares of the groups in the poison, shape (rows, 4)."""


def balls_only(sets: ByLabel) -> bool:
    """Whether the Newton method applies."""
    return all(type(part) is Ball for part in sets.values())


class _State(NamedTuple):
    """The smoothed bound at one point, in terms of the vectors ``n_+, n_-, z, L y, c``."""

    value: Array
    norm: Array
    worst: Array
    length: Array
    share: Array


class _Line(NamedTuple):
    """Everything the bound depends on, along a line or at a point; leading axis: rows."""

    quadratic: Array
    linear: Array
    length2: Array
    cost: Array


@dataclass(frozen=True, eq=False)
class BallDual:
    """``min_v c'v + |c|_{H^-1} sqrt(|v - v0|_H^2 + eps M(v)^2)`` with balls for sets.

    The intercept is eliminated and the rest of `H` diagonalised, once: with ``y`` the coordinates of
    ``v - v0`` all terms are ``y' L y`` with a diagonal ``L``, two linear forms and ``|z| = |theta|``. The
    greatest of the four residuals is smoothed by a soft maximum of width ``delta``, taken down by tens.
    The Hessian is diagonal plus rank four, so that a step costs O(d); along a line the bound depends on a
    few scalars, so that a line search costs nothing.

    Parameters
    ----------
    system : RidgeSystem
        With balls for sets.
    """

    system: RidgeSystem
    L: Array
    U: Array
    shift: Array
    root: float
    normals: Array
    levels: Array

    @classmethod
    def of(cls, system: RidgeSystem) -> BallDual | None:
        """Diagonalise, in O(d^3); None where numbers overflow."""
        d, H, root = system.claim.train.d, system.H, 1.0
        shift, schur = np.zeros(d), H[:d, :d]
        if system.intercept:
            root = float(np.sqrt(H[d, d]))
            shift = H[:d, d] / H[d, d]
            schur = schur - np.outer(shift, H[:d, d])
        if not np.isfinite(schur).all():
            return None
        values, U = eigh(schur)
        L = np.append(values, 1.0) if system.intercept else values
        centers = np.array([system.claim.sets[label].center for label in (1, -1)])  # type: ignore[attr-defined]
        dual = cls(system, np.maximum(L, 1e-14 * L.max()), U, shift, root, np.empty(0), np.empty(0))
        object.__setattr__(dual, "normals", dual.inward(system.extend(centers)))
        object.__setattr__(dual, "levels", system.extend(centers) @ system.clean)
        return dual

    @cached_property
    def unit(self) -> float:
        """The length of theta that is worth a residual of 1."""
        return float(self.radii.max()) or 1.0

    @cached_property
    def radii(self) -> Array:
        """Radius of the ball of each group, shape (4,)."""
        return np.array([self.system.claim.sets[label].radius for label, _ in GROUPS])  # type: ignore[attr-defined]

    def inward(self, C: Array) -> Array:
        """Coordinates of linear forms: ``c'(v - v0) = inward(c)'y``."""
        d = self.U.shape[0]
        if not self.system.intercept:
            return np.asarray(C @ self.U)
        return np.column_stack([(C[:, :d] - np.outer(C[:, d], self.shift)) @ self.U, C[:, d] / self.root])

    def outward(self, Y: Array) -> Array:
        """``v`` of coordinates."""
        d = self.U.shape[0]
        theta = Y[:, :d] @ self.U.T
        if not self.system.intercept:
            return np.asarray(self.system.clean + theta)
        return self.system.clean + np.column_stack([theta, Y[:, d] / self.root - theta @ self.shift])

    def minimise(self, C: Array, sizes: Array) -> Shares:
        """The comparators for forms `C` (rows, D) of lengths `sizes` in the norm of ``H^-1``."""
        c = self.inward(C) / np.maximum(sizes, np.finfo(float).tiny)[:, None]
        start = -c / self.L
        Y = np.zeros_like(c)
        widths = 10.0 ** np.arange(5, -6, -0.25)
        Y = Y + _best_step(self, Y, start, c, np.full((len(c), 1), 1e-3), widths)[0][:, None] * start
        delta = _BEGIN * self._at(Y, c, np.full((len(c), 1), 1e-12)).worst[:, None]
        for _ in range(STAGES):
            Y = self._descend(Y, c, delta)
            last = self._at(Y, c, delta)
            if np.all(delta[:, 0] <= FINEST * last.worst):
                break
            delta = delta / 10
        V = self.outward(Y)
        return Shares(V, self._points(V), last.share)

    def _points(self, V: Array) -> Array:
        theta = V[:, : self.U.shape[0]]
        unit = theta / np.maximum(np.linalg.norm(theta, axis=1), np.finfo(float).tiny)[:, None]
        sets = self.system.claim.sets
        return np.stack(
            [sets[label].center - sign * sets[label].radius * unit for label, sign in GROUPS],  # type: ignore[attr-defined]
            axis=1,
        )

    def _descend(self, Y: Array, c: Array, delta: Array) -> Array:
        epsilon, Y, left = self.system.claim.epsilon, Y.copy(), np.arange(len(Y))
        for _ in range(MAX_STEPS):
            y, form, width = Y[left], c[left], delta[left]
            state = self._at(y, form, width)
            direction, slope = self._newton(y, form, width, state)
            step, gain = _best_step(self, y, direction, form, width, STEPS)
            Y[left] = y + step[:, None] * direction
            scale = epsilon * state.worst / state.norm
            left = left[(-slope > 1e-3 * scale * width[:, 0]) & (gain > 1e-15 * state.norm)]
            if not left.size:
                break
        return Y

    def _line(self, Y: Array, c: Array) -> _Line:
        z = self._theta(Y)
        return _Line(
            np.einsum("ij,j,ij->i", Y, self.L, Y), Y @ self.normals.T, np.einsum("ij,ij->i", z, z), _dots(c, Y)
        )

    def _at(self, Y: Array, c: Array, delta: Array) -> _State:
        line = self._line(Y, c)
        found = self.evaluate(_Line(*(part[:, None] for part in line)), delta)
        return _State(*(part[:, 0] for part in found))

    def evaluate(self, line: _Line, delta: Array) -> _State:
        """The smoothed bound at points of lines: parts of shape (rows, points) and (rows, points, 2)."""
        length = np.sqrt(line.length2 + (delta / self.unit) ** 2)
        forms = self.levels[_LABEL_OF, None, None] + np.moveaxis(line.linear, -1, 0)[_LABEL_OF]
        values = _SIGNS * _LABELS - _SIGNS * forms + self.radii[:, None, None] * length
        top = values.max(axis=0)
        weights = np.exp((values - top) / delta)
        total = weights.sum(axis=0)
        worst = top + delta * np.log(total)
        norm = np.sqrt(np.maximum(line.quadratic, 0.0) + self.system.claim.epsilon * worst**2)
        return _State(line.cost + norm, norm, worst, length, np.moveaxis(weights / total, 0, -1))

    def _theta(self, Y: Array) -> Array:
        d = self.U.shape[0]
        return np.asarray(Y[:, :d] + self.system.clean[:d] @ self.U)

    def _newton(self, Y: Array, c: Array, delta: Array, state: _State) -> tuple[Array, Array]:
        """Directions and the slopes along them."""
        epsilon, radii, d = self.system.claim.epsilon, self.radii, self.U.shape[0]
        z = np.zeros_like(Y)
        z[:, :d] = self._theta(Y)
        basis = np.stack([*np.broadcast_to(self.normals[:, None], (2, *Y.shape)), z, self.L * Y, c], axis=1)
        pulled = epsilon * state.worst
        diagonal = np.tile(self.L, (len(Y), 1))
        diagonal[:, :d] += (pulled * (state.share @ radii) / state.length)[:, None]
        over = basis / diagonal[:, None, :]
        T = over @ basis.transpose(0, 2, 1)
        core, slope = _core(state, delta[:, 0], epsilon, radii)
        right = np.einsum("ijk,ik->ij", T, slope)
        middle = np.eye(4) + core @ T[:, :4, :4]
        weights = slope.copy()
        weights[:, :4] -= _solve(middle, np.einsum("ijk,ik->ij", core, right[:, :4]))
        along = -np.einsum("ij,ij->i", right, weights) / state.norm
        weights = np.where((along < 0)[:, None] & np.isfinite(weights), weights, slope)
        along = -np.einsum("ij,ij->i", right, weights) / state.norm
        return -np.einsum("ij,ijk->ik", weights, over), along


def _core(state: _State, delta: Array, epsilon: float, radii: Array) -> tuple[Array, Array]:
    """Coefficients over the basis of ``norm`` times: the Hessian less its diagonal part, and the gradient."""
    rows = len(delta)
    parts = np.zeros((rows, 4, 4))  # gradient of each residual over (n_+, n_-, z, L y)
    for k, (_, sign) in enumerate(GROUPS):
        parts[:, k, k // 2] = -sign
        parts[:, k, 2] = radii[k] / state.length
    mean = np.einsum("ig,igk->ik", state.share, parts)
    centred = parts - mean[:, None, :]
    spread = np.einsum("ig,igk,igl->ikl", state.share, centred, centred)
    pulled = epsilon * state.worst
    slope = np.zeros((rows, 5))
    slope[:, :4] = pulled[:, None] * mean
    slope[:, 3] += 1.0
    unit = slope[:, :4] / state.norm[:, None]
    core = epsilon * _outer(mean) + (pulled / delta)[:, None, None] * spread - _outer(unit)
    core[:, 2, 2] -= pulled * (state.share @ radii) / state.length**3
    slope[:, 4] = state.norm
    return core, slope


def _best_step(dual: BallDual, Y: Array, direction: Array, c: Array, delta: Array, steps: Any) -> tuple[Array, Array]:
    """The step of the list with the least smoothed bound, zero if none gains; and the gain."""
    here, ahead = dual._line(Y, c), dual._line(direction, c)
    d = dual.U.shape[0]
    cross = np.einsum("ij,j,ij->i", Y, dual.L, direction)
    pair = np.einsum("ij,ij->i", dual._theta(Y), direction[:, :d])
    own = np.einsum("ij,ij->i", direction[:, :d], direction[:, :d])
    t = np.append(steps, 0.0)[None, :]
    line = _Line(
        here.quadratic[:, None] + 2 * t * cross[:, None] + t**2 * ahead.quadratic[:, None],
        here.linear[:, None, :] + t[..., None] * ahead.linear[:, None, :],
        np.maximum(here.length2[:, None] + 2 * t * pair[:, None] + t**2 * own[:, None], 0.0),
        here.cost[:, None] + t * ahead.cost[:, None],
    )
    values = dual.evaluate(line, delta).value
    best = np.argmin(values, axis=1)
    gain = values[:, -1] - values[np.arange(len(values)), best]
    return np.where(gain > 0, t[0, best], 0.0), gain


def _solve(A: Array, b: Array) -> Array:
    try:
        return np.asarray(np.linalg.solve(A, b[..., None])[..., 0])
    except np.linalg.LinAlgError:
        return np.full_like(b, np.nan)


def _outer(a: Array) -> Array:
    return np.asarray(a[:, :, None] * a[:, None, :])


def _dots(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", a, b))
