"""The hinge loss through liblinear and libsvm."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import Dataset, LinearModel, SolverFailed
from ..core.parts import dense
from .base import Learner, LearnerWarning, converged, narrow
from .newton import newton_hinge
from .reference import ReferenceLearner
from .svm_interior import interior_hinge
from .svm_warm import warm_hinge


class _Draws(threading.local):
    """The random state that scikit-learn makes of a seed, kept by each thread: making it is a sixth of a small fit."""

    state: Any = None

    def of(self, seed: int) -> Any:
        if self.state is None:
            from sklearn.utils import check_random_state

            self.state = check_random_state(seed)
        self.state.seed(seed)
        return self.state


_DRAWS = _Draws()


class HingeLearner(Learner):
    """Hinge loss: dual solvers of scikit-learn, with ``C = 1 / (N reg_N)`` and weights as costs.

    A penalised intercept, or none, goes to liblinear (`LinearSVC`, fixed seed); a free intercept
    to libsvm (`SVC`), after which the intercept is minimised exactly and the duality gap is
    checked. Equal data and equal starts give equal models.

    Columns in other units, or far from zero, keep both from their tolerance. Dense rows of at most `interior_width`
    columns go to `interior_hinge` then, which is exact in any units: at once where a column is as large as `large`, and
    otherwise where liblinear has not ended after `first_passes`.

    Neither can start warm. For a free intercept `warm_hinge` uses `start`, several times faster than
    libsvm on Enron, and libsvm takes over where its gap stays open. Otherwise liblinear comes first:
    on Enron it is faster from nothing than `warm_hinge` from the undefended model. Where it has not
    ended after `first_passes`, as with rows a hundred times as long as the others, `warm_hinge` takes over: what
    takes liblinear minutes then takes a second.

    What is not solved even so goes to the conic reference, or, beyond `fallback_entries` entries of ``X``, the
    approximate model is returned with a `LearnerWarning`.

    Attributes
    ----------
    tols : tuple of float
        liblinear's bound on the projected gradient of the dual, and what is tried when it is not
        met. On word counts and tables 1e-8 is at the optimum to 1e-9 (relative), 1e-6 to 1e-7,
        1e-5 not always to 1e-6.
    large_tols : tuple of float
        The same beyond `fallback_entries` entries of ``X``: on IMDB 1e-5 is at the optimum to 1e-8
        (relative) in a third of the time.
    max_iter : int
        Bound on liblinear's passes over the data (hundreds are usual, thousands for small
        ``reg``).
    first_passes : int
        The same before `interior_hinge` or `warm_hinge` is tried.
    step_tol : float
        libsvm's bound on the violation of the optimality conditions of the dual.
    max_steps : int
        Bound on libsvm's steps, of two rows each.
    gap_tol : float
        Largest duality gap, relative to the objective, that is accepted of libsvm.
    warm_gap : float
        Largest duality gap, relative to the objective, that is accepted of `warm_hinge`.
    large : float
        Median size of the entries of a column from which liblinear and libsvm are not tried.
    interior_width : int
        Largest number of dense columns for the interior point, each step of which factorises a matrix of so many.
    interior_gap : float
        Largest duality gap, relative to the objective, that is accepted of it.
    newton_rows, newton_times : int
        Dense rows, in all and for each column, from which `newton_hinge` comes first, in any units and with far rows.
    newton_gap : float
        Largest duality gap, relative to the objective, that is accepted of it.
    cache_size : int
        Megabytes for libsvm's rows of the Gram matrix.
    fallback_entries : int
        Largest number of stored entries of ``X`` that the conic reference is tried on.
    """

    tolerances = {
        "quick": {"tols": (1e-2, 1e-3), "first_passes": 200, "warm_gap": 1e-5, "newton_gap": 1e-5},
        "rough": {"tols": (1e-3, 1e-2), "newton_gap": 1e-5},
    }
    tols = (1e-8, 1e-6)
    large_tols = (1e-5, 1e-4)
    max_iter = 20_000
    first_passes = 1_000
    step_tol = 1e-7
    max_steps = 200_000
    gap_tol = 1e-6
    warm_gap = 1e-9
    large = 30.0
    interior_width = 300
    interior_gap = 1e-8
    newton_rows, newton_times = 1_000, 10
    newton_gap = 1e-6
    cache_size = 500
    fallback_entries = 2_000_000

    def _fit(self, data: Dataset, start: LinearModel | None) -> LinearModel:
        free = self.problem.fit_intercept and not self.problem.penalize_intercept
        inside = not data.is_sparse and data.d <= self.interior_width
        many = inside and data.n >= max(self.newton_rows, self.newton_times * data.d)
        if many:
            near = newton_hinge(self.problem, data, start, gap_tol=0.1 * self.newton_gap)
            if near.gap <= self.newton_gap * near.value:
                return near.model
        odd = many or (inside and float(np.median(np.abs(data.X), axis=0).max()) > self.large)
        if not free and not odd:
            model, solved = self._liblinear(data, self._tols(data)[:1], self.first_passes)
            if solved:
                return model
        if not (odd or (inside and not free)):
            return self._by_others(data, start, free, inside)
        found = interior_hinge(self.problem, data)
        if abs(found.gap) <= self.interior_gap * found.value:
            return found.model
        other = self._by_others(data, start, free, inside=False)  # which may stop early without a word
        return min(found.model, other, key=lambda model: self.problem.value(model, data))

    def _by_others(self, data: Dataset, start: LinearModel | None, free: bool, inside: bool) -> LinearModel:
        """The warm solver, those of scikit-learn, the interior point if it has not been tried, and the reference."""
        if start is not None if free else not self._large(data):
            with contextlib.suppress(SolverFailed):  # a system without digits: others may do
                warm = warm_hinge(self.problem, data, start or LinearModel(np.zeros(data.d)), gap_tol=self.warm_gap)
                if warm.gap <= self.warm_gap * warm.value:
                    return warm.model
        model, solved = self._libsvm(data) if free else self._liblinear(data, self._tols(data), self.max_iter)
        if not solved and inside:
            found = interior_hinge(self.problem, data)
            model, solved = found.model, abs(found.gap) <= self.interior_gap * found.value
        if solved:
            return model
        if not self._large(data):
            return ReferenceLearner(self.problem).fit(data)
        warnings.warn(
            "the SVM solver stopped before its tolerance: the model is approximate. Scale the columns, or raise reg.",
            LearnerWarning,
            stacklevel=4,
        )
        return model

    def _large(self, data: Dataset) -> bool:
        return int(data.X.nnz if data.is_sparse else data.X.size) > self.fallback_entries

    def _cost(self, data: Dataset) -> float:
        return 1 / (data.total * self.problem.reg_at(data.total))

    def _tols(self, data: Dataset) -> tuple[float, ...]:
        return self.large_tols if self._large(data) and self.tols == HingeLearner.tols else self.tols

    def _liblinear(self, data: Dataset, tols: Sequence[float], passes: int) -> tuple[LinearModel, bool]:
        from sklearn.svm import LinearSVC

        X = narrow(data.X)
        for tol in tols:
            machine = LinearSVC(
                loss="hinge",
                C=self._cost(data),
                tol=tol,
                max_iter=passes,
                fit_intercept=self.problem.fit_intercept,
                random_state=_DRAWS.of(0),
            )
            if converged(partial(machine.fit, X, data.y, sample_weight=data.weight)):
                return _model_of(machine), True
        return _model_of(machine), False

    def _libsvm(self, data: Dataset) -> tuple[LinearModel, bool]:
        from sklearn.svm import SVC

        machine = SVC(
            kernel="linear",
            C=self._cost(data),
            tol=self.step_tol,
            max_iter=self.max_steps,
            cache_size=self.cache_size,
        )
        try:
            solved = converged(lambda: machine.fit(narrow(data.X), data.y, sample_weight=data.weight))
        except ValueError as error:  # of rows far beyond 1, whose products it sums
            got = " ".join(str(error).split())[:80].rstrip(".")
            raise SolverFailed(f"expected a finite model of libsvm, got: {got}. Scale the columns.") from None
        model = _with_best_intercept(_model_of(machine), data)
        dual = machine.dual_coef_
        mass = float(np.abs(dual.data if sp.issparse(dual) else dual).sum())
        return model, solved and self._gap(model, mass, data) <= self.gap_tol

    def _gap(self, model: LinearModel, mass: float, data: Dataset) -> float:
        """Relative duality gap, for a dual point of the given sum and of the same coefficients."""
        primal = self.problem.value(model, data)
        dual = self.problem.reg_at(data.total) * (mass - 0.5 * float(model.coef @ model.coef))
        return (primal - dual) / primal


def _model_of(machine: Any) -> LinearModel:
    return LinearModel(dense(machine.coef_).ravel(), float(np.ravel(machine.intercept_)[0]))


def _with_best_intercept(model: LinearModel, data: Dataset) -> LinearModel:
    """The free intercept that minimises the hinge loss for given coefficients, exactly.

    The slope in the intercept rises by a row's weight where its margin is 1, at ``y - x . coef``,
    from minus the weight of the class +1: a weighted quantile, or the middle of an interval.
    """
    breaks = data.y - data.X @ model.coef
    order = np.argsort(breaks, kind="stable")
    mass = np.cumsum(data.weight[order])
    positive = data.weight[data.y > 0].sum()
    slack = 1e-12 * mass[-1]
    low = breaks[order[np.searchsorted(mass, positive - slack)]]
    high = breaks[order[np.searchsorted(mass, positive + slack)]]
    return LinearModel(model.coef, 0.5 * (low + high))
