"""The most rows that knapsack cuts leave to one poison: an integer program, and a tree that proves its value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from ..core.validation import Array
from .rounding import gamma

NODES = 1000
"""Most nodes of a tree: where they do not suffice, what they prove is weaker."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """``A b <= rhs`` for the marks ``b`` in {0, 1} of the rows that a poison breaks, of which the share counts.

    Parameters
    ----------
    share : ndarray, shape (m,)
        Weight of each row.
    A : ndarray, shape (K, m)
        At least 0.
    rhs : ndarray, shape (K,)
        Finite.
    """

    share: Array
    A: Array
    rhs: Array

    def most(self) -> Array:
        """A set of rows that no cut forbids, of great share, by one mark after the other; shape (m,), boolean."""
        fixed = np.full(self.share.size, -1)
        while (fixed == -1).any():
            x = self._relaxed(fixed)[1]
            if not x.size:
                break
            free = np.flatnonzero(fixed == -1)
            sure = free[np.abs(x[free] - 0.5) > 0.5 - 1e-6]
            chosen = sure if sure.size else free[[np.argmax(x[free])]]
            fixed[chosen] = x[chosen] > 0.5
            if not sure.size:
                fixed[chosen] = 1
                fixed[chosen] = (self.A @ (fixed == 1) <= self.rhs).all()
        return np.asarray(fixed == 1)

    def bound(self, branch: Array, dual: Array) -> float:
        """No less than the greatest share, by a tree whose leaves have multipliers of the cuts.

        ::

            sum_j q_j b_j  <=  y . (rhs - A_1 1) + sum_{j in 1} q_j + sum_{j free} max(0, q_j - y . A_j)

        where rows are fixed to 1 on the way to a leaf, or left out (weak duality of the linear program); any ``y >= 0``
        will do.

        Parameters
        ----------
        branch : ndarray of int, shape (nodes,)
            The row that each node fixes, its part with 1 first; -1 for a leaf. A node comes before its parts.
        dual : ndarray, shape (leaves, K)

        Returns
        -------
        float
            That of all rows if the tree or its multipliers are none.
        """
        whole = float(self.share.sum())
        if dual.shape[1:] != self.rhs.shape or not np.isfinite(dual).all():
            return whole
        leaves = list(self._leaves(branch))
        if len(leaves) != len(dual) or any(fixed is None for fixed in leaves):
            return whole
        values = [
            self._leaf(np.maximum(y, 0), fixed) for y, fixed in zip(dual, leaves, strict=True) if fixed is not None
        ]
        return min(whole, max(values, default=whole))

    def _leaves(self, branch: Array) -> Iterator[Array | None]:
        """Marks of the leaves in order, -1 for free; None where the tree is broken."""
        open_, m = [np.full(self.share.size, -1)], self.share.size
        for row in branch:
            if not open_ or not -1 <= row < m or row % 1:
                yield None
                return
            fixed = open_.pop()
            if row == -1:
                yield fixed
                continue
            for mark in (0, 1):
                part = fixed.copy()
                part[int(row)] = mark
                open_.append(part)
        if open_:
            yield None

    @np.errstate(over="ignore", invalid="ignore")
    def _leaf(self, y: Array, fixed: Array) -> float:
        """No less than the share of any marks of one leaf; infinite where its multipliers overflow."""
        # For b with the marks of the leaf and A b <= rhs: q.b <= q.b + y.(rhs - A b), which is a sum over the rows; a
        # free one adds (q_j - y.A_j) b_j, at most the positive part. A leaf with no such b may well come out negative.
        on, free = fixed == 1, fixed == -1
        reduced = np.maximum(self.share[free] - y @ self.A[:, free], 0)
        parts = (
            float(y @ self.rhs),
            -float(y @ self.A[:, on].sum(axis=1)),
            float(self.share[on].sum()),
            float(reduced.sum()),
        )
        sizes = float(y @ (np.abs(self.rhs) + self.A.sum(axis=1))) + float(self.share.sum())
        total = sum(parts) + gamma(self.share.size + len(self.rhs) + 16) * sizes
        return total if math.isfinite(total) else math.inf  # of NaN and a number max may give the number

    def tree(self, goal: float) -> tuple[Array, Array]:
        """A tree that proves that no share above `goal` is possible, or as much of it as `NODES` nodes prove."""
        branch: list[int] = []
        dual: list[Array] = []
        open_ = [np.full(self.share.size, -1)]
        while open_:
            fixed = open_.pop()
            y, x = self._relaxed(fixed)
            row = int(np.argmin(np.abs(x - 0.5))) if x.size else -1
            fractional = x.size > 0 and min(x[row], 1 - x[row]) > 1e-6
            value = self._leaf(y, fixed)
            if x.size and not fractional:
                goal = max(goal, value)  # no tree proves less than a solution is worth
            if value <= goal or not fractional or len(branch) + len(open_) >= NODES:
                branch.append(-1)
                dual.append(y)
                continue
            branch.append(row)
            for mark in (0, 1):
                part = fixed.copy()
                part[row] = mark
                open_.append(part)
        return np.array(branch), np.array(dual)

    def _relaxed(self, fixed: Array) -> tuple[Array, Array]:
        """Multipliers and marks of the linear program with some marks fixed.

        Violations are allowed at a price, so that a part without any solution has multipliers too, which show that.
        """
        # max q.b - price unit.z, A b - z <= rhs: with z the program always has a solution, and duals 0 <= y <= price
        # unit. Without any solution at z = 0 the y of a great price make `_leaf` negative (Farkas); greater prices than
        # needed only make numbers ill-conditioned.
        low, high = np.where(fixed == 1, 1.0, 0.0), np.where(fixed == 0, 0.0, 1.0)
        K, m = len(self.rhs), self.share.size
        unit = float(self.share.sum()) / np.maximum(self.A.max(axis=1, initial=0.0), 1e-12)
        y, x = np.zeros(K), np.zeros(0)
        for price in (4.0, 4e2, 4e4, 4e6):
            found = linprog(
                np.concatenate([-self.share, price * unit]), A_ub=np.hstack([self.A, -np.eye(K)]), b_ub=self.rhs,
                bounds=np.column_stack([np.append(low, np.zeros(K)), np.append(high, np.full(K, np.inf))]),
            )  # fmt: skip
            if found.x is None:
                break
            y, x = np.maximum(-found.ineqlin.marginals, 0), found.x[:m]
            if found.x[m:].max(initial=0.0) <= 1e-9 or self._leaf(y, fixed) < 0:
                break
        return y, x
