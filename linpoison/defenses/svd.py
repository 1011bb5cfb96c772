"""The SVD defence: rows with a large part outside the main subspace of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from scipy.linalg import orth

from ..core import Array, LinearModel, Matrix, check_integer, check_number
from ..sets import FeasibleSet, SubspaceTube
from .base import Codes, Defense
from .known import Known
from .rows import class_means, residual_norms
from .subspace_fit import Subspace, principal_subspace, subspace_work

_REFERENCE_LIMIT = 1000  # vectors that the reference program asks its solver for


class SVDDefense(Defense):
    """Score ``|(I - B B') x|``, the part of a row outside the main directions of all the rows.

    B holds the top k right singular vectors of the uncentred matrix X of both classes, with the
    smallest k for which ``|X - X B B'|_F^2 / |X|_F^2 < 1 - energy``.

    The variant "reference" takes one vector fewer (of at most 1000), adds the class means to the basis and
    orthonormalises it, and scores ``x - mu_y`` (equal to the score of ``x``, since the basis then
    spans the means).

    Parameters
    ----------
    remove : float, default 0.05
    variant : {"paper", "reference"}, default "paper"
    energy : float, default 0.95
        Share of ``|X|_F^2`` that the subspace exceeds, in (0, 1).
    rank_hint : int, optional
        A guess of k, such as `rank_` on similar rows. It saves time and changes nothing else.

    Attributes
    ----------
    basis_ : ndarray of shape (d, n_basis)
        Orthonormal columns; computed when it is first asked for.
    rank_ : int
        Number of singular vectors in it.
    means_ : ndarray of shape (n_classes, d)

    References
    ----------
    Koh, Steinhardt and Liang (2022), section 2.2, "SVD defense"; Rubinstein et al., "ANTIDOTE"
    (2009).

    Examples
    --------
    >>> X = [[3.0, 0.0], [3.0, 0.1], [-3.0, 0.0], [-3.0, 0.1]]
    >>> SVDDefense(remove=0.5).fit(X, [0, 0, 1, 1]).sample_indices_
    array([0, 2])
    """

    costly_fit = measures_distance = True
    blind_because = " (the main directions of these rows fill the whole space)"

    def __init__(
        self, remove: float = 0.05, variant: str = "paper", energy: float = 0.95, rank_hint: int | None = None
    ) -> None:
        super().__init__(remove, variant)
        self.energy = energy
        self.rank_hint = rank_hint

    def set_entries(self, n: int, d: int) -> int:
        return d * min(n, d)

    def fit_work(self, X: Matrix) -> float:
        return subspace_work(X, self.energy)

    def fit_beside(self, X: Any, y: Any, known: Known, undefended: Callable[[], LinearModel]) -> Self:
        """The rank of the clean rows is the guess: not that of the last fit, which would depend on what ran before."""
        key, n = repr(self), known.train.n
        if self.rank_hint is not None:
            return self.fit(X, y)
        if key not in known.guesses:
            clean = self.fit(X[:n], y[:n])
            known.guesses[key] = clean.rank_
            if X.shape[0] == n:
                return clean
        self.rank_hint = known.guesses[key]
        return self.fit(X, y)

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        energy = check_number(self.energy, "energy", above=0, below=1)
        self.means_ = class_means(X, codes, self.classes_.size)
        hint = None if self.rank_hint is None else check_integer(self.rank_hint, "rank_hint", at_least=0)
        reference = self.variant == "reference"
        limit = _REFERENCE_LIMIT if reference else None
        space = principal_subspace(X, energy, rank_hint=hint, limit=limit)
        self._space = space.first(max(space.rank - 1, 0)) if reference else space
        self._beside = _outside(self._space, self.means_) if reference else np.zeros((0, X.shape[1]))
        self.rank_ = self._space.rank
        self._basis: Array | None = None

    @property
    def basis_(self) -> Array:
        """Orthonormal columns of the subspace, shape (d, n_basis)."""
        if self._basis is None:
            self._basis = np.hstack([self._space.basis, self._beside.T])
        return self._basis

    def _fitted_scores(self, X: Matrix, codes: Codes) -> Array:
        return self._space.own_residuals(self._beside)

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return residual_norms(X, self.basis_)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        center = self.means_[code] if self.variant == "reference" else None
        return SubspaceTube(self.basis_, threshold, center)


def _outside(space: Subspace, rows: Array) -> Array:
    """Orthonormal rows (m, d) of what a few rows add to the span of a subspace."""
    left = rows - space.combine(space.coordinates(rows))
    scale = float(np.linalg.norm(rows, axis=1).max())
    if not scale or np.linalg.norm(left) <= 1e-10 * scale:
        return np.zeros((0, rows.shape[1]))
    fresh = orth(left.T, rcond=1e-10 * scale / np.linalg.norm(left, 2)).T
    fresh -= space.combine(space.coordinates(fresh))
    return np.asarray(np.linalg.qr(fresh.T)[0].T)
