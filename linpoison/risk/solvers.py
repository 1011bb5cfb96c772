"""Solvers of ``H x = b`` that only multiply with H."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import InputError, SolverFailed, check_integer, check_number
from .arrays import like, norm, to_numpy
from .protocols import HVP, InverseHVP, Solution, Vector


def mean_curvature(hvp: HVP, b: Vector) -> float:
    """An estimate of ``|trace H| / p`` from one vector of random signs (always the same ones).

    Examples
    --------
    >>> mean_curvature(lambda v: 3.0 * v, np.zeros(5))
    3.0
    """
    signs = like(np.random.default_rng(0).choice([-1.0, 1.0], size=len(b)), b)
    return abs(float(signs @ hvp(signs))) / len(b)


def finish(hvp: HVP, b: Vector, solution: Solution) -> Solution:
    """The same solution with its residual computed anew."""
    gap = hvp(solution.x) + solution.damping * solution.x - b
    size = norm(b)
    residual = norm(gap) / size if size else norm(gap)
    return Solution(solution.x, residual, solution.iterations, solution.damping, solution.negative_curvature)


@dataclass(frozen=True)
class CG(InverseHVP):
    """Conjugate gradients on ``(H + damping I) x = b``, up to the first direction of negative curvature.

    Parameters
    ----------
    relative_damping : float, default 1e-2
        Part of the damping in units of the mean curvature, see `mean_curvature`. Zero for the exact inverse.
    damping : float, default 0
        Part of the damping in absolute units.
    maxiter : int, default 50
    tol : float, default 1e-10
        Relative residual at which to stop.

    Notes
    -----
    On a network away from a minimum H is indefinite; plain conjugate gradients can then return anything. This one
    stops there, says so in the solution, and returns what it has (`b` itself, if it has nothing yet).

    Examples
    --------
    >>> CG(relative_damping=0).solve(lambda v: np.array([1.0, 4.0]) * v, np.ones(2)).x
    array([1.  , 0.25])
    """

    relative_damping: float = 1e-2
    damping: float = 0.0
    maxiter: int = 50
    tol: float = 1e-10

    def __post_init__(self) -> None:
        check_number(self.relative_damping, "relative_damping", at_least=0)
        check_number(self.damping, "damping", at_least=0)
        check_number(self.tol, "tol", at_least=0)
        check_integer(self.maxiter, "maxiter", at_least=1)

    def solve(self, hvp: HVP, b: Vector) -> Solution:
        return finish(hvp, b, self.iterate(hvp, b))

    def iterate(self, hvp: HVP, b: Vector) -> Solution:
        """The solution without a check of its residual, which would take one more product."""
        damping = self.damping + (self.relative_damping * mean_curvature(hvp, b) if self.relative_damping else 0.0)
        x, r, p = 0.0 * b, 1.0 * b, 1.0 * b
        squared, goal = float(r @ r), self.tol * norm(b)
        for step in range(self.maxiter):
            if squared**0.5 <= goal:
                return Solution(x, float("nan"), step, damping)
            product = hvp(p) + damping * p
            curvature = float(p @ product)
            if curvature <= 0:
                return Solution(x if step else 1.0 * b, float("nan"), step + 1, damping, True)
            x = x + (squared / curvature) * p
            r = r - (squared / curvature) * product
            squared, before = float(r @ r), squared
            p = r + (squared / before) * p
        return Solution(x, float("nan"), self.maxiter, damping)


@dataclass(frozen=True)
class Dense(InverseHVP):
    """H written out column by column and factorised: exact, for few parameters.

    Parameters
    ----------
    damping : float, default 0
    limit : int, default 2000
        The most parameters that are accepted.
    """

    damping: float = 0.0
    limit: int = 2000

    def solve(self, hvp: HVP, b: Vector) -> Solution:
        """The exact solution.

        Raises
        ------
        InputError
            For more than `limit` parameters.
        SolverFailed
            If H + damping I is singular.
        """
        p = len(b)
        if p > self.limit:
            raise InputError(f"at most {self.limit} parameters", f"{p}", "Use CG, or raise `limit`.")
        H = np.stack([to_numpy(hvp(like(unit, b))) for unit in np.eye(p)])
        H = (H + H.T) / 2 + self.damping * np.eye(p)
        try:
            x = np.linalg.solve(H, to_numpy(b))
        except np.linalg.LinAlgError:
            raise SolverFailed("the Hessian is singular. Add damping or a regulariser.") from None
        negative = bool(np.linalg.eigvalsh(H)[0] <= 0)
        return finish(hvp, b, Solution(like(x, b), 0.0, p, self.damping, negative))


@dataclass(frozen=True)
class Identity(InverseHVP):
    """``x = b``, as if H were the identity: influence becomes gradient optimisation. The residual is NaN."""

    def solve(self, hvp: HVP, b: Vector) -> Solution:
        return Solution(1.0 * b, float("nan"), 0)
