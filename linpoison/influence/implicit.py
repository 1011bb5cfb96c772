"""The derivative of an argmin: how learned parameters, and a target that depends on them, move with training rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from ..core import LABELS, Array, CapabilityError, Dataset, InputError, LinearModel, Poison, SolverFailed, check_number
from ..learners.hessian import Hessian, squared_lengths, without_light_rows
from ..losses import MarginLoss, Problem
from ..risk.implicit import in_rows
from ..risk.linear_risk import LinearRisk
from ..risk.samples import Sample
from ..risk.score_losses import BandScores, MarginScores


class Target(ABC):
    """``T(theta, b) = sum_i c_i h(m_i) / sum_i c_i`` with the margins ``m_i`` of some rows.

    Attributes
    ----------
    rows : Dataset
    """

    rows: Dataset

    @abstractmethod
    def _values(self, margins: Array) -> Array:
        """``h(m)``."""

    @abstractmethod
    def _slopes(self, margins: Array) -> Array:
        """``h'(m)``."""

    def value(self, model: LinearModel) -> float:
        """``T`` at a model."""
        return float(np.average(self._values(model.margins(self.rows)), weights=self.rows.weight))

    def gradient(self, model: LinearModel) -> Array:
        """Gradient of ``T`` in ``(theta, b)``, shape (d + 1,)."""
        rows = self.rows
        pull = rows.weight * rows.y * self._slopes(model.margins(rows)) / rows.total
        return np.append(np.asarray(rows.X.T @ pull).ravel(), pull.sum())


@dataclass(frozen=True, eq=False)
class MeanLoss(Target):
    """The mean loss on `rows`, ``h = phi``: what the influence attack of Koh et al. raises.

    Parameters
    ----------
    rows : Dataset
    loss : MarginLoss
        With a derivative everywhere.
    """

    rows: Dataset
    loss: MarginLoss

    def __post_init__(self) -> None:
        if self.loss.kink is not None:
            raise InputError("a loss without a kink", repr(self.loss), "Use SmoothHinge in place of Hinge.")

    def _values(self, margins: Array) -> Array:
        return self.loss.value(margins)

    def _slopes(self, margins: Array) -> Array:
        return self.loss.derivative(margins)


@dataclass(frozen=True, eq=False)
class SoftError(Target):
    """A smooth stand-in for the share of misclassified `rows`, ``h(m) = 1 / (1 + exp(m / temperature))``.

    Parameters
    ----------
    rows : Dataset
    temperature : float, default 0.2
        Towards zero the share itself.

    Examples
    --------
    >>> rows = Dataset([[1.0], [-1.0]], [1, -1])
    >>> SoftError(rows, 0.1).value(LinearModel([-1.0])).__round__(3)
    1.0
    """

    rows: Dataset
    temperature: float = 0.2

    def __post_init__(self) -> None:
        check_number(self.temperature, "temperature", above=0)

    def _values(self, margins: Array) -> Array:
        return np.asarray(expit(-margins / self.temperature))

    def _slopes(self, margins: Array) -> Array:
        share = self._values(margins)
        return -share * (1.0 - share) / self.temperature


@dataclass(frozen=True, eq=False)
class ImplicitGradient:
    """Derivatives of a function of the learned parameters in the rows and weights they were learned from.

    With ``z = (theta, b)``, the pulls ``g_i = w(y_i) y_i phi'(m_i) (x_i, 1)``, ``P`` the mask of the penalised
    entries, ``w`` the class weights (1 without) and ``N = sum_i c_i``, the learned ``z`` solves

    ::

        F(z) = reg_N P z + (1 / N) sum_i c_i g_i = 0,     H = dF / dz
             = reg_N P + (1 / N) sum_i c_i w(y_i) phi''(m_i) (x_i, 1)(x_i, 1)'

    so that for a function T of ``z`` with gradient ``v``, and ``s = H^(-1) v``,

    ::

        dT / dx_j = -(c_j w(y_j) / N) (phi''(m_j) ((x_j, 1) . s) theta + y_j phi'(m_j) s_theta)
        dT / dc_j = -(1 / N) (g_j + reg_N P z) . s      scaling "mean": N itself grows with c_j
        dT / dc_j = -(1 / N) g_j . s                    scaling "sum": reg_N N is fixed

    Balanced class weights ``w(y) = N / (2 N_y)`` move with ``c_j``: ``g_j`` becomes its difference from the mean pull
    of its class, and ``reg_N P z`` is taken off once more.

    Parameters
    ----------
    problem : Problem
    data : Dataset
        All training rows, poison included.
    model : LinearModel
        The minimiser on `data`.
    band : float, optional
        Only for a loss with a kink, and needed there. The hinge is read as its mean over margins
        within `band`: rows with ``|m - 1| < band`` are active, with curvature ``1 / (2 band)`` and a
        pull between 0 and 1; the others have none or all of it. With `model` the exact minimiser
        of the hinge this is an approximation: true derivatives are piecewise, and change where
        rows enter or leave the margin.
    tol : float, default 1e-12
        How much of the Hessian may be left out, relative to its least eigenvalue, by rows of next
        to no curvature; also the tolerance of conjugate gradients.

    Raises
    ------
    CapabilityError
        For a loss with a kink and no `band`, or the reverse.

    References
    ----------
    Koh, Steinhardt, Liang, section 4.1, equations (10)-(12), which leave out the factor
    ``c_j / N`` and the derivative in ``c_j``.

    Examples
    --------
    >>> from linpoison.learners import make_learner
    >>> from linpoison.losses import Squared
    >>> data = Dataset([[-1.0], [1.0]], [-1, 1])
    >>> problem = Problem(Squared(), reg=1.0)
    >>> implicit = ImplicitGradient(problem, data, make_learner(problem).fit(data))
    >>> implicit.solve(np.array([1.0, 0.0])).round(6) + 0.0
    array([0.5, 0. ])
    """

    problem: Problem
    data: Dataset
    model: LinearModel
    band: float | None = None
    tol: float = 1e-12

    def __post_init__(self) -> None:
        kink = self.problem.loss.kink is not None
        if kink and self.band is None:
            raise CapabilityError(
                "a loss with two derivatives, or a band", repr(self.problem.loss), "Use SmoothHinge, or give `band`."
            )
        if not kink and self.band is not None:
            raise CapabilityError("no band with a smooth loss", f"{self.problem.loss!r} and a band", "Leave it out.")
        if self.band is not None:
            check_number(self.band, "band", above=0)
        check_number(self.tol, "tol", above=0, below=1)
        if self.model.d != self.data.d:
            raise InputError(f"a model of {self.data.d} coefficients", f"{self.model.d} coefficients")

    def solve(self, v: Array) -> Array:
        """``H^(-1) v``, shape (d + 1,); the entry of an intercept that is not fitted is zero.

        Raises
        ------
        InputError
            If H is singular: a free intercept that no row pins.
        SolverFailed
            If conjugate gradients miss `tol` by far.
        """
        vector = np.asarray(v, dtype=np.float64)
        if vector.shape != (self.data.d + 1,):
            raise InputError(f"a gradient of shape ({self.data.d + 1},)", f"shape {vector.shape}")
        if not self._hessian.curvature.size and self._free:
            raise InputError("rows of positive curvature", "none", "Penalise the intercept, or smooth the loss more.")
        answer = self._hessian.solve(vector)
        if self._hessian.stalled and self._hessian.residual(answer, vector) > max(1e3 * self.tol, 1e-6):
            raise SolverFailed("conjugate gradients on the Hessian stopped early. Scale the columns, or raise reg.")
        return answer

    def of_rows(self, v: Array, rows: Dataset | Poison) -> Array:
        """``dT / dx_j`` for the gradient `v` of T in ``(theta, b)``, for rows among those of `data`.

        Returns
        -------
        ndarray of shape (k, d)
            The factor ``c_j / N`` of a row with ``c_j`` copies, all moved at once, is included.
        """
        return self._in_rows(self.solve(v), _as_dataset(rows))

    def _in_rows(self, s: Array, rows: Dataset) -> Array:
        moved = Sample(rows.X, rows.y, rows.weight * self._heaviness(rows))
        return np.asarray(in_rows(self._risk, self.model.vector, moved, s, self.data.total))

    def _in_weights(self, s: Array, rows: Dataset) -> Array:
        """``dT / dc_j``, shape (k,), for one more copy of each row, which dilutes the clean rows: ``N`` grows."""
        pulls = self._pulls(s, rows)
        if self.problem.class_weight == "balanced":
            own = self.data.weight * self._pulls(s, self.data)
            of = [(rows.y == label, self.data.y == label) for label in LABELS]
            pulls = pulls - sum(there * (own[here].sum() / self.data.weight[here].sum()) for there, here in of)
        return -(pulls + self._dilution(s)) / self.data.total

    def _pulls(self, s: Array, rows: Dataset) -> Array:
        """``g_j . s`` of each row."""
        return self._heaviness(rows) * self._risk.loss_jvp(self.model.vector, rows.X, rows.y, s)

    def _dilution(self, s: Array) -> float:
        """``reg P z . s``: what changes in the mean of the pulls as ``N`` grows."""
        grown = float(self.problem.scaling == "mean") - float(self.problem.class_weight == "balanced")
        return grown * float((self._penalty * self.model.vector) @ s)

    @cached_property
    def _penalty(self) -> Array:
        """``reg_N P``."""
        return self.problem.pinned(self.data.total).reg * self.problem.penalty_mask(self.data.d)

    def _heaviness(self, rows: Dataset) -> Array:
        """``w(y)`` of rows, as the data have it."""
        low, high = self.problem.class_weights(self.data)
        return np.where(rows.y > 0, high, low)

    @property
    def _free(self) -> bool:
        return self.problem.fit_intercept and not self.problem.penalize_intercept

    @cached_property
    def _risk(self) -> LinearRisk:
        """The loss with its derivatives; penalty and class weights are of the problem."""
        return LinearRisk(self.problem.loss).read_by(self._link)

    @property
    def _link(self) -> MarginScores:
        loss = self.problem.loss
        return MarginScores(loss) if self.band is None else BandScores(loss, self.band)

    @cached_property
    def _hessian(self) -> Hessian:
        data, problem, penalty = self.data, self.problem, self._penalty
        curvature = self._link.bends(self.model.margins(data)) * data.weight * self._heaviness(data) / data.total
        kept = without_light_rows(curvature, squared_lengths(data.X), self.tol * penalty[0], self.tol)
        return Hessian(data.X, kept, penalty, fit_intercept=problem.fit_intercept, rtol=self.tol)


@dataclass(frozen=True, eq=False)
class PoisonGradient:
    """A target's value at the model that a poison plants, and its gradient in the poison.

    Parameters
    ----------
    value : float
    rows : ndarray of shape (k, d)
        In each distinct row, all of its copies moved at once.
    counts : ndarray of shape (k,)
        In each number of copies.
    """

    value: float
    rows: Array
    counts: Array

    @classmethod
    def at(cls, implicit: ImplicitGradient, poison: Poison | Dataset, target: Target) -> PoisonGradient:
        """The gradient at the model of `implicit`, whose data hold the clean rows and `poison`."""
        s, rows = implicit.solve(target.gradient(implicit.model)), _as_dataset(poison)
        return cls(target.value(implicit.model), implicit._in_rows(s, rows), implicit._in_weights(s, rows))


def _as_dataset(rows: Dataset | Poison) -> Dataset:
    return rows.as_dataset() if isinstance(rows, Poison) else rows
