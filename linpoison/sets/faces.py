"""Support of a ball between a few pairs of parallel planes, in closed form."""

from __future__ import annotations

from itertools import product
from math import sqrt
from typing import NamedTuple

import numpy as np

from ..core.validation import Array
from .structure import Structure

MOST_ROWS = 3
"""Most rows that are tried on each of their sides: 27 faces."""
_INSIDE = 1e-12
_EXACT = 1e-12
_NOTHING = 1e-14


class _Face(NamedTuple):
    """The part of the ball on some of the planes.

    Parameters
    ----------
    active : list of int
        Rows ``A`` whose planes ``A x = b`` meet in it.
    rows, dual : ndarray, shape (k, d)
        ``A`` and ``(A A')^-1 A``.
    base : ndarray, shape (d,)
        Its center ``A' (A A')^-1 b``.
    push : ndarray, shape (k,)
        ``(A A')^-1 b``.
    """

    active: list[int]
    rows: Array
    dual: Array
    base: Array
    radius: float
    push: Array

    def farthest(self, w: Array) -> tuple[Array, Array]:
        """The point of the face with the greatest ``w . x``, and the multipliers of its planes."""
        # w = A'along + across, and x = base + (radius / |across|) across, base = A'push: optimal with w = nu x + A'lam
        # for nu = |across| / radius, which leaves lam = along - nu push
        along = self.dual @ w
        across = w - along @ self.rows
        across = across - (self.dual @ across) @ self.rows  # once more: it may be far shorter than w
        length = sqrt(float(across @ across))
        if length <= _NOTHING:  # all points of the face are as good
            return self.base, along
        return self.base + (self.radius / length) * across, along - (length / self.radius) * self.push


class BallFaces:
    """``max w . x`` over ``|x| <= radius, low <= A x <= high`` by the planes that hold the answer.

    Where `w` is nearly a combination of the rows, the multiplier of the ball is nearly 0, and Newton's method on the
    dual function has a kink there. In closed form nothing is lost: on a given set of planes the answer is the center
    of a smaller ball, moved along what is left of `w`. A face is the answer if its point is in the set and its
    multipliers, with their signs, prove a bound that it reaches.

    Parameters
    ----------
    structure : Structure
        With a plain ball, no bounds of coordinates and at most `MOST_ROWS` rows: see `fits`.

    Examples
    --------
    >>> from . import Ball, Intersection, Slab
    >>> from .structure import structure_of
    >>> faces = BallFaces(structure_of(Intersection([Ball([0.0, 0.0], 1.0), Slab([1.0, 0.0], 0.0, 0.6)])))
    >>> x, gap = faces(np.array([1.0, 1e-9]))
    >>> x.round(9), gap < 1e-12
    (array([0.6, 0.8]), True)
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.radius = float(structure.radius or 0.0)
        self.faces = [face for face in map(self._face, self._sides()) if face is not None]
        self.last = 0

    @staticmethod
    def fits(structure: Structure) -> bool:
        """Whether a set is of this kind."""
        plain = structure.radius is not None and structure.center is None and not structure.boxed
        return plain and len(structure.rows) <= MOST_ROWS

    def __call__(self, w: Array) -> tuple[Array, float] | None:
        """A support point for a direction of length 1 and the relative duality gap; None where no face is exact."""
        s = self.structure
        for number in sorted(range(len(self.faces)), key=lambda number: number != self.last):
            face = self.faces[number]
            x, multipliers = face.farthest(w)
            height, room = s.rows @ x, _INSIDE * self.radius
            if (height > s.high + room).any() or (height < s.low - room).any():
                continue
            gap = abs(self._bound(w, face, multipliers) - float(w @ x)) / (s.reach or 1.0)
            if gap <= _EXACT:
                self.last = number
                return x, gap
        return None

    def forget(self) -> None:
        """Begin the next call with the whole ball, not with the face of the last answer."""
        self.last = 0

    def _bound(self, w: Array, face: _Face, multipliers: Array) -> float:
        """What the multipliers prove for every point of the set, those of a wrong sign as 0."""
        low, high = self.structure.low[face.active], self.structure.high[face.active]
        used = np.where(np.isfinite(low), multipliers, np.maximum(multipliers, 0.0))
        rest = w - used @ face.rows
        slabs = np.where(used < 0, low, high)[used != 0] @ used[used != 0]
        return float(slabs) + self.radius * sqrt(float(rest @ rest))

    def _sides(self) -> list[tuple[float, ...]]:
        """For each face the value of every row, NaN where a row is not active; faces of few rows first."""
        s = self.structure
        ends = [(np.nan, *{low, high} - {-np.inf, np.inf}) for low, high in zip(s.low, s.high, strict=True)]
        return sorted(product(*ends), key=lambda sides: int(np.isfinite(sides).sum()))

    def _face(self, sides: tuple[float, ...]) -> _Face | None:
        active = [j for j, value in enumerate(sides) if np.isfinite(value)]
        rows, values = self.structure.rows[active], np.array([sides[j] for j in active])
        gram = rows @ rows.T
        if active and np.linalg.cond(gram) > 1e8:
            return None
        push: Array = np.asarray(np.linalg.solve(gram, values), dtype=np.float64)
        dual: Array = np.asarray(np.linalg.solve(gram, rows), dtype=np.float64)
        base = push @ rows
        square = self.radius**2 - float(base @ base)
        if square <= (_EXACT * self.radius) ** 2:
            return None
        return _Face(active, rows, dual, base, sqrt(square), push)
