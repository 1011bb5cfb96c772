"""Poison rows inside the balls that they move themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from ...core.dataset import Dataset
from ...core.validation import Array, Matrix, check_number
from ...sets import Ball
from .regions import refitted_ball

MOST = 50
"""Readings of a ball before its rows are contracted instead."""
_NEAR = 1e-7  # of the radius: rows this far outside are inside
_HALVINGS = 40


def pulled_in(data: Dataset, poison: Dataset, remove: float) -> Dataset:
    """The poison with each row in the ball of `refitted_regions` that the poison as it is then moves.

    The ball of a class is read, rows outside go to its nearest point, which moves the ball, and so on until
    no row is more than 1e-7 of the radius outside. After `MOST` readings the rows of the class are
    contracted towards the mean of its clean rows, as little as halving a share finds.

    Parameters
    ----------
    data : Dataset
        Clean rows.
    poison : Dataset
        Its weights are counted in clean rows; rows of the domain, where they stay. (Of a domain of counts they stay in
        the box: they are pulled to fractions, as the balls know nothing of counts.)
    remove : float
        Share of each class that is dropped, in [0, 1).

    Notes
    -----
    Let q be the share of the poison in its class and v how far its worst row is outside. Pulling rows in moves
    them by v at most, the centre by q v, and so the radius, a quantile of distances to it, by q v: after the
    next reading no row is more than 2 q v outside. Below q = 1/2, less poison than clean rows, readings
    converge. The contraction always ends, at the clean mean if the clean rows are all the same: shrunk to a share t,
    the rows are t times as far from the centre, and the centre is t times as far from the clean mean, where the ball
    has a radius of its own. Nearest points and contracted rows lie between a row and a mean of rows, so a convex
    domain that holds the rows holds them.
    """
    check_number(remove, "remove", at_least=0, below=1)
    X = poison.X.toarray() if sp.issparse(poison.X) else np.array(poison.X)
    for label in np.unique(poison.codes):
        own = poison.codes == label
        X[own] = _Class(data.X[data.codes == label], poison.weight[own], remove).pulled_in(X[own])
    return replace(poison, X=X)


@dataclass(frozen=True, eq=False)
class _Class:
    """The clean rows of one class, and the weights of its poison."""

    rows: Matrix
    weight: Array
    remove: float

    def pulled_in(self, X: Array) -> Array:
        for _ in range(MOST):
            ball = self._ball(X)
            if _holds(ball, X):
                return X
            X = ball.project(X)
        return self._contracted(X)

    def _contracted(self, X: Array) -> Array:
        """The rows at the greatest share found of their way from the clean mean that is inside."""
        mean = np.asarray(self.rows.mean(axis=0)).ravel()
        inside, outside = 0.0, 1.0
        for _ in range(_HALVINGS):
            share = (inside + outside) / 2
            tried = mean + share * (X - mean)
            inside, outside = (share, outside) if _holds(self._ball(tried), tried) else (inside, share)
        return np.asarray(mean + inside * (X - mean))

    def _ball(self, X: Array) -> Ball:
        return refitted_ball(self.rows, X, self.weight, self.remove)


def _holds(ball: Ball, X: Array) -> bool:
    return bool(ball.contains(X, _NEAR * ball.radius).all())
