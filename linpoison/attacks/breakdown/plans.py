"""Where far rows go: a few places, each with copies, some of them with a copy that drags the mean of its class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from ...core.dataset import Dataset
from ...core.domain import Domain
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.validation import LABELS, Array, squared_norms
from ...defenses.quota import drag_ratio
from ..newton import COLUMNS

BEYOND = 1.6
"""A dragging row lies so many times as far as it must."""
_OUTERMOST = 6  # rows of a class whose directions are tried in a narrow domain
_AXES = 3  # principal axes whose directions are tried in a narrow domain of many columns
_NAMES = {False: "overrun", True: "drag"}
_WIDE = 10.0  # units for each clean row that a domain is across if a row may drag
_SHARE = 33  # clean rows to a poison row from which radii grow
_ROUNDING = 1e-12  # of a place that is written as the centre and what is off it


@dataclass(frozen=True, eq=False)
class Ground:
    """What plans are laid out on.

    Parameters
    ----------
    train : Dataset
        Clean rows.
    total : int
        Poison rows that the budget buys.
    spread : float
        Length of the noise that makes copies distinct, in units of `base`; zero for equal copies.

    Attributes
    ----------
    center : ndarray of shape (d,)
        Mean of the clean rows.
    base : float
        Their median distance to it.
    unit : float
        The unit of radii. A hinge pulls by at most its mass, so that planting a gradient g takes ``R >= |g| n / s``
        with s rows that stay: `base`, and in proportion more where poison is less than one row in 33.
    """

    train: Dataset
    total: int
    spread: float = 0.0
    center: Array = field(init=False)
    base: float = field(init=False)
    unit: float = field(init=False)

    def __post_init__(self) -> None:
        X = self.train.X
        center = np.asarray(X.mean(axis=0)).ravel()
        distances = np.sqrt((squared_norms(X) - 2 * np.asarray(X @ center) + center @ center).clip(min=0))
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "base", float(np.median(distances)) or 1.0)
        object.__setattr__(self, "unit", self.base * max(1.0, self.train.total / (_SHARE * self.total)))

    @property
    def domain(self) -> Domain:
        """Where rows may be."""
        return self.train.domain

    @property
    def bounded(self) -> bool:
        """Whether the domain is too narrow for rows that drag a mean."""
        return self.domain.reach(self.center) < _WIDE * self.unit * max(self.train.total, 1.0)

    @property
    def costly(self) -> bool:
        """Whether rows are sparse or wide: a retraining takes a second."""
        return self.train.is_sparse or self.train.d > COLUMNS

    @property
    def one_sided(self) -> bool:
        """Whether rows are whole numbers from zero up: a row and its mirror image cannot both be planted."""
        return self.domain.integral

    def of_class(self, label: float) -> float:
        """Clean rows of a class."""
        return float((self.train.y == label).sum())

    def fitted(self, X: Array) -> Array:
        """Rows put into the domain."""
        rows = self.domain.clip(X)
        return np.round(rows) if self.domain.integral else rows


@dataclass(frozen=True, eq=False)
class Plan:
    """Places of poison rows.

    Parameters
    ----------
    points : ndarray of shape (k, d)
    y : ndarray of shape (k,)
    copies : ndarray of int, shape (k,)
        One copy of a place that drags lies farther out than the others, on the same line from the centre.
    drags : ndarray of bool, shape (k,)
    """

    points: Array
    y: Array
    copies: np.ndarray
    drags: np.ndarray

    def same(self, other: Plan) -> bool:
        """Whether it is another one up to rounding, such as after a move that the bounds undo."""
        if not all(map(np.array_equal, (self.y, self.copies, self.drags), (other.y, other.copies, other.drags))):
            return False
        return bool(np.abs(self.points - other.points).max() <= _ROUNDING * np.abs(self.points).max())

    def poison(self, ground: Ground) -> Poison:
        """The rows, dragging ones behind the others."""
        pulled = np.flatnonzero(self.drags & (self.copies > 1))
        ratio = [
            BEYOND * max(drag_ratio(int(ground.of_class(self.y[j])), int(self.copies[j]) - 1), 1.0) for j in pulled
        ]
        far = ground.center + np.reshape(ratio, (-1, 1)) * (self.points[pulled] - ground.center)
        X = np.vstack([self.points, far])
        y = np.concatenate([self.y, self.y[pulled]])
        count = self.copies.copy()
        count[pulled] -= 1
        count = np.concatenate([count, np.ones(pulled.size, dtype=int)])
        if ground.spread > 0:
            X, y, count = _apart(X, y, count, ground)
        X = ground.fitted(X)
        return Poison(sp.csr_array(X) if ground.train.is_sparse else X, y, count.astype(np.float64))

    @property
    def sources(self) -> np.ndarray:
        """The place of each row of `poison` of equal copies."""
        return np.concatenate([np.arange(self.copies.size), np.flatnonzero(self.drags & (self.copies > 1))])

    def reach(self, ground: Ground) -> float:
        """How far out the farthest place lies, in units."""
        return float(np.linalg.norm(self.points - ground.center, axis=1).max()) / ground.unit

    def used(self) -> Plan:
        """Without places of no copies."""
        rows = self.copies > 0
        return Plan(self.points[rows], self.y[rows], self.copies[rows], self.drags[rows])


def _apart(X: Array, y: Array, count: np.ndarray, ground: Ground) -> tuple[Array, Array, np.ndarray]:
    """Every copy a row of its own, moved by noise of one length: the same noise for the same number of rows."""
    rows = np.repeat(np.arange(y.size), count)
    noise = np.random.default_rng(rows.size).normal(size=(rows.size, X.shape[1]))
    noise *= ground.spread * ground.base / np.linalg.norm(noise, axis=1, keepdims=True)
    return X[rows] + noise, y[rows], np.ones(rows.size, dtype=int)


@dataclass(frozen=True, eq=False)
class Aim:
    """A model to plant, and the direction of the rows that do it.

    Parameters
    ----------
    direction : ndarray of shape (d,)
        ``u = g / |g|``, see `Rays`.
    model : LinearModel
    """

    direction: Array
    model: LinearModel


def constant(train: Dataset) -> list[Aim]:
    """The model that is zero: far rows along minus the difference of the means plant it."""
    means = [np.asarray(train.of_class(label).X.mean(axis=0)).ravel() for label in (1.0, -1.0)]
    across = means[1] - means[0]
    length = float(np.linalg.norm(across))
    return [Aim(across / length, LinearModel(np.zeros(train.d)))] if length > 0 else []


def outermost(train: Dataset) -> list[Aim]:
    """Directions of the outermost rows of each class, along which the other class is planted: in a box, to a corner."""
    if train.is_sparse:
        return []
    center = train.X.mean(axis=0)
    found = []
    for label in LABELS:
        away = train.of_class(-label).X - center
        lengths = np.linalg.norm(away, axis=1)
        far = np.argsort(-lengths, kind="stable")[:_OUTERMOST]
        found += [Aim(label * away[i] / lengths[i], LinearModel(np.zeros(train.d))) for i in far if lengths[i] > 0]
    return found


def beside(ground: Ground) -> Iterator[tuple[str, Plan]]:
    """All rows of the budget beside the mean of a class, along an axis in which rows of a narrow domain vary most."""
    train = ground.train
    if train.is_sparse:
        return
    _, spread, axes = np.linalg.svd(train.X - ground.center, full_matrices=False)
    for number, axis in enumerate(axes[:_AXES][spread[:_AXES] > 0], 1):
        for label in LABELS:
            mean = train.of_class(label).X.mean(axis=0)
            for sign in LABELS:
                point = ground.fitted((mean + sign * ground.unit * axis)[None])
                copies, still = np.array([ground.total]), np.array([False])
                yield f"beside {label:+.0f}, axis {sign * number:+.0f}", Plan(point, np.array([label]), copies, still)


def far_plans(ground: Ground, aim: Aim, total: int, radii: tuple[float, ...]) -> Iterator[tuple[str, Plan]]:
    """Every layout of `total` copies along a direction, at every radius in units, with its name.

    A row of label y lies at ``y R u``, see `Rays`. Overrun: all copies in one place, or in a place of each class. Drag:
    one of the copies farther out, in one class or in each. Rows of counts are split between both classes (`halves`),
    and where a retraining is cheap or corners are near they are tried in one class too: that may do more.
    """
    drags = (False, True) if total > 1 and not ground.bounded else (False,)
    half = (total - total // 2, total // 2)
    alone = not ground.costly or (ground.bounded and not aim.model.coef.any())
    for radius in radii:
        length = radius * ground.unit
        if ground.one_sided and total > 1:
            points, drag = halves(aim, length), drags[-1] and total > 3
            yield f"{_NAMES[drag]} halves, radius {radius:g}", _plan(ground, points, LABELS, half, drag)
            if not alone:
                continue
        step = length * aim.direction
        for drag in drags:
            for label in LABELS:
                points = ground.center + label * step[None, :]
                yield f"{_NAMES[drag]} {label:+.0f}, radius {radius:g}", _plan(ground, points, (label,), (total,), drag)
            if total > 3:
                points = ground.center + np.array(LABELS)[:, None] * step
                yield f"{_NAMES[drag]} both, radius {radius:g}", _plan(ground, points, LABELS, half, drag)


def halves(aim: Aim, length: float) -> Array:
    """Rows of at least zero of the labels +1 and -1 that together pull as one row ``R u`` does, shape (2, d).

    ::

        u = z_+ - z_-,   z_+ = max(u, 0) + e,   z_- = max(-u, 0) + e,   e >= 0

    with the row ``R z_+`` in the class +1 and ``R z_-`` in the class -1, of equal pull. The first lies on the margin if
    ``theta . z_+ = (1 - b) / R``: e is taken on the words whose coefficients have the sign that is missing, in
    proportion to them. Then ``theta . z_- = theta . z_+ - theta . u``, where ``theta . u = 0``.
    """
    up, down = np.maximum(aim.direction, 0.0), np.maximum(-aim.direction, 0.0)
    theta = aim.model.coef
    missing = (1.0 - aim.model.intercept) / length - float(theta @ up)
    part = np.maximum(0.0, np.sign(missing) * theta)
    square = float(part @ part)
    extra = part * (abs(missing) / square) if square > 0 else part
    return np.asarray(length * np.stack([up + extra, down + extra]))


def _plan(ground: Ground, points: Array, labels: tuple[float, ...], copies: tuple[int, ...], drag: bool) -> Plan:
    return Plan(ground.fitted(points), np.array(labels), np.array(copies), np.full(len(labels), drag))


def clipped(plan: Plan, ground: Ground, cap: float) -> Plan:
    """With places no farther out than `cap` units, and inside the bounds of the domain."""
    off = plan.points - ground.center
    lengths = np.linalg.norm(off, axis=1, keepdims=True)
    off *= np.minimum(1.0, cap * ground.unit / np.maximum(lengths, 1e-300))
    return replace(plan, points=ground.domain.clip(ground.center + off))
