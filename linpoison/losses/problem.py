"""The learning problem: one convention, made explicit everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..core import Array, CapabilityError, Dataset, InputError, LinearModel, check_among, check_number
from .base import MarginLoss, check_loss

LEAST_REG = 1e-15
"""Below this, and above its inverse, no solver can tell the penalty from rounding."""


@dataclass(frozen=True)
class Problem:
    """What the defender minimises.

    ::

        theta, b = argmin  (reg_N / 2) |theta|^2 [+ (reg_N / 2) b^2 if penalize_intercept]
                           + (1 / N) sum_i c_i phi(y_i (x_i . theta + b)),     N = sum_i c_i

    Parameters
    ----------
    loss : MarginLoss
    reg : float
        ``lambda > 0``.
    penalize_intercept : bool, default True
        Whether the intercept is regularised like a coefficient. scikit-learn's LinearSVC does so,
        SVC, LogisticRegression and RidgeClassifier do not.
    fit_intercept : bool, default True
        If False the intercept is zero and `penalize_intercept` has no effect.
    scaling : {"mean", "sum"}, default "mean"
        How the regulariser follows the number of rows. ``mean`` (the papers): ``reg_N = reg``.
        ``sum`` (a fixed C of scikit-learn): ``reg_N = reg * n_reference / N``.
    n_reference : float, optional
        The number of rows at which `reg` holds; needed by ``sum``.
    class_weight : tuple of float or "balanced", optional
        Weights of the rows labelled -1 and of those labelled +1, poison included: the sum runs over
        ``c_i w(y_i) phi(...)``, while N still counts ``c_i``. "balanced" is ``w(y) = N / (2 N_y)``, counted afresh in
        each fit, with the poison in. Learners, `value` and `gradient` take class weights; what works on the terms of
        the sum itself takes `weights_of` or `at`, or refuses.
    """

    loss: MarginLoss
    reg: float
    penalize_intercept: bool = True
    fit_intercept: bool = True
    scaling: Literal["mean", "sum"] = "mean"
    n_reference: float | None = None
    class_weight: tuple[float, float] | Literal["balanced"] | None = None

    many_classes: ClassVar[bool] = False
    """Whether labels are codes of k classes, and models score each."""

    def __post_init__(self) -> None:
        self._check_loss()
        object.__setattr__(self, "reg", check_number(self.reg, "reg", at_least=LEAST_REG, at_most=1 / LEAST_REG))
        check_among(self.scaling, "scaling", "mean", "sum")
        for name in ("penalize_intercept", "fit_intercept"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise InputError(f"{name} True or False", repr(getattr(self, name)))
        if self.scaling == "sum" and not self.n_reference:
            raise InputError("n_reference with the scaling 'sum'", "none", "Give the number of rows that reg is for.")
        if self.n_reference is not None:
            object.__setattr__(self, "n_reference", check_number(self.n_reference, "n_reference", above=0))
        if self.class_weight is not None:
            object.__setattr__(self, "class_weight", _class_weight(self.class_weight))

    def _check_loss(self) -> None:
        check_loss(self.loss)

    def reg_at(self, total: float) -> float:
        """``reg_N`` for N = `total` rows; refused under class weights, where a row is not one of N."""
        if self.class_weight is not None:
            raise CapabilityError(
                "a problem without class weights here", f"class_weight={self.class_weight!r}",
                "Write them out as sample weights of the rows (sample_weight=), which every method takes.",
            )  # fmt: skip
        return self._reg_at(total)

    def _reg_at(self, total: float) -> float:
        return self.reg if self.scaling == "mean" else self.reg * float(self.n_reference or 0) / total

    def pinned(self, total: float) -> Problem:
        """The same problem under ``mean`` scaling, with the ``reg`` that holds at `total` rows."""
        return replace(self, reg=self._reg_at(total), scaling="mean", n_reference=None)

    def class_weights(self, data: Dataset) -> tuple[float, float]:
        """``w(-1)`` and ``w(+1)`` on `data`; 1 where there are none."""
        if self.class_weight is None:
            return 1.0, 1.0
        if self.class_weight != "balanced":
            return self.class_weight
        counts = [float(data.weight[data.y == label].sum()) for label in (-1.0, 1.0)]
        if min(counts) <= 0:
            raise InputError("rows of both classes for balanced class weights", "rows of one class")
        return data.total / (2 * counts[0]), data.total / (2 * counts[1])

    def weights_of(self, labels: Any) -> Array:
        """``w(y)`` of each label, for weights that no row moves.

        Raises
        ------
        CapabilityError
            For balanced ones.
        """
        if self.class_weight == "balanced":
            raise CapabilityError(
                "fixed class weights here", "'balanced'", "Give those of the counts with the poison in, as a pair."
            )
        low, high = self.class_weight or (1.0, 1.0)
        return np.where(np.asarray(labels) > 0, high, low)

    def at(self, data: Dataset) -> tuple[Problem, Dataset]:
        """The problem without class weights, and the rows weighted by them, that have the same minimiser on `data`.

        With ``N' = sum_i c_i w(y_i)`` the objective there is that of this problem times ``N / N'``: under ``mean``
        scaling reg becomes ``reg N / N'``, under ``sum`` scaling ``reg_N' = reg n_reference / N'`` is so already.
        """
        if self.class_weight is None:
            return self, data
        low, high = self.class_weights(data)
        weighted = replace(data, weight=data.weight * np.where(data.y > 0, high, low))
        mean = weighted.total / data.total
        reg = self.reg / mean if self.scaling == "mean" else self.reg
        if not LEAST_REG <= reg <= 1 / LEAST_REG:
            raise InputError(
                f"class weights beside which reg {self.reg:g} can be told from zero and from infinity",
                f"{low:g} for -1 and {high:g} for +1, of mean {mean:g}", "Scale both to a mean of about 1.",
            )  # fmt: skip
        return replace(self, reg=reg, class_weight=None), weighted

    def penalty_mask(self, d: int) -> Array:
        """Which entries of ``(theta, b)`` are penalised, as 0 / 1, shape (d + 1,)."""
        mask = np.ones(d + 1)
        mask[-1] = float(self.penalize_intercept and self.fit_intercept)
        return mask

    def value(self, model: LinearModel, data: Dataset) -> float:
        """The objective at `model`."""
        if self.class_weight is not None:
            plain, weighted = self.at(data)
            return plain.value(model, weighted) * weighted.total / data.total
        return self.penalty(model, data.total) + self.mean_loss(model, data)

    def penalty(self, model: LinearModel, total: float = 1.0) -> float:
        """The regulariser at `model` beside `total` rows, reg included."""
        return 0.5 * self.reg_at(total) * float(np.sum(self.penalty_mask(model.d) @ (model.parameters**2).T))

    def losses(self, model: LinearModel, data: Dataset) -> Array:
        """The loss of each row, shape (n,)."""
        return self.loss.value(model.margins(data))

    def mean_loss(self, model: LinearModel, data: Dataset) -> float:
        """The weighted mean of the losses."""
        return float(data.weight @ self.losses(model, data)) / data.total

    def data_gradient(self, model: LinearModel, data: Dataset) -> Array:
        """Gradient of the mean loss alone in ``(theta, b)``, shape (d + 1,)."""
        if self.class_weight is not None:
            plain, weighted = self.at(data)
            return plain.data_gradient(model, weighted) * (weighted.total / data.total)
        pull = data.weight * data.y * self.loss.derivative(model.margins(data)) / data.total
        return np.append(np.asarray(data.X.T @ pull).ravel(), pull.sum())

    def gradient(self, model: LinearModel, data: Dataset) -> Array:
        """Gradient of the objective in ``(theta, b)``, shape (d + 1,).

        Without an intercept the last entry is the pull on an intercept that is held at zero.
        """
        reg = self._reg_at(data.total) * self.penalty_mask(model.d)
        return self.data_gradient(model, data) + reg * model.parameters


def _class_weight(value: Any) -> tuple[float, float] | Literal["balanced"] | None:
    """Class weights as a pair; None if both are 1."""
    if isinstance(value, str):
        if value != "balanced":
            raise InputError("class weights for -1 and +1, or 'balanced'", repr(value))
        return "balanced"
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError("class weights for -1 and +1, or 'balanced'", repr(value))
    low, high = (check_number(weight, "class weight", above=0) for weight in value)
    return None if low == high == 1 else (low, high)
