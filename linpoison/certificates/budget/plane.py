"""Budgets over a plane of models: what each costs, with points anywhere and with points in given sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InputError, SolverFailed
from ...core.model import LinearModel
from ...core.validation import Array
from ...losses import Problem
from ...sets import ByLabel
from ...sets.base import as_vector
from ..thresholds import reachability_threshold
from .least import min_budget


@dataclass(frozen=True, eq=False)
class BudgetPlane:
    """The budgets of ``origin + across[j] first + up[i] second``.

    Parameters
    ----------
    across : ndarray, shape (p,)
    up : ndarray, shape (q,)
    anywhere : ndarray, shape (q, p)
        Closed-form thresholds for points of R^d, exact.
    inside : ndarray, shape (q, p), or None
        Certified bounds for points of the sets; infinite where no poison will do. None without sets.
    enough : ndarray, shape (q, p), or None
        Budgets of the programs, which attain the bounds where `exact` says so; NaN where no program was solved.
    exact : ndarray of bool, shape (q, p), or None
    """

    across: Array
    up: Array
    anywhere: Array
    inside: Array | None = None
    enough: Array | None = None
    exact: Any = None


def budget_plane(
    train: Dataset,
    problem: Problem,
    sets: ByLabel | None,
    *,
    origin: LinearModel,
    first: Any,
    second: Any,
    across: Any,
    up: Any,
    kink_tolerance: float = 1e-3,
    method: Literal["auto", "conic", "structured"] = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> BudgetPlane:
    """Budgets over a grid on a plane of models.

    Without sets this is the heat map of the thesis (Figure 3.1, left); with the sets of a defence it shows what the
    defence adds.

    Parameters
    ----------
    train : Dataset
    problem : Problem
    sets : ByLabel or None
        Where poison may lie; None for the closed form alone.
    origin : LinearModel
    first, second : array_like, shape (d + 1,)
        Directions of ``(theta, b)``.
    across, up : array_like
        Steps along them.
    kink_tolerance, method
        As in `min_budget`.
    progress : callable, optional
        Called with the number of models done and their number.

    Returns
    -------
    BudgetPlane

    References
    ----------
    Lu, Kamath, Yu (2023), Corollary 1 and Figure 3.1 of Lu's thesis.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> train = Dataset([[1.0, 0.0], [-1.0, 0.0]], [1, -1])
    >>> plane = budget_plane(
    ...     train, Problem(Hinge(), reg=0.1, fit_intercept=False), None, origin=LinearModel([0.0, 0.0]),
    ...     first=[1, 0, 0], second=[0, 1, 0], across=[-1.0, -0.5], up=[0.0],
    ... )
    >>> plane.anywhere.round(4)
    array([[1.2222, 0.5385]])
    """
    steps = [as_vector(values, name) for values, name in ((across, "across"), (up, "up"))]
    axes = [as_vector(axis, name, train.d + 1) for axis, name in ((first, "first"), (second, "second"))]
    if origin.d != train.d:
        raise InputError(f"an origin of {train.d} features", f"{origin.d}")
    shape = (steps[1].size, steps[0].size)
    anywhere, inside, enough = (np.full(shape, np.nan) for _ in range(3))
    exact = np.zeros(shape, dtype=bool)
    for done, (i, j) in enumerate(np.ndindex(*shape)):
        model = LinearModel.from_vector(origin.vector + steps[0][j] * axes[0] + steps[1][i] * axes[1])
        anywhere[i, j] = reachability_threshold(problem, model, train, kink_tolerance=kink_tolerance).epsilon
        if sets is not None:
            inside[i, j], enough[i, j], exact[i, j] = _cell(train, problem, sets, model, kink_tolerance, method)
        if progress is not None:
            progress(done + 1, shape[0] * shape[1])
    if sets is None:
        return BudgetPlane(steps[0], steps[1], anywhere)
    return BudgetPlane(steps[0], steps[1], anywhere, np.fmax(inside, anywhere * (1 - 1e-6)), enough, exact)


def _cell(
    train: Dataset, problem: Problem, sets: ByLabel, model: LinearModel, tolerance: float, method: Any
) -> tuple[float, float, bool]:
    """Bound, budget and exactness of one model. Where solvers fail, what is known without them stands."""
    try:
        found = min_budget(train, problem, sets, model, kink_tolerance=tolerance, method=method)
    except SolverFailed:
        return np.nan, np.nan, False
    return float(found.bound), float(found.info["primal"]), bool(found.exact)
