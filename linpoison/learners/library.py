"""The squared and the logistic loss through scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Dataset, LinearModel, Matrix
from .base import Learner, converged, narrow, with_ones
from .smooth import SmoothLearner

MANY_ENTRIES, FEW_STORED = 500_000, 0.2
"""Entries from which dense rows are looked through for zeros, and share of others up to which these are left out."""


class RidgeLearner(Learner):
    """Squared loss on labels in {-1, +1}: `Ridge` with ``alpha = N reg_N`` and the weights.

    Dense rows are solved by Cholesky, CSR rows by conjugate gradients to `tol`. A penalised
    intercept is a column of ones. `start` is ignored. A system too ill-conditioned to factorise goes
    to `SmoothLearner`.

    Attributes
    ----------
    tol : float
        Relative residual at which conjugate gradients stop.
    """

    tol = 1e-10

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        from sklearn.linear_model import Ridge

        problem = self.problem
        free = problem.fit_intercept and not problem.penalize_intercept
        column = problem.fit_intercept and problem.penalize_intercept
        machine = Ridge(
            alpha=data.total * problem.reg_at(data.total),
            fit_intercept=free,
            solver="sparse_cg" if data.is_sparse else "cholesky",
            tol=self.tol,
        )
        X = with_ones(data.X) if column else narrow(data.X)
        solved = converged(lambda: machine.fit(X, data.y, sample_weight=data.weight))
        vector = np.ravel(machine.coef_)
        model = LinearModel.from_vector(vector) if column else LinearModel(vector, float(machine.intercept_))
        return model if solved else SmoothLearner(self.problem).fit(data, start=model)


class LogisticLearner(Learner):
    """Logistic loss: `LogisticRegression` with ``C = 1 / (N reg_N)`` and the weights.

    Dense rows of at most `cholesky_width` columns are solved by Newton's method with Cholesky,
    all others by Newton's method with conjugate gradients. A penalised intercept is a column of
    ones. `start` is where the iterations begin. What scikit-learn leaves unfinished after
    `max_iter` steps, `SmoothLearner` finishes.

    Many dense rows that are mostly zeros, as of categories, go to scikit-learn without their zeros: a Hessian of 14
    entries a row then takes ``14^2`` products a row and not ``d^2``.

    Attributes
    ----------
    tol, cg_tol : float
        Bound on the largest entry of the gradient of the mean objective, with Cholesky and with conjugate gradients.
    max_iter : int
        Bound on scikit-learn's Newton steps.
    cholesky_width : int
    """

    tolerances = {"quick": {"cg_tol": 1e-5}}
    tol = cg_tol = 1e-8
    max_iter = 100
    cholesky_width = 500

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        column = self.problem.fit_intercept and self.problem.penalize_intercept
        machine = self._machine(data)
        if start is not None:
            _preset(machine, start, column)
        X = without_zeros(with_ones(data.X) if column else narrow(data.X))
        solved = converged(lambda: machine.fit(X, data.y, sample_weight=data.weight))
        vector = np.ravel(machine.coef_)
        intercept = float(np.ravel(machine.intercept_)[0])
        model = LinearModel.from_vector(vector) if column else LinearModel(vector, intercept)
        return model if solved else SmoothLearner(self.problem).fit(data, start=model)

    def _machine(self, data: Dataset) -> Any:
        from sklearn.linear_model import LogisticRegression

        problem = self.problem
        narrow_enough = not data.is_sparse and data.d <= self.cholesky_width
        return LogisticRegression(
            C=1 / (data.total * problem.reg_at(data.total)),
            fit_intercept=problem.fit_intercept and not problem.penalize_intercept,
            solver="newton-cholesky" if narrow_enough else "newton-cg",
            tol=self.tol if narrow_enough else self.cg_tol,
            max_iter=self.max_iter,
            warm_start=True,
        )


def without_zeros(X: Matrix) -> Matrix:
    """Many dense rows as CSR where that has few of their entries; others as they are.

    Examples
    --------
    >>> type(without_zeros(np.ones((3, 2)))).__name__
    'ndarray'
    """
    if sp.issparse(X) or X.size < MANY_ENTRIES or np.count_nonzero(X) > FEW_STORED * X.size:
        return X
    return narrow(sp.csr_array(X))


def _preset(machine: Any, start: LinearModel, column: bool) -> None:
    machine.coef_ = (start.vector if column else start.coef)[None, :].copy()
    machine.intercept_ = np.array([0.0 if column else start.intercept])
    machine.classes_ = np.array([-1.0, 1.0])
