"""The SVD defence: rows with a large part outside the main subspace of the data."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orth

from ..core.validation import Array, Matrix, check_integer, check_number
from ..sets import FeasibleSet, SubspaceTube
from .base import Codes, Defense
from .rows import class_means, residual_norms
from .subspace_fit import principal_subspace


class SVDDefense(Defense):
    """Score ``|(I - B B') x|``, the part of a row outside the main directions of all the rows.

    B holds the top k right singular vectors of the uncentred matrix X of both classes, with the
    smallest k for which ``|X - X B B'|_F^2 / |X|_F^2 < 1 - energy``.

    The variant "reference" takes one vector fewer, adds the class means to the basis and
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
        Orthonormal columns.
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

    def __init__(
        self, remove: float = 0.05, variant: str = "paper", energy: float = 0.95, rank_hint: int | None = None
    ) -> None:
        super().__init__(remove, variant)
        self.energy = energy
        self.rank_hint = rank_hint

    def _fit_detector(self, X: Matrix, codes: Codes) -> None:
        energy = check_number(self.energy, "energy", above=0, below=1)
        self.means_ = class_means(X, codes, self.classes_.size)
        hint = None if self.rank_hint is None else check_integer(self.rank_hint, "rank_hint", at_least=0)
        basis = principal_subspace(X, energy, rank_hint=hint).basis
        if self.variant == "reference":
            basis = basis[:, :-1] if basis.shape[1] else basis
        self.rank_ = int(basis.shape[1])
        self.basis_ = _with_directions(basis, self.means_) if self.variant == "reference" else basis

    def _scores(self, X: Matrix, codes: Codes) -> Array:
        return residual_norms(X, self.basis_)

    def _set_of(self, code: int, threshold: float) -> FeasibleSet:
        center = self.means_[code] if self.variant == "reference" else None
        return SubspaceTube(self.basis_, threshold, center)


def _with_directions(basis: Array, extra: Array) -> Array:
    """The basis, and behind it an orthonormal basis of what `extra` rows (k, d) add to its span."""
    outside = extra.T - basis @ (basis.T @ extra.T)
    scale = float(np.linalg.norm(extra, axis=1).max())
    if not scale or np.linalg.norm(outside) <= 1e-10 * scale:
        return basis
    fresh = orth(outside, rcond=1e-10 * scale / np.linalg.norm(outside, 2))
    fresh -= basis @ (basis.T @ fresh)
    return np.hstack([basis, np.linalg.qr(fresh)[0]])
