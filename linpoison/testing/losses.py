"""The contract of a margin loss: derivatives, constants, and its views in cvxpy held against its values."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..convex import solve
from ..core.validation import Array
from ..losses import MarginLoss
from ..losses.base import check_loss as check_shape
from .holding import hold

GRID = np.linspace(-60, 60, 24_001) + 1.7e-4
"""Margins that are no round numbers, at which derivatives may jump."""
STEP = 1e-5
RIGHT = np.array([-20.0, -4.0, -1.3, -0.2, 0.0, 0.6, 2.0, 7.0, 30.0])
"""Arguments of `worst_pull`."""


def check_loss(loss: MarginLoss) -> None:
    """Hold all that a loss says of itself against its values; what it does not state is left out.

    Parameters
    ----------
    loss : MarginLoss

    Raises
    ------
    AssertionError
        In one sentence, for the first thing that is not so.
    CapabilityError
        If no `Problem` takes a loss of this shape.

    Examples
    --------
    >>> from linpoison.losses import SmoothHinge
    >>> check_loss(SmoothHinge(0.3))
    """
    check_shape(loss)
    _shape(loss)
    _derivatives(loss)
    _constants(loss)
    _forms(loss)
    _margins_at_losses(loss)
    _worst(loss, "worst_pull", (loss.pull(GRID)[:, None] * (GRID[:, None] + RIGHT)).max(axis=0))
    _worst(loss, "worst_loss", loss.value(-RIGHT if loss.turn is None else np.minimum(-RIGHT, loss.turn)))
    _expression(loss)
    _pull_constraints(loss)
    _gain(loss)


def _near(a: Any, b: Any, tol: float) -> Array:
    return np.asarray(np.abs(np.asarray(a) - b) <= tol * (1 + np.abs(b)))


def _shape(loss: MarginLoss) -> None:
    value, slope = loss.value(GRID), loss.derivative(GRID)
    hold(value >= 0, "a loss of at least 0", loss)
    hold(loss.derivative(np.zeros(1)) < 0, "a loss that falls at margin 0", loss)
    hold(np.diff(slope) >= -1e-12, "a convex loss: `derivative` never falls", loss)
    if loss.turn is None:
        hold(slope <= 0, "a loss that never increases, or a `turn`", loss)
    else:
        hold(_near(value, loss.value(2 * loss.turn - GRID), 1e-9), "values symmetric about `turn`", loss)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for part in (loss.value, loss.derivative, loss.second_derivative):
            hold(np.isfinite(part(np.array([-1e6, 1e6]))), "finite numbers at margins of 1e6", loss)
    same = type(loss)(**loss.parameters)
    hold(same == loss and hash(same) == hash(loss), "`parameters` that make the same loss again", loss)


def _derivatives(loss: MarginLoss) -> None:
    for name, whole, part in (("derivative", loss.value, loss.derivative),
                              ("second_derivative", loss.derivative, loss.second_derivative)):  # fmt: skip
        change = (whole(GRID + STEP) - whole(GRID - STEP)) / (2 * STEP)
        hold(_near(part(GRID), change, 1e-4), f"`{name}` as differences have it", loss)


def _constants(loss: MarginLoss) -> None:
    hold(np.abs(loss.derivative(GRID)) <= loss.lipschitz * (1 + 1e-12), "slopes of at most `lipschitz`", loss)
    hold(loss.second_derivative(GRID) <= loss.smoothness * (1 + 1e-12), "curvatures of at most `smoothness`", loss)
    hold((GRID * loss.pull(GRID)).max() <= loss.reach * (1 + 1e-12), "`reach` of at least t psi(t)", loss)
    flatter = [other.smoothness for other in loss.continuation]
    hold(np.diff([*flatter, loss.smoothness]) > 0, "losses of `continuation` with ever greater smoothness", loss)


def _forms(loss: MarginLoss) -> None:
    if loss.soft_hinge is not None:
        kink, width = loss.soft_hinge
        form = width * np.logaddexp(0, (kink - GRID) / width) if width else np.maximum(kink - GRID, 0)
        hold(_near(loss.value(GRID), form, 1e-12), "the values of its `soft_hinge`", loss)
    if loss.quadratic:
        hold(_near(loss.value(GRID), (1 - GRID) ** 2 / 2, 1e-12), "the values (1 - m)^2 / 2 of a `quadratic`", loss)


def _margins_at_losses(loss: MarginLoss) -> None:
    for value in (1e-3, 0.2, 1.0, 3.7, 40.0):
        margin = np.array([loss.margin_at_loss(value)])
        hold(_near(loss.value(margin), value, 1e-8), "`margin_at_loss` to invert `value`", loss)
        hold(loss.derivative(margin) <= 0, "`margin_at_loss` on the decreasing branch", loss)


def _worst(loss: MarginLoss, name: str, least: Array) -> None:
    curve = getattr(loss, name)
    value, slope = curve(RIGHT)
    hold(np.maximum(value, 0) >= least * (1 - 1e-12) - 1e-12, f"`{name}` above what it bounds", loss)
    hold(np.diff(slope) >= -1e-9, f"`{name}` convex", loss)
    hold(slope >= 0, f"`{name}` increasing", loss)
    moved = RIGHT + 1.7e-4
    change = (curve(moved + STEP)[0] - curve(moved - STEP)[0]) / (2 * STEP)
    hold(_near(curve(moved)[1], change, 1e-4), f"the derivative of `{name}` as differences have it", loss)


def _expression(loss: MarginLoss) -> None:
    import cvxpy as cp

    m = cp.Variable(40)
    expression = loss.expression(m)
    hold(expression.is_convex(), "a convex `expression` by the rules of cvxpy", loss)
    m.value = np.linspace(-6, 6, 40)
    hold(_near(expression.value, loss.value(m.value), 1e-9), "`expression` to equal `value`", loss)


def _pull_constraints(loss: MarginLoss) -> None:
    """The least mass is ``w / psi(m)``."""
    import cvxpy as cp

    if not loss.states("pull_constraints"):
        return
    for w, m in ((0.3, -2.4), (1.0, -0.6), (1.8, 0.3), (0.5, 0.85)):
        mass, pull, margin = cp.Variable(), cp.Variable(), cp.Variable()
        rules = [pull == w, margin == w * m, *loss.pull_constraints(pull, margin, mass)]
        found = solve(cp.Problem(cp.Minimize(mass), rules)).value
        hold(_near(found, w / loss.pull(np.array([m])), 1e-4), "`pull_constraints` that state w / psi(m) <= mass", loss)


def _gain(loss: MarginLoss) -> None:
    """``mass phi(m) = sup_w gain(w, mass) - w m``."""
    import cvxpy as cp

    if not loss.states("gain"):
        return
    for mass, m in ((1.0, -2.4), (0.4, -0.6), (2.0, 0.3), (1.0, 3.0)):
        pull = cp.Variable(1)
        gain, rules = loss.gain(pull, np.array([mass]))
        found = solve(cp.Problem(cp.Maximize(cp.sum(gain) - m * cp.sum(pull)), rules)).value
        hold(_near(found, mass * loss.value(np.array([m])), 1e-4), "`gain` to be the conjugate", loss)
