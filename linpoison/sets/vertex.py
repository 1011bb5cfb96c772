"""A small linear program over boxed columns with a handful of rows, by the dual simplex method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.validation import Array


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
