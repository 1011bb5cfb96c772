"""Solvers of ``H x = b`` that only multiply with H, without a number that waits for the device in between."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core import InputError, SolverFailed, check_integer, check_number
from .arrays import length, like, on_host, plus, to_numpy, where
from .protocols import HVP, InverseHVP, Solution, Vector


def mean_curvature(hvp: HVP, b: Vector) -> Any:
    """An estimate of ``|trace H| / p`` from one vector of signs (always the same ones), as a number of the kind of `b`.

    Examples
    --------
    >>> float(mean_curvature(lambda v: 3.0 * v, np.zeros(5)))
    3.0
    """
    place = (0.0 * b + 1.0).cumsum(0)  # signs of a quadratic Weyl sequence: as good as random, and made where b is
    signs = where((place * place * 0.6180339887498949) % 1.0 < 0.5, 1.0 + 0.0 * b, -1.0)
    return abs(signs @ hvp(signs)) / len(b)


def residual_of(hvp: HVP, b: Vector, x: Vector) -> Any:
    """``|H x - b| / |b|``, computed anew; the numerator alone where b is zero."""
    size = length(b)
    return length(hvp(x) - b) / where(size > 0, size, 1.0)


@dataclass(frozen=True)
class Krylov(InverseHVP):
    """What solvers by products have in common: ``(H + damping I) x = b`` in at most `maxiter` iterations.

    Parameters
    ----------
    relative_damping : float, default 1e-2
        Part of the damping in units of the mean curvature, see `mean_curvature`. Zero for the exact inverse.
    damping : float, default 0
        Part of the damping in absolute units.
    maxiter : int, default 50
    tol : float, default 1e-10
        Relative residual at which to stop.
    every : int, optional
        Iterations between two looks at whether it is done. Each waits for the device: by default it looks at every one
        where numbers are on the host, and at every sixteenth elsewhere. Iterations after the end change nothing, so
        that the answer is the same.
    """

    relative_damping: float = 1e-2
    damping: float = 0.0
    maxiter: int = 50
    tol: float = 1e-10
    every: int | None = None

    def __post_init__(self) -> None:
        check_number(self.relative_damping, "relative_damping", at_least=0)
        check_number(self.damping, "damping", at_least=0)
        check_number(self.tol, "tol", at_least=0)
        check_integer(self.maxiter, "maxiter", at_least=1)
        if self.every is not None:
            check_integer(self.every, "every", at_least=1)

    def solve(self, hvp: HVP, b: Vector) -> Solution:
        damping = self.damping + (self.relative_damping * mean_curvature(hvp, b) if self.relative_damping else 0.0)
        damped = (lambda v: plus(hvp(v), damping, v)) if self.damping or self.relative_damping else hvp
        x, iterations, curvature = self.iterate(damped, b)
        return Solution.of(x, residual_of(damped, b, x), iterations, curvature, damping, self.name)

    @abstractmethod
    def iterate(self, hvp: HVP, b: Vector) -> tuple[Vector, Any, Any]:
        """An approximate solution of ``H x = b``, the iterations that it took and the least curvature met."""

    def _number(self, b: Vector) -> Any:
        """What makes the kind of number that decides: Python's where every iteration is looked at and this is free."""
        return float if self.every is None and on_host(b) else _as_it_is

    def _over(self, step: int, active: Any) -> bool:
        """Whether to look and nothing is left to do."""
        every = self.every or (1 if on_host(active) else 16)
        return step > 0 and step % every == 0 and not bool(active)


@dataclass(frozen=True)
class CG(Krylov):
    """Conjugate gradients, up to the first direction of negative curvature: for positive definite H.

    Parameters
    ----------
    relative_damping, damping, maxiter, tol, every
        See `Krylov`.

    Notes
    -----
    On a network away from a minimum H is indefinite; plain conjugate gradients can then return anything. This one
    stops there, says so in the solution, and returns what it has (`b` itself, if it has nothing yet), which may be far
    from solving anything: `MINRES` is for indefinite H.

    Examples
    --------
    >>> CG(relative_damping=0).solve(lambda v: np.array([1.0, 4.0]) * v, np.ones(2)).x
    array([1.  , 0.25])
    """

    name: ClassVar[str] = "cg"

    def iterate(self, hvp: HVP, b: Vector) -> tuple[Vector, Any, Any]:
        number = self._number(b)
        x, r, p, squared = 0.0 * b, b, b, number(b @ b)
        goal, least = self.tol**2 * squared, np.inf + 0.0 * squared
        active, steps = squared > goal, 0.0 * squared
        for step in range(self.maxiter):
            if self._over(step, active):
                break
            product = hvp(p)
            along, steps = number(p @ product), steps + active
            least = _lower(least, along, number(p @ p), active)
            go = active & (along > 0)
            stride = where(go, squared / where(go, along, 1.0), 0.0)
            x = plus(x, stride, p) if step else where(go, stride, where(active, 1.0, 0.0)) * b
            r = plus(r, -stride, product)
            squared, before = number(r @ r), squared
            p = plus(r, where(go, squared / where(go, before, 1.0), 0.0), p)
            active = go & (squared > goal)
        return x, steps, least


@dataclass(frozen=True)
class GaussNewton(CG):
    """Conjugate gradients on the damped Gauss-Newton matrix ``sum_i c_i J_i' l''(scores_i) J_i`` in the place of H.

    J_i is the Jacobian of the scores of a row. The matrix leaves out the curvature of the network itself, so that it is
    positive semidefinite for every loss that is convex in the scores; of a linear model it is H.

    Parameters
    ----------
    relative_damping, damping, maxiter, tol, every
        See `Krylov`.

    References
    ----------
    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002.
    """

    name: ClassVar[str] = "gauss-newton"
    gauss_newton: ClassVar[bool] = True


@dataclass(frozen=True)
class NormalCG(Krylov):
    """Conjugate gradients on the normal equations ``H^2 x = H b``, for any H: two products in each iteration.

    The condition number is squared. TGDA's published code does 16 such iterations without damping:
    ``NormalCG(relative_damping=0, maxiter=16)``.

    Parameters
    ----------
    relative_damping, damping, maxiter, tol, every
        See `Krylov`.

    References
    ----------
    Hestenes, Stiefel (1952), section 10; in the form of Bjoerck, "Numerical methods for least squares problems",
    section 7.4, which keeps ``b - H x`` itself.
    """

    name: ClassVar[str] = "normal-cg"

    def iterate(self, hvp: HVP, b: Vector) -> tuple[Vector, Any, Any]:
        number = self._number(b)
        x, r, s = 0.0 * b, b, hvp(b)
        p, squared, goal = s, number(s @ s), self.tol**2 * number(b @ b)
        least, steps = np.inf + 0.0 * squared, 0.0 * squared
        active = (squared > 0) & (number(r @ r) > goal)
        for step in range(self.maxiter):
            if self._over(step, active):
                break
            q = hvp(p)
            pulled, steps = number(q @ q), steps + active
            least = _lower(least, number(p @ q), number(p @ p), active)
            stride = where(active, squared / where(pulled > 0, pulled, 1.0), 0.0)
            x, r = plus(x, stride, p), plus(r, -stride, q)
            s = hvp(r)
            squared, before = number(s @ s), squared
            p = plus(s, where(active, squared / where(active, before, 1.0), 0.0), p)
            active = active & (pulled > 0) & (squared > 0) & (number(r @ r) > goal)
        return x, steps, least


@dataclass(frozen=True)
class MINRES(Krylov):
    """The minimal residual method: of all x in the Krylov space that with the least ``|H x - b|``, for any symmetric H.

    As good as conjugate gradients where these are right, and as many products.

    Parameters
    ----------
    relative_damping, damping, maxiter, tol, every
        See `Krylov`.

    References
    ----------
    Paige, Saunders, "Solution of sparse indefinite systems of linear equations", 1975; the curvature along residuals
    by Liu, Roosta, "MINRES: from negative curvature detection to monotonicity properties", 2022, Lemma 3.1.

    Examples
    --------
    >>> MINRES(relative_damping=0).solve(lambda v: np.array([1.0, -4.0]) * v, np.ones(2)).x.round(12)
    array([ 1.  , -0.25])
    """

    name: ClassVar[str] = "minres"

    def iterate(self, hvp: HVP, b: Vector) -> tuple[Vector, Any, Any]:
        # Lanczos:  H v_k = beta_(k+1) v_(k+1) + alpha_k v_k + beta_k v_(k-1)  writes H as a tridiagonal T in the basis
        # v_1 = b / |b|, v_2, ... . Reflections [c s; s -c] turn T into an upper triangle R of three diagonals
        # (gamma, delta, epsilon) and |b| e_1 into (tau_1 .. tau_k, phi), phi = |b - H x_k|. With W R = V, column by
        # column, x_k = x_(k-1) + tau_k w_k. Of the residual r = r_(k-1), -c_(k-1) gamma_k = r'Hr / r'r with gamma_k the
        # diagonal before its reflection; it is not positive for the first time exactly where T_k is not. What is 1e-10
        # of the greatest entry of T is rounding: the space, or the range of H, is exhausted.
        number = self._number(b)
        size = number(length(b))
        goal, active = self.tol * size, size > self.tol * size
        x, v, older, w, last = 0.0 * b, b / where(size > 0, size, 1.0), 0.0 * b, 0.0 * b, 0.0 * b
        zero = 0.0 * size
        beta, phi, c, s, delta, epsilon, scale = zero, size, zero - 1.0, zero, zero, zero, zero
        least, steps = np.inf + zero, zero
        for step in range(self.maxiter):
            if self._over(step, active):
                break
            q = hvp(v)
            alpha, steps = number(v @ q), steps + active
            q = plus(plus(q, -alpha, v), -beta, older)
            beta, gamma = number(length(q)), s * delta - c * alpha
            least = _lower(least, -c * gamma, 1.0, active)
            across, ahead, delta = c * delta + s * alpha, s * beta, -c * beta
            scale = where(abs(alpha) + beta > scale, abs(alpha) + beta, scale)
            corner = (gamma * gamma + beta * beta) ** 0.5
            active = active & (corner > 1e-10 * scale)
            divisor = where(active, corner, 1.0)
            c, s = gamma / divisor, beta / divisor
            w, last, epsilon = plus(plus(v, -across, w), -epsilon, last) / divisor, w, ahead
            x = plus(x, where(active, c * phi, 0.0), w)
            phi = s * phi
            active = active & (beta > 1e-10 * scale) & (abs(phi) > goal)
            older, v = v, q / where(active, beta, 1.0)
        return x, steps, least


@dataclass(frozen=True)
class Dense(InverseHVP):
    """H written out column by column and factorised: exact, for few parameters.

    Parameters
    ----------
    damping : float, default 0
    limit : int, default 2000
        The most parameters that are accepted.
    """

    name: ClassVar[str] = "dense"
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
            raise InputError(f"at most {self.limit} parameters", f"{p}", "Use MINRES, or raise `limit`.")
        H = np.stack([to_numpy(hvp(like(unit, b))) for unit in np.eye(p)])
        H = (H + H.T) / 2 + self.damping * np.eye(p)
        try:
            x = like(np.linalg.solve(H, to_numpy(b)), b)
        except np.linalg.LinAlgError:
            raise SolverFailed("the Hessian is singular. Add damping or a regulariser.") from None
        residual = residual_of(lambda v: hvp(v) + self.damping * v, b, x)
        return Solution.of(x, residual, p, np.linalg.eigvalsh(H)[0], self.damping, self.name)


@dataclass(frozen=True)
class Identity(InverseHVP):
    """``x = b``, as if H were the identity: influence becomes gradient optimisation. The residual is NaN."""

    name: ClassVar[str] = "identity"

    def solve(self, hvp: HVP, b: Vector) -> Solution:
        return Solution.of(1.0 * b, np.nan, 0, np.nan, 0.0, self.name)


def _as_it_is(number: Any) -> Any:
    return number


def _lower(least: Any, along: Any, squared: Any, active: Any) -> Any:
    """The lesser of a curvature and that of a direction d from ``d'Hd`` and ``d'd``, while it is still met."""
    found = where(active, along / where(active, squared, 1.0), np.inf)
    return where(found < least, found, least)


SOLVERS: dict[str, type[Krylov]] = {kind.name: kind for kind in (CG, MINRES, GaussNewton, NormalCG)}
"""Name -> solver by products."""
