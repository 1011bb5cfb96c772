"""Residuals of a solved program, recomputed in numpy from the values of its variables."""

from __future__ import annotations

from typing import Any

import numpy as np

_TINY = 1e-12


def max_violation(problem: Any) -> float:
    """Largest violation of a constraint of a cvxpy problem at the present values of its variables.

    Linear and second-order constraints are measured in their own units; an exponential cone
    ``y exp(x / y) <= z`` by how far ``x`` would have to move, ``x - y log(z / y)``.

    Returns
    -------
    float
        Zero if every constraint holds, infinity if a value is missing or not finite.
    """
    worst = [0.0]
    for constraint in problem.constraints:
        if any(argument.value is None for argument in constraint.args):
            return float("inf")
        worst.append(_violation(constraint))
    result = float(max(worst))
    return result if np.isfinite(result) else float("inf")


def _violation(constraint: Any) -> float:
    import cvxpy as cp

    if isinstance(constraint, cp.ExpCone):
        return _exponential_violation(*(np.asarray(part.value, dtype=float) for part in constraint.args))
    values = np.atleast_1d(np.asarray(constraint.violation(), dtype=float))
    return float(values.max(initial=0.0)) if not np.isnan(values).any() else float("inf")


def _exponential_violation(x: Any, y: Any, z: Any) -> float:
    safe_y, safe_z = np.maximum(y, _TINY), np.maximum(z, _TINY)
    moves = x - safe_y * np.log(safe_z / safe_y)
    return float(max(np.max(moves, initial=0.0), np.max(-y, initial=0.0), np.max(-z, initial=0.0)))
