"""Target and collateral damage, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.validation import Array, check_number
from .population import Mask, Population
from .trainers import Predictor


@dataclass(frozen=True)
class Estimate:
    """A damage with the ends of its confidence interval.

    Parameters
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Damage:
    """What poison does to the accuracy on test rows.

    Parameters
    ----------
    target : Estimate
        Drop in accuracy on the rows of the subpopulation.
    collateral : Estimate
        Drop in accuracy on all other rows.
    n_target : int
        Test rows of the subpopulation.
    """

    target: Estimate
    collateral: Estimate
    n_target: int


def correctness(models: Sequence[Predictor], rows: Population) -> Mask:
    """Which rows each model gets right, shape (models, n)."""
    return np.array([np.asarray(model.predict(rows.X)) == rows.y for model in models]).reshape(len(models), rows.n)


def measure_damage(before: Any, after: Any, mask: Mask, level: float = 0.95) -> Damage:
    """Damage from what models trained without and with poison get right.

    ::

        target = mean of before over F = 1  -  mean of after over F = 1,      collateral: over F = 0

    each with a normal interval of variance

    ::

        var_i(mean_s before - mean_s after) / rows  +  var_s(before) / seeds  +  var_s(after) / seeds

    for test rows i and training seeds s, both drawn anew. A single seed adds no variance of seeds.

    Parameters
    ----------
    before, after : array_like of bool, shape (seeds, n)
        See `correctness`; the numbers of seeds may differ.
    mask : ndarray of bool, shape (n,)
        The subpopulation.
    level : float, default 0.95

    Raises
    ------
    InputError
        If no row is in the subpopulation, or none outside.

    References
    ----------
    Jagielski et al. (2021), Definition 3.2.

    Examples
    --------
    >>> before, after = [[True, True, True, True]], [[False, True, True, True]]
    >>> damage = measure_damage(before, after, np.array([True, True, False, False]))
    >>> damage.target.value, damage.collateral.value
    (0.5, 0.0)
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != mask.size or second.shape[1] != mask.size:
        raise InputError(f"arrays of shape (seeds, {mask.size})", f"shapes {first.shape} and {second.shape}")
    if not mask.any() or mask.all():
        raise InputError("test rows in the subpopulation and outside", f"{int(mask.sum())} of {mask.size} in it")
    z = NormalDist().inv_cdf(0.5 + check_number(level, "level", above=0, below=1) / 2)
    return Damage(_estimate(first, second, mask, z), _estimate(first, second, ~mask, z), int(mask.sum()))


def _estimate(before: Array, after: Array, rows: Mask, z: float) -> Estimate:
    first, second = before[:, rows], after[:, rows]
    drops = first.mean(axis=0) - second.mean(axis=0)
    spread = z * float(np.sqrt(_variance(drops) + _variance(first.mean(axis=1)) + _variance(second.mean(axis=1))))
    value = float(drops.mean())
    return Estimate(value, value - spread, value + spread)


def _variance(values: Array) -> float:
    """Of the mean of `values`; none if there is a single one."""
    return float(values.var(ddof=1)) / values.size if values.size > 1 else 0.0
