"""A learner for searches that plant far rows: Newton's method on few columns, whatever the scale of the rows."""

from __future__ import annotations

import numpy as np

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..learners import Learner, make_learner
from ..learners.newton import MANY, SignedRows, begun, newton, rounded_newton
from ..learners.svm_warm import warm_hinge
from ..losses import Problem

COLUMNS = 400
"""Columns of dense rows up to which the Hessian is written out."""
GAP, STEPS = 1e-3, 80
"""The relative duality gap that is enough for a search over wide rows, and Newton steps at most."""
WIDTHS = (2.0, 0.3, 0.05, 0.004)
"""Half widths over which a kink is rounded, widest first; from a start only those from the last of `COARSE` on."""
COARSE = 3
"""How many of them are enough for a search on a sample, whose figures are scored on all rows anyway."""
TOL, ROUGHLY = 1e-9, 3e-4
"""Decrease that a step promises at which the last of them, and the others, end."""


class NewtonLearner(Learner):
    """Any loss with a derivative, and the hinge with a rounded kink: quick, and indifferent to far rows.

    Dual coordinate methods need thousands of passes where one row is hundreds of times as long as the others; a Newton
    step does not. Where rows are wide or sparse the hinge goes to `warm_hinge`, with a loose gap, and other losses to
    `make_learner` with the method ``quick``.

    Parameters
    ----------
    problem : Problem
    coarse : bool, default False
        Whether the last but one of the `WIDTHS` is narrow enough: half the steps.
    """

    def __init__(self, problem: Problem, coarse: bool = False) -> None:
        super().__init__(problem)
        self.widths = WIDTHS[:COARSE] if coarse else WIDTHS
        self._other = make_learner(problem, method="quick")

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        if data.is_sparse or data.d > COLUMNS:
            return self._of_wide_rows(data, start)
        vector = np.zeros(data.d + 1) if start is None else start.vector.copy()
        penalty = self.problem.reg_at(data.total) * self.problem.penalty_mask(data.d)
        rows, share = SignedRows(data, self.problem.fit_intercept), data.weight / data.total
        if not self.problem.fit_intercept:
            vector[-1], penalty[-1] = 0.0, 1.0
        if self.problem.loss.kink is None:
            return LinearModel.from_vector(newton(self.problem.loss, rows.all, share, penalty, vector))
        if start is None and rows.n >= MANY:
            vector = begun(WIDTHS[:COARSE], rows, share, penalty, vector, tol=ROUGHLY)
        for width in self.widths if start is None and rows.n < MANY else self.widths[COARSE - 1 :]:
            tol = ROUGHLY if width > self.widths[-1] else TOL
            vector = rounded_newton(width, rows, share, penalty, vector, tol=tol)
        return LinearModel.from_vector(vector)

    def _of_wide_rows(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        if self.problem.loss.kink is None:
            return self._other.fit(data, start)
        begin = LinearModel(np.zeros(data.d)) if start is None else start
        return warm_hinge(self.problem, data, begin, gap_tol=GAP, max_steps=STEPS).model
