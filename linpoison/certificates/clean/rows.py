"""The frame of the bounds on margins: rows ``k (x, 1)``, their scores, lengths and sums, and how far a set reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ...core.dataset import Dataset
from ...core.parts import dense
from ...core.validation import Array, Matrix
from ...sets import FeasibleSet
from ..claim import Claim

LABELS = (1, -1)
PAD = 1e-9
"""Rounding allowed for, relative to the magnitudes that a bound adds up."""


def one(claim: Claim) -> float:
    """The last entry of every extended row: 1 where an intercept is fitted, else 0."""
    return float(claim.problem.fit_intercept)


def extended(claim: Claim, X: Any, labels: Array) -> Array:
    """``k (x, 1)`` of rows with labels `k`, dense, with 0 in place of the 1 if no intercept is fitted."""
    return np.column_stack([dense(X) * labels[:, None], labels * one(claim)])


def not_below_zero(goals: Array, bounds: Any) -> Array:
    """Bounds on the scores of goals ``k (z, 1)``, shapes (..., d + 1) and (...), where those of zeros are zero.

    The squares of multipliers so small that they suit such a goal may underflow, with whatever they stand for.
    """
    return np.where(np.any(goals, axis=-1), bounds, np.maximum(bounds, 0.0))


def signed_rows(claim: Claim) -> Matrix:
    """``y_i (x_i, 1)`` of the clean rows, dense or CSR, shape (n, d + 1)."""
    data = claim.train
    if not sp.issparse(data.X):
        return extended(claim, data.X, data.y)
    return sp.csr_array(sp.hstack([sp.diags_array(data.y) @ data.X, sp.csr_array((data.y * one(claim))[:, None])]))


def scores(claim: Claim, data: Dataset, vectors: Array) -> Array:
    """``(x_i, 1) . v`` of the rows of `data`, shape (n,) or, for vectors (m, d + 1), (m, n)."""
    last = vectors[..., -1:] * one(claim)
    return np.asarray((data.X @ vectors[..., :-1].T).T) + last


def signed_scores(claim: Claim, vectors: Array) -> Array:
    """``y_i (x_i, 1) . v`` of the clean rows, shape (n,) or (m, n)."""
    return scores(claim, claim.train, vectors) * claim.train.y


def combine(claim: Claim, values: Array) -> Array:
    """``sum_i values_i y_i (x_i, 1)``, shape (d + 1,) or, for values (m, n), (m, d + 1)."""
    signed = values * claim.train.y
    theta = np.asarray(claim.train.X.T @ signed.T).T
    return np.concatenate([theta, signed.sum(axis=-1, keepdims=True) * one(claim)], axis=-1)


def lengths(X: Matrix, ones: float) -> Array:
    """``|(x_i, ones)|``, shape (n,)."""
    squares = X.multiply(X).sum(axis=1) if sp.issparse(X) else np.einsum("ij,ij->i", X, X)
    return np.sqrt(np.asarray(squares).ravel() + ones**2)


def extent(part: FeasibleSet, ones: float) -> float:
    """A number that no ``|(x, ones)|`` over the set exceeds, infinite where none is known."""
    return float(np.hypot(part.extent, ones)) * (1 + PAD)
