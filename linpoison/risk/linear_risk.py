"""The linear model of the core as a `Risk`: numpy only."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import CapabilityError, InputError, as_matrix, as_weights, check_number
from ..core.validation import Array
from ..losses import MarginLoss, Problem
from .protocols import HVP, Risk
from .score_losses import ActiveScores, ScoreLoss, score_loss


class LinearRisk(Risk):
    """A linear model with a margin loss, or with cross-entropy for several classes, as a `Risk`.

    ::

        L(w) = reg/2 |P w|^2 + (1 / sum c) sum_i c_i l(W x_i + b, y_i),      w = (W, b) row by row

    the order of a ``torch.nn.Linear``. P drops b unless it is penalised.

    Parameters
    ----------
    loss : MarginLoss or int
        A margin loss (one output, labels in {-1, +1}), or the number of classes of cross-entropy (labels from 0).
    reg : float, default 0
    fit_intercept, penalize_intercept : bool, default True

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> risk = LinearRisk(Logistic(), reg=0.1, fit_intercept=False)
    >>> risk.grad(np.zeros(1), np.array([[2.0]]), np.array([1.0]))
    array([-1.])
    """

    def __init__(
        self, loss: MarginLoss | int, reg: float = 0.0, *, fit_intercept: bool = True, penalize_intercept: bool = True
    ) -> None:
        self.link = score_loss(loss)
        self._reg = check_number(reg, "reg", at_least=0)
        self.fit_intercept, self.penalize_intercept = bool(fit_intercept), bool(penalize_intercept)

    @classmethod
    def of(cls, problem: Problem) -> LinearRisk:
        """The learning problem of the core, of `mean` scaling.

        Raises
        ------
        CapabilityError
            For the scaling "sum", whose regulariser depends on the number of rows.
        """
        if problem.scaling != "mean":
            raise CapabilityError("the scaling 'mean'", repr(problem.scaling), "Use `problem.pinned(n_rows)`.")
        intercepts = {"fit_intercept": problem.fit_intercept, "penalize_intercept": problem.penalize_intercept}
        return cls(problem.loss, problem.reg, **intercepts)

    def read_by(self, link: ScoreLoss) -> LinearRisk:
        """The same risk with the derivatives of another loss of the scores."""
        other = copy(self)
        other.link = link
        return other

    def active(self) -> LinearRisk:
        """The same risk for rows that are held where a loss with a kink is active; itself for any other loss."""
        loss = self.margin_loss
        return self if loss is None or loss.kink is None else self.read_by(ActiveScores(loss))

    @property
    def reg(self) -> float:
        return self._reg

    @property
    def margin_loss(self) -> MarginLoss | None:
        return self.link.loss

    @property
    def reach(self) -> float:
        return self.link.reach

    @property
    def head(self) -> slice:
        return slice(None)

    def rows(self, X: Any) -> Array:
        return np.array(as_matrix(X.toarray() if sp.issparse(X) else X, allow_empty=True))

    def vector(self, w: Any) -> Array:
        vector = np.array(w, dtype=np.float64)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise InputError("a flat vector of finite parameters", f"shape {vector.shape}")
        return vector

    def init(self, seed: int, d: int) -> Array:
        """Zeros: the problem is convex, so `seed` has no influence on what is learned."""
        return self.vector(np.zeros(self.link.outputs * (d + self.fit_intercept)))

    def loss(self, w: Any, X: Any, y: Any) -> Array:
        return self.link.value(self.scores(w, X), self.link.labels(y))

    def loss_vjp(self, w: Any, X: Any, y: Any, coefficients: Any) -> Array:
        pulls = self.link.pulls(self.scores(w, X), self.link.labels(y))
        return self._gather(np.asarray(coefficients)[:, None] * pulls, X)

    def data_grad(self, w: Any, X: Any, y: Any, weights: Any = None) -> Array:
        return self.loss_vjp(w, X, y, shares(weights, len(y)))

    def penalty_grad(self, w: Any) -> Array:
        return np.asarray(self._reg * self._mask(len(w)) * w)

    def grad(self, w: Any, X: Any, y: Any, weights: Any = None) -> Array:
        return self.data_grad(w, X, y, weights) + self.penalty_grad(w)

    def per_sample_grad(self, w: Any, X: Any, y: Any) -> Array:
        pulls = self.link.pulls(self.scores(w, X), self.link.labels(y))
        outer = np.einsum("nk,nd->nkd", pulls, self.rows(X)).reshape(len(pulls), -1)
        return np.hstack([outer, pulls]) if self.fit_intercept else outer

    def loss_jvp(self, w: Any, X: Any, y: Any, v: Any) -> Array:
        pulls = self.link.pulls(self.scores(w, X), self.link.labels(y))
        return np.asarray((pulls * self.scores(v, X)).sum(axis=1))

    def hvp(self, w: Any, X: Any, y: Any, v: Any, weights: Any = None) -> Array:
        return np.asarray(self.curvature(w, X, y, shares(weights, len(y)))(v)) + self.penalty_grad(v)

    def curvature(self, w: Any, X: Any, y: Any, coefficients: Any, *, gauss_newton: bool = False) -> HVP:
        """The Hessian either way: scores are linear in the parameters."""
        scores, labels, share = self.scores(w, X), self.link.labels(y), np.asarray(coefficients)[:, None]
        return lambda v: self._gather(share * self.link.bend(scores, labels, self.scores(v, X)), X)

    def mixed_product(self, w: Any, X: Any, y: Any, u: Any) -> Array:
        scores, labels = self.scores(w, X), self.link.labels(y)
        bent = self.link.bend(scores, labels, self.scores(u, X))
        return np.asarray(self.link.pulls(scores, labels) @ self._split(u)[0] + bent @ self._split(w)[0])

    def row_grad(self, w: Any, X: Any, y: Any) -> Array:
        return np.asarray(self.link.pulls(self.scores(w, X), self.link.labels(y)) @ self._split(w)[0])

    def scores(self, w: Any, X: Any) -> Array:
        weight, bias = self._split(w)
        rows = X if sp.issparse(X) else as_matrix(X, allow_empty=True)
        if rows.shape[1] != weight.shape[1]:
            raise InputError(f"rows of {weight.shape[1]} features, as the parameters say", f"{rows.shape[1]} features")
        return np.asarray(rows @ weight.T) + bias

    def predict(self, w: Any, X: Any) -> Array:
        return self.link.predict(self.scores(w, X))

    def features(self, w: Any, X: Any) -> Array:
        return self.rows(X)

    def _split(self, w: Any) -> tuple[Array, Array]:
        vector, k = np.asarray(w, dtype=np.float64), self.link.outputs
        cut = vector.size - k * self.fit_intercept
        if vector.ndim != 1 or cut <= 0 or cut % k:
            raise InputError(f"a flat vector of {k} rows of coefficients", f"shape {vector.shape}")
        bias = vector[cut:] if self.fit_intercept else np.zeros(k)
        return vector[:cut].reshape(k, -1), bias

    def _gather(self, pulls: Array, X: Any) -> Array:
        matrix = np.asarray((X.T @ pulls).T if sp.issparse(X) else pulls.T @ X).ravel()
        return np.append(matrix, pulls.sum(axis=0)) if self.fit_intercept else matrix

    def _mask(self, size: int) -> Array:
        mask = np.ones(size)
        if self.fit_intercept and not self.penalize_intercept:
            mask[size - self.link.outputs :] = 0.0
        return mask


def shares(weights: Any, n: int) -> Array:
    """Non-negative weights (None: one each) divided by their sum."""
    share = as_weights(weights, n)
    total = share.sum()
    if total <= 0:
        raise InputError("rows of positive weight", "none")
    return share / total
