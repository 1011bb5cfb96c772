"""The two halves of the min-max program as smooth functions: clean rows and worst poison rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import Array, Dataset, LinearModel, Poison, SolveInfo
from ..losses import Problem


@dataclass(frozen=True, eq=False)
class Piece:
    """Value, slope and curvature of one half as a function of its row values."""

    value: float
    slope: Array
    curvature: Array


class CleanPart:
    """``(1/N) sum_i c_i phi(m_i)``, made smooth around a kink by multipliers.

    A loss without a kink is itself. For the hinge it is

        sum_i max_{0 <= a <= c_i/N} a (1 - m_i) - (a - a_i)^2 / (2 sigma),

    which at the right multipliers ``a_i`` has the minimiser of the hinge loss for every ``sigma``.

    Parameters
    ----------
    problem : Problem
        Its class weights are among the ``c_i``, but not in N.
    """

    def __init__(self, data: Dataset, problem: Problem) -> None:
        self.data, self.loss = data, problem.loss
        self.share = data.weight * problem.weights_of(data.y) / data.total
        self.multiplier = np.zeros(data.n)

    @property
    def smooth(self) -> bool:
        """Whether no multipliers are needed."""
        return self.loss.kink is None

    def margins(self, v: Array) -> Array:
        """Margins under the model ``v = (coef, intercept)``."""
        return np.asarray(self.data.y * (self.data.X @ v[:-1] + v[-1]))

    def pull(self, slope: Array) -> Array:
        """Gradient in v for slopes in the margins."""
        weighted = slope * self.data.y
        return np.append(self.data.X.T @ weighted, weighted.sum())

    def risk(self, margins: Array) -> float:
        """The clean loss itself."""
        return float(self.share @ self.loss.value(margins))

    def piece(self, margins: Array, sigma: float) -> Piece:
        """The smoothed clean loss."""
        if self.smooth:
            return Piece(
                self.risk(margins),
                self.share * self.loss.derivative(margins),
                self.share * self.loss.second_derivative(margins),
            )
        excess = 1.0 - margins
        moved = self.multiplier + sigma * excess
        new = np.clip(moved, 0.0, self.share)
        value = float(new @ excess - np.sum((new - self.multiplier) ** 2) / (2 * sigma))
        return Piece(value, -new, np.where((moved > 0) & (moved < self.share), sigma, 0.0))

    def cut(self, margins: Array, v: Array, sigma: float) -> tuple[Array, float]:
        """Gradient and offset of a linear function of v below the clean loss; moves the multipliers."""
        piece = self.piece(margins, sigma)
        gradient = self.pull(piece.slope)
        if self.smooth:
            return gradient, piece.value - float(gradient @ v)
        self.multiplier = -piece.slope
        return gradient, float(self.multiplier.sum())


class PoisonPart:
    """``epsilon max(0, max_j l_j(v))`` over linear cuts ``l_j`` of the losses of worst rows.

    Parameters
    ----------
    idle : int
        A row that has had no weight for so many updates is dropped.
    """

    def __init__(self, d: int, epsilon: float, *, idle: int = 15) -> None:
        self.epsilon, self.idle = epsilon, idle
        self.gradients = np.zeros((0, d + 1))
        self.gram = np.zeros((0, 0))
        self.offsets = np.zeros(0)
        self.rows = np.zeros((0, d))
        self.labels = np.zeros(0)
        self.weights = np.zeros(0)
        self.age = np.zeros(0, dtype=int)

    def add(self, row: Array, label: float, slope: float, offset: float) -> None:
        """One more worst row, whose loss is at least ``offset + slope * margin``."""
        gradient = slope * label * np.append(row, 1.0)
        self.gradients = np.vstack([self.gradients, gradient])
        cross = self.gradients[:, :-1] @ gradient[:-1]
        self.gram = np.block([[self.gram, cross[:-1, None]], [cross[None, :]]])
        self.rows = np.vstack([self.rows, row])
        for name, value in (("offsets", offset), ("labels", label), ("weights", 0.0), ("age", 0)):
            setattr(self, name, np.append(getattr(self, name), value))

    def values(self, v: Array) -> Array:
        """The cuts at v."""
        return np.asarray(self.gradients @ v + self.offsets)

    def slope(self, values: Array, change: Array) -> float:
        """Slope of the half to the left, where the cuts have `values` and change at the rates `change`."""
        top = max(float(values.max()), 0.0)
        near = values >= top - 1e-8 * (1 + top)
        least = float(change[near].min(initial=np.inf))
        return self.epsilon * (min(least, 0.0) if top <= 1e-8 else least)

    def cut(self) -> tuple[Array, float]:
        """Gradient and offset of the linear function below the half that the weights name."""
        return np.asarray(self.weights @ self.gradients), float(self.weights @ self.offsets)

    def drop_idle(self) -> None:
        """Drop rows that have had no weight for long."""
        self.age = np.where(self.weights > 0, 0, self.age + 1)
        kept = self.age <= self.idle
        if not kept.all():
            self.gram = self.gram[np.ix_(kept, kept)]
            for name in ("gradients", "offsets", "rows", "labels", "weights", "age"):
                setattr(self, name, getattr(self, name)[kept])


@dataclass(frozen=True, eq=False)
class Saddle:
    """A solution of the min-max program.

    Parameters
    ----------
    model : LinearModel
        The learner's best answer found: its objective against the worst poison is `upper`.
    poison : Poison
        Relaxed: the worst rows with their weights, which add up to the budget in rows.
    upper, lower : float
        Bounds of the value of the program: what no poison in the sets can exceed after retraining, and
        what the relaxed poison attains at least. In units of the defender's objective, a mean over
        clean and poison rows.
    history : tuple of (float, float)
        (upper, lower) after each round.
    """

    model: LinearModel
    poison: Poison
    upper: float
    lower: float
    history: tuple[tuple[float, float], ...]
    info: SolveInfo

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``."""
        return (self.upper - self.lower) / max(self.upper, 1e-300)
