"""Rows of k classes, and the linear model that tells them apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.dataset import stack_rows
from ..core.domain import Domain
from ..core.errors import InputError
from ..core.validation import Array, Matrix, as_matrix, as_weights, check_integer

Labels = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class MultiDataset:
    """Rows with labels 0 to k - 1 and weights.

    Parameters
    ----------
    X : array_like or sparse, shape (n, d)
    y : array_like, shape (n,)
        Whole numbers in {0, ..., k - 1}.
    weight : array_like, shape (n,), optional
        Copies of each row (whole or fractional), one by default.
    n_classes : int, optional
        ``k``; one more than the largest label by default.
    domain : Domain, optional
        The space the rows live in, R^d by default.

    Raises
    ------
    InputError

    Examples
    --------
    >>> data = MultiDataset([[0.0], [1.0], [2.0]], [0, 1, 2])
    >>> data.n, data.d, data.k, data.total
    (3, 1, 3, 3.0)
    """

    X: Matrix
    y: Labels
    weight: Array = field(default=None)  # type: ignore[arg-type]
    n_classes: int | None = None
    domain: Domain = field(default_factory=Domain.real)

    def __post_init__(self) -> None:
        X = as_matrix(self.X, allow_empty=True)
        y = _as_codes(self.y, X.shape[0])
        least = int(y.max()) + 1 if y.size else 1
        k = least if self.n_classes is None else check_integer(self.n_classes, "n_classes", at_least=1)
        if k < least:
            raise InputError(f"labels below n_classes={k}", f"the label {least - 1}")
        values = {"X": X, "y": y, "weight": as_weights(self.weight, X.shape[0]), "n_classes": k}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """Number of stored rows."""
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.X.shape[1])

    @property
    def k(self) -> int:
        """Number of classes."""
        return int(self.n_classes or 0)

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return float(self.weight.sum())

    def take(self, rows: Any) -> MultiDataset:
        """The rows given by an index array or a boolean mask."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.intp)
        return replace(self, X=self.X[index], y=self.y[index], weight=self.weight[index])

    def mix(self, other: MultiDataset) -> MultiDataset:
        """These rows followed by the rows of `other`, of the same features and classes."""
        if other.d != self.d or other.k > self.k:
            raise InputError(f"rows of {self.d} features and {self.k} classes", f"{other.d} and {other.k}")
        return replace(
            self,
            X=stack_rows(self.X, other.X),
            y=np.concatenate([self.y, other.y]),
            weight=np.concatenate([self.weight, other.weight]),
        )

    def expanded(self) -> MultiDataset:
        """Each row as often as its weight says, weight one each; whole weights only."""
        if (self.weight != np.round(self.weight)).any():
            raise InputError("whole copies of each row", "fractional weights", "Round the poison first.")
        copies = self.weight.astype(np.intp)
        return replace(
            self,
            X=self.X[np.repeat(np.arange(self.n), copies)],
            y=np.repeat(self.y, copies),
            weight=np.ones(copies.sum()),
        )

    def require_all_classes(self, what: str = "training data") -> None:
        """Raise unless there are at least two classes with rows of each."""
        present = np.unique(self.y[self.weight > 0]).size
        if self.k < 2 or present < self.k:
            raise InputError(f"{what} with rows of each of at least 2 classes", f"{present} of {self.k} classes")


@dataclass(frozen=True, eq=False)
class MultiModel:
    """The classifier ``argmax_j x . coef_j + intercept_j``; ties go to the lesser label.

    Parameters
    ----------
    coef : array_like, shape (k, d)
    intercept : array_like, shape (k,)

    Examples
    --------
    >>> model = MultiModel([[1.0], [0.0], [-1.0]], [0.0, 0.5, 0.0])
    >>> model.predict(np.array([[2.0], [0.1], [-2.0]]))
    array([0, 1, 2])
    """

    coef: Array
    intercept: Array

    def __post_init__(self) -> None:
        coef, intercept = np.array(self.coef, dtype=np.float64), np.array(self.intercept, dtype=np.float64)
        if coef.ndim != 2 or intercept.shape != coef.shape[:1]:
            raise InputError("coef of shape (k, d) and intercept of shape (k,)", f"{coef.shape}, {intercept.shape}")
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise InputError("a finite model", "NaN or infinity in it")
        for name, value in (("coef", coef), ("intercept", intercept)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def k(self) -> int:
        """Number of classes."""
        return int(self.coef.shape[0])

    @property
    def matrix(self) -> Array:
        """Coefficients with the intercepts behind them, shape (k, d + 1)."""
        return np.hstack([self.coef, self.intercept[:, None]])

    @classmethod
    def from_matrix(cls, matrix: Any) -> MultiModel:
        """The inverse of `matrix`."""
        values = np.asarray(matrix, dtype=np.float64)
        return cls(values[:, :-1], values[:, -1])

    @classmethod
    def zeros(cls, k: int, d: int) -> MultiModel:
        """The model that scores every class 0."""
        return cls(np.zeros((k, d)), np.zeros(k))

    def scores(self, X: Matrix) -> Array:
        """``x . coef_j + intercept_j``, shape (n, k)."""
        if X.shape[1] != self.coef.shape[1]:
            raise InputError(f"rows of {self.coef.shape[1]} features", f"{X.shape[1]} features")
        return np.asarray(X @ self.coef.T, dtype=np.float64) + self.intercept

    def predict(self, X: Matrix) -> Labels:
        """Labels in {0, ..., k - 1}, shape (n,)."""
        return np.asarray(self.scores(X).argmax(axis=1), dtype=np.intp)

    def error(self, data: MultiDataset) -> float:
        """Share of the (weighted) rows that are misclassified."""
        return float(np.average(self.predict(data.X) != data.y, weights=data.weight))


def _as_codes(y: Any, n: int) -> Labels:
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise InputError(f"labels of shape ({n},), one for each row", f"shape {labels.shape}")
    if labels.dtype.kind not in "biuf" or (labels != np.round(labels)).any() or (labels < 0).any():
        raise InputError("labels 0, 1, 2, ...", f"the values {labels[:5].tolist()}", "Encode them first.")
    return labels.astype(np.intp)
