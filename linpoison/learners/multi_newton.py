"""Losses of k scores by Newton's method, each model with a duality gap that says how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve

from ..core.dataset import Dataset
from ..core.model import MultiModel
from ..core.validation import Array, Matrix
from ..losses import MultiProblem
from ..losses.multi import one_hot
from ..losses.multi_problem import curvature, moments
from .base import ProvenFit
from .newton import step_length

_WIDTH = 0.3
_SHRINK = 0.3
_LEAST_WIDTH = 0.02
_ENOUGH = 0.1
_FLOOR = -60.0  # of logarithms of multipliers
_FACTORED = 3000
_CG_STEPS = 300
_STALE = 25  # iterations of conjugate gradients after which their preconditioner is made again
_LIGHT = 1e-4  # share of the curvature that is left out
_FLAT = 1e-12  # curvature of all rows, relative to the penalty, that counts as none


def newton_multi(
    problem: MultiProblem,
    data: Dataset,
    start: MultiModel | None = None,
    *,
    gap_tol: float = 1e-9,
    max_steps: int = 200,
) -> ProvenFit:
    """The minimiser of a loss of a temperature, such as cross-entropy, or of its limit, Crammer and Singer's loss.

    Both are ``t max_p <p, m + s - s_y> / t + H(p)`` over the simplex of classes, with m = 0 at the label, H the entropy
    and t the temperature, or 0. Their common dual, with ``u_i = c_i / N``::

        max_P  sum_i u_i (<p_i, m_i> + t H(p_i)) - |sum_i u_i (p_i - e_{y_i}) x_i'|^2 / (2 reg)

    (and ``sum_i u_i p_i = sum_i u_i e_{y_i}`` for free intercepts) bounds the minimum from below at any P. Newton's
    method solves the smooth loss, directions by conjugate gradients behind one factor for all classes. At t = 0 the
    entropy relative to a center takes the place of H, times a width, and the center moves to the solution::

        p_ij  ~  center_ij exp((m_ij + s_ij - s_{i y_i}) / width)

    Parameters
    ----------
    problem : MultiProblem
        With `CrammerSinger` or `Softmax`.
    data : Dataset
        With rows of every class.
    start : MultiModel, optional
    gap_tol : float
        Largest duality gap relative to the objective.
    max_steps : int
        Bound on Newton steps. The caller judges the gap of what is returned then.

    References
    ----------
    The proximal point method on the dual with the entropy as distance: Tseng, Bertsekas (1993), "On the convergence
    of the exponential multiplier method for convex programming".

    Examples
    --------
    >>> data = Dataset.coded([[1.0], [-1.0], [0.0]], [0, 1, 2])
    >>> found = newton_multi(MultiProblem("softmax", 0.1), data)
    >>> found.gap <= 1e-9 * found.value
    True
    """
    return _Search(problem, data, start).run(gap_tol, max_steps)


@dataclass(frozen=True)
class _State:
    """What is known at one model under the smooth loss."""

    losses: Array
    shares: Array
    gradient: Array

    @property
    def curved(self) -> Array:
        """``1 - |p|^2`` of each row: the trace of ``diag(p) - p p'``, its Hessian in the scores."""
        return np.asarray(1.0 - (self.shares**2).sum(axis=1))


class _Search:
    """Model, scores, center and width of one fit; matrices are ``(W, b)``, shape (k, d + 1)."""

    def __init__(self, problem: MultiProblem, data: Dataset, start: MultiModel | None) -> None:
        self.problem, self.data = problem, data
        self.temperature = float(problem.loss.temperature or 0.0)
        self.mass = data.weight / data.total
        self.penalty = problem.reg * problem.penalty_mask(data.d)
        self.hot = one_hot(data.codes, data.k)
        self.margin = problem.loss.margin * (1.0 - self.hot)
        zero = MultiModel.zeros(data.k, data.d)
        worse = start is None or not problem.value(start, data) < problem.value(zero, data)  # a far start is none
        self.matrix = np.array((zero if worse else cast(MultiModel, start)).matrix)
        self.scores = self._scores(self.matrix)
        self.width = self.temperature or _WIDTH
        self.center = np.zeros((data.n, data.k))
        self._factor: Any = None

    def run(self, gap_tol: float, max_steps: int) -> ProvenFit:
        for step in range(max_steps + 1):
            state = self._state()
            value, gap = self._certificate(state)
            if gap <= gap_tol * value or step == max_steps:
                break
            if not self.temperature and self._rest(state) <= _ENOUGH * gap:
                self._recenter(state)
                state = self._state()
            if not self._move(state, min(0.1, np.sqrt(self._rest(state) / value))):
                break
        return ProvenFit(MultiModel.from_matrix(self.matrix), gap, value)

    def _scores(self, matrix: Array) -> Array:
        return np.asarray(self.data.X @ matrix[:, :-1].T) + matrix[:, -1]

    def _lifted(self, scores: Array) -> Array:
        """``m_ij + s_ij - s_{i y_i}``."""
        return np.asarray(self.margin + scores - scores[np.arange(self.data.n), self.data.codes][:, None])

    def _smooth(self, scores: Array) -> tuple[Array, Array]:
        """Smooth losses, and the shares that are their derivatives."""
        lifted = self._lifted(scores) / self.width + self.center
        top = lifted.max(axis=1, keepdims=True)
        terms = np.exp(lifted - top)
        total = terms.sum(axis=1, keepdims=True)
        return self.width * (np.log(total) + top)[:, 0], terms / total

    def _combined(self, shares: Array) -> Array:
        """``sum_i u_i (p_i - e_{y_i}) (x_i, 1)'``."""
        return moments((shares - self.hot) * self.mass[:, None], self.data.X)

    def _state(self) -> _State:
        losses, shares = self._smooth(self.scores)
        return _State(losses, shares, self.penalty * self.matrix + self._combined(shares))

    def _penalised(self, matrix: Array) -> float:
        return 0.5 * float((self.penalty * matrix**2).sum())

    def _rest(self, state: _State) -> float:
        """How far at most the smooth objective is above its minimum, by its gradient."""
        return 0.5 * float((state.gradient**2).sum()) / self.problem.reg

    def _certificate(self, state: _State) -> tuple[float, float]:
        """Objective and duality gap, from shares that are feasible in the dual."""
        shares = state.shares if self.problem.penalize_intercept else self._balanced(state.shares)
        losses = state.losses if self.temperature else self._lifted(self.scores).max(axis=1)
        value = self._penalised(self.matrix) + float(self.mass @ losses)
        reward = (shares * self.margin).sum(axis=1)
        if self.temperature:
            reward -= self.temperature * (shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
        pulled = self._combined(shares) if shares is not state.shares else state.gradient - self.penalty * self.matrix
        pulled = pulled[:, self.penalty > 0]
        return value, value - float(self.mass @ reward) + 0.5 * float((pulled**2).sum()) / self.problem.reg

    def _balanced(self, shares: Array) -> Array:
        """Shares whose sums are those of the labels: what a class has too much goes to those that have too little."""
        wanted = self.mass @ self.hot
        cut = shares * np.minimum(1.0, wanted / np.maximum(self.mass @ shares, 1e-300))
        short = np.maximum(wanted - self.mass @ cut, 0.0)
        return cut + (1.0 - cut.sum(axis=1))[:, None] * (short / max(short.sum(), 1e-300))

    def _recenter(self, state: _State) -> None:
        self.center = np.maximum(np.log(np.maximum(state.shares, 1e-300)), _FLOOR)
        self.width = max(_SHRINK * self.width, _LEAST_WIDTH)
        self._factor = None

    def _move(self, state: _State, rtol: float) -> bool:
        """One Newton step with the line search of `newton`; False if nothing is to be gained."""
        direction = self._direction(state, rtol)
        along, first = self._scores(direction), float((state.gradient * direction).sum())
        base, bend = float((self.penalty * self.matrix * direction).sum()), float((self.penalty * direction**2).sum())

        def slope(length: float) -> float:
            shares = self._smooth(self.scores + length * along)[1]
            return base + length * bend + float(self.mass @ ((shares - self.hot) * along).sum(axis=1))

        if not first < 0:
            return False
        length = step_length(slope, first)
        self.matrix, self.scores = self.matrix + length * direction, self.scores + length * along
        return True

    def _direction(self, state: _State, rtol: float) -> Array:
        """Conjugate gradients on ``H s = -gradient``, in single precision but for the penalty.

        Far out, where a start may be, every row is sure of one class and H is the penalty, without an entry for a free
        intercept: there the intercept is taken for penalised, which still goes down.
        """
        curved = self.mass / self.width * state.curved
        if curved.sum() <= _FLAT * self.problem.reg:
            return np.asarray(-state.gradient / np.maximum(self.penalty, self.problem.reg))
        order = np.argsort(curved, kind="stable")
        light = np.cumsum(curved[order]) <= _LIGHT * curved.sum()
        rows = np.sort(order[~light])
        X = self._single if rows.size > 0.7 * self.data.n else self._single[rows]
        rows = np.arange(self.data.n) if X is self._single else rows
        shares = state.shares[rows].astype(np.float32)
        weight = (self.mass[rows] / self.width).astype(np.float32)[:, None]

        if self._factor is None:
            self._factor = _Preconditioner(X, curved[rows] / state.shares.shape[1], self.penalty)
        direction, steps = _conjugate(curvature(X, shares, weight, self.penalty), self._factor, -state.gradient, rtol)
        if steps > _STALE:
            self._factor = None
        return direction

    @cached_property
    def _single(self) -> Matrix:
        return self.data.X.astype(np.float32)


class _Preconditioner:
    """The inverse of ``diag(penalty) + sum_i k_i (x_i, 1)(x_i, 1)'``, or of its diagonal.

    The diagonal serves wide or sparse X, and where a far row has more than single precision holds of the others, so
    that rounding leaves no definite matrix: then conjugate gradients take more steps to the same direction.
    """

    def __init__(self, X: Matrix, curvature: Array, penalty: Array) -> None:
        self.factor: Any = None
        if sp.issparse(X) or X.shape[1] > _FACTORED:
            self.diagonal = np.append((X**2).T @ curvature, curvature.sum()) + penalty
            return
        weighed = np.hstack([X, np.ones((X.shape[0], 1), X.dtype)]) * np.sqrt(curvature)[:, None].astype(X.dtype)
        gram = (weighed.T @ weighed).astype(np.float64)
        gram[np.diag_indices_from(gram)] += penalty + 1e-7 * np.trace(gram) / len(gram)
        try:
            self.factor = cho_factor(gram, check_finite=False)
        except np.linalg.LinAlgError:
            self.diagonal = np.diag(gram)

    def __call__(self, V: Array) -> Array:
        if self.factor is None:
            return V / self.diagonal
        return np.asarray(cho_solve(self.factor, V.T, check_finite=False).T)


def _conjugate(product: Any, inverse: Any, right: Array, rtol: float) -> tuple[Array, int]:
    """Preconditioned conjugate gradients on matrices, and their number."""
    found, rest = np.zeros_like(right), right.copy()
    scaled = inverse(rest)
    step, size = scaled, float((rest * scaled).sum())
    first, count = size, 0
    while size > rtol**2 * first and count < _CG_STEPS:
        image = product(step)
        length = size / float((step * image).sum())
        found, rest = found + length * step, rest - length * image
        scaled = inverse(rest)
        fresh = float((rest * scaled).sum())
        step, size, count = scaled + (fresh / size) * step, fresh, count + 1
    return found, count
