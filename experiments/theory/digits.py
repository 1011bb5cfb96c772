"""Learners in 60 decimal digits, for data so small that this is quick: what a certificate really speaks of.

Floats are exact decimals. Ridge is a linear system; the smooth losses are minimised by Newton's method, damped, until
the gradient is below 1e-30 of its terms; the hinge by solving for the rows on the kink that a float solution suggests,
with all conditions of optimality checked in 60 digits. What is not confirmed is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from typing import NamedTuple

import numpy as np

from linpoison.core import Dataset, LinpoisonError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem, SmoothHinge, Squared

DIGITS = 60
EXACT = Context(prec=DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Without traps: what overflows is infinite, and an infinite gradient is no minimum."""
ZERO, ONE = Decimal(0), Decimal(1)
_KINKS = (1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
Vector = list[Decimal]


class Optimum(NamedTuple):
    """A minimiser ``v = (theta, b)`` with ``-phi'`` of each row, for the hinge the multipliers on the kink."""

    v: Vector
    pulls: Vector


def minimiser(problem: Problem, data: Dataset) -> Vector | None:
    """``(theta, b)`` of mean scaling or sum scaling, with dense rows; None if it could not be confirmed."""
    found = optimum(problem, data)
    return None if found is None else found.v


def optimum(problem: Problem, data: Dataset) -> Optimum | None:
    """The minimiser with the pulls of the rows; None if it could not be confirmed."""
    with localcontext(EXACT):
        task = _Task(problem, data)
        if isinstance(problem.loss, Squared):
            return task.finished(task.ridge())
        return task.hinge() if isinstance(problem.loss, Hinge) else task.finished(task.smooth())


def residual(problem: Problem, data: Dataset, v: np.ndarray, pulls: Vector) -> Vector:
    """The gradient of the objective at floats ``(theta, b)``; the hinge pulls as it does at the minimum."""
    with localcontext(EXACT):
        task = _Task(problem, data)
        at = [Decimal(float(t)) for t in v[: len(task.penalty)]]
        own = pulls if isinstance(problem.loss, Hinge) else task.slopes(at)
        pulled = task.pulled([q * p for q, p in zip(task.share, own, strict=True)])
        return [p * t - g for p, t, g in zip(task.penalty, at, pulled, strict=True)]


def scores(v: Vector, rows: Dataset) -> Vector:
    """``-k (z . theta + b)`` of dense rows."""
    with localcontext(EXACT):
        return [
            -Decimal(int(k)) * (_dot(v[:-1], list(map(Decimal, map(float, z)))) + v[-1])
            for z, k in zip(rows.X, rows.y, strict=True)
        ]


class _Task:
    """The rows ``y (x, 1)``, their shares and the regulariser as decimals."""

    def __init__(self, problem: Problem, data: Dataset) -> None:
        weight = [Decimal(float(w)) for w in data.weight]
        total = sum(weight, ZERO)
        reg = Decimal(problem.reg)
        self.problem, self.data = problem, data
        if problem.scaling == "sum":
            reg = reg * Decimal(float(problem.n_reference or 0)) / total
        self.share = [w / total for w in weight]
        one = int(problem.fit_intercept)
        signs = [int(k) for k in data.y]
        self.rows = [
            [Decimal(k) * Decimal(float(t)) for t in x] + [Decimal(k)] * one for x, k in zip(data.X, signs, strict=True)
        ]
        size = len(self.rows[0])
        self.penalty = [reg * int(p) for p in problem.penalty_mask(data.d)[:size]]

    def out(self, v: Vector) -> Vector:
        """With the intercept that is not fitted."""
        return v if self.problem.fit_intercept else [*v, ZERO]

    def finished(self, v: Vector | None) -> Optimum | None:
        """A minimiser with its pulls."""
        return None if v is None else Optimum(self.out(v), self.slopes(v))

    def slopes(self, v: Vector) -> Vector:
        """``-phi'`` of each row."""
        if isinstance(self.problem.loss, Squared):
            return [ONE - _dot(v, row) for row in self.rows]
        kink, width = self.bend
        return [ONE / (ONE + ((_dot(v, row) - kink) / width).exp()) for row in self.rows]

    @property
    def bend(self) -> tuple[Decimal, Decimal]:
        """Where a smooth loss bends, and over what width."""
        loss = self.problem.loss
        return (ONE, Decimal(loss.width)) if isinstance(loss, SmoothHinge) else (ZERO, ONE)

    def ridge(self) -> Vector:
        """The solution of the normal equations, which is exact to the digits carried."""
        return _solved(self.quadratic(self.share), self.pulled(self.share))

    def quadratic(self, weights: Sequence[Decimal]) -> list[Vector]:
        """``sum_i w_i x_i x_i' + reg P``."""
        size = len(self.penalty)
        H = [[ZERO] * size for _ in range(size)]
        for w, row in zip(weights, self.rows, strict=True):
            if w:
                for a in range(size):
                    part = w * row[a]
                    for b in range(size):
                        H[a][b] += part * row[b]
        for a in range(size):
            H[a][a] += self.penalty[a]
        return H

    def pulled(self, weights: Sequence[Decimal]) -> Vector:
        """``sum_i w_i y_i x_i``."""
        return [sum((w * row[a] for w, row in zip(weights, self.rows, strict=True)), ZERO)
                for a in range(len(self.penalty))]  # fmt: skip

    def smooth(self) -> Vector | None:
        """Newton's method on the objective."""
        kink, width = self.bend
        v = [ZERO] * len(self.penalty)
        value = self.value(v, kink, width)
        for _ in range(200):
            pull = self.slopes(v)
            weights = [q * p for q, p in zip(self.share, pull, strict=True)]
            slope = [p * t - g for p, t, g in zip(self.penalty, v, self.pulled(weights), strict=True)]
            size = sum((abs(g) for g in self.pulled(weights)), Decimal("1e-30"))
            if max(map(abs, slope)) <= Decimal("1e-30") * size:
                return v
            bend = [w * (ONE - p) / width for w, p in zip(weights, pull, strict=True)]
            step = _solved(self.quadratic(bend), slope)
            length = ONE
            while length > Decimal("1e-9"):
                there = [t - length * s for t, s in zip(v, step, strict=True)]
                if (then := self.value(there, kink, width)) <= value:
                    break
                length /= 2
            else:
                return None
            v, value = there, then
        return None

    def value(self, v: Vector, kink: Decimal, width: Decimal) -> Decimal:
        """The objective."""
        total = sum((p * t * t for p, t in zip(self.penalty, v, strict=True)), ZERO) / 2
        for q, row in zip(self.share, self.rows, strict=True):
            t = (kink - _dot(v, row)) / width
            total += q * width * ((ONE + t.exp()).ln() if t < 0 else t + (ONE + (-t).exp()).ln())
        return total

    def hinge(self) -> Optimum | None:
        """The rows on the kink, from a float solution, and everything else from them."""
        try:
            margins = make_learner(self.problem, method="reference").fit(self.data).margins(self.data)
        except LinpoisonError:
            return None
        for width in _KINKS:
            found = self.on_kink(np.flatnonzero(np.abs(margins - 1) <= width), np.flatnonzero(margins < 1 - width))
            if found is not None:
                return found
        return None

    def on_kink(self, free: np.ndarray, inside: np.ndarray) -> Optimum | None:
        """The model with margin 1 at the `free` rows and full pull of those `inside`; None if it is not optimal."""
        size, many = len(self.penalty), len(free)
        A = [[ZERO] * (size + many) for _ in range(size + many)]
        right = self.pulled([q if i in set(inside) else ZERO for i, q in enumerate(self.share)]) + [ONE] * many
        for a in range(size):
            A[a][a] = self.penalty[a]
            for j, i in enumerate(free):
                A[a][size + j], A[size + j][a] = -self.share[i] * self.rows[i][a], self.rows[i][a]
        try:
            solved = _solved(A, right)
        except ZeroDivisionError:
            return None
        v, multipliers, tiny = solved[:size], solved[size:], Decimal("1e-25")
        if any(a < -tiny or a > ONE + tiny for a in multipliers):
            return None
        below, kept = set(inside), set(free)
        for i, row in enumerate(self.rows):
            m = _dot(v, row)
            if i not in kept and (m > ONE + tiny if i in below else m < ONE - tiny):
                return None
        shares = dict(zip(free.tolist(), multipliers, strict=True))
        return Optimum(self.out(v), [shares.get(i, ONE if i in below else ZERO) for i in range(len(self.rows))])


def _dot(a: Vector, b: Vector) -> Decimal:
    return sum((x * y for x, y in zip(a, b, strict=True)), ZERO)


def _solved(A: list[Vector], b: Vector) -> Vector:
    """Gauss and Jordan with pivots.

    Raises
    ------
    ZeroDivisionError
        If the matrix is singular.
    """
    rows = [[*row, right] for row, right in zip(A, b, strict=True)]
    for i in range(len(rows)):
        pivot = max(range(i, len(rows)), key=lambda r, i=i: abs(rows[r][i]))
        if not rows[pivot][i]:
            raise ZeroDivisionError
        rows[i], rows[pivot] = rows[pivot], rows[i]
        head = rows[i][i]
        rows[i] = [value / head for value in rows[i]]
        for r in range(len(rows)):
            if r != i and rows[r][i]:
                factor = rows[r][i]
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[i], strict=True)]
    return [row[-1] for row in rows]
