"""The ridge learner as a quadratic form, and the bound that any comparator proves on its scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ...core.dataset import Dataset
from ...core.errors import CapabilityError
from ...core.validation import LABELS, Array
from ...losses import Squared
from ...sets import Ball, SupportBound
from ..claim import Claim

PAD = 1e-9
"""Rounding that every bound allows for, relative to the magnitudes that are summed in it."""

GROUPS = tuple((label, sign) for label in LABELS for sign in (1.0, -1.0))
"""The four kinds of poison: rows of the set of a label whose residual ``k - x'v`` has a sign."""


@dataclass(frozen=True, eq=False)
class RidgeSystem:
    """``H v = (1/n) sum_i c_i y_i x_i + integral (k - x'v) x d nu``: what poison does to the ridge learner.

    Rows carry a 1 behind them if an intercept is fitted, so that ``D`` is ``d + 1``, otherwise ``d``.

    Parameters
    ----------
    claim : Claim
    interval : bool
        Whether poison carries any label in [-1, 1], rather than that of its set.
    H : ndarray, shape (D, D)
        ``(1/n) sum_i c_i x_i x_i' + reg P``.
    moment : ndarray, shape (D,)
        ``(1/n) sum_i c_i y_i x_i``.
    """

    claim: Claim
    interval: bool
    H: Array
    moment: Array

    @classmethod
    def of(cls, claim: Claim, *, interval: bool = False) -> RidgeSystem:
        """The system of a claim.

        Raises
        ------
        CapabilityError
            If the loss is not the squared one.
        """
        if not isinstance(claim.problem.loss, Squared):
            raise CapabilityError("the squared loss", f"the {claim.problem.loss.name} loss", "Use certify_margin.")
        d = claim.train.d
        gram, moment = _moments(claim.train, claim.mass)
        H = gram.copy()
        H[np.diag_indices(d + 1)] += claim.reg * claim.mask
        used = d + int(claim.problem.fit_intercept)
        return cls(claim, interval, H[:used, :used], moment[:used])

    @property
    def intercept(self) -> bool:
        """Whether the last entry of a parameter vector is an intercept."""
        return self.claim.problem.fit_intercept

    @cached_property
    def factor(self) -> Any:
        """Cholesky factor of `H`."""
        return cho_factor(self.H, lower=True)

    def solve(self, rows: Array) -> Array:
        """``H^-1`` applied to each row."""
        return np.asarray(cho_solve(self.factor, np.atleast_2d(rows).T)).T

    @cached_property
    def clean(self) -> Array:
        """``v0 = H^-1 moment``: the minimiser without poison, but with the regulariser of the whole budget."""
        first = self.solve(self.moment)[0]
        return np.asarray(first + self.solve(self.moment - self.H @ first)[0])

    @cached_property
    def directions(self) -> Array:
        """``c = -k (z, 1)`` of each row of the claim, shape (rows, D)."""
        rows = self.claim.demand_rows()
        X = rows.X.toarray() if rows.is_sparse else rows.X
        return -rows.y[:, None] * self.extend(X)

    @cached_property
    def responses(self) -> Array:
        """``H^-1 c``, shape (rows, D)."""
        return self.solve(self.directions)

    @cached_property
    def sizes(self) -> Array:
        """``|c|_{H^-1}``, shape (rows,)."""
        return np.sqrt(np.maximum(np.einsum("ij,ij->i", self.directions, self.responses), 0.0))

    def extend(self, X: Array) -> Array:
        """Rows with the 1 of the intercept behind them, if there is one."""
        return np.concatenate([X, np.ones((*X.shape[:-1], 1))], axis=-1) if self.intercept else X

    @cached_property
    def _bounds(self) -> dict[float, SupportBound]:
        return {label: SupportBound(self.claim.sets[label]) for label in LABELS}

    def support_bounds(self, label: float, W: Array) -> Array:
        """Upper bounds on ``max w . x`` over the set of a label, for each row `w` of `W`."""
        part = self.claim.sets[label]
        if isinstance(part, Ball):
            return np.asarray(W @ part.center + part.radius * np.linalg.norm(W, axis=1))
        return np.array([self._bounds[label](w) for w in W])

    def pull(self, label: float, sign: float) -> float:
        """``s k`` of a group."""
        return 1.0 if self.interval else sign * label


_KEPT: WeakKeyDictionary[Dataset, tuple[tuple[str, float], Array, Array]] = WeakKeyDictionary()
"""The moments of data that is alive: a radius or a test error asks for them once for each budget and kind of row.

With the hash of the rows: a dataset is a view of arrays that somebody else may have changed since."""


def _moments(train: Dataset, mass: float) -> tuple[Array, Array]:
    """``(1/n) sum_i c_i x_i x_i'`` and ``(1/n) sum_i c_i y_i x_i`` of rows with a 1 behind them."""
    kept, key = _KEPT.get(train), (train.digest(), mass)
    if kept is not None and kept[0] == key:
        return kept[1:]
    d, share = train.d, train.weight / mass
    gram = np.empty((d + 1, d + 1))
    gram[:d, :d] = _gram(train.X, share)
    gram[:d, d] = gram[d, :d] = np.asarray(train.X.T @ share).ravel()
    gram[d, d] = share.sum()
    pull = share * train.y
    moment = np.append(np.asarray(train.X.T @ pull).ravel(), pull.sum())
    for part in (gram, moment):
        part.setflags(write=False)
    _KEPT[train] = (key, gram, moment)
    return gram, moment


def _gram(X: Any, share: Array) -> Array:
    if hasattr(X, "toarray"):
        return np.asarray((X.T @ X.multiply(share[:, None])).toarray())
    scaled = X * np.sqrt(share)[:, None]
    return np.asarray(scaled.T @ scaled)


def worst_residuals(system: RidgeSystem, V: Array) -> Array:
    """``M(v) = max |k - x'v|`` over all poison, for each row `v` of `V`, shape (rows,)."""
    theta = V[:, : system.claim.train.d]
    offset = V[:, -1] if system.intercept else np.zeros(len(V))
    worst = np.zeros(len(V))
    for label, sign in GROUPS:
        reach = system.support_bounds(label, -sign * theta)
        worst = np.maximum(worst, system.pull(label, sign) - sign * offset + reach)
    return worst


def _clean_squares(system: RidgeSystem, V: Array) -> Array:
    """Mean of ``(y_i - x_i'v)^2`` over the clean rows for each row `v` of `V`, shape (rows,)."""
    penalty = V**2 @ (system.claim.reg * system.claim.mask[: V.shape[1]])
    whole, pull = np.einsum("ij,ij->i", V @ system.H, V), 2 * V @ system.moment
    return np.maximum(1 - pull + whole - penalty, 0.0) + PAD * (1 + np.abs(pull) + whole + penalty)


def comparator_bounds(system: RidgeSystem, V: Array, rows: Any = slice(None)) -> Array:
    """What comparators prove about the scores of rows.

    ::

        c'v^ <= ( c'(v0 + v) + |c|_{H^-1} sqrt(|v - v0|_H^2 + eps M(v)^2) ) / 2     for every v.

    The reason: with ``r = k - x'v^`` on the poison, ``<v^ - v0, H (v^ - v)> = integral r (k - x'v - r)
    <= eps M(v)^2 / 4``, so that ``v^`` lies in an ellipsoid around ``(v0 + v) / 2``. Where `Claim.filled` holds, the
    mean square of the clean residuals takes the place of ``M(v)^2`` if it is greater.

    Parameters
    ----------
    system : RidgeSystem
    V : ndarray, shape (rows, D)
        One comparator for each row.
    rows : index
        Which rows of the claim.

    Returns
    -------
    ndarray, shape (rows,)
        Infinite where a comparator proves nothing.
    """
    c, size, epsilon = system.directions[rows], system.sizes[rows], system.claim.epsilon
    usable = np.asarray(np.isfinite(V).all(axis=1))
    V = np.where(usable[:, None], V, system.clean)
    off = V - system.clean
    worst = worst_residuals(system, V) if epsilon > 0 else np.zeros(len(V))
    with np.errstate(over="ignore", invalid="ignore"):
        price = np.maximum(worst**2, _clean_squares(system, V)) if system.claim.filled else worst**2
        square = np.maximum(np.einsum("ij,ij->i", off @ system.H, off), 0.0) + epsilon * price
        before, after, spread = c @ system.clean, np.einsum("ij,ij->i", c, V), size * np.sqrt(square)
        bound = (before + after + spread) / 2 + PAD * (np.abs(before) + np.abs(after) + spread)
    return np.asarray(np.where(usable & np.isfinite(bound), bound, np.inf))
