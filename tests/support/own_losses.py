"""Losses of someone else: two files' worth of mathematics, no name of them in the library."""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from linpoison.losses import MarginLoss


class ModifiedHuber(MarginLoss):
    """The squared hinge, a line of slope -2 below margin -1. It states no formula that it could leave out."""

    name = "modified_huber"
    lipschitz = 2.0
    smoothness = 1.0

    def value(self, m):
        lack = np.maximum(1.0 - m, 0.0)
        return np.where(lack <= 2.0, lack**2 / 2, 2 * lack - 2)

    def derivative(self, m):
        return -np.clip(1.0 - m, 0.0, 2.0)

    def second_derivative(self, m):
        return np.where(np.abs(m) < 1.0, 1.0, 0.0)

    def expression(self, m):
        return cp.huber(cp.pos(1 - m), 2.0) / 2

    def margin_at_loss(self, value):
        return 1.0 - np.sqrt(2 * value) if value <= 2 else -value / 2

    def pull_constraints(self, pull, pulled_margin, mass):
        return [cp.quad_over_lin(pull, pull - pulled_margin) <= mass, pull / 2 <= mass]


class LogCosh(MarginLoss):
    """``log cosh(1 - m)``, which increases beyond margin 1; no cone states its pulls."""

    name = "log_cosh"
    lipschitz = 1.0
    smoothness = 1.0
    turn = 1.0

    def value(self, m):
        return np.logaddexp(0.0, 2 * (1.0 - m)) - (1.0 - m) - np.log(2)

    def derivative(self, m):
        return -np.tanh(1.0 - m)

    def second_derivative(self, m):
        return 1 - np.tanh(1.0 - m) ** 2

    def expression(self, m):
        return cp.logistic(2 * (1 - m)) - (1 - m) - np.log(2)

    def margin_at_loss(self, value):
        return 1.0 - float(value + np.log1p(np.sqrt(-np.expm1(-2 * value))))  # arccosh(exp(value))
