"""Learners of k classes: AdaGrad as in the paper, Newton's method, liblinear, and the conic yardstick."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import CapabilityError, InputError, SolverFailed
from ..core.model import LinearModel, MultiModel
from ..core.parts import dense
from ..core.sizes import check_squares
from ..core.validation import Array, check_integer, check_number
from ..losses import MultiProblem, Softmax
from ..losses.problem import LEAST_REG
from ..risk.linear_risk import LinearRisk
from ..risk.views import View
from .base import Learner, LearnerWarning, converged, narrow
from .multi_newton import newton_multi

_LARGE = 2_000_000
_AS_GOOD = 1e-3
"""Largest duality gap, relative to the objective, of a model that is given without a warning."""


class MultiLearner(Learner):
    """Solves one `MultiProblem`, or stops on the way."""

    problem: MultiProblem

    def fit(self, data: Dataset, start: LinearModel | None = None) -> MultiModel:
        """The model of weighted rows, of which there must be some of every class; `start` is not looked at.

        Raises
        ------
        InputError
            If a class has no rows, or rows are of numbers that have no squares.
        """
        data.require_all_classes()
        check_squares(data.X, "the training rows")
        return self._fit(data, start)

    def view(self, data: Dataset) -> View:
        """See `Learner.view`: of cross-entropy.

        Raises
        ------
        CapabilityError
            For another loss.
        """
        if self.problem.loss != Softmax():
            raise CapabilityError("cross-entropy for attacks by derivatives", repr(self.problem.loss))
        risk = LinearRisk(data.k, self.problem.reg, penalize_intercept=self.problem.penalize_intercept)
        return View.of(risk, data, data.k * (data.d + 1))

    @abstractmethod
    def _fit(self, data: Dataset, start: LinearModel | None) -> MultiModel:
        """`fit` for checked rows."""


@dataclass(frozen=True)
class AdaGradLearner(MultiLearner):
    """AdaGrad over shuffled batches of rows: the defender of the paper's ten-class experiment.

    ::

        A += g^2,   theta -= step g / sqrt(A),   A starts at `start`, theta at 0

    with ``g`` the gradient of the mean loss of the batch plus ``reg theta``. The last iterate is
    returned, so that the few passes regularise by themselves.

    Parameters
    ----------
    problem : MultiProblem
    passes : int, default 3
    batch : int, default 20
    step : float, default 0.02
    start : float, default 1
        The paper does not state it; 1 is what its authors' program starts accumulators at, and
        gives a clean test error of 7.5 % on MNIST (a start near 0 gives 7.2 %).
    seed : int, default 0
        Of the shuffles.

    References
    ----------
    Koh, Steinhardt, Liang (2022), appendix B.3; Duchi, Hazan, Singer (2011).
    """

    problem: MultiProblem
    passes: int = 3
    batch: int = 20
    step: float = 0.02
    start: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("passes", 1), ("batch", 1), ("seed", 0)):
            check_integer(getattr(self, name), name, at_least=least)
        check_number(self.step, "step", above=0)
        check_number(self.start, "start", above=0)

    def _fit(self, data: Dataset, start: LinearModel | None) -> MultiModel:
        rng = np.random.default_rng(self.seed)
        order = np.repeat(np.arange(data.n), _whole(data.weight))
        theta, seen = np.zeros((data.k, data.d + 1)), np.full((data.k, data.d + 1), self.start)
        for _ in range(self.passes):
            shuffled = rng.permutation(order)
            for begin in range(0, order.size, self.batch):
                rows = shuffled[begin : begin + self.batch]
                gradient = self._gradient(theta, dense(data.X[rows]), data.codes[rows])
                seen += gradient**2
                theta -= self.step * gradient / np.sqrt(seen)
        return MultiModel.from_matrix(theta)

    def _gradient(self, theta: Array, X: Array, y: Any) -> Array:
        pull = self.problem.loss.pulls(X @ theta[:, :-1].T + theta[:, -1], y) / y.size
        gradient = np.empty_like(theta)
        gradient[:, :-1], gradient[:, -1] = pull.T @ X, pull.sum(axis=0)
        gradient += self.problem.reg * self.problem.penalty_mask(X.shape[1]) * theta
        return gradient


@dataclass(frozen=True)
class NewtonLearner(MultiLearner):
    """Newton's method for every loss here and every convention of the intercepts, with a duality gap as its proof.

    Cross-entropy and its soft hinges take a handful of steps, fewer from a `start`. Crammer and Singer's loss, which
    has a kink, takes ten times as many: with penalised intercepts `LibraryLearner` is faster. See `newton_multi`.

    Parameters
    ----------
    problem : MultiProblem
    tol : float, default 1e-7
        Largest duality gap relative to the objective.
    max_steps : int, default 200
    """

    problem: MultiProblem
    tol: float = 1e-7
    max_steps: int = 200
    warm: ClassVar[bool] = True

    def _fit(self, data: Dataset, start: LinearModel | None) -> MultiModel:
        found = newton_multi(self.problem, data, cast(MultiModel, start), gap_tol=self.tol, max_steps=self.max_steps)
        _warned(found.gap <= max(100 * self.tol, _AS_GOOD) * found.value)
        return cast(MultiModel, found.model)


@dataclass(frozen=True)
class LibraryLearner(MultiLearner):
    """Crammer and Singer's loss with penalised intercepts by liblinear: scikit-learn's LinearSVC.

    Parameters
    ----------
    problem : MultiProblem
        With ``reg > 0``.
    tol : float, default 1e-4
        liblinear's bound on the violation of the optimality conditions of the dual. At 1e-4 the objective is at the
        optimum to about 1e-5 (relative), at 0.1, in a tenth of the time, to 1 % and the test error to a row in 1000.
    large_tol : float, default 0.1
        The least that is asked for beyond 2,000,000 entries of ``X``.
    max_iter : int, default 2000
    """

    problem: MultiProblem
    tol: float = 1e-4
    large_tol: float = 0.1
    max_iter: int = 2000

    def __post_init__(self) -> None:
        if self.problem.loss.temperature != 0 or not self.problem.penalize_intercept:
            raise CapabilityError(
                "Crammer and Singer's loss with penalised intercepts", repr(self.problem), "Use NewtonLearner."
            )

    def _fit(self, data: Dataset, start: LinearModel | None) -> MultiModel:
        from sklearn.svm import LinearSVC

        strength = 1.0 / (self.problem.reg * data.total)
        stored = data.X.nnz if data.is_sparse else data.X.size
        tol = max(self.tol, self.large_tol) if stored > _LARGE else self.tol
        solver = LinearSVC(multi_class="crammer_singer", C=strength, tol=tol, max_iter=self.max_iter, random_state=0)
        _warned(converged(lambda: solver.fit(narrow(data.X), data.codes, sample_weight=data.weight)))
        return _both_rows(solver.coef_, solver.intercept_, data.k)


@dataclass(frozen=True)
class MultiReferenceLearner(MultiLearner):
    """Any loss and convention through the conic solver, checked against numpy's objective: small data only.

    Parameters
    ----------
    problem : MultiProblem
    tol : float, default 1e-6
        Largest disagreement of the two objectives.
    """

    problem: MultiProblem
    tol: float = 1e-6

    def _fit(self, data: Dataset, start: LinearModel | None) -> MultiModel:
        import cvxpy

        from ..convex import solve

        cp: Any = cvxpy
        theta = cp.Variable((data.k, data.d + 1))
        X = np.hstack([dense(data.X), np.ones((data.n, 1))])
        loss = (data.weight / data.total) @ self.problem.loss.expression(X @ theta.T, data.codes)
        scale = np.sqrt(self.problem.penalty_mask(data.d))[None, :]
        penalty = cp.sum_squares(cp.multiply(np.repeat(scale, data.k, axis=0), theta))
        info = solve(cp.Problem(cp.Minimize(self.problem.reg / 2 * penalty + loss)), tol=self.tol)
        model = MultiModel.from_matrix(theta.value)
        value = self.problem.value(model, data)
        if abs(value - info.value) > self.tol * max(1.0, abs(value)):
            raise SolverFailed(f"the conic program states an objective of {info.value:g}, numpy finds {value:g}")
        return model


def make_multi_learner(problem: Any, method: str = "auto") -> MultiLearner:
    """AdaGrad at the least reg, else the fastest exact learner of the loss; the conic one for losses of someone else.

    The methods that are told to be quick have looser tolerances.
    """
    if method == "reference" or problem.loss.temperature is None:
        return MultiReferenceLearner(problem)
    if problem.reg <= LEAST_REG:
        return AdaGradLearner(problem)
    if problem.loss.temperature == 0 and problem.penalize_intercept:
        return LibraryLearner(problem)
    return NewtonLearner(problem) if method == "auto" else NewtonLearner(problem, tol=1e-4)


def _warned(solved: bool) -> None:
    if not solved:
        said = "the solver of k classes stopped before its tolerance: the model is approximate. Scale the columns."
        warnings.warn(said, LearnerWarning, stacklevel=5)


def _both_rows(coef: Array, intercept: Array, k: int) -> MultiModel:
    """liblinear's model; for two classes scikit-learn keeps only the difference of the two rows."""
    if k == 2 and coef.shape[0] == 1:
        return MultiModel(np.vstack([-coef, coef]) / 2, np.array([-intercept[0], intercept[0]]) / 2)
    return MultiModel(coef, intercept)


def _whole(weight: Array) -> Any:
    if (weight != np.round(weight)).any():
        raise InputError("whole weights for AdaGrad, which visits copies of rows", "fractions", "Round the poison.")
    return weight.astype(np.intp)
