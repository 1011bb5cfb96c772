"""The small program over cuts that a bundle method solves in every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...core.errors import SolverFailed
from ...core.validation import Array

Index = NDArray[np.intp]


class MasterSolution(NamedTuple):
    """Minimiser of the model of cuts.

    Attributes
    ----------
    theta : ndarray, shape (k, d + 1)
    weights : ndarray
        One dual weight for each cut.
    lower : float
        A lower bound on the minimum: the value of the dual at `weights` (primal value with free intercepts).
    """

    theta: Array
    weights: Array
    lower: float


@dataclass
class Master:
    """``min_theta (reg / 2) |theta|^2 + sum_g mass_g max(0, max_{i in g} <G_i, theta> + c_i)`` over groups of cuts.

    Solved in its dual, a quadratic program in one weight for each cut::

        max_a  c . a - |sum_i a_i G_i|^2 / (2 reg),    a >= 0,   sum_{i in g} a_i <= mass_g

    with ``sum_i a_i G_i = 0`` in the intercepts where they are free.

    Parameters
    ----------
    shape : (int, int)
        Of theta, ``(k, d + 1)``.
    reg : float
    penalize_intercept : bool
    masses : ndarray
        One for each group.
    patience : int
        Cuts without weight for so many solves are dropped.
    """

    shape: tuple[int, int]
    reg: float
    penalize_intercept: bool
    masses: Array
    patience: int = 6
    cuts: Array = field(init=False)
    constants: Array = field(init=False)
    groups: Index = field(init=False)
    tags: list[Any] = field(init=False, default_factory=list)
    _idle: Index = field(init=False)
    _gram: Array = field(init=False)

    def __post_init__(self) -> None:
        k, wide = self.shape
        self.cuts, self.constants = np.zeros((0, k * wide)), np.zeros(0)
        self.groups, self._idle = np.zeros(0, np.intp), np.zeros(0, np.intp)
        self._gram = np.zeros((0, 0))

    def add(self, cuts: Array, constants: Array, groups: Any, tags: list[Any]) -> None:
        """Add cuts, shape (m, k, d + 1), to their groups; a tag stays with its cut."""
        flat = cuts.reshape(cuts.shape[0], -1)
        cross = self._penalised(flat) @ np.vstack([self.cuts, flat]).T
        old, size = self.constants.size, self.constants.size + flat.shape[0]
        gram = np.zeros((size, size))
        gram[:old, :old], gram[old:], gram[:old, old:] = self._gram, cross, cross[:, :old].T
        self._gram, self.cuts = gram, np.vstack([self.cuts, flat])
        self.constants = np.append(self.constants, constants)
        self.groups = np.append(self.groups, np.asarray(groups, dtype=np.intp))
        self._idle = np.append(self._idle, np.zeros(flat.shape[0], np.intp))
        self.tags = self.tags + tags

    def solve(self) -> MasterSolution:
        """The minimiser of the cuts so far; drops what has been idle for long."""
        weights, multipliers = self._dual()
        combined = (weights @ self.cuts).reshape(self.shape)
        theta = -combined / self.reg
        lower = float(self.constants @ weights) - float(weights @ self._gram @ weights) / (2 * self.reg)
        if not self.penalize_intercept:
            theta[:, -1] = multipliers
        return MasterSolution(theta, weights, lower)

    def prune(self, weights: Array) -> None:
        """Forget cuts that have had no weight in the last solves."""
        self._idle = np.where(weights > 1e-9 * self.masses.max(), 0, self._idle + 1)
        keep = np.flatnonzero(self._idle < self.patience)
        self.cuts, self.constants, self.groups = self.cuts[keep], self.constants[keep], self.groups[keep]
        self._idle, self._gram = self._idle[keep], self._gram[np.ix_(keep, keep)]
        self.tags = [self.tags[index] for index in keep]

    def _penalised(self, flat: Array) -> Array:
        if self.penalize_intercept:
            return flat
        masked = flat.reshape(-1, *self.shape).copy()
        masked[:, :, -1] = 0.0
        return masked.reshape(flat.shape)

    def _dual(self) -> tuple[Array, Array]:
        import clarabel

        size = self.constants.size
        quadratic = self._gram / self.reg
        quadratic = quadratic + 1e-12 * (np.trace(quadratic) / size) * np.eye(size)
        budget = (self.groups[None, :] == np.arange(self.masses.size)[:, None]).astype(float)
        balance = self._balance()
        rows = sp.csc_matrix(np.vstack([balance, budget, -np.eye(size)]))
        right = np.concatenate([np.zeros(balance.shape[0]), self.masses, np.zeros(size)])
        cones = [clarabel.NonnegativeConeT(self.masses.size + size)]
        if balance.size:
            cones.insert(0, clarabel.ZeroConeT(balance.shape[0]))
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        outcome = clarabel.DefaultSolver(
            sp.csc_matrix(np.triu(quadratic)), -self.constants, rows, right, cones, settings
        ).solve()
        if str(outcome.status) not in ("Solved", "AlmostSolved"):
            raise SolverFailed(f"the program over {size} cuts ended as {outcome.status}")
        weights = self._within(np.maximum(np.array(outcome.x), 0.0))
        free = np.zeros(self.shape[0])
        if balance.size:
            free[:-1] = -np.array(outcome.z)[: balance.shape[0]]
        return weights, free

    def _balance(self) -> Array:
        """Sums of the intercept parts; those of the last class follow from the others."""
        if self.penalize_intercept:
            return np.zeros((0, self.constants.size))
        return self.cuts.reshape(-1, *self.shape)[:, :-1, -1].T

    def _within(self, weights: Array) -> Array:
        """Scale groups that the solver overfilled by rounding back to their mass."""
        totals = np.bincount(self.groups, weights, self.masses.size)
        return weights * np.minimum(1.0, self.masses / np.maximum(totals, 1e-300))[self.groups]
