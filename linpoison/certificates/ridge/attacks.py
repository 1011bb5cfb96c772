"""The poison behind a ridge bound, and the score that retraining on it really gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.validation import Array
from .model import GROUPS, RidgeSystem

Index = NDArray[np.intp]

NEGLIGIBLE = 1e-6
"""Shares of a group that are left out of a poison."""
_SHARE = 1e-14
"""By which the products of points are taken to be wrong."""
_GROUP_LABELS = np.array([label for label, _ in GROUPS])


class Attacks(NamedTuple):
    """One poison for each test row, with the rows stored one below the other."""

    value: Array
    """The score ``-k z'v`` after retraining, shape (rows,)."""
    X: Array
    """Poison rows of all attacks, shape (points, d)."""
    y: Array
    """Labels, shape (points,)."""
    mass: Array
    """Mass as a fraction of the clean rows, shape (points,)."""
    row: Index
    """The test row that each point is aimed at, shape (points,)."""


def recover(system: RidgeSystem, points: Array, share: Array, rows: Index) -> Attacks:
    """The strongest of: the groups mixed as the program mixes them, and each group alone.

    Parameters
    ----------
    system : RidgeSystem
    points : ndarray, shape (rows, 4, d)
        One point for each group.
    share : ndarray, shape (rows, 4)
        Their shares of the budget.
    rows : ndarray of int, shape (rows,)
        Test rows of the claim.
    """
    used = share > NEGLIGIBLE
    mixed = np.where(used, share, 0.0)
    mixed /= np.maximum(mixed.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    alone = used[:, :, None] * np.eye(4)
    masses = system.claim.epsilon * np.concatenate([mixed[:, None], alone], axis=1)
    values = np.where(masses.any(axis=2), retrained(system, points, masses, rows), -np.inf)
    values = np.where(np.isfinite(values), values, -np.inf)
    best = np.argmax(values, axis=1)
    at = np.arange(len(rows))
    mass = masses[at, best]
    aim, group = np.nonzero(mass)
    return Attacks(values[at, best], points[aim, group], _GROUP_LABELS[group], mass[aim, group], rows[aim])


def retrained(system: RidgeSystem, points: Array, masses: Array, rows: Index) -> Array:
    """Scores ``c'v`` after retraining on points with masses, in closed form, less what rounding may be worth.

    ``v = v0 + H^-1 sum_j e_j r_j x_j`` with the residuals ``r = (I + T E)^-1 (k - X v0)``, ``T = X H^-1 X'``.

    Parameters
    ----------
    system : RidgeSystem
    points : ndarray, shape (rows, 4, d)
    masses : ndarray, shape (rows, choices, 4)
    rows : ndarray of int, shape (rows,)

    Returns
    -------
    ndarray, shape (rows, choices)
    """
    X = system.extend(points)
    active = masses.any(axis=1)
    solved = np.zeros_like(X)
    if active.any():
        solved[active] = system.solve(X[active])
    T = X @ solved.transpose(0, 2, 1)
    before = _GROUP_LABELS - X @ system.clean
    right = np.broadcast_to(before[:, None, :, None], (*masses.shape, 1))
    matrix = np.eye(4) + T[:, None] * masses[:, :, None, :]
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:  # numbers too far apart to retrain with: no attack is known
        return np.full(masses.shape[:2], -np.inf)
    residuals = inverse @ right
    # Entries that are wrong by a share u move the residuals by u |A^-1| (|A| |r| + |b|) at most (Skeel): nothing where
    # A is nearly diagonal, however far apart its entries are, and much where points are nearly the same and near in
    # value.
    moved = _SHARE * np.abs(inverse) @ (np.abs(matrix) @ np.abs(residuals) + np.abs(right))
    influence = masses * np.einsum("igd,id->ig", X, system.responses[rows])[:, None]
    clean = system.directions[rows] @ system.clean
    reached = np.einsum("icg,icg->ic", influence, residuals[..., 0])
    return np.asarray(clean[:, None] + reached - np.einsum("icg,icg->ic", np.abs(influence), moved[..., 0]))
