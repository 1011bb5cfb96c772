"""Target and collateral damage, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ..core import Array, Dataset, InputError, Mask, check_number
from ..risk import Sample
from .trainers import Predictor


@dataclass(frozen=True)
class Estimate:
    """A damage with the ends of its confidence interval, which need not have it in the middle.

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


def correctness(models: Sequence[Predictor], rows: Sample | Dataset) -> Mask:
    """Which rows each model gets right, shape (models, n)."""
    return np.array([np.asarray(model.predict(rows.X)) == rows.y for model in models]).reshape(len(models), rows.n)


def measure_damage(before: Any, after: Any, mask: Mask, level: float = 0.95) -> Damage:
    """Damage from what models trained without and with poison get right.

    ::

        target = mean of before over F = 1  -  mean of after over F = 1,      collateral: over F = 0

    each with an interval for paired rows: normal around the mean of the rows' drops d_1, ..., d_n and two rows more,
    of which one half each drops by 1 and by -1, with variance

    ::

        (1 / (n + 2)) [ (sum_i d_i^2 + 1) / (n + 2)  -  (sum_i d_i / (n + 2))^2 ]
            +  var_s(before) / seeds  +  var_s(after) / seeds

    for test rows i and training seeds s, both drawn anew, see `paired_interval`. A single seed adds no variance of
    seeds.

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


def paired_interval(drops: Array, z: float, variance: float = 0.0) -> tuple[float, float]:
    """Interval of a mean of paired differences in [-1, 1], such as of what two models get right.

    ::

        M +- z sqrt( (sum_i d_i^2 + 1) / m^2  -  M^2 / m  +  variance ),        M = sum_i d_i / m,   m = n + 2

    as of two rows more, which are one half each at 1 and at -1; then no further than 1 from zero, and widened to
    hold the mean where it does not, as it may for z below 1.6. So it has a width where all rows are alike.

    Parameters
    ----------
    drops : ndarray of shape (n,)
    z : float
        Quantile of the normal distribution.
    variance : float
        Of the mean, from elsewhere.

    References
    ----------
    Agresti, Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24,
    2005, section 3: one half of an observation in each cell.

    Examples
    --------
    >>> [round(end, 3) for end in paired_interval(np.zeros(98), 1.96)]
    [-0.02, 0.02]
    """
    more, mean = drops.size + 2, float(drops.mean())
    middle = float(drops.sum()) / more
    of_rows = ((float(drops @ drops) + 1) / more - middle**2) / more
    half = z * float(np.sqrt(of_rows + variance))
    return min(mean, max(-1.0, middle - half)), max(mean, min(1.0, middle + half))


def _estimate(before: Array, after: Array, rows: Mask, z: float) -> Estimate:
    first, second = before[:, rows], after[:, rows]
    drops = first.mean(axis=0) - second.mean(axis=0)
    low, high = paired_interval(drops, z, _variance(first.mean(axis=1)) + _variance(second.mean(axis=1)))
    return Estimate(float(drops.mean()), low, high)


def _variance(values: Array) -> float:
    """Of the mean of `values`; none if there is a single one."""
    return float(values.var(ddof=1)) / values.size if values.size > 1 else 0.0
