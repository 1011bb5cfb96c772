"""Poison among given rows: one convex program in their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.validation import Array, Matrix, check_integer, check_number
from ..losses import Problem
from ..optimality.stationarity import Stationarity

ROUNDS = 2000
"""Steps of the accelerated projected gradient at most."""


@dataclass(frozen=True, eq=False)
class RowWeights:
    """How often each row is planted.

    Parameters
    ----------
    poison : Poison
        The rows of positive weight; `count` in rows, not yet whole.
    residual : float
        ``| r |``, per clean row: zero where the decoy is optimal.
    """

    poison: Poison
    residual: float


def weigh_rows(
    decoy: LinearModel, train: Dataset, problem: Problem, rows: Dataset, budget: float, *, tol: float = 1e-4
) -> RowWeights:
    """Weights of given rows that make a decoy as nearly optimal as they can.

    ::

        minimise    | n g + n A a + (n + sum c) reg theta + sum_j c_j grad phi(theta; x_j, y_j) |^2
        subject to  c >= 0,  sum_j c_j <= budget,  0 <= a <= 1

    with the gradient g of the clean rows at the decoy and free multipliers a of those on the kink (`Stationarity`).
    Label flips are one point of this set: at the model that is learned with them their residual is zero.

    Parameters
    ----------
    decoy : LinearModel
    train : Dataset
    problem : Problem
    rows : Dataset
        Candidates with the labels that they would get. Rows that exert no pull at the decoy get no weight.
    budget : float
        Rows.
    tol : float, default 1e-4
        Relative step at which the descent stops, of `ROUNDS` at most.

    Raises
    ------
    InputError
        If no candidate pulls at the decoy.
    """
    check_number(budget, "budget", above=0)
    check_number(tol, "tol", above=0)
    condition = Stationarity(train, problem, decoy)
    kink = condition.kink_tolerance if problem.loss.kink is not None else 0.0
    pull = -np.asarray(problem.loss.derivative(decoy.margins(rows) - kink))
    rows, pull = rows.take(pull > 1e-9), pull[pull > 1e-9]
    if not rows.n:
        raise InputError("candidates that pull at the decoy", "none")
    scale = budget / train.total
    program = _Program(condition, rows, pull, scale)
    point = program.solve(tol)
    weights = point[: rows.n]
    residual = float(np.linalg.norm(program.residual(point)))
    used = weights > 1e-9
    return RowWeights(Poison(rows.X[used], rows.y[used], budget * weights[used]), residual)


class _Program:
    """``| b + B c + v sum(c) + A a |`` with c in the simplex below one and a in the unit box."""

    def __init__(self, condition: Stationarity, rows: Dataset, pull: Array, scale: float) -> None:
        c0, c1 = condition.penalty
        factor = -scale * pull * rows.y
        self.rows, self.factor = _scaled(rows.X, factor), factor
        self.columns = sp.csr_array(self.rows.T) if sp.issparse(self.rows) else self.rows.T
        self.across, self.kinks = condition.kink_matrix, sp.csr_array(condition.kink_matrix.T)
        self.start, self.shift, self.n = condition.constant + c0, scale * c1, rows.n

    def residual(self, point: Array) -> Array:
        """Of the weights and the multipliers, one after the other."""
        weights = point[: self.n]
        moved = np.append(self.columns @ weights, self.factor @ weights) + self.shift * weights.sum()
        return np.asarray(self.start + moved + self.across @ point[self.n :])

    def gradient(self, residual: Array) -> Array:
        """Of half the squared residual."""
        first = self.rows @ residual[:-1] + self.factor * residual[-1] + self.shift @ residual
        return np.concatenate([first, self.kinks @ residual])

    def curvature(self) -> float:
        """The largest, by power iteration, with a tenth on top."""
        point = np.random.default_rng(0).random(self.n + self.kinks.shape[0])
        size = 1.0
        for _ in range(50):
            size = float(np.linalg.norm(point))
            if size == 0:
                return 1.0
            point = self.gradient(self.residual(point / size) - self.start)
        return 1.1 * max(float(np.linalg.norm(point)), np.finfo(float).tiny)

    def solve(self, tol: float) -> Array:
        """Accelerated projected gradient (Beck and Teboulle, 2009)."""
        step = 1 / self.curvature()
        point = ahead = np.zeros(self.n + self.kinks.shape[0])
        pace = 1.0
        for _ in range(ROUNDS):
            new = self._project(ahead - step * self.gradient(self.residual(ahead)))
            next_pace = (1 + np.sqrt(1 + 4 * pace**2)) / 2
            ahead = new + (pace - 1) / next_pace * (new - point)
            moved = float(np.abs(new - point).max())
            point, pace = new, next_pace
            if moved <= tol * max(float(np.abs(point).max()), 1e-3):
                break
        return point

    def _project(self, point: Array) -> Array:
        return np.concatenate([below_simplex(point[: self.n]), np.clip(point[self.n :], 0, 1)])


def _scaled(X: Matrix, factor: Array) -> Matrix:
    return sp.csr_array(sp.diags_array(factor) @ X) if sp.issparse(X) else factor[:, None] * X


def below_simplex(point: Array, total: float = 1.0) -> Array:
    """The nearest point with no negative entries and a sum of at most `total`.

    Examples
    --------
    >>> below_simplex(np.array([0.2, -1.0])), below_simplex(np.array([2.0, 1.5]))
    (array([0.2, 0. ]), array([0.75, 0.25]))
    """
    positive = np.maximum(point, 0)
    if positive.sum() <= total:
        return positive
    order = np.sort(positive)[::-1]
    excess = (np.cumsum(order) - total) / np.arange(1, order.size + 1)
    return np.maximum(positive - excess[np.flatnonzero(order > excess)[-1]], 0)


def at_risk(clean: LinearModel, decoy: LinearModel, rows: Dataset, most: int) -> Dataset:
    """The rows whose margin the decoy lowers most, at most so many: what collateral would fall on."""
    check_integer(most, "most", at_least=0)
    drop = clean.margins(rows) - decoy.margins(rows)
    return rows.take(np.sort(np.argsort(-drop, kind="stable")[:most]))
