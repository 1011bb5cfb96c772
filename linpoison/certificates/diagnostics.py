"""Numbers that say how hard a data set is to poison: comparator budgets and three projected quantities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.model import LinearModel
from ..core.validation import LABELS, Array
from ..losses import MarginLoss, Problem
from ..sets import ByLabel, FeasibleSet
from .saddle.certify import PAD

_DIRECTIONS = 180
_CUTS = 64


@dataclass(frozen=True)
class ComparatorBudget:
    """A lower bound on the mass of poison that makes a model optimal.

    Parameters
    ----------
    epsilon : float
        The greatest of `values`; as a number of rows, ``epsilon * train.total`` rounded up.
    best : int
        The comparator that gives it.
    values : tuple of float
        One for each comparator.
    """

    epsilon: float
    best: int
    values: tuple[float, ...]


def comparator_budget(
    problem: Problem, target: LinearModel, train: Dataset, sets: ByLabel, comparators: Sequence[LinearModel]
) -> ComparatorBudget:
    """The least mass of poison that comparators prove a target to cost.

    If `target`, ``v_p``, minimises the learner's objective with poison of mass ``e`` in the sets, then it does no
    worse there than any other ``v``, and therefore

    ::

        e  >=  [ L(v_p) - L(v) + reg/2 (<v_p, P v_p> - <v, P v>) ]
               / [ sup_{y, x in F_y} (phi(m(v)) - phi(m(v_p))) + [mean] reg/2 (<v, P v> - <v_p, P v_p>) ]

    with ``L`` the mean clean loss: zero if the numerator is not positive, infinite if it is and the denominator is not.
    The supremum is replaced by an upper bound: for the hinge by
    ``min_{0 <= a <= 1} sup_x (a - m(v) + (1 - a) m(v_p))``, which equals it where ``v`` has loss, for other losses by
    the maximum over a polygon around the plane set of all ``(m(v), m(v_p))``.

    Parameters
    ----------
    problem : Problem
    target : LinearModel
    train : Dataset
        Clean rows.
    sets : ByLabel
    comparators : sequence of LinearModel
        Such as the clean model and the iterates of an attack. The closer to `target`, the better the bound tends
        to be; the least budget itself is the supremum over all of them.

    Returns
    -------
    ComparatorBudget

    Raises
    ------
    InputError
        If there is no comparator, or a model has another number of features.

    References
    ----------
    Suya, Mahloujifar, Suri, Evans, Tian: Model-targeted poisoning attacks with provable convergence (2021), Theorem 2,
    there with the clean model and the attack's iterates as comparators, and rounded down.

    Examples
    --------
    >>> from linpoison.losses import Hinge
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[1.0], [-1.0]], [1, -1])
    >>> sets = ByLabel({+1: Ball([0.0], 2.0), -1: Ball([0.0], 2.0)})
    >>> problem = Problem(Hinge(), reg=0.1, fit_intercept=False)
    >>> found = comparator_budget(problem, LinearModel([-0.4]), train, sets, [LinearModel([0.0]), LinearModel([0.4])])
    >>> round(found.epsilon, 4), found.best
    (0.5152, 0)
    """
    models = [target, *comparators]
    if len(models) < 2:
        raise InputError("at least one comparator", "none")
    if any(model.d != train.d for model in models) or sets.d != train.d:
        raise InputError(f"models and sets of {train.d} features", "another number")
    values = tuple(_budget(problem, target, train, sets, other) for other in comparators)
    best = int(np.argmax(values))
    return ComparatorBudget(values[best], best, values)


def _budget(problem: Problem, target: LinearModel, train: Dataset, sets: ByLabel, other: LinearModel) -> float:
    reg, mask = problem.reg_at(train.total), problem.penalty_mask(train.d)
    rise = 0.5 * reg * float(mask @ (target.vector**2 - other.vector**2))
    losses = [problem.loss.value(model.margins(train)) for model in (target, other)]
    means = [float(train.weight @ loss) / train.total for loss in losses]
    numerator = means[0] - means[1] + rise - PAD * (means[0] + means[1] + abs(rise))
    if numerator <= 0:
        return 0.0
    gain = max(_largest_gain(problem.loss, sets[int(label)], label, other, target) for label in LABELS)
    denominator = gain - (rise if problem.scaling == "mean" else 0.0)
    return numerator / denominator if denominator > 0 else math.inf


def _largest_gain(
    loss: MarginLoss, feasible: FeasibleSet, label: float, other: LinearModel, target: LinearModel
) -> float:
    """An upper bound of ``phi(m(other)) - phi(m(target))`` over the rows of one class."""
    if loss.kink is not None:
        return _hinge_gain(feasible, label, other.vector, target.vector)
    return _polygon_gain(loss, feasible, label, other, target)


def _hinge_gain(feasible: FeasibleSet, label: float, v: Array, goal: Array) -> float:
    def bound(share: float) -> float:
        w = label * ((1 - share) * goal - v)
        return share + _reach(feasible, w)

    least = min(bound(0.0), bound(1.0))
    if math.isfinite(bound(0.5)):
        found = minimize_scalar(bound, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-6})
        least = min(least, bound(float(found.x)))
    idle = min(0.0, _reach(feasible, label * goal) - 1)  # where the comparator has no loss
    return max(least, idle)


def _reach(feasible: FeasibleSet, w: Array) -> float:
    """``sup_x w . (x, 1)``, rounded up."""
    value = feasible.support_bound(w[:-1])
    return value + float(w[-1]) + PAD * (abs(value) + abs(float(w[-1])))


def _polygon_gain(
    loss: MarginLoss, feasible: FeasibleSet, label: float, other: LinearModel, target: LinearModel
) -> float:
    """The maximum over the edges of a polygon around ``{(m(other), m(target))}``; the loss is bounded on short pieces.

    ``phi(s) - phi(t)`` is convex in ``s``, so that its maximum over the plane set lies on the border.
    """
    corners = _polygon(feasible, label, other.vector, target.vector)
    if not np.isfinite(corners).all():
        return math.inf
    steps = np.linspace(0.0, 1.0, _CUTS + 1)[:, None, None]
    points = (1 - steps) * corners + steps * np.roll(corners, -1, axis=0)
    high = loss.value(points[..., 0])
    low = points[..., 1]
    most = np.maximum(high[:-1], high[1:])
    first, last = np.minimum(low[:-1], low[1:]), np.maximum(low[:-1], low[1:])
    return float(np.max(most - loss.value(np.clip(math.inf if loss.turn is None else loss.turn, first, last))))


def _polygon(feasible: FeasibleSet, label: float, v: Array, goal: Array) -> Array:
    """Corners, in order, of what half-planes of equally spread directions leave around the plane set."""
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    normals = np.column_stack([np.cos(angles), np.sin(angles)])
    offsets = np.array([_reach(feasible, label * (a * v + b * goal)) for a, b in normals])
    quarter = _DIRECTIONS // 4
    right, top, left, bottom = offsets[::quarter]
    box = np.array([[right, top], [-left, top], [-left, -bottom], [right, -bottom]])
    corners = box
    if np.isfinite(box).all():
        for normal, offset in zip(normals, offsets, strict=True):
            corners = _clipped(corners, normal, offset)
    return corners if len(corners) else box


def _clipped(corners: Array, normal: Array, offset: float) -> Array:
    """The part of a convex polygon with ``normal . x <= offset``."""
    over = corners @ normal - offset
    kept = []
    for here, there, first, second in zip(corners, np.roll(corners, -1, axis=0), over, np.roll(over, -1), strict=True):
        if first <= 0:
            kept.append(here)
        if (first <= 0) != (second <= 0):
            kept.append(here + first / (first - second) * (there - here))
    return np.array(kept).reshape(-1, 2)


@dataclass(frozen=True)
class Projections:
    """Three numbers of clean rows and sets along a direction of length 1.

    Parameters
    ----------
    separability : float
        ``|gamma_+ - gamma_-|``, the distance between the projected means of the classes.
    deviation : float
        ``sqrt(p_- var_- + p_+ var_+)`` of the projected rows, ``p`` the shares of the classes.
    size : float
        ``max w . x - min w . x`` over both sets (an upper bound, up to rounding); infinite if they are unbounded.
    """

    separability: float
    deviation: float
    size: float

    @property
    def separation_per_deviation(self) -> float:
        """Large where the classes are far apart for their spread."""
        return _ratio(self.separability, self.deviation)

    @property
    def separation_per_size(self) -> float:
        """Large where poison can reach only little further than the clean rows: such data are hard to poison."""
        return _ratio(self.separability, self.size)


def projections(train: Dataset, sets: ByLabel, direction: LinearModel | Array) -> Projections:
    """Separability, standard deviation and projected constraint size.

    They explain, and do not bound, how far indiscriminate poisoning can go: small is
    ``separability / deviation`` or ``separability / size`` where it succeeds.

    Parameters
    ----------
    train : Dataset
        Clean rows.
    sets : ByLabel
    direction : LinearModel or array_like, shape (d,)
        Such as the clean model.

    Raises
    ------
    InputError
        If the direction is zero or of another length than the rows.

    References
    ----------
    Suya, Zhang, Tian, Evans: What distributions are robust to indiscriminate poisoning attacks for linear learners?
    (2023).

    Examples
    --------
    >>> from linpoison.sets import Ball
    >>> train = Dataset([[1.0, 0.0], [3.0, 5.0], [-2.0, 0.0]], [1, 1, -1])
    >>> sets = ByLabel({+1: Ball([2.0, 0.0], 1.5), -1: Ball([-2.0, 0.0], 1.0)})
    >>> found = projections(train, sets, LinearModel([4.0, 0.0]))
    >>> found.separability, round(found.deviation, 6), round(found.size, 6), round(found.separation_per_size, 6)
    (4.0, 0.816497, 6.5, 0.615385)
    """
    train.require_both_classes()
    given = direction.coef if isinstance(direction, LinearModel) else np.asarray(direction, dtype=np.float64)
    if given.shape != (train.d,) or sets.d != train.d or not np.isfinite(given).all() or not given.any():
        raise InputError(f"a finite direction other than zero and sets, of {train.d} features", f"shape {given.shape}")
    w = given / float(np.linalg.norm(given))
    moments = [_moments(train.of_class(label), w) for label in LABELS]
    variance = sum(total * spread for total, _, spread in moments) / train.total
    highest = max(sets[int(label)].support_bound(w) for label in LABELS)
    lowest = min(-sets[int(label)].support_bound(-w) for label in LABELS)
    return Projections(abs(moments[0][1] - moments[1][1]), math.sqrt(variance), highest - lowest)


def _moments(rows: Dataset, w: Array) -> tuple[float, float, float]:
    """Weight, mean and variance of projected rows."""
    values = np.asarray(rows.X @ w)
    mean = float(np.average(values, weights=rows.weight))
    return rows.total, mean, float(np.average((values - mean) ** 2, weights=rows.weight))


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else math.inf
