"""What a given model asks of the poison: its condition of optimality, and the groups that poison falls into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import lsq_linear

from ...core.dataset import Dataset
from ...core.errors import InputError
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.validation import LABELS, Array, check_number
from ...losses import Problem
from ...optimality.stationarity import Stationarity
from ...sets import ByLabel, FeasibleSet
from ..clean.rows import lengths
from ..rounding import gamma

KINK = 1e-9
"""Rows at least this near to a kink always count as on it."""

LARGEST_SCORE = 1e15
"""Of a model on clean rows: beside it, 1 is lost to rounding."""


class Group(NamedTuple):
    """Poison of one class on one branch of the loss: the side is -1 where the loss increases."""

    label: float
    side: float

    @property
    def sign(self) -> float:
        """The sign with which the group's ``(u, w)`` enters the condition."""
        return self.label * self.side


@dataclass(frozen=True, eq=False)
class BudgetTarget:
    """A model that an attacker wants learned, and where poison may lie.

    ::

        g + A a + (c0 + e c1) = sum_k s_k (u_k, w_k),    a in [0, 1],
        (u_k, w_k) in cone(F_k x {1}),  sum_k w_k rho(m_k) <= e,   m_k w_k = y_k (u_k, w_k) . v0

    where ``v0`` is the model with its intercept, ``rho = 1 / |phi'|`` and the rest as in `Stationarity`.

    Parameters
    ----------
    condition : Stationarity
    sets : ByLabel
    asked : float
        The tolerance at the kink that was asked for; that of `condition` is what rounding makes of it.

    Raises
    ------
    CapabilityError
        If the loss does not state its `pull_constraints`.
    InputError
        If the parts do not fit each other.
    """

    condition: Stationarity
    sets: ByLabel
    asked: float = 1e-3

    def __post_init__(self) -> None:
        problem, train, model = self.condition.problem, self.condition.train, self.condition.decoy
        problem.loss.require("pull_constraints")
        for what, d in (("a model", model.d), ("sets", self.sets.d)):
            if d != train.d:
                raise InputError(f"{what} of {train.d} features", f"{d}")
        if not problem.fit_intercept and model.intercept != 0:
            raise InputError("a model without intercept", f"{model.intercept:g}", "The problem fits none.")

    @classmethod
    def of(
        cls, train: Dataset, problem: Problem, sets: ByLabel, model: LinearModel, kink_tolerance: float
    ) -> BudgetTarget:
        """The target of a model."""
        tolerance = check_number(kink_tolerance, "kink_tolerance", at_least=0)
        with np.errstate(over="ignore", invalid="ignore"):
            blur = float(_blur(train, model).max(initial=0.0)) if np.isfinite(model.vector).all() else 0.0
            target = cls(Stationarity(train, problem, model, max(tolerance, KINK) + blur), sets, tolerance)
            largest = float(np.abs(model.margins(train)).max())
        if not largest <= LARGEST_SCORE:
            raise InputError(
                f"a target model whose scores of the clean rows are at most {LARGEST_SCORE:g} in size", f"{largest:.3g}"
            )
        return target

    @property
    def problem(self) -> Problem:
        """The learning problem."""
        return self.condition.problem

    @cached_property
    def rounding(self) -> float:
        """No less than the length of what rounding does to ``g`` and to ``A a``.

        A sum of n terms errs by ``gamma_n`` of their magnitudes, of which each is at most ``q_i |phi'_i| |(x_i, 1)|``,
        and the slope of a smooth loss by its smoothness times what the margin errs by. On the kink the slope is free.
        """
        train, model, loss = self.condition.train, self.condition.decoy, self.problem.loss
        length = lengths(train.X, 1.0)
        slope = np.where(self.condition.on_kink, 1.0, np.abs(loss.derivative(model.margins(train))))
        bend = loss.smoothness if np.isfinite(loss.smoothness) else 0.0
        each = gamma(train.n + 16) * slope + bend * _blur(train, model)
        return float(train.weight @ (length * each)) / train.total * (1 + 1e-9)

    @cached_property
    def multipliers(self) -> Array:
        """Of the clean rows on the kink: those with which the model misses optimality by least, without poison."""
        matrix = self.condition.kink_matrix
        if not matrix.shape[1]:
            return np.zeros(0)
        rest = self.condition.constant + self.condition.penalty[0]
        used = slice(None) if self.problem.fit_intercept else slice(-1)
        size = float(np.abs(matrix.data).max(initial=0.0)) or 1.0
        found = lsq_linear(matrix[used] / size, -rest[used] / size, (0, 1), lsq_solver="lsmr", max_iter=50)
        return np.clip(np.asarray(found.x, dtype=np.float64), 0.0, 1.0)

    def missed(self, multipliers: Array) -> float:
        """What is left of the condition without poison, relative to its terms."""
        if multipliers.shape != (int(self.condition.on_kink.sum()),):
            return float("nan")
        left = self.condition.residual({}, 0.0, multipliers)
        return float(np.linalg.norm(left)) / max(self.condition.size, 1e-300)

    @cached_property
    def vector(self) -> Array:
        """``v0``, shape (d + 1,)."""
        return self.condition.decoy.vector

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Two groups, or four for a loss that increases again."""
        return tuple(Group(label, side) for side in self.problem.loss.sides for label in LABELS)

    @property
    def padded(self) -> bool:
        """Whether poison may have no pull and still count: it strengthens the regulariser under mean scaling."""
        return self.problem.scaling == "mean"

    def feasible(self, group: Group) -> FeasibleSet:
        """Where the points of a group lie."""
        return self.sets[int(group.label)]

    def pulls(self, poison: Poison) -> Array:
        """``-phi'`` at each poison row, negative where the loss increases, one at the kink of the hinge."""
        margins = poison.y * self.condition.decoy.decision_function(poison.X)
        if self.problem.loss.kink is not None:
            return np.asarray(margins <= self.problem.loss.kink + 1e-6, dtype=np.float64)
        return np.asarray(-self.problem.loss.derivative(margins))

    def residual(self, poison: Poison, multipliers: Array) -> Array:
        """What is left of the condition with this poison, from the rows themselves; shape (d + 1,)."""
        condition = self.condition
        weight = poison.count * poison.y * self.pulls(poison) / condition.train.total
        mass = poison.total / condition.train.total
        value = condition.residual({}, mass, multipliers)
        value[:-1] -= np.asarray(poison.X.T @ weight).ravel()
        value[-1] -= weight.sum() * self.problem.fit_intercept
        return np.asarray(value)


def _blur(train: Dataset, model: LinearModel) -> Array:
    """No less than what rounding does to the margin of each clean row, shape (n,)."""
    return gamma(train.d + 4) * float(np.linalg.norm(model.vector)) * lengths(train.X, 1.0)


class Answer(NamedTuple):
    """What a method returns: the budget that it reached, the poison, and the proof that less will not do.

    Parameters
    ----------
    epsilon : float
        Infinite if no poison will do.
    poison : Poison or None
    multipliers : ndarray
        Of the clean rows on the kink.
    proof : Proof
    slack : float
        Part of the budget that no point of `poison` uses.
    status : str
    """

    epsilon: float
    poison: Poison | None
    multipliers: Array
    proof: Any
    slack: float
    status: str
