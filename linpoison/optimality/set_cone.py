"""The cone over a structured set, in inequalities that an interior-point method can eliminate by coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core.validation import Array
from ..sets.structure import Structure

Rows = tuple[Array, Array, Array]
"""Coefficients of ``u``, ``s`` (both of shape (rows, d)) and ``e`` (rows,) in the rows of a cone."""

_HEIGHT = 0.25
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class SetCone:
    """``{(u, s, e): G (u, s, e) <= 0}`` with ``u = e x`` for a point `x` of the set, relative to `base`.

    Four kinds of inequality, in this order:

    - upper and lower bounds, ``u_j <= e upper_j`` and ``e lower_j <= u_j``;
    - pieces of an envelope, ``(2k - 1) u_j - k (k - 1) e <= s_j``, in coordinates with two or more;
    - rows: the core (``|u|^2 / e <= e radius^2``, or ``sum(s) - 2 c.u + .. e <= 0`` for an
      envelope), then the upper and the lower side of each slab.

    All are homogeneous of degree one in ``(u, s, e)``. Coordinates whose bounds agree stay at zero.

    Parameters
    ----------
    structure : Structure
        Of bounded reach, without a tube.
    """

    structure: Structure

    @cached_property
    def free(self) -> Any:
        """Coordinates with room between their bounds, shape (d,), boolean."""
        return self.structure.upper > self.structure.lower

    @cached_property
    def base(self) -> Array:
        """The point that ``u = 0`` stands for, relative to the structure's origin: fixed coordinates, else zero."""
        return np.where(self.free, 0.0, self.structure.lower)

    @cached_property
    def above(self) -> Any:
        """Coordinates with an upper bound."""
        return np.flatnonzero(self.free & np.isfinite(self.structure.upper))

    @cached_property
    def below(self) -> Any:
        """Coordinates with a lower bound."""
        return np.flatnonzero(self.free & np.isfinite(self.structure.lower))

    @cached_property
    def least(self) -> Array:
        """Whole number at or below the lower bound: where the pieces begin."""
        return np.floor(self.structure.lower)

    @cached_property
    def several(self) -> Any:
        """Coordinates with two pieces or more, shape (d,), boolean."""
        if self.structure.center is None:
            return np.zeros(self.structure.d, dtype=bool)
        return self.free & (np.ceil(self.structure.upper) - self.least >= 2)

    @cached_property
    def pieces(self) -> tuple[Any, Array, Array]:
        """Coordinate, slope ``2k - 1`` and drop ``k (k - 1)`` of each piece."""
        if not self.several.any():
            return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
        sizes = np.where(self.several, np.ceil(self.structure.upper) - self.least, 0).astype(np.int64)
        index = np.repeat(np.arange(sizes.size), sizes)
        k = np.arange(1.0, index.size + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes) + self.least[index]
        return index, 2 * k - 1, k * (k - 1)

    @cached_property
    def collect(self) -> sp.csr_array:
        """Sums over the pieces of each coordinate, shape (d, number of pieces)."""
        index = self.pieces[0]
        return sp.csr_array((np.ones(index.size), (index, np.arange(index.size))), shape=(self.structure.d, index.size))

    @cached_property
    def curved(self) -> bool:
        """Whether the core is a plain ball, the one inequality that is not linear."""
        return self.structure.radius is not None and self.structure.center is None

    @cached_property
    def _rows(self) -> Rows:
        """Coefficients of ``u``, ``s`` and ``e`` in the rows; those of a ball depend on the point."""
        s = self.structure
        points, squares, weights = [], [], []
        if s.center is not None:
            single = self.free & ~self.several
            points.append(np.where(self.free, -2 * s.center, 0.0) + np.where(single, 2 * self.least + 1, 0.0))
            squares.append(self.several.astype(np.float64))
            weights.append(self._still() - float((self.least * (self.least + 1))[single].sum()))
        elif s.radius is not None:
            points.append(np.zeros(s.d))
            squares.append(np.zeros(s.d))
            weights.append(float(self.base @ self.base) - s.radius**2)
        for row, low, high in zip(s.rows, s.low, s.high, strict=True):
            at_base = float(row @ self.base)
            for sign, limit in ((1.0, high), (-1.0, low)):
                if np.isfinite(limit):
                    points.append(np.where(self.free, sign * row, 0.0))
                    squares.append(np.zeros(s.d))
                    weights.append(sign * (at_base - limit))
        return np.array(points).reshape(-1, s.d), np.array(squares).reshape(-1, s.d), np.array(weights)

    def _still(self) -> float:
        """The envelope's value at the fixed coordinates, less its limit."""
        s = self.structure
        center = np.zeros(s.d) if s.center is None else s.center
        value = envelope(self.base) - 2 * center * self.base
        return float(center @ center) - float(s.radius or 0.0) ** 2 + float(value[~self.free].sum())

    @property
    def n_local(self) -> int:
        """How many inequalities concern one coordinate."""
        return int(self.above.size + self.below.size + self.pieces[0].size)

    @property
    def size(self) -> int:
        """How many inequalities there are."""
        return self.n_local + int(self._rows[2].size)

    def rows(self, u: Array, e: float) -> Rows:
        """Coefficients of the rows, those of a ball as its derivative at ``(u, e)``."""
        points, squares, weights = self._rows
        if self.curved:
            points, weights = points.copy(), weights.copy()
            points[0] = 2 * u / e
            weights[0] -= float(u @ u) / e**2
        return points, squares, weights

    def along(self, rows: Rows, u: Array, s: Array, e: float) -> Array:
        """``G (u, s, e)`` for given rows. At the point where a ball's row was taken this is the inequality itself."""
        index, slope, drop = self.pieces
        points, squares, weights = rows
        return np.concatenate(
            [
                u[self.above] - e * self.structure.upper[self.above],
                e * self.structure.lower[self.below] - u[self.below],
                slope * u[index] - e * drop - s[index],
                points @ u + squares @ s + e * weights,
            ]
        )

    def parts(self, values: Array) -> list[Array]:
        """Values of the inequalities by kind: upper bounds, lower bounds, pieces, rows."""
        return np.split(values, np.cumsum([self.above.size, self.below.size, self.pieces[0].size]))

    def transposed(self, rows: Rows, duals: Array) -> tuple[Array, Array, float]:
        """``G' duals``: the parts that belong to ``u``, ``s`` and ``e``."""
        upper, lower, piece, other = self.parts(duals)
        _, slope, drop = self.pieces
        points, squares, weights = rows
        by_coordinate = self.collect @ np.column_stack([slope * piece, piece])
        u = other @ points + by_coordinate[:, 0]
        u[self.above] += upper
        u[self.below] -= lower
        s = other @ squares - by_coordinate[:, 1]
        e = float(other @ weights) - float(drop @ piece)
        bounds = self.structure
        e -= float(bounds.upper[self.above] @ upper) - float(bounds.lower[self.below] @ lower)
        return u, s, e

    def inside(self) -> tuple[Array, Array]:
        """``(u, s)`` of weight one inside bounds, pieces and core; slabs may be violated.

        The room that an envelope leaves is shared out evenly between its pieces and itself: products of
        slacks and duals should start near each other.
        """
        s = self.structure
        low, high = 0.0, _HEIGHT
        if s.center is not None and self._excess(high) > 0:
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                low, high = (low, middle) if self._excess(middle) > 0 else (middle, high)
            high = max(low, 1e-9)
        return self._at(high)

    def _at(self, height: float) -> tuple[Array, Array]:
        s = self.structure
        start = np.zeros(s.d) if s.center is None else np.rint(s.center)
        step = height * np.minimum(1.0, s.upper - s.lower)
        u = np.where(self.free, np.clip(start, s.lower + step, s.upper - step), 0.0)
        return u, np.where(self.several, envelope(u) + height, 0.0)

    def _excess(self, height: float) -> float:
        points, squares, weights = self._rows
        u, s = self._at(height)
        return float(points[0] @ u + squares[0] @ s + weights[0]) + height

    def bound(self, w: Array, duals: Array) -> float:
        """An upper bound on ``w . x`` over the set (`x` relative to the structure's origin), for any duals.

        The Lagrangian with the duals of the rows is maximised over the bounds in closed form, so that
        the bound holds whatever the duals are; at the optimal ones it is attained.
        """
        s = self.structure
        rows = iter(self.parts(duals)[3])
        mu = float(next(rows)) if s.radius is not None else 0.0
        lam, paid = np.zeros(s.low.size), 0.0
        for i, (low, high) in enumerate(zip(s.low, s.high, strict=True)):
            for sign, limit in ((1.0, high), (-1.0, low)):
                if np.isfinite(limit):
                    dual = float(next(rows))
                    lam[i] += sign * dual
                    paid += sign * dual * float(limit)
        return paid + self._most(w - lam @ s.rows, mu)

    def bound_by_rows(self, w: Array, mu: float, lam: Array) -> float:
        """The same bound by a dual of the core and one of either sign for each row: the sign says which side pays."""
        low, high = self._limits
        over, under = (
            np.where(np.isnan(high), 0.0, np.maximum(lam, 0.0)),
            np.where(np.isnan(low), 0.0, np.minimum(lam, 0.0)),
        )
        paid = float(over @ np.nan_to_num(high)) + float(under @ np.nan_to_num(low))
        return paid + self._most(w - (over + under) @ self.structure.rows, mu)

    @cached_property
    def _limits(self) -> tuple[Array, Array]:
        """Both limits of each row, NaN for none."""
        low, high = self.structure.low, self.structure.high
        return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)

    @cached_property
    def row_sizes(self) -> Array:
        """The greatest magnitude of a limit of each row."""
        return np.nan_to_num(np.fmax(*np.abs(self._limits)))

    def _most(self, pull: Array, mu: float) -> float:
        """``max pull . x - mu h(x)`` over the bounds, for the function `h` of the core."""
        s = self.structure
        if mu > 0 and self.curved and not self.above.size and not self.below.size and self.free.all():
            return float(pull @ pull) / (4 * mu) + mu * float(s.radius or 0.0) ** 2
        if mu <= 0:
            up, down = pull > 0, pull < 0
            return float(pull[up] @ s.upper[up] + pull[down] @ s.lower[down])
        center = np.zeros(s.d) if s.center is None else s.center
        x = pull / (2 * mu) + center
        x = np.clip(x if s.center is None else np.rint(x), s.lower, s.upper)
        square = x * x if s.center is None else envelope(x)
        constant = float(center @ center) - float(s.radius or 0.0) ** 2
        return float(pull @ x) - mu * (float((square - 2 * center * x).sum()) + constant)


def envelope(x: Array) -> Array:
    """The squares of the whole numbers, interpolated linearly."""
    part = np.abs(x - np.rint(x))
    return np.asarray(x * x + part - part * part)
