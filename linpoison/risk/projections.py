"""Where poison rows may lie, and the nearest such rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core import InfeasibleSet, InputError, check_integer, check_number
from ..core.validation import Array
from .arrays import copy_of, flat_rows, like, row_norms, to_numpy
from .protocols import Projection


@dataclass(frozen=True, eq=False)
class Everywhere(Projection):
    """No constraint."""

    def project(self, X: Any) -> Any:
        return X

    def bounds(self) -> tuple[Any, Any]:
        return -np.inf, np.inf


@dataclass(frozen=True, eq=False)
class Box(Projection):
    """``lower <= x <= upper``, coordinate by coordinate.

    Parameters
    ----------
    lower, upper : float or array_like
        Broadcast against the rows.

    Examples
    --------
    >>> float(Box.pixels(0.1307, 0.3081).lower.round(4)), float(Box.pixels(0.1307, 0.3081).upper.round(4))
    (-0.4242, 2.8215)
    """

    lower: Any
    upper: Any
    _sent: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            if not hasattr(getattr(self, name), "detach"):
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if not bool((to_numpy(self.lower) <= to_numpy(self.upper)).all()):
            raise InputError("lower bounds of at most the upper ones", "the reverse, or NaN")

    @classmethod
    def pixels(cls, mean: Any = 0.0, sd: Any = 1.0, *, image: bool = True) -> Box:
        """The box of pixels in [0, 1] after ``(x - mean) / sd``.

        Parameters
        ----------
        mean, sd : float or sequence of float
            One for each channel.
        image : bool, default True
            Rows have shape (channels, height, width); False: channels come last, as columns do.
        """
        centre, width = np.asarray(mean, dtype=np.float64), np.asarray(sd, dtype=np.float64)
        if not (width > 0).all():
            raise InputError("positive standard deviations", repr(sd))
        shape = (-1, 1, 1) if image and max(centre.size, width.size) > 1 else np.broadcast(centre, width).shape
        lower, upper = np.broadcast_arrays((0 - centre) / width, (1 - centre) / width)
        return cls(lower.reshape(shape), upper.reshape(shape))

    def project(self, X: Any) -> Any:
        return X.clip(self._side("lower", X), self._side("upper", X))

    def _side(self, name: str, X: Any) -> Any:
        """A number, or what was sent once to where the rows are."""
        side = getattr(self, name)
        if not side.ndim:
            return float(side) if not hasattr(side, "detach") else like(side, X)
        place = (name, str(getattr(X, "device", "")), str(X.dtype))
        if place not in self._sent:
            self._sent[place] = like(side, X)
        return self._sent[place]

    def bounds(self) -> tuple[Any, Any]:
        return self.lower, self.upper


@dataclass(frozen=True, eq=False)
class L2Ball(Projection):
    """``|x - center| <= radius``, the same center for every row."""

    radius: float
    center: Any = 0.0

    def __post_init__(self) -> None:
        check_number(self.radius, "radius", at_least=0)

    def project(self, X: Any) -> Any:
        return _shortened(X, like(self.center, X), self.radius)


@dataclass(frozen=True, eq=False)
class L2AroundSeed(Projection):
    """``|x_j - seed_j| <= radius``: each row near its own seed."""

    seeds: Any
    radius: float

    def __post_init__(self) -> None:
        check_number(self.radius, "radius", at_least=0)

    def project(self, X: Any) -> Any:
        return _shortened(X, like(self.seeds, X), self.radius)

    def take(self, index: Any) -> L2AroundSeed:
        return L2AroundSeed(self.seeds[index], self.radius)


@dataclass(frozen=True, eq=False)
class LinfAroundSeed(Projection):
    """``|x_j - seed_j| <= radius`` in each coordinate: each row near its own seed."""

    seeds: Any
    radius: float

    def __post_init__(self) -> None:
        check_number(self.radius, "radius", at_least=0)

    def project(self, X: Any) -> Any:
        seeds = like(self.seeds, X)
        return X.clip(seeds - self.radius, seeds + self.radius)

    def take(self, index: Any) -> LinfAroundSeed:
        return LinfAroundSeed(self.seeds[index], self.radius)


@dataclass(frozen=True, eq=False)
class Sphere(Projection):
    """``|x - center| = radius``: the length is given, an attack may choose the direction alone.

    Not convex: `project` gives a nearest row, and of a row at the center, from which all are equally near, the one
    along the first coordinate.

    Examples
    --------
    >>> Sphere(10.0).project(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[6.0, 8.0], [10.0, 0.0]]
    """

    radius: float
    center: Any = 0.0

    def __post_init__(self) -> None:
        check_number(self.radius, "radius", above=0)

    def project(self, X: Any) -> Any:
        center = like(self.center, X)
        offset = copy_of(flat_rows(X - center))
        offset[row_norms(offset)[:, 0] == 0, 0] = 1.0
        return center + (offset * (self.radius / row_norms(offset))).reshape(X.shape)


@dataclass(frozen=True, eq=False)
class Tied(Projection):
    """Each `size` rows that follow each other are one row: with their labels, the same picture with several of them.

    No learner can fit the different labels of one picture. The nearest tied rows are the mean of each group, projected
    onto `within`.

    Parameters
    ----------
    size : int
        Rows of a group.
    within : Projection, default Everywhere()
        Where the one row of a group may lie; of the kinds that are the same for every row.

    Raises
    ------
    InputError
        For rows that are not whole groups; when processes share the rows, if one of them would get a part of a group.

    Examples
    --------
    >>> Tied(2, Sphere(1.0)).project(np.array([[3.0, 4.0], [3.0, -4.0]])).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    size: int
    within: Projection = field(default_factory=Everywhere)

    def __post_init__(self) -> None:
        check_integer(self.size, "size", at_least=1)

    def project(self, X: Any) -> Any:
        if len(X) % self.size:
            raise InputError(f"whole groups of {self.size} rows", f"{len(X)} rows")
        groups = X.reshape(len(X) // self.size, self.size, *X.shape[1:])
        index = np.repeat(np.arange(len(groups)), self.size)
        return self.within.project(groups.mean(axis=1))[index]

    def take(self, index: Any) -> Tied:
        if not self._whole(np.asarray(index, dtype=np.intp)):
            remedy = "Use a number of processes that divides the groups evenly."
            raise InputError(f"whole groups of {self.size} rows", "parts of groups", remedy)
        return self

    def _whole(self, index: Array) -> bool:
        if len(index) % self.size:
            return False
        groups = index.reshape(-1, self.size)
        return bool((groups[:, 0] % self.size == 0).all() and (np.diff(groups, axis=1) == 1).all())


class Intersection(Projection):
    """Rows in all of some sets; projections by Dykstra's algorithm.

    Parameters
    ----------
    *sets : Projection
    tol : float, default 1e-10
        Change of the corrections in one round, for each row, at which to stop.
    maxiter : int, default 2000
        Rounds.

    References
    ----------
    Boyle, Dykstra, 1986; the stopping rule of Birgin, Raydan, 2005.
    """

    def __init__(self, *sets: Projection, tol: float = 1e-10, maxiter: int = 2000) -> None:
        if not sets:
            raise InputError("at least one set", "none")
        self.sets, self.tol = sets, check_number(tol, "tol", above=0)
        self.maxiter = check_integer(maxiter, "maxiter", at_least=1)

    def project(self, X: Any) -> Any:
        """The nearest rows.

        Raises
        ------
        InfeasibleSet
            If the rounds end far from one of the sets: some row's intersection is empty, or nearly so.
        """
        corrections = [0.0 * X for _ in self.sets]
        point = copy_of(X)
        for _ in range(self.maxiter):
            change = 0.0 * X
            for k, part in enumerate(self.sets):
                moved = point + corrections[k]
                point = part.project(moved)
                change = change + (moved - point - corrections[k]) ** 2
                corrections[k] = moved - point
            if not len(X) or float(row_norms(change**0.5).max()) <= self.tol:
                return point
        if self._outside(point) > max(1e-6, 1e3 * self.tol):
            raise InfeasibleSet("Dykstra's algorithm found no row in all sets; their intersection may be empty.")
        return point

    def violation(self, X: Any) -> Any:
        """The greatest distance to one of the sets, shape (n,)."""
        return np.max([part.violation(X) for part in self.sets], axis=0)

    def take(self, index: Any) -> Intersection:
        return Intersection(*(part.take(index) for part in self.sets), tol=self.tol, maxiter=self.maxiter)

    def _outside(self, X: Any) -> float:
        return float(self.violation(X).max())


def _shortened(X: Any, center: Any, radius: float) -> Any:
    offset = X - center
    lengths = row_norms(offset)
    return center + offset * (radius / lengths.clip(max(radius, 1e-300), None))
