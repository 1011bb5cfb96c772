"""What a learner is: a rule that turns weighted rows into the minimiser of one problem."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, Domain, InputError, LinearModel, Matrix
from ..core.sizes import check_squares
from ..losses.problem import Problem
from ..risk.linear_risk import LinearRisk
from ..risk.views import View

FAR = 1e3
"""Means of columns, in units of their spread, beyond which they are subtracted where that changes nothing."""


class LearnerWarning(UserWarning):
    """A solver stopped before its tolerance: the model is an approximation of the minimiser."""


@dataclass(frozen=True)
class ProvenFit:
    """A model and the proof of how good it is.

    Parameters
    ----------
    model : LinearModel
    gap : float
        Objective minus the value of a feasible point of the dual: no model is better by more.
    value : float
        The objective at `model`.
    """

    model: LinearModel
    gap: float
    value: float


class Learner(ABC):
    """Solves one `Problem` on any data.

    ::

        argmin_{theta, b}  (reg_N / 2) |theta|^2 [+ (reg_N / 2) b^2] + (1 / N) sum_i c_i phi(y_i (x_i . theta + b))

    with ``N = sum_i c_i``. Learners keep no state between fits.
    """

    tolerances: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Attributes by the method of `make_learner` that sets them."""
    warm: ClassVar[bool] = False
    """Whether a start from the model of similar rows saves more than finding none costs."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def fit(self, data: Dataset, start: LinearModel | None = None) -> LinearModel:
        """The minimiser on `data`.

        Parameters
        ----------
        data : Dataset
            Rows of both classes, dense or CSR (never densified). Rows of weight zero are left out.
        start : LinearModel, optional
            A guess at the answer. Solvers that can start warm use it to save time; the answer is
            the same within their tolerance.

        Raises
        ------
        InputError
            If the rows are of one class, or of numbers that have no squares, or `start` has another number of features.
        """
        data.require_both_classes()
        if self.problem.class_weight is not None:
            plain = copy(self)
            plain.problem, weighted = self.problem.at(data)
            return plain.fit(weighted, start)
        check_squares(data.X, "the training rows")
        if start is not None and start.d != data.d:
            raise InputError(f"a start of {data.d} coefficients", f"{start.d} coefficients")
        used = data.weight > 0
        data = data if used.all() else data.take(used)
        middle = self._offset(data)
        if middle is None:
            return self._fit(data, start)
        moved = None if start is None else LinearModel(start.coef, start.intercept + float(middle @ start.coef))
        found = self._fit(replace(data, X=data.X - middle, domain=Domain.real()), moved)
        return LinearModel(found.coef, found.intercept - float(middle @ found.coef))

    def _offset(self, data: Dataset) -> Array | None:
        """Column means to be subtracted, where a column lies far from zero: a free intercept makes up for it exactly.

        Solvers lose as many digits as the mean of a column has more than its spread.
        """
        if data.is_sparse or self.problem.penalize_intercept or not self.problem.fit_intercept:
            return None
        middle, spread = data.X.mean(axis=0), data.X.std(axis=0)
        far = (np.abs(middle) > FAR * spread) & (spread > 1e-12 * np.abs(middle))
        return np.where(far, middle, 0.0) if far.any() else None

    def view(self, data: Dataset) -> View:
        """What attacks by derivatives know of this learner on rows like those of `data`.

        Raises
        ------
        CapabilityError
            For losses without the derivatives.
        """
        risk = LinearRisk.of(self.problem.pinned(data.total))
        return View.of(risk, data, data.d + self.problem.fit_intercept)

    @abstractmethod
    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        """The minimiser on rows of positive weight and of both classes."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.problem!r})"


def is_learner(thing: Any) -> bool:
    """Whether something is a `Learner`."""
    return isinstance(thing, Learner)


def with_ones(X: Matrix) -> Matrix:
    """`X` with a column of ones behind it, in the same storage."""
    ones = np.ones((X.shape[0], 1))
    if sp.issparse(X):
        return narrow(sp.csr_array(sp.hstack([X, sp.csr_array(ones)], format="csr")))
    return np.hstack([X, ones])


def narrow(X: Matrix) -> Matrix:
    """`X` with 32-bit indices if it is sparse and they fit: the C libraries take no others."""
    if not sp.issparse(X) or X.indices.dtype == np.int32 == X.indptr.dtype:
        return X
    if max(X.nnz, *X.shape) > np.iinfo(np.int32).max:
        raise InputError("a sparse matrix of fewer than 2^31 entries", f"{X.nnz} entries")
    return sp.csr_array((X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), shape=X.shape)


def converged(fit: Callable[[], object]) -> bool:
    """Run `fit`; False if scikit-learn warned that it stopped early. Other warnings pass through.

    Rows and parameters were checked on their way here. On few rows scikit-learn's own checks are a sixth of a fit.
    """
    from sklearn import config_context

    trusting = config_context(assume_finite=True, skip_parameter_validation=True)
    with trusting, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    early = [_is_early(entry) for entry in caught]
    for entry, known in zip(caught, early, strict=True):
        if not known:
            warnings.warn(entry.message, entry.category, stacklevel=3)
    return not any(early)


def _is_early(entry: warnings.WarningMessage) -> bool:
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning

    return (
        issubclass(entry.category, (ConvergenceWarning, LinAlgWarning)) or "line search" in str(entry.message).lower()
    )
