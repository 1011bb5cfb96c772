"""A first fit of a defence of someone else, and what its scores, rows and sets have to say alike."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from ..core import Array, InputError, LinpoisonError, Matrix
from .base import Defense

_ROUNDING = 1e-6


def rows_astray(fitted: Defense, X: Matrix, y: Array, thresholds: dict[float, float] | None = None) -> int:
    """Rows on the wrong side of the set of their class, by their scores; those at the threshold are left out.

    Parameters
    ----------
    fitted : Defense
        With convex sets.
    X, y
        Rows and labels.
    thresholds : dict, optional
        By label; its own by default.
    """
    astray = 0
    for label, threshold in (thresholds or fitted.thresholds_).items():
        mine = np.flatnonzero(y == label)
        region, scores = fitted.feasible_set(label, threshold), fitted.decision_function(X[mine], y[mine])
        inside, passes = np.asarray(region.contains(X[mine])), scores <= threshold
        wrong = (inside & ~passes & (region.relation != "outer")) | (passes & ~inside & (region.relation != "inner"))
        astray += int((wrong & (abs(scores - threshold) > _ROUNDING * max(1.0, abs(threshold)))).sum())
    return astray


def tried(name: str, defense: Defense, X: Matrix, y: Array) -> Defense:
    """Fit a defence of someone else once, before any work that rests on it.

    Parameters
    ----------
    name : str
        How errors call it.
    defense : Defense
    X, y
        Rows and labels.

    Raises
    ------
    InputError
        If it cannot be fitted on the rows, does not say which of them it keeps, or has a set that says otherwise.
    """
    try:
        fitted: Defense = clone(defense).fit(X, y)
        kept, scores = np.asarray(fitted.sample_indices_), np.asarray(fitted.decision_scores_, float)
        missing = set(np.unique(y).tolist()) - set(fitted.thresholds_)
        sound = scores.shape == y.shape and not np.isnan(scores).any() and not missing
        astray = rows_astray(fitted, X, y) if sound and fitted.has_convex_set else 0
    except LinpoisonError:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"a defence {name} that can be fitted on the rows", got) from error
    if kept.dtype.kind not in "iu" or not np.array_equal(kept, np.intersect1d(kept, np.arange(y.size))):
        raise InputError(f"sample_indices_ of {name} as row numbers, ascending, each once", repr(kept))
    if not sound:
        got = f"shape {scores.shape} with {int(np.isnan(scores).sum())} NaN, and no threshold of {sorted(missing)}"
        raise InputError(f"{y.size} decision_scores_ of {name} and thresholds_ of every class", got)
    if astray:
        raise InputError(f"a feasible_set of {name} that holds the rows below its threshold", f"{astray} astray")
    return fitted
