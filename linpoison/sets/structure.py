"""The parts of an intersection that separate over coordinates once a few multipliers are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import InfeasibleSet
from ..core.validation import Array
from .ball import Ball
from .base import FeasibleSet
from .box import Box
from .count_ball import CountBall
from .halfspace import Halfspace
from .slab import Slab
from .subspace import SubspaceTube

MAX_ROWS = 12
"""Most half-spaces and slabs that the structured solvers take on."""


@dataclass(frozen=True, eq=False)
class Structure:
    """``{lower <= x <= upper, low <= A x <= high, |x|^2 <= radius^2 or its envelope around center}``.

    Coordinates are relative to `origin`, the center of a plain ball, so that only an envelope has a
    `center` of its own.

    Parameters
    ----------
    origin, lower, upper : ndarray, shape (d,)
    rows : ndarray, shape (m, d)
        ``A``, rows of length 1.
    low, high : ndarray, shape (m,)
    radius : float or None
        None without a core.
    center : ndarray, shape (d,), or None
        Center of an envelope of counts; None for a plain ball.
    tube : SubspaceTube or None
        Around the rest, in the coordinates of the user.
    """

    origin: Array
    lower: Array
    upper: Array
    rows: Array
    low: Array
    high: Array
    radius: float | None
    center: Array | None
    tube: SubspaceTube | None

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.origin.size)

    @property
    def boxed(self) -> bool:
        """Whether any coordinate has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    @cached_property
    def reach(self) -> float:
        """A bound on ``|x|`` over the set, infinite where the bounds and the core give none."""
        by_core = np.inf if self.radius is None else self.radius
        if self.center is not None and self.radius is not None:
            by_core += float(np.linalg.norm(self.center))
        corner = np.maximum(np.abs(self.lower), np.abs(self.upper))
        return min(float(by_core), float(np.linalg.norm(corner)))

    @property
    def somewhere(self) -> Array:
        """The point within the bounds that is nearest to zero, in the coordinates of the user."""
        return np.asarray(np.clip(0.0, self.lower + self.origin, self.upper + self.origin))

    @property
    def bounded_box(self) -> bool:
        """Whether every coordinate has both bounds."""
        return bool(np.isfinite(self.lower).all() and np.isfinite(self.upper).all())


def structure_of(feasible: FeasibleSet) -> Structure | None:
    """The structure of a set, or None where it has another one.

    Raises
    ------
    InfeasibleSet
        If bounds contradict each other.
    """
    parts: Sequence[FeasibleSet] = getattr(feasible, "sets", (feasible,))
    cores = [part for part in parts if isinstance(part, Ball | CountBall)]
    tubes = [part for part in parts if isinstance(part, SubspaceTube)]
    rows = [part for part in parts if isinstance(part, Slab | Halfspace)]
    boxes = [part for part in parts if isinstance(part, Box)]
    known = len(cores) + len(tubes) + len(rows) + len(boxes)
    if known < len(parts) or len(cores) > 1 or len(tubes) > 1 or len(rows) > MAX_ROWS:
        return None
    return _assemble(parts[0].d, cores[0] if cores else None, tubes[0] if tubes else None, rows, boxes)


def _assemble(
    d: int,
    core: Ball | CountBall | None,
    tube: SubspaceTube | None,
    rows: Sequence[Slab | Halfspace],
    boxes: Sequence[Box],
) -> Structure:
    lower, upper = np.full(d, -np.inf), np.full(d, np.inf)
    center, radius = None, None
    origin = np.zeros(d)
    if isinstance(core, CountBall):
        center, radius, lower, upper = _envelope(core)
    elif isinstance(core, Ball):
        origin, radius = core.center, core.radius
        if core.radius == 0:
            lower, upper, radius = origin.copy(), origin.copy(), None
    for box in boxes:
        lower, upper = np.maximum(lower, box.lower), np.minimum(upper, box.upper)
    if (lower > upper).any():
        raise InfeasibleSet("expected bounds that some point meets, got bounds that contradict each other.")
    normals, low, high = _strips(rows, origin)
    return Structure(origin, lower - origin, upper - origin, normals, low, high, radius, center, tube)


def _envelope(core: CountBall) -> tuple[Array | None, float | None, Array, Array]:
    """Center, radius and bounds; where the radius leaves least terms only, bounds say so alone."""
    core._budget()
    if core._slack > 1e-13 * (1 + core.radius**2):
        return core.center, core.radius, np.zeros(core.d), core.largest
    lower = np.clip(np.ceil(core.center - 0.5), 0.0, core.upper)
    return None, None, lower, np.clip(np.floor(core.center + 0.5), 0.0, core.upper)


def _strips(rows: Sequence[Slab | Halfspace], origin: Array) -> tuple[Array, Array, Array]:
    normals = np.zeros((len(rows), origin.size))
    low, high = np.full(len(rows), -np.inf), np.zeros(len(rows))
    for i, row in enumerate(rows):
        length = np.linalg.norm(row.normal)
        normals[i] = row.normal / length
        shift = normals[i] @ origin
        width: Any = row.halfwidth if isinstance(row, Slab) else 0.0
        high[i] = (row.offset + width) / length - shift
        if isinstance(row, Slab):
            low[i] = (row.offset - width) / length - shift
    return normals, low, high
