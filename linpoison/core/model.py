"""A linear classifier: what every learner returns and every attack aims at."""

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
