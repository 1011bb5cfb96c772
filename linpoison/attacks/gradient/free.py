"""Gradient canceling over more than the rows: how many copies each has, and multipliers of clean rows on a kink."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ...core.validation import Array
from ...risk.fields import Cancel, PoisonObjective
from ...risk.protocols import Projection
from ...risk.thresholds import Condition


@dataclass(frozen=True, eq=False)
class FreeObjective:
    """The value of gradient canceling over one flat vector: rows, then shares if they are free, then multipliers.

    ::

        f(Z, s, a) = |r|^2 / 2,    r = rest + e growth sum(s) + A a + e sum_j s_j d/dw l(z_j, y_j; w)

        df/ds_j = e <growth + d/dw l(z_j, y_j; w), r>,     df/da = A' r

    Parameters
    ----------
    fixed : PoisonObjective
        Of the rows alone, at the shares to begin with; in numpy.
    condition : Condition
        What is to be canceled.
    unit : float
        All of it is measured in multiples of this.
    mass : float
        ``e``, the most that all rows may weigh.
    shape : tuple of int
        Of the rows, (m, ...).
    free : bool
        Whether the shares move.
    """

    fixed: PoisonObjective
    condition: Condition
    unit: float
    mass: float
    shape: tuple[int, ...]
    free: bool

    @cached_property
    def given(self) -> Array:
        """Shares to begin with."""
        return np.asarray(self.fixed.shares / (self.unit * self.mass))

    def joined(self, X: Array) -> Array:
        """The vector of rows, at the shares to begin with and half of each subgradient."""
        share = self.given if self.free else self.given[:0]
        return np.concatenate([X.ravel(), share, np.full(self.condition.n_kinks, 0.5)])

    def split(self, z: Array) -> tuple[Array, Array, Array]:
        """Rows, shares and multipliers."""
        X, share, a = np.split(z, [prod(self.shape), z.size - self.condition.n_kinks])
        return X.reshape(self.shape), share if self.free else self.given, a

    def at(self, share: Array, a: Array) -> PoisonObjective:
        """The objective of the rows at these shares and multipliers."""
        rest = self.condition.rest + (self.mass * share.sum()) * self.condition.growth
        rest = rest + self.condition.kinks @ a if a.size else rest
        return replace(self.fixed, field=Cancel(self.unit * rest), shares=self.unit * self.mass * share)

    def value(self, z: Array) -> float:
        X, share, a = self.split(z)
        return self.at(share, a).value(X)

    def __call__(self, z: Array) -> tuple[float, Array]:
        X, share, a = self.split(z)
        rows, condition = self.at(share, a), self.condition
        value, r = rows.field(rows.pull(X))
        parts = [rows.push(X, r).ravel()]
        if self.free:
            along = rows.risk.loss_jvp(rows.w, X, rows.y, r) + float(condition.growth @ r)
            parts.append(self.unit * self.mass * along)
        if a.size:
            parts.append(self.unit * np.asarray(condition.kinks.T @ r))
        return value, np.concatenate(parts)

    def inside(self, z: Array) -> Array:
        """`z` with no share below zero."""
        X, share, a = self.split(z)
        return np.concatenate([X.ravel(), np.maximum(share, 0.0), a]) if self.free else z

    def lengths(self, z: Array) -> Array:
        """Steps along the gradient that fit the curvature in each row, in the shares and in the multipliers."""
        X, share, a = self.split(z)
        heavy = np.maximum(share, 1e-3 / share.size) * self.unit * self.mass
        parts = [np.repeat(1 / (3 * share.size * heavy**2), prod(self.shape[1:]))]
        if self.free:
            longest = max(float(np.max((X.reshape(len(X), -1) ** 2).sum(axis=1))) + 1.0, 1e-12)
            parts.append(np.full(share.size, 1 / (3 * share.size * (self.unit * self.mass) ** 2 * longest)))
        return np.concatenate([*parts, np.full(a.size, 1 / (3 * self.unit**2 * self._kink_norm))])

    @cached_property
    def _kink_norm(self) -> float:
        """``|A|^2``, entry by entry."""
        kinks = self.condition.kinks
        return max(float(kinks.multiply(kinks).sum()), 1e-300) if self.condition.n_kinks else 1.0


@dataclass(frozen=True, eq=False)
class FreeSet(Projection):
    """Rows in their sets, shares on the simplex, multipliers between 0 and 1.

    Parameters
    ----------
    objective : FreeObjective
        Knows the parts of the vector.
    rows : Projection
    """

    objective: FreeObjective
    rows: Projection

    def project(self, X: Any) -> Any:
        rows, share, a = self.objective.split(X)
        moved = simplex(share) if self.objective.free else share[:0]
        return np.concatenate([self.rows.project(rows).ravel(), moved, np.clip(a, 0.0, 1.0)])

    def bounds(self) -> tuple[Any, Any] | None:
        limits = self.rows.bounds()
        if limits is None or self.objective.free:
            return None
        n_kinks = self.objective.condition.n_kinks
        rows = (np.broadcast_to(side, self.objective.shape).ravel() for side in limits)
        low, high = (np.append(side, np.full(n_kinks, end)) for side, end in zip(rows, (0.0, 1.0), strict=True))
        return low, high


def simplex(share: Array) -> Array:
    """The nearest point with non-negative entries that add up to at most 1.

    Examples
    --------
    >>> simplex(np.array([0.9, 0.5, -0.3])).tolist()
    [0.7, 0.3, 0.0]
    """
    clipped = np.maximum(share, 0.0)
    if clipped.sum() <= 1:
        return clipped
    order = np.sort(share)[::-1]
    level = (np.cumsum(order) - 1) / np.arange(1, share.size + 1)
    count = int(np.flatnonzero(order > level)[-1])
    return np.round(np.maximum(share - level[count], 0.0), 15)
