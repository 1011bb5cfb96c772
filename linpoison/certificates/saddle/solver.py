"""A good comparator for the average-loss bound, by the proximal method of multipliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from ...core.dataset import Dataset
from ...core.errors import InputError, SolverFailed
from ...core.validation import Array
from ...losses import MarginLoss
from ...sets import ByLabel, Oracle

Curve = Callable[[Array], tuple[Array, Array]]
"""An increasing convex function and its derivative, elementwise."""

_STEPS = 100
"""Steps of L-BFGS on each smoothed program."""
_PATIENCE = 5
"""Rounds over which progress is looked at."""


@dataclass(frozen=True)
class Piece:
    """One way to be bad: rows of the class `label` whose ``-side * label * score`` is greatest.

    The loss of such a row is ``curve(t)`` at that value ``t``; `curve` need hold where it is positive only.
    """

    label: float
    side: float
    curve: Curve


@dataclass(frozen=True, eq=False)
class SaddleTask:
    """``min_v  mean loss of the clean rows + reg/2 <v, P v> + epsilon max(0, max_k sup_x curve_k(t_k(x, v)))``.

    With a `ball` (center and radius) ``2 reg sup <u, v - u>`` over ``u`` in it takes the place of ``reg/2 <v, v>``,
    which is that supremum over all ``u``.
    """

    train: Dataset
    loss: MarginLoss
    sets: ByLabel
    epsilon: float
    penalty: Array
    fit_intercept: bool
    pieces: tuple[Piece, ...]
    ball: tuple[Array, float] | None = None

    def penalise(self, v: Array) -> tuple[float, Array]:
        """The regulariser, or what a ball leaves of it, and the gradient."""
        if self.ball is None:
            return 0.5 * float(self.penalty @ v**2), self.penalty * v
        u = nearest(v / 2, *self.ball)
        return 2 * float((self.penalty * u) @ (v - u)), 2 * self.penalty * u


@dataclass(frozen=True, eq=False)
class Comparator:
    """What the solver found: a vector, the value of the program there, and a number below its minimum."""

    v: Array
    value: float
    lower: float
    rounds: int


def find_comparator(
    task: SaddleTask,
    value: Callable[[Array], float],
    *,
    tol: float = 1e-3,
    rounds: int = 100,
    start: Array | None = None,
) -> Comparator:
    """Minimise `value`, which states the same program as `task` and is evaluated exactly.

    The maxima over rows of the sets, over their weights and over the multipliers of the hinge are each given a
    proximal term, ``-|x - x0|^2 mu / 2`` and the like. What results is smooth (a projection on the set takes the place
    of its support), lies below the program, and is minimised by L-BFGS; its value less
    ``|gradient|^2 / (2 reg)`` is a lower bound. The centres then move to the maximisers, with which the minimiser
    tends to that of the program although the terms stay as large as they are.

    Parameters
    ----------
    task : SaddleTask
    value : callable
        The program at a vector ``(theta, b)``, possibly infinite.
    tol : float, default 1e-3
        Relative gap at which to stop; with a ball, where no gap is known, ten times the relative progress over a few
        rounds.
    rounds : int, default 100
    start : ndarray, optional
        Zero by default.

    Returns
    -------
    Comparator
        The best vector found, the start included.
    """
    smoothed = _Smoothed(task)
    v = best = np.zeros(task.train.d + 1) if start is None else start
    least, lower, spent = value(v), -np.inf, 0
    trail = [np.inf] * _PATIENCE
    while spent < rounds:
        spent += 1
        try:
            v, below = smoothed.minimise(v)
        except (InputError, SolverFailed):  # a projection failed: the vectors found so far still bound
            break
        here = value(v)
        lower = max(lower, below)
        if here < least:
            best, least = v, here
        trail.append(least)
        stalled = task.ball is not None and trail[-1 - _PATIENCE] - least <= tol / 10 * abs(least)
        if least - lower <= tol * abs(least) or not np.isfinite(here) or stalled:
            break
        smoothed.recentre(v)
    return Comparator(best, least, lower, spent)


@dataclass
class _Centres:
    """Where the proximal terms are zero: multipliers of clean rows, weights of the pieces, a row for each piece."""

    multipliers: Array
    weights: Array
    rows: list[Array] = field(default_factory=list)


class _Smoothed:
    """The smoothed program around its centres."""

    def __init__(self, task: SaddleTask) -> None:
        self.task = task
        self.share = task.train.weight / task.train.total
        self.kinked = task.loss.kink is not None
        self.oracles = {label: Oracle(task.sets[label]) for label in task.sets}
        rows = [self.oracles[int(piece.label)].project(_mean(task.train, piece.label)) for piece in task.pieces]
        weights = np.full(len(rows), task.epsilon / len(rows))
        self.centres = _Centres(self.share / 2, weights, rows)
        self.sharp = 3.0 * self.share
        self.flat = 30.0 * task.epsilon
        size = max(1e-3, *(self._extent(piece, row) for piece, row in zip(task.pieces, rows, strict=True)))
        self.mu = 0.1 / size**2

    def _extent(self, piece: Piece, row: Array) -> float:
        """How far the set reaches from a row, along some directions."""
        oracle, found = self.oracles[int(piece.label)], 0.0
        for target in (_mean(self.task.train, -piece.label), np.zeros(row.size)):
            away = row - target
            length = float(np.linalg.norm(away))
            if length > 0:
                found = max(found, float(np.linalg.norm(oracle.project(row + away * (10 + 10 / length)) - row)))
        return min(found, 100.0 + 10 * float(np.linalg.norm(row)))

    def minimise(self, start: Array) -> tuple[Array, float]:
        """A minimiser near `start`, and a number below the minimum of the program."""
        found = minimize(
            self.value, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "ftol": 1e-15, "gtol": 1e-10}
        )
        value, slope = self.value(found.x)
        if self.task.ball is not None:
            return found.x, -np.inf
        free = self.task.penalty == 0
        gap = float(np.sum(slope[~free] ** 2 / self.task.penalty[~free])) / 2
        # a free intercept: the minimiser is looked for within this distance
        return found.x, value - gap - float(np.abs(slope[free]).sum()) * (1 + 2 * float(np.abs(found.x[free]).sum()))

    def recentre(self, v: Array) -> None:
        """Move the centres to the maximisers at v."""
        _, _, self.centres.multipliers = self._clean(v)
        rows, _, weights, _ = self._poison(v)
        self.centres.rows, self.centres.weights = rows, weights

    def value(self, v: Array) -> tuple[float, Array]:
        """The smoothed program and its gradient."""
        value, slope, _ = self._clean(v)
        rows, slopes, weights, poison = self._poison(v)
        penalty, pull = self.task.penalise(v)
        slope = slope + pull
        for piece, row, steep, weight in zip(self.task.pieces, rows, slopes, weights, strict=True):
            slope += (-weight * steep * piece.side * piece.label) * np.append(row, 1.0)
        if not self.task.fit_intercept:
            slope[-1] = 0.0
        return value + poison + penalty, slope

    def _clean(self, v: Array) -> tuple[float, Array, Array]:
        train, loss = self.task.train, self.task.loss
        margins = train.y * (train.X @ v[:-1] + v[-1])
        if self.kinked:
            excess = 1.0 - margins
            pull = np.clip(self.centres.multipliers + self.sharp * excess, 0.0, self.share)
            moved = pull - self.centres.multipliers
            some = self.sharp > 0
            value = float(pull @ excess) - float(np.sum(moved[some] ** 2 / self.sharp[some])) / 2
        else:
            pull = -self.share * loss.derivative(margins)
            value = float(self.share @ loss.value(margins))
        towards = -pull * train.y
        return value, np.append(train.X.T @ towards, towards.sum()), pull

    def _poison(self, v: Array) -> tuple[list[Array], Array, Array, float]:
        """Row, slope and weight of each piece, and their value."""
        task, centres = self.task, self.centres
        rows, values, slopes = [], np.zeros(len(task.pieces)), np.zeros(len(task.pieces))
        if task.epsilon == 0:
            return centres.rows, slopes, values, 0.0
        for k, (piece, center) in enumerate(zip(task.pieces, centres.rows, strict=True)):
            w = -piece.side * piece.label * v
            row = self.oracles[int(piece.label)].project(center + w[:-1] / self.mu)
            reach = float(w[:-1] @ row + w[-1]) - self.mu / 2 * float(np.sum((row - center) ** 2))
            value, slope = piece.curve(np.array(reach))
            rows.append(row)
            values[k], slopes[k] = float(value), float(slope)
        weights = _capped(centres.weights + self.flat * values, task.epsilon)
        total = float(weights @ values) - float(np.sum((weights - centres.weights) ** 2)) / (2 * self.flat)
        return rows, slopes, weights, total


def nearest(point: Array, center: Array, radius: float) -> Array:
    """The point of a ball nearest to another."""
    away = point - center
    length = float(np.linalg.norm(away))
    return point if length <= radius else np.asarray(center + away * (radius / length))


def _mean(train: Dataset, label: float) -> Array:
    share = np.where(train.y == label, train.weight, 0.0)
    return np.asarray(train.X.T @ share) / share.sum()


def _capped(point: Array, cap: float) -> Array:
    """The nearest point of ``{w >= 0, sum(w) <= cap}``."""
    inside = point.clip(min=0)
    if inside.sum() <= cap:
        return np.asarray(inside)
    if not np.isfinite(inside.sum()):
        raise SolverFailed("expected finite losses of the worst rows, got an overflow.")
    ordered = np.sort(point)[::-1]
    excess = (np.cumsum(ordered) - cap) / np.arange(1, ordered.size + 1)
    levels = excess[ordered > excess]
    if not levels.size:  # so great that the cap is lost in their rounding
        return np.where(np.arange(point.size) == np.argmax(point), cap, 0.0)
    return np.asarray((point - levels[-1]).clip(min=0))
