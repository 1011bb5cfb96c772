"""The squared loss through scikit-learn's Ridge."""

from __future__ import annotations

import numpy as np

from ..core import Dataset, LinearModel
from .base import Learner, converged, narrow, with_ones
from .smooth import SmoothLearner


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
