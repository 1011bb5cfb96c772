"""Solve a cvxpy problem under one policy."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.results import SolveInfo
from ..core.validation import Array
from .choice import installed_solver, installed_solvers
from .residuals import max_violation
from .status import FINAL, Attempt, UnfitSolver, failure

_CHAIN = ("CLARABEL", "ECOS", "SCS")
_BROKEN = "solver_error"
_BRISK = {"iterative_refinement_enable": False}
_OPTIONS: dict[str, dict[str, Any]] = {
    "ECOS": {"max_iters": 500},
    "SCS": {"eps": 1e-9, "max_iters": 50_000},
    "OSQP": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iter": 100_000},
}
_TIGHT: dict[str, tuple[dict[str, Any], ...]] = {
    "CLARABEL": (
        {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-11}
        | dict.fromkeys(("reduced_tol_gap_abs", "reduced_tol_gap_rel", "reduced_tol_feas"), 1e-8),
    ),
    "ECOS": (
        {"max_iters": 500, "abstol": 1e-12, "reltol": 1e-12, "feastol": 1e-11}
        | dict.fromkeys(("abstol_inacc", "reltol_inacc", "feastol_inacc"), 1e-8),
    ),
    "OSQP": tuple(
        {"eps_abs": 1e-7, "eps_rel": 1e-7, "max_iter": 25_000, "rho": rho, "scaling": 20} for rho in (1e-3, 1.0)
    ),
}
"""Tolerances for a user who compares solvers: what a solver calls inaccurate then meets its usual ones.

OSQP polishes what its steps end with to full precision; the length of the step decides whether they end.
"""
COMPILED = 1_000
"""Length of a vector up to which a program that is solved for many such vectors is compiled with a parameter."""

_CONES = {
    "soc": "second-order cones", "exp": "exponential cones", "psd": "semidefinite cones", "p3d": "power cones",
    "pnd": "power cones",
}  # fmt: skip
"""Names of the cones that cvxpy counts in a program."""


def solve(
    problem: Any,
    *,
    solver: str | None = None,
    check: Callable[[], float] | None = None,
    tol: float = 1e-6,
    brisk: bool = False,
    tight: bool = False,
) -> SolveInfo:
    """Solve a convex program and leave the solution in its variables.

    An answer is taken if its largest violation, recomputed in numpy, is at most `tol`; without a
    `check` of the caller's own, one that the solver calls ``optimal`` is taken too, since the size
    of a program's raw residuals says little. Anything else passes the program on to the next
    solver of the chain.

    Parameters
    ----------
    problem : cvxpy.Problem
    solver : str, optional
        The only solver to try, by cvxpy's name in any case. By default CLARABEL, then ECOS and
        SCS as far as they are installed.
    check : callable, optional
        Returns the largest violation of the solution that now lies in the variables. By default
        the residuals of the constraints (`max_violation`).
    tol : float, default 1e-6
    brisk : bool, default False
        Let Clarabel try without iterative refinement first. On large sparse quadratic programs
        that saves a third of the time; its stopping rule, and so its accuracy, stays the same. On
        small ones with second-order cones it often fails, and the second try costs more.
    tight : bool, default False
        Ask each solver for more digits first, where it can give them, so that the objectives of different
        solvers agree to 1e-6.

    Returns
    -------
    SolveInfo
        ``value`` and ``max_violation`` are recomputed from the variables.

    Raises
    ------
    InputError
        If `solver` is not installed.
    UnfitSolver
        If `solver` cannot take the cones of the program.
    InfeasibleSet
        If no point meets the constraints.
    UnboundedProblem
        If the objective has no finite optimum.
    SolverFailed
        If no solver gave an answer that can be taken.

    Examples
    --------
    >>> import cvxpy as cp
    >>> x = cp.Variable(2)
    >>> info = solve(cp.Problem(cp.Minimize(cp.sum(x)), [x >= 1]))
    >>> info.solver, info.status, round(info.value, 6)
    ('CLARABEL', 'optimal', 2.0)
    """
    start = time.perf_counter()
    attempts = []
    for name, options in _ways(_solvers(solver), brisk, tight):
        attempt = _try(problem, name, options, warm=not (brisk or tight))
        if solver is not None and attempt.status == _BROKEN:
            _refuse_unfit(problem, name)
        if attempt.status in ("optimal", "optimal_inaccurate"):
            violation = float(check() if check is not None else max_violation(problem))
            if violation <= tol or (check is None and attempt.status == "optimal"):
                value = _objective(problem)
                return SolveInfo(name, attempt.status, value, time.perf_counter() - start, violation)
            attempt = Attempt(name, attempt.status, f"violation {violation:.1e} above {tol:.0e}")
        if attempt.status in FINAL and options is not _BRISK:
            raise failure([attempt])
        attempts.append(attempt)
    raise failure(attempts)


class Restated:
    """A program of which one vector changes from one solution to the next.

    Of a short vector it is compiled once, with a parameter. cvxpy then works in arrays as long as the product of the
    numbers of variables and parameters, which takes gigabytes for 17,000 of both. So of a long vector the program is
    stated anew.

    Parameters
    ----------
    state : callable
        Makes the `cvxpy.Problem` of a vector: of numbers, or of a `cvxpy.Parameter`.
    d : int
        Length of the vector.
    """

    def __init__(self, state: Callable[[Any], Any], d: int) -> None:
        import cvxpy as cp

        self._state = state
        self._vector = cp.Parameter(d) if d <= COMPILED else None
        self._kept = None if self._vector is None else state(self._vector)

    def at(self, vector: Array) -> Any:
        """The program, not solved, of `vector`, shape (d,)."""
        if self._vector is None:
            return self._state(vector)
        self._vector.value = vector
        return self._kept


def _solvers(solver: str | None) -> list[str]:
    return [name for name in _CHAIN if name in installed_solvers()] if solver is None else [installed_solver(solver)]


def _ways(names: list[str], brisk: bool, tight: bool) -> list[tuple[str, dict[str, Any]]]:
    """Solvers with their options, in the order in which they are tried."""
    ways = [(name, _OPTIONS.get(name, {})) for name in names]
    if tight:
        return [(name, options) for name in names for options in _TIGHT.get(name, ())] + ways
    return [("CLARABEL", _BRISK), *ways] if brisk and names[0] == "CLARABEL" else ways


def _refuse_unfit(problem: Any, name: str) -> None:
    """Raise where it was the kind of program that a solver did not take, not the numbers in it."""
    import cvxpy as cp

    try:
        problem.get_problem_data(name)
    except cp.SolverError:
        dims = problem.get_problem_data("CLARABEL")[0]["dims"]
        cones = dict.fromkeys(word for kind, word in _CONES.items() if getattr(dims, kind, None))
        raise UnfitSolver(name, " and ".join(cones) or "a quadratic objective") from None


def _try(problem: Any, name: str, options: dict[str, Any], warm: bool) -> Attempt:
    """One try. A warm start makes cvxpy keep the options of the solve before, so that it is off among several."""
    import cvxpy as cp

    try:
        with warnings.catch_warnings():
            # The status says the same and is handled by the caller.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            # cvxpy divides 0 by 0 where it recomputes a perspective at its apex; `check` sees to that.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="cvxpy")
            problem.solve(solver=name, warm_start=warm, **options)
    except (cp.SolverError, ValueError) as error:
        return Attempt(name, _BROKEN, " ".join(str(error).split())[:200])
    return Attempt(name, str(problem.status))


def _objective(problem: Any) -> float:
    return float(np.asarray(problem.objective.value).item())
