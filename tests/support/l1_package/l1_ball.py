"""The ball of the sum of absolute values around a class mean, and the defence that keeps what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from linpoison.defenses import Defense
from linpoison.sets import FeasibleSet


@dataclass(frozen=True, eq=False, repr=False)
class L1Ball(FeasibleSet):
    """``{x: sum_i |x_i - center_i| <= radius}``. The violation is the sum beyond the radius."""

    center: Any
    radius: float

    def __post_init__(self) -> None:
        self._set(center=np.array(self.center, dtype=float), radius=float(self.radius))

    @property
    def d(self) -> int:
        return self.center.size

    @property
    def extent(self):
        steepest = np.abs(self.center).max()
        return np.sqrt(self.center @ self.center + 2 * self.radius * steepest + self.radius**2)

    def _cone(self, u, t):
        return [cp.norm1(u - self.center * t) <= self.radius * t]

    def _violation(self, X):
        return distances(X, self.center) - self.radius

    def _support(self, w):
        x, steepest = self.center.copy(), np.argmax(np.abs(w))
        x[steepest] += self.radius * np.sign(w[steepest])
        return x

    def _support_bound(self, w):
        return self._at_support(w)

    def _project(self, X):
        """Soft thresholds: each row's is where the rest sums to the radius."""
        offset = X - self.center
        falling = -np.sort(-np.abs(offset), axis=1)
        limits = (np.cumsum(falling, axis=1) - self.radius) / np.arange(1, self.d + 1)
        limit = np.maximum(limits.max(axis=1), 0.0)[:, None]
        return self.center + np.sign(offset) * np.maximum(np.abs(offset) - limit, 0.0)


class L1Defense(Defense):
    """Score ``sum_i |x_i - mu_i|``, the distance to the mean of the class."""

    def _fit_detector(self, X, codes):
        self.means_ = np.array([np.asarray(X[codes == code].mean(axis=0)).ravel() for code in range(2)])

    def _scores(self, X, codes):
        scores = np.zeros(X.shape[0])
        for code, mean in enumerate(self.means_):
            members = np.flatnonzero(codes == code)
            scores[members] = distances(X[members], mean)
        return scores

    def _set_of(self, code, threshold):
        return L1Ball(self.means_[code], threshold)


def distances(X, center):
    """``sum_i |x_i - center_i|`` of each row; of CSR rows at the cost of their stored entries."""
    if not sp.issparse(X):
        return np.abs(X - center).sum(axis=1)
    at = center[X.indices]
    moved = sp.csr_array((np.abs(X.data - at) - np.abs(at), X.indices, X.indptr), shape=X.shape)
    return np.abs(center).sum() + np.asarray(moved.sum(axis=1)).ravel()
