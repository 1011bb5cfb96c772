"""Linear classifiers: what every learner returns and every attack aims at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .validation import Array, Matrix, check_kind

if TYPE_CHECKING:
    from .dataset import Dataset


@dataclass(frozen=True, eq=False)
class LinearModel:
    """The classifier ``sign(x . coef + intercept)``; a score of exactly zero is read as -1.

    Parameters
    ----------
    coef : ndarray of shape (d,)
    intercept : float

    Examples
    --------
    >>> LinearModel([1.0, 0.0], -0.5).predict(np.array([[1.0, 3.0], [0.0, 3.0]]))
    array([ 1., -1.])
    """

    coef: Array
    intercept: float = 0.0

    def __post_init__(self) -> None:
        check_kind(self.coef, "coef")
        check_kind(self.intercept, "intercept")
        try:
            coef, intercept = np.array(self.coef, dtype=np.float64), float(self.intercept)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError("coef and intercept as numbers", f"others ({error})") from None
        if coef.ndim != 1 or not np.isfinite(coef).all() or not np.isfinite(intercept):
            raise InputError("finite coef of shape (d,) and a finite intercept", f"shape {coef.shape}")
        coef.setflags(write=False)
        object.__setattr__(self, "coef", coef)
        object.__setattr__(self, "intercept", intercept)

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.coef.size)

    @property
    def vector(self) -> Array:
        """Coefficients with the intercept behind them, shape (d + 1,)."""
        return np.append(self.coef, self.intercept)

    @property
    def parameters(self) -> Array:
        """All that `model_of` needs: here `vector`."""
        return self.vector

    @property
    def flat(self) -> Array:
        """Coefficients of all classes and then the intercepts, the order of a ``torch.nn.Linear``."""
        return self.vector

    @classmethod
    def from_vector(cls, vector: Any) -> LinearModel:
        """The inverse of `vector`."""
        values = np.asarray(vector, dtype=np.float64)
        return cls(values[:-1], float(values[-1]))

    def decision_function(self, X: Matrix) -> Array:
        """Scores ``x . coef + intercept``, shape (n,)."""
        if X.shape[1] != self.d:
            raise InputError(f"rows of {self.d} features", f"{X.shape[1]} features")
        return np.asarray(X @ self.coef, dtype=np.float64) + self.intercept

    def predict(self, X: Matrix) -> Array:
        """Labels in {-1, +1}, shape (n,)."""
        return np.where(self.decision_function(X) > 0, 1.0, -1.0)

    def margins(self, data: Dataset) -> Array:
        """``y_i (x_i . coef + intercept)`` of each row, shape (n,)."""
        return data.y * self.decision_function(data.X)

    def error(self, data: Dataset) -> float:
        """Share of the (weighted) rows that are misclassified."""
        return float(np.average(self.predict(data.X) != data.y, weights=data.weight))

    def distance(self, other: LinearModel) -> float:
        """Euclidean distance between the parameter vectors, intercept included."""
        return float(np.linalg.norm(self.vector - other.vector))


@dataclass(frozen=True, eq=False)
class MultiModel(LinearModel):
    """The classifier of codes ``argmax_j x . coef_j + intercept_j``; ties go to the lesser code.

    Parameters
    ----------
    coef : array_like, shape (k, d)
    intercept : array_like, shape (k,)

    Examples
    --------
    >>> model = MultiModel([[1.0], [0.0], [-1.0]], [0.0, 0.5, 0.0])
    >>> model.predict(np.array([[2.0], [0.1], [-2.0]]))
    array([0., 1., 2.])
    """

    intercept: Array  # type: ignore[assignment]

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
    def d(self) -> int:
        """Number of features."""
        return int(self.coef.shape[1])

    @property
    def matrix(self) -> Array:
        """Coefficients with the intercepts behind them, shape (k, d + 1)."""
        return np.hstack([self.coef, self.intercept[:, None]])

    @property
    def vector(self) -> Array:
        """The rows of `matrix` behind each other, shape (k (d + 1),)."""
        return self.matrix.ravel()

    @property
    def parameters(self) -> Array:
        """See `LinearModel.parameters`: here `matrix`."""
        return self.matrix

    @property
    def flat(self) -> Array:
        """See `LinearModel.flat`."""
        return np.concatenate([self.coef.ravel(), self.intercept])

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
        if X.shape[1] != self.d:
            raise InputError(f"rows of {self.d} features", f"{X.shape[1]} features")
        return np.asarray(X @ self.coef.T, dtype=np.float64) + self.intercept

    def decision_function(self, X: Matrix) -> Array:
        """See `scores`."""
        return self.scores(X)

    def predict(self, X: Matrix) -> Array:
        """Labels in {0, ..., k - 1}, shape (n,)."""
        return np.asarray(self.scores(X).argmax(axis=1), dtype=np.float64)

    def margins(self, data: Dataset) -> Array:
        """The score of each row's label less the greatest other, shape (n,)."""
        scores, rows = self.scores(data.X), np.arange(data.n)
        own = scores[rows, data.codes]
        scores[rows, data.codes] = -np.inf
        return np.asarray(own - scores.max(axis=1))


@dataclass(frozen=True, eq=False)
class FlatParameters:
    """The parameters of a model that is no linear one, without the rule by which it predicts: of a network.

    Parameters
    ----------
    flat : ndarray, shape (p,)
    """

    flat: Array

    @property
    def parameters(self) -> Array:
        """See `LinearModel.parameters`: here of shape (1, 1, p)."""
        return self.flat[None, None, :]


def model_of(parameters: Any) -> Any:
    """The model with these `parameters`, or what is kept of one."""
    values = np.asarray(parameters, dtype=np.float64)
    if values.ndim == 3:
        return FlatParameters(values.ravel())
    return LinearModel.from_vector(values) if values.ndim == 1 else MultiModel.from_matrix(values)
