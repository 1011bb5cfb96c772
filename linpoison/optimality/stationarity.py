"""The optimality condition of a decoy, and what a program that fulfils it as well as possible returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, LinearModel, Poison, SolveInfo
from ..losses import Problem

VANISHING = 1e-5
"""A residual this small, relative to the gradients it is the sum of, counts as zero."""


@dataclass(frozen=True, eq=False)
class Stationarity:
    """The optimality condition of a decoy on clean rows and poison of mass `e`, per clean row.

    ::

        r(e, a, u) = g + A a + c(e) * (theta, b) - sum_y y (u_y, w_y),    a in [0, 1]

    where poison of mass ``e_y`` pulls with ``w_y = w(y) integral |phi'|``, its class weight included,
    `g` is the gradient of the clean rows off the kink, ``A a`` that of the rows on the kink
    with free multipliers `a` (the exact subdifferential at the margin), ``c(e)`` the regulariser's
    weight: ``(1 + e) reg`` under mean scaling, ``reg`` at the clean size under sum scaling. The
    decoy is optimal on clean and poison iff ``r = 0`` for some `a`; the last entry is the
    condition of the intercept.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    decoy : LinearModel
    kink_tolerance : float
        Rows whose margin is this close to the loss's kink count as on it. A learner stops with
        its support vectors only about this near to the margin.
    """

    train: Dataset
    problem: Problem
    decoy: LinearModel
    kink_tolerance: float = 1e-3

    @cached_property
    def on_kink(self) -> np.ndarray:
        """Mask of the clean rows on the kink, shape (n,)."""
        if self.problem.loss.kink is None:
            return np.zeros(self.train.n, dtype=bool)
        return np.abs(self.decoy.margins(self.train) - self.problem.loss.kink) <= self.kink_tolerance

    @cached_property
    def constant(self) -> Array:
        """``g``, shape (d + 1,)."""
        margins = self.decoy.margins(self.train)
        pull = np.where(self.on_kink, 0.0, self.problem.loss.derivative(margins))
        pull = pull * self.train.y * self._shares(self.train)
        return np.append(np.asarray(self.train.X.T @ pull).ravel(), pull.sum())

    @cached_property
    def kink_matrix(self) -> sp.csc_array:
        """``A``, shape (d + 1, number of rows on the kink)."""
        rows = self.train.take(self.on_kink)
        scale = -rows.y * self._shares(rows)
        X = sp.csr_array(rows.X)
        return sp.csc_array(sp.vstack([X.multiply(scale[:, None]).T, sp.csr_array(scale[None, :])]))

    @cached_property
    def penalty(self) -> tuple[Array, Array]:
        """``(c0, c1)`` with ``c(e) (theta, b) = c0 + e c1``."""
        vector = self.problem.penalty_mask(self.train.d) * self.decoy.vector
        c0 = self.problem.pinned(self.train.total).reg * vector
        return c0, (c0 if self.problem.scaling == "mean" else np.zeros_like(c0))

    def _shares(self, rows: Dataset) -> Array:
        """What each row weighs in the mean, its class weight included."""
        return np.asarray(rows.weight * self.problem.weights_of(rows.y) / self.train.total)

    @property
    def size(self) -> float:
        """``|g| + |c(0) (theta, b)|``, a yardstick for residuals."""
        return float(np.linalg.norm(self.constant) + np.linalg.norm(self.penalty[0]))

    def residual(self, pulls: dict[float, tuple[float, Array]], mass: float, multipliers: Array) -> Array:
        """``r`` for given ``{y: (w_y, u_y)}``, shape (d + 1,); zero in the last entry without an intercept."""
        c0, c1 = self.penalty
        value = self.constant + self.kink_matrix @ multipliers + c0 + mass * c1
        for label, (weight, point) in pulls.items():
            value = value - label * np.append(point, weight)
        if not self.problem.fit_intercept:
            value[-1] = 0.0
        return np.asarray(value)


@dataclass(frozen=True, eq=False)
class KKTSolution:
    """The relaxed poison that makes a decoy as nearly optimal as the budget allows.

    Parameters
    ----------
    poison : Poison
        At most one row of each class; `count` in rows (``n`` times the mass of the class).
    residual : ndarray of shape (d + 1,)
        Recomputed in numpy.
    violation : float
        Largest violation of the feasible sets by a row of at least half a copy, recomputed in numpy.
    multipliers : ndarray
        Subgradient multipliers of the clean rows on the kink, in [0, 1].
    info : SolveInfo
    gap : float
        Relative duality gap: no relaxed poison has a residual below ``(1 - gap) residual_norm``. NaN
        where the solver proved no bound of its own.
    """

    poison: Poison
    residual: Array
    violation: float
    multipliers: Array
    info: SolveInfo
    gap: float = float("nan")

    @property
    def residual_norm(self) -> float:
        """``|r|``, the attack's objective."""
        return float(np.linalg.norm(self.residual))
