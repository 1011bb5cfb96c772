"""The hinge loss in any units: an interior point in standardised coordinates, which are exact."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..core import Array, Dataset, LinearModel
from ..losses import Problem
from .base import ProvenFit

GAP, STEPS = 1e-10, 80
"""Duality gap relative to the objective at which it ends, and steps at most."""


def interior_hinge(problem: Problem, data: Dataset) -> ProvenFit:
    """The hinge-loss minimiser for columns of any scale and offset.

    ::

        min over v, xi   v'Qv / 2 + sum_i u_i xi_i,     xi_i >= 1 - y_i (z_i, 1) . v,  xi >= 0,     u_i = c_i / N

    with ``z = R (x - m) / D``: standardised columns, turned so that one of them alone knows of the offset ``m / D``. Q
    is the penalty of the user's own ``(theta, b)`` in the coordinates ``v = (R D theta, b + m . theta)``, so that it is
    the same problem whatever m and D are, for a penalised intercept too. Each Newton step solves d + 1 equations, so
    that d should be some hundreds at most. It ends at a gap of `GAP`; the caller judges that of what is returned.

    Parameters
    ----------
    problem : Problem
        With the hinge loss.
    data : Dataset
        Dense rows of positive weight and of both classes.

    Notes
    -----
    Mehrotra's predictor and corrector, see Nocedal and Wright (2006), Numerical Optimization, section 16.6.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> data = Dataset([[1e6], [-2e6]], [1, -1])
    >>> found = interior_hinge(Problem(Hinge(), 0.5), data)
    >>> found.gap <= 1e-9 * found.value
    True
    """
    return _Interior(problem, data).run()


class _Interior:
    """Iterates of one fit: ``v``, slacks ``xi`` and ``t``, and multipliers ``a`` and ``u - a``."""

    def __init__(self, problem: Problem, data: Dataset) -> None:
        self.problem, self.data = problem, data
        self.cap = data.weight / data.total
        self.reg = problem.reg_at(data.total)
        X, fitted = data.X, problem.fit_intercept
        self.middle = X.mean(axis=0) if fitted else np.zeros(data.d)
        centred = X - self.middle
        spread = np.sqrt((centred**2).mean(axis=0))
        scale = np.where(spread > 0, spread, 1.0)
        turn, length = _turned(self.middle / scale)
        ones = np.full((data.n, 1), float(fitted))
        self.rows = data.y[:, None] * np.hstack([(centred / scale) @ turn, ones])
        self.back = np.zeros((data.d + 1, data.d + 1))
        self.back[:-1, :-1] = turn / scale[:, None]
        self.back[-1, [0, -1]] = -length, 1.0
        mask = problem.penalty_mask(data.d)
        self.penalty = self.reg * (self.back.T * mask) @ self.back
        if not fitted:
            self.penalty[-1, -1] = self.reg

    def run(self) -> ProvenFit:
        n, d = self.rows.shape
        v, a = np.zeros(d), 0.5 * self.cap
        xi, t = np.full(n, 1.5), np.full(n, 0.5)
        best, floor = self._fit(v, a), 0.0
        for _ in range(STEPS):
            found = self._fit(v, a)
            floor = max(floor, found.value - found.gap)
            best = found if found.value < best.value else best
            if best.value - floor <= GAP * best.value:
                break
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                moved = self._step(v, a, xi, t)
            if moved is None:
                break
            v, a, xi, t = moved
        return ProvenFit(best.model, best.value - floor, best.value)

    def _step(self, v: Array, a: Array, xi: Array, t: Array) -> tuple[Array, Array, Array, Array] | None:
        other = self.cap - a
        dual_rest = self.penalty @ v - self.rows.T @ a
        rest = self.rows @ v + xi - 1 - t
        weight = 1 / (t / a + xi / other)
        system = self.penalty + self.rows.T @ (weight[:, None] * self.rows)
        try:
            factor = cho_factor(system, check_finite=False)
        except (LinAlgError, ValueError):
            return None

        def direction(first: Array, second: Array) -> tuple[Array, Array, Array, Array]:
            """For ``t da + a dt = first`` and ``xi d(u - a) + (u - a) dxi = second``."""
            push = first / a - second / other - rest
            dv = cho_solve(factor, self.rows.T @ (weight * push) - dual_rest, check_finite=False)
            da = weight * (push - self.rows @ dv)
            dxi = (second + xi * da) / other
            return dv, da, dxi, self.rows @ dv + dxi + rest

        mean = float(a @ t + other @ xi) / (2 * a.size)
        dv, da, dxi, dt = direction(-a * t, -other * xi)
        length = min(_length(a, da), _length(other, -da), _length(xi, dxi), _length(t, dt))
        ahead = float((a + length * da) @ (t + length * dt) + (other - length * da) @ (xi + length * dxi)) / (
            2 * a.size
        )
        aim = mean * (ahead / mean) ** 3
        dv, da, dxi, dt = direction(aim - a * t - da * dt, aim - other * xi + da * dxi)
        length = 0.995 * min(_length(a, da), _length(other, -da), _length(xi, dxi), _length(t, dt))
        if not length > 1e-12 or not np.isfinite(dv).all():
            return None
        return v + length * dv, a + length * da, xi + length * dxi, t + length * dt

    def _fit(self, v: Array, a: Array) -> ProvenFit:
        """The model of `v` in the user's coordinates, and its gap to the dual point `a`."""
        vector = self.back @ v
        model = LinearModel(vector[:-1], float(vector[-1]) * self.problem.fit_intercept)
        value = self.problem.value(model, self.data)
        return ProvenFit(model, value - self._dual_value(a), value)

    def _dual_value(self, a: Array) -> float:
        """The dual objective at a multiplier of the margins that has been made feasible."""
        if self.problem.fit_intercept and not self.problem.penalize_intercept:
            positive = self.data.y > 0
            mass = float(a[positive].sum()), float(a[~positive].sum())
            a = a * np.where(positive, min(1.0, mass[1] / mass[0]), min(1.0, mass[0] / mass[1]))
        signed = self.data.y * a
        pull = signed @ (self.data.X - self.middle) + self.middle * signed.sum()
        norm = float(pull @ pull)
        if self.problem.fit_intercept and self.problem.penalize_intercept:
            norm += float(signed.sum()) ** 2
        return float(a.sum()) - norm / (2 * self.reg)


def _length(values: Array, change: Array) -> float:
    """The longest step of at most 1 that keeps positive values so."""
    falling = change < 0
    return min(1.0, float((-values[falling] / change[falling]).min())) if falling.any() else 1.0


def _turned(offset: Array) -> tuple[Array, float]:
    """A reflection R, and the length l, with ``R offset = l e_1``."""
    length = float(np.linalg.norm(offset))
    normal = offset.copy()
    normal[0] -= length
    size = float(normal @ normal)
    if size <= (1e-12 * length) ** 2:
        return np.eye(offset.size), length
    return np.eye(offset.size) - 2 / size * np.outer(normal, normal), length
