"""The semidefinite relaxation of poisoned centroids: sharper than inflated sets, and no proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import CapabilityError, InfeasibleSet, InputError, SolverFailed
from ...core.validation import Array, check_integer
from ...sets import FeasibleSet
from ..claim import Claim
from ..inflation import CentroidSets
from .certify import average_value

Split = tuple[float, float, float, float]
"""Masses of the rows with loss and of those without, of the class +1 and then of -1."""


@dataclass(frozen=True)
class SemidefiniteLoss:
    """Average loss under a filter with poisoned centroids, for the splits of the budget that were tried.

    Parameters
    ----------
    value : float
        The greatest over `splits`. **Not a certificate**: see `proves`.
    splits : tuple of (float, float, float, float)
        Masses of the poison with loss of the class +1, without loss of +1, with loss of -1, without loss of -1.
    values : tuple of float
        One for each split; infinite where the solver failed.
    proves : str
        What follows from it, in words.
    """

    value: float
    splits: tuple[Split, ...]
    values: tuple[float, ...]
    proves: str


PROVES = (
    "for a poison whose masses are one of the splits tried, and up to the accuracy of the solver, the mean hinge loss "
    "of the clean training rows is at most this; for other splits nothing is proved. Thresholds of the filter held "
    "fixed, no clean row removed, no constraint on the rows but sphere and slab"
)


def semidefinite_loss(claim: Claim, v: Any, *, resolution: int = 4) -> SemidefiniteLoss:
    """The bound of Steinhardt et al. for a sphere and a slab whose centroids are means of clean rows and poison.

    For a comparator ``v = (theta, b)`` and masses ``e`` of four rows ``x`` (of each class one with hinge loss and
    one without, which only moves the centroid)::

        L(v) + lam/4 <v, P v> + max over x of  sum_y e_y (1 - y (theta . x_y + b))
        subject to  |x - mu'_y| <= r_y,   |(x - mu'_y) . (mu'_+ - mu'_-)| <= s_y,   y (theta . x_y + b) <= 1,
                    mu'_y = (p_y mu_y + sum of e x over the class) / (p_y + sum of e over the class),

    which is linear in the Gram matrix of ``x``, ``mu_+``, ``mu_-`` and ``theta``: a semidefinite program of size 7, of
    the same value where rows have at least 7 features. Merging the rows of one kind into their mean loses nothing.
    The *maximum over the masses* is not convex, and only a grid of them is tried.

    Parameters
    ----------
    claim : Claim
        With the hinge loss, and the ball and perhaps the slab of the clean means as in `inflate`, **not** inflated.
    v : array_like, shape (d + 1,)
        Such as the witness of `certify_average_loss` on inflated sets; any ``v`` will do.
    resolution : int, default 4
        Into how many parts the budget is divided among the four kinds.

    Returns
    -------
    SemidefiniteLoss

    Raises
    ------
    CapabilityError
        For other losses and sets, and for a slab whose direction has been given the length 1.
    InputError
        If `v` has another length.

    References
    ----------
    Steinhardt, Koh, Liang: Certified defenses for data poisoning attacks (2017), section 5, and their code, where
    one heuristic split and a few random ones are tried.
    """
    check_integer(resolution, "resolution", at_least=1)
    vector = np.asarray(v, dtype=np.float64)
    if claim.problem.loss.kink is None:
        raise CapabilityError("the hinge loss", claim.problem.loss.name)
    if vector.shape != (claim.train.d + 1,) or not np.isfinite(vector).all():
        raise InputError(f"a finite vector of length {claim.train.d + 1}", f"shape {vector.shape}")
    if not claim.problem.fit_intercept:
        vector = np.append(vector[:-1], 0.0)
    program = _Program(claim, vector)
    alone = average_value(claim, vector) + 0.25 * claim.reg * float(claim.mask @ vector**2)
    splits = _splits(claim.epsilon, resolution)
    values = tuple(alone + program.worst(split) for split in splits)
    return SemidefiniteLoss(max(values), splits, values, PROVES)


def _splits(epsilon: float, parts: int) -> tuple[Split, ...]:
    whole = [item for item in product(range(parts + 1), repeat=4) if sum(item) == parts]
    return tuple((a * epsilon / parts, b * epsilon / parts, c * epsilon / parts, d * epsilon / parts)
                 for a, b, c, d in whole)  # fmt: skip


class _Program:
    """The semidefinite programs of one comparator. Vectors are coefficients over a+, b+, a-, b-, mu+, mu-, theta."""

    def __init__(self, claim: Claim, vector: Array) -> None:
        sets = {label: CentroidSets.of(claim.sets[label], claim.train, label, 0.0) for label in (1, -1)}
        self.share = {label: float(claim.train.of_class(label).total / claim.mass) for label in sets}
        self.radius = {label: sets[label].radius for label in sets}
        w = sets[1].mean - sets[-1].mean
        self.halfwidth = {label: _halfwidth(sets[label].parts, w) for label in sets}
        middle = (sets[1].mean + sets[-1].mean) / 2
        self.offset = float(vector[:-1] @ middle + vector[-1])
        self.length = float(np.linalg.norm(vector[:-1])) or 1.0
        known = np.column_stack([sets[1].mean - middle, sets[-1].mean - middle, vector[:-1] / self.length])
        self.known = known.T @ known

    def worst(self, split: Split) -> float:
        """The greatest hinge loss of the poison of one split, times its masses; infinite if the solver fails."""
        import cvxpy as cp

        gram = cp.Variable((7, 7), PSD=True)
        masses = {1: split[:2], -1: split[2:]}
        means = {label: self._mean(label, masses[label]) for label in masses}
        constraints = [gram[4:, 4:] == self.known]
        gain: Any = 0.0
        for label, (active, idle) in masses.items():
            first = 0 if label == 1 else 2
            for index, mass in ((first, active), (first + 1, idle)):
                if mass > 0:
                    constraints += self._inside(gram, _unit(index) - means[label], means, label)
            if active > 0:
                excess = 1 - label * (self.length * gram[first, 6] + self.offset)
                constraints.append(excess >= 0)
                gain = gain + active * excess
        if not (split[0] or split[2]):
            return 0.0
        try:
            return max(float(solve(cp.Problem(cp.Maximize(gain), constraints)).value), 0.0)
        except InfeasibleSet:  # no poison has this split
            return 0.0
        except SolverFailed:
            return float("inf")

    def _mean(self, label: int, masses: Sequence[float]) -> Array:
        first = 0 if label == 1 else 2
        mean = self.share[label] * _unit(4 if label == 1 else 5)
        mean = mean + masses[0] * _unit(first) + masses[1] * _unit(first + 1)
        return np.asarray(mean / (self.share[label] + sum(masses)))

    def _inside(self, gram: Any, offset: Array, means: dict[int, Array], label: int) -> list[Any]:
        inside = [_inner(gram, offset, offset) <= self.radius[label] ** 2]
        width = self.halfwidth[label]
        if width is not None:
            along = _inner(gram, offset, means[1] - means[-1])
            inside += [along <= width, -along <= width]
        return inside


def _unit(index: int) -> Array:
    return np.eye(7)[index]


def _inner(gram: Any, first: Array, second: Array) -> Any:
    import cvxpy as cp

    table = np.outer(first, second)
    return cp.sum(cp.multiply((table + table.T) / 2, gram))


def _halfwidth(parts: Sequence[FeasibleSet], w: Array) -> float | None:
    widths = []
    for part in parts:
        slab = None if part.piece is None else part.piece.slab
        if slab is not None:
            apart = min(float(np.linalg.norm(slab[0] - w)), float(np.linalg.norm(slab[0] + w)))
            if apart > 1e-6 * float(np.linalg.norm(w)):
                raise CapabilityError("slabs along the difference of the clean means, in its unit", repr(part))
            widths.append(slab[2])
    return min(widths, default=None)
