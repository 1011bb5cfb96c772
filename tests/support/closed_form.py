"""Gradient canceling of logistic regression without an optimiser: one point, by a formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from linpoison.core import CapabilityError, InputError, check_number
from linpoison.core.validation import Array
from linpoison.losses import Logistic
from linpoison.risk.arrays import to_numpy
from linpoison.risk.protocols import Risk, Vector
from linpoison.risk.samples import Sample
from linpoison.risk.thresholds import reachability


@dataclass(frozen=True, eq=False)
class OnePoint:
    """The best poison there is.

    Parameters
    ----------
    x : ndarray, shape (d,)
    y : float
        Its label.
    weight : float
        Its copies, ``epsilon`` times the clean rows.
    residual : float
        ``|r|``, zero at the threshold and above.
    margin : float
        ``y <x, w>``.
    """

    x: Array
    y: float
    weight: float
    residual: float
    margin: float

    @property
    def sample(self) -> Sample:
        """The point as rows."""
        return Sample(self.x[None], np.array([self.y]), np.array([self.weight]))


def closed_form_gc(risk: Risk, w: Vector, data: Sample, epsilon: float, *, label: float = 1.0) -> OnePoint:
    """The poison of mass `epsilon`, anywhere in R^d, of the least residual at `w`, for logistic regression.

    With ``G = g + (1 + epsilon) reg w`` and ``h = <w, G>``, one point of signed features ``x~ = y x``, margin
    ``t = <x~, w>`` and weight epsilon pulls with ``-epsilon x~ / (1 + e^t)``::

        h / epsilon <= W(1/e):   t / (1 + e^t) = h / epsilon,   x~ = (t / h) G          residual 0
        otherwise:               t = 1 + W(1/e),  x~ = (1 + e^t) (G - s w) / epsilon,   residual s |w|,
                                 s = (h - epsilon W(1/e)) / |w|^2

    Parameters
    ----------
    risk : Risk
        Logistic, one output, no bias.
    w : Vector
        The target.
    data : Sample
        Clean rows.
    epsilon : float
        Mass of the poison, as a fraction of the clean rows.
    label : {1, -1}, default 1
        Of the point; ``x = label x~``.

    Raises
    ------
    CapabilityError
        For another model.

    Examples
    --------
    >>> from linpoison.risk import LinearRisk
    >>> rows = Sample([[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0]], [1.0, 1.0, -1.0])
    >>> risk, w = LinearRisk(Logistic(), fit_intercept=False), np.array([0.0, 2 * np.log(2)])
    >>> round(closed_form_gc(risk, w, rows, 0.52).residual ** 2, 9), closed_form_gc(risk, w, rows, 0.67).residual
    (0.000834117, 0.0)
    """
    mass = check_number(epsilon, "epsilon", above=0)
    if label not in (1, -1):
        raise InputError("the label 1 or -1", repr(label))
    condition = reachability(risk, w, data)
    if condition.kind != "exact" or risk.margin_loss != Logistic():
        raise CapabilityError("a logistic model of one output without bias", type(risk).__name__)
    G = to_numpy(risk.data_grad(w, data.X, data.y, data.weights) + (1 + mass) * risk.penalty_grad(w))
    target = to_numpy(w)
    x, margin = _signed(G, target, mass, condition.reach)
    residual = condition.lower_bound(mass)
    return OnePoint(float(label) * x, float(label), mass * data.total, residual, margin)


def _signed(G: Array, w: Array, mass: float, reach: float) -> tuple[Array, float]:
    """Signed features and margin of the point."""
    h = float(w @ G)
    if h == 0:
        return 2 * G / mass, 0.0
    if h / mass > reach:
        t = 1 + reach
        return (G - (h - mass * reach) / float(w @ w) * w) / (mass * expit(-t)), t
    t = _margin(h / mass, reach)
    # (t / h) G, without the loss of digits of a small h
    return G / (mass * float(expit(-t))), t


def _margin(ratio: float, reach: float) -> float:
    """The t with ``t / (1 + e^t) = ratio`` of least modulus."""

    def gap(t: float) -> Any:
        return t * expit(-t) - ratio

    if ratio > 0:
        return 1 + reach if gap(1 + reach) <= 0 else float(brentq(gap, 0.0, 1 + reach, xtol=1e-15, rtol=1e-15))
    return float(brentq(gap, 2 * ratio - 1, 0.0, xtol=1e-15, rtol=1e-15))
