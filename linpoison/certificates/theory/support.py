"""Poison that makes given parameters optimal, for models that a relaxation ends at."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import LinpoisonError
from ...core.validation import Array
from ..clean.rows import LABELS
from ..hinge.frame import Frame

ON_KINK = 1e-4
"""Distance of a margin from 1 within which a row may pull with any part of its weight."""


class AttackProgram:
    """The poison that comes nearest to stationarity at given parameters, compiled once for a frame.

    ::

        minimise    | reg P v - (1/n) sum_i c_i a_i y_i (x_i, 1) - u_+ + u_- |
        subject to  (u_y, w_y) in cone(F_y),  y (u_y, w_y) . v <= w_y,  w_+ + w_- = epsilon,  0 <= a <= 1

    with ``a_i`` free only where the margin is 1. Unlike in the relaxation, the points of *each* class are support
    vectors here.

    References
    ----------
    Koh, Steinhardt, Liang, "Stronger data poisoning attacks break data sanitization defenses", section 4.2.2.
    """

    def __init__(self, bare: Frame) -> None:
        import cvxpy as cp

        self.bare = bare
        n, width, eps = bare.share.size, bare.center.size, bare.claim.epsilon
        self.v, self.low, self.high = cp.Parameter(width), cp.Parameter(n), cp.Parameter(n)
        a = cp.Variable(n)
        self.u: dict[int, Any] = {label: cp.Variable(width - 1) for label in LABELS}
        self.w: dict[int, Any] = {label: cp.Variable(nonneg=True) for label in LABELS}
        rules = [a >= self.low, a <= self.high, self.w[1] + self.w[-1] == 1]
        for label in LABELS:
            rules += bare.claim.sets[label].constraints(self.u[label], self.w[label])
            margin = self.u[label] @ self.v[:-1] + bare.one * self.w[label] * self.v[-1]
            rules.append(label * margin <= self.w[label])
        pull = cp.hstack([self.u[1] - self.u[-1], bare.one * (self.w[1] - self.w[-1])])
        needed = cp.multiply(bare.reg * bare.claim.mask, self.v) - (bare.rows[0] * bare.share[:, None]).T @ a
        self.problem = cp.Problem(cp.Minimize(cp.sum_squares(needed / max(eps, 1e-12) - pull)), rules)

    def solve(self, v: Array) -> dict[int, tuple[float, Array]]:
        """Masses and pulls ``{y: (w_y, u_y)}``, empty if no poison of the sets can support the parameters."""
        margins = self.bare.rows[0] @ v
        self.v.value = v
        self.low.value = (margins < 1 - ON_KINK).astype(np.float64)
        self.high.value = (margins < 1 + ON_KINK).astype(np.float64)
        try:
            solve(self.problem, solver="CLARABEL")
        except LinpoisonError:
            return {}
        eps = self.bare.claim.epsilon
        values = {label: (eps * float(self.w[label].value), eps * np.asarray(self.u[label].value)) for label in LABELS}
        return {label: value for label, value in values.items() if value[0] > 1e-6 * eps}
