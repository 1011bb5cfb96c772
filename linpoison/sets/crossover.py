"""From nearly optimal multipliers of a linear program over a structured set to a basic solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.validation import Array
from .lagrangian import Lagrangian, Multipliers


@dataclass(frozen=True, eq=False)
class SmallProgram:
    """``max gain . s`` with ``lower <= s <= upper`` and ``low <= rows s <= high``, every bound of `s` finite.

    Parameters
    ----------
    gain, lower, upper : ndarray, shape (n,)
    rows : ndarray, shape (m, n)
    low, high : ndarray, shape (m,)
    """

    gain: Array
    lower: Array
    upper: Array
    rows: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class Vertex:
    """An optimal basic solution: columns, and multipliers of the rows."""

    s: Array
    multipliers: Array


def solve_small(program: SmallProgram, start: Array, rounds: int = 200) -> Vertex | None:
    """The optimal vertex from a first basis; None for a program without a point.

    Rows become columns ``rows s - v = 0`` with ``low <= v <= high``, so that a basis has m columns. The
    bounds that a basis leaves nonbasic columns at follow the sign of their reduced costs; each pivot lets
    the basic column that violates its bounds most leave and walks the dual function's ray past every
    kink that still ascends, flipping those columns.

    Parameters
    ----------
    start : ndarray of int, shape (m,)
        Basic columns; ``n + j`` stands for the value of row j. Their matrix must be regular.
    """
    m, n = program.rows.shape
    if m == 0:
        return Vertex(np.where(program.gain > 0, program.upper, program.lower), np.zeros(0))
    table = np.hstack([program.rows, -np.eye(m)])
    gain = np.concatenate([program.gain, np.zeros(m)])
    ends = program.rows * program.lower, program.rows * program.upper
    reach, least = np.maximum(*ends).sum(axis=1), np.minimum(*ends).sum(axis=1)
    slack = 1.0 + reach - least
    lower = np.concatenate([program.lower, np.maximum(program.low, least - slack)])
    upper = np.concatenate([program.upper, np.minimum(program.high, reach + slack)])
    if (lower > upper).any():
        return None
    scale = 1e-12 * (1.0 + np.abs(np.concatenate([lower, upper])).max())
    basis = np.array(start)
    inverse = np.linalg.inv(table[:, basis])
    at_upper = gain > (gain[basis] @ inverse) @ table
    for _ in range(rounds):
        duals = gain[basis] @ inverse
        values = np.where(at_upper, upper, lower)
        values[basis] = 0.0
        values[basis] = -inverse @ (table @ values)
        below, above = lower[basis] - values[basis], values[basis] - upper[basis]
        excess = np.maximum(below, above)
        leave = int(np.argmax(excess))
        if excess[leave] <= scale:
            return Vertex(values[:n], duals)
        side = 1.0 if above[leave] > 0 else -1.0
        rates = side * (inverse[leave] @ table)
        rates[basis] = 0.0
        enter, flips = _ratio(rates, gain - duals @ table, at_upper, upper - lower, float(excess[leave]))
        if enter < 0:
            return None
        at_upper[flips] ^= True
        at_upper[basis[leave]] = side > 0
        basis[leave] = enter
        inverse = np.linalg.inv(table[:, basis])
    return None


def _ratio(rates: Array, reduced: Array, at_upper: Array, width: Array, excess: float) -> tuple[int, Any]:
    """The entering column and those that the ray ``reduced + t rates`` passes until its slope is used up."""
    index = np.flatnonzero(np.where(at_upper, rates < -1e-11, rates > 1e-11))
    size = np.abs(rates[index])
    order = np.argsort(np.abs(reduced[index]) / size, kind="stable")
    used = np.cumsum((size * width[index])[order])
    stop = int(np.searchsorted(used, excess))
    passed = index[order]
    return (int(passed[stop]), passed[:stop]) if stop < passed.size else (-1, passed)


_COLUMNS, _MOST = 48, 2000
_ROUNDS = 30
_TOL = 1e-9
_STRIDE = 1 << 20


class Crossover:
    """Solves the program over the columns whose reduced cost is near zero, and adds those it got wrong.

    A column is a unit step ``[k, k + 1]`` of a coordinate (counts) or a whole coordinate (box). All other
    coordinates stay where the first multipliers want them, until a bound computed over all of them shows
    that a later vertex wants them elsewhere: then the steps between become columns too.

    Attributes
    ----------
    gap : float
        Relative duality gap of the last solution.
    duals : list of float
        Its multipliers.
    """

    def __init__(self, dual: Lagrangian) -> None:
        self.dual = dual
        self.gap = float("nan")
        self.duals: Multipliers = []

    def finish(self, w: Array, multipliers: Multipliers) -> Array | None:
        """An optimal basic solution for direction `w`, or None."""
        theta = np.array(multipliers)
        stepped = self.dual.counts and theta[0] > 0
        liked = self._liked(w, theta, stepped)
        base = self._best(liked, stepped)
        count, keys = _COLUMNS, self._near(liked, stepped, _COLUMNS)
        for _ in range(_ROUNDS):
            found = self._solve(w, base, keys, theta, liked, stepped)
            if found is None:
                count *= 4
                wider = np.union1d(keys, self._near(liked, stepped, count))
            else:
                x, theta = found
                if self._settled(w, x, theta, stepped):
                    return x
                if stepped and theta[0] <= 0:
                    return None
                liked = self._liked(w, theta, stepped)
                wider = np.union1d(keys, self._between(base, liked, stepped))
            if wider.size == keys.size or wider.size > _MOST:
                return None
            keys = wider
        return None

    def _settled(self, w: Array, x: Array, theta: Array, stepped: bool) -> bool:
        """Whether the bound that the multipliers prove for every point of the set is reached."""
        value, bound = float(w @ x), self.bound(w, theta)
        self.gap = abs(bound - value) / max(abs(value), self.dual.structure.reach, 1e-300)
        self.duals = theta.tolist()
        return self.gap <= _TOL and not (self.dual.core and not stepped and self._outside(x))

    def _outside(self, x: Array) -> bool:
        """Whether the core, left out, is violated."""
        dual, center = self.dual, self.dual.structure.center
        square = float(x @ x) if center is None else _envelope(x, center)
        return square + dual.constant > 1e-12 * dual.radius**2

    def _liked(self, w: Array, theta: Array, stepped: bool) -> Array:
        """Reduced costs, or for counts the real number around whose rounding each coordinate is best."""
        s, first = self.dual.structure, self.dual.first
        reduced = w - theta[first:] @ s.rows if theta.size > first else w
        if not stepped:
            return np.asarray(reduced)
        return np.asarray(reduced / (2 * theta[0]) + s.center)

    def _best(self, liked: Array, stepped: bool) -> Array:
        s = self.dual.structure
        if stepped:
            return np.minimum(np.maximum(np.rint(liked), s.lower), s.upper)
        return np.where(liked > 0, s.upper, s.lower)

    def _near(self, liked: Array, stepped: bool, count: int) -> Any:
        """Keys of the columns whose choice hangs by least."""
        s = self.dual.structure
        step = _step(liked, s.lower, s.upper) if stepped else np.zeros(liked.size)
        far = np.abs(liked - step - 0.5) if stepped else np.abs(liked)
        far = np.where(s.upper > s.lower, far, np.inf)
        count = min(count, far.size)
        chosen = np.argpartition(far, count - 1)[:count]
        chosen = np.sort(chosen[np.isfinite(far[chosen])])
        return chosen * _STRIDE + step[chosen].astype(np.int64)

    def _between(self, base: Array, liked: Array, stepped: bool) -> Any:
        """Keys of the steps between where coordinates stand and where they would rather be, the worst first."""
        best = self._best(liked, stepped)
        wrong = np.flatnonzero(best != base)
        if not stepped:
            loss = np.abs(liked[wrong])
            return wrong[np.argsort(-loss)[:_COLUMNS]] * _STRIDE
        wrong = wrong[np.argsort(-np.abs(liked - base)[wrong])[: 2 * _COLUMNS]]
        low = np.floor(np.minimum(base, best)[wrong]).astype(np.int64)
        high = np.maximum(np.ceil(np.maximum(base, best)[wrong]).astype(np.int64), low + 1)
        return np.concatenate(
            [i * _STRIDE + np.arange(a, b) for i, a, b in zip(wrong, low, high, strict=True)] or [low]
        )

    def _solve(
        self, w: Array, base: Array, keys: Any, theta: Array, liked: Array, stepped: bool
    ) -> tuple[Array, Array] | None:
        s, dual = self.dual.structure, self.dual
        index, step = np.divmod(keys, _STRIDE)
        lower, upper = s.lower[index], s.upper[index]
        if stepped:
            lower, upper = np.maximum(lower, step), np.minimum(upper, step + 1)
        x = base.copy()
        x[index[::-1]] = lower[::-1]  # keys ascend, so that the lowest step of a coordinate comes last
        rest, rows = s.rows @ x, s.rows[:, index]
        low, high = s.low - rest, s.high - rest
        far = np.abs(liked[index] - step - 0.5) if stepped else np.abs(liked[index])
        if stepped:
            center: Any = s.center
            rows = np.vstack([2 * step + 1 - 2 * center[index], rows])
            room = -(_envelope(x, center, dual.whole) + dual.constant)
            low, high = np.concatenate([[-np.inf], low]), np.concatenate([[room], high])
        duals = theta if stepped else theta[dual.first :]
        program = SmallProgram(w[index], np.zeros(index.size), upper - lower, rows, low, high)
        vertex = solve_small(program, _basis(rows, duals, far))
        if vertex is None:
            return None
        np.add.at(x, index, vertex.s)
        return x, np.concatenate([theta[: 0 if stepped else dual.first] * 0, vertex.multipliers])

    def bound(self, w: Array, theta: Array) -> float:
        """The upper bound on ``w . x`` that the multipliers prove."""
        # Weak duality: w . x <= lam . limits + max over the box of (w - A'lam) . x - theta0 (h(x) - radius^2); the
        # maximum is coordinate by coordinate, for counts at the whole number next to the vertex of its parabola
        s, dual = self.dual.structure, self.dual
        theta = np.where((theta < 0) & np.isneginf(dual.low), 0.0, theta)
        lam = theta[dual.first :]
        used = lam != 0
        total = float(lam[used] @ np.where(lam < 0, s.low, s.high)[used])
        reduced = w - lam @ s.rows
        if not dual.counts or theta[0] <= 0:
            return total + float(reduced @ np.where(reduced > 0, s.upper, s.lower))
        x = self._best(reduced / (2 * theta[0]) + s.center, True)
        return total + float(reduced @ x) - theta[0] * (_envelope(x, s.center, dual.whole) + dual.constant)


def _step(liked: Array, lower: Array, upper: Array) -> Array:
    """The lower end of the unit step that holds `liked`, within the bounds."""
    least = np.floor(lower)
    return np.minimum(np.maximum(np.floor(liked), least), np.maximum(np.ceil(upper) - 1, least))


def _envelope(x: Array, center: Any, whole: bool = False) -> float:
    """``sum_i f(x_i) - 2 center . x``."""
    if whole:
        return float(x @ x - 2 * center @ x)
    part = np.abs(x - np.rint(x))
    return float(x @ x + part.sum() - part @ part - 2 * center @ x)


def _basis(rows: Array, theta: Array, far: Array) -> Any:
    """A column for each multiplier in use, of those nearest to a tie; the rest stand on their own rows."""
    m, n = rows.shape
    start = n + np.arange(m)
    active = np.flatnonzero(theta != 0)
    if not active.size or not n:
        return start
    part = rows[active]
    part = part / (np.sqrt(np.einsum("ij,ij->i", part, part))[:, None] * (1e-3 + far) + 1e-300)
    chosen, first = [], 0.0
    for _ in active:  # Gram and Schmidt with pivoting: the longest column of what the ones before leave over
        squares = np.einsum("ij,ij->j", part, part)
        best = int(squares.argmax())
        first = first or float(squares[best])
        if not squares[best] > 1e-18 * first:
            return start
        chosen.append(best)
        direction = part[:, best] / np.sqrt(squares[best])
        part = part - np.outer(direction, direction @ part)
    start[active] = chosen
    return start
