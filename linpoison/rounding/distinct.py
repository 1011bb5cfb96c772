"""Copies made distinct: every copy a row of its own, farther from the others than what counts as a copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, Domain, Matrix, Poison
from ..core.parts import dense
from ..sets.base import squared_distances

MARGIN = 1.1
"""Rows are put so many times as far apart as they have to be: the radius of a filter moves a little with them."""
_DRAWS, _LENGTHS = 6, 12
_GROWTH = 1.15


def make_distinct(poison: Poison, gap: float, clean: Dataset, rng: np.random.Generator, shrink: float = 1.0) -> Poison:
    """Give every copy a row of its own, at a distance greater than `gap` from all other rows of its label.

    A copy stays where it is if there is room, and moves by noise otherwise, in ever longer steps; for whole numbers by
    one in some coordinates. All rows are in the domain of the clean ones.

    Parameters
    ----------
    poison : Poison
        With whole copies.
    gap : float
        In the units of the features; 0 leaves the poison as it is.
    clean : Dataset
        Rows to be distinct from as well, and the domain.
    rng : numpy.random.Generator
    shrink : float, default 1.0
        Rows that move are pulled towards the mean of the clean rows of their class by this factor: noise adds to the
        distance from it, and a little less than 1 keeps rows in a set around it.

    Returns
    -------
    Poison
        Copies that no place was found for, in a domain of few different rows, are left out.

    Examples
    --------
    >>> clean = Dataset([[0.0, 0.0], [9.0, 9.0]], [-1, 1])
    >>> poison = make_distinct(Poison([[5.0, 5.0]], [1], [3]), 1.0, clean, np.random.default_rng(0))
    >>> poison.count.tolist(), poison.X[0].tolist()
    ([1.0, 1.0, 1.0], [5.0, 5.0])
    """
    if gap <= 0:
        return poison
    placed: list[Array] = []
    labels: list[float] = []
    for label in np.unique(poison.y):
        mine = np.flatnonzero((poison.y == label) & (poison.count > 0))
        others = clean.of_class(label)
        center = np.asarray(others.weight @ others.X).ravel() / max(others.total, 1.0)
        rows = _Placed(others.X, gap * MARGIN)
        for row in np.repeat(mine, poison.count[mine].astype(int)):
            point = dense(poison.X[[row]])[0]
            rows.place(_places(point, center, gap * MARGIN, clean.domain, rng, shrink))
        placed += rows.added
        labels += [float(label)] * len(rows.added)
    X = np.vstack([np.zeros((0, clean.d)), *placed]) if not clean.is_sparse else _sparse(placed, clean.d)
    return Poison(X, np.array(labels), np.ones(len(labels)))


class _Placed:
    """Rows of one label that new ones have to be apart from."""

    def __init__(self, known: Matrix, gap: float) -> None:
        self.known, self.gap = known, gap
        self.added: list[Array] = []

    def place(self, places: Iterator[Array]) -> None:
        """Add the first of some places that is far enough from all rows, if one is."""
        found = next((place for place in places if self._is_free(place)), None)
        if found is not None:
            self.added.append(found)

    def _is_free(self, place: Array) -> bool:
        near = [np.linalg.norm(row - place) <= self.gap for row in self.added]
        return not any(near) and bool((squared_distances(self.known, place) > self.gap**2).all())


def _places(
    point: Array, center: Array, gap: float, domain: Domain, rng: np.random.Generator, shrink: float
) -> Iterator[Array]:
    """A point, and places ever farther around it, inside the domain."""
    yield point
    for step in range(_LENGTHS * _DRAWS):
        length = gap * _GROWTH ** (step // _DRAWS)
        yield (
            _whole_step(point, length, domain, rng)
            if domain.integral
            else domain.clip(center + shrink * (point - center) + length * _direction(point.size, rng))
        )


def _direction(d: int, rng: np.random.Generator) -> Array:
    direction = rng.normal(size=d)
    return np.asarray(direction / np.linalg.norm(direction))


def _whole_step(point: Array, length: float, domain: Domain, rng: np.random.Generator) -> Array:
    """One more or one less in ``length^2 / 2`` or more coordinates, so that two such rows are about `length` apart."""
    if domain.lower is None or domain.upper is None:
        return point
    free = np.flatnonzero(domain.upper > domain.lower)
    chosen = rng.choice(free, size=min(free.size, int(np.ceil(length**2 / 2)) + 1), replace=False)
    step = np.where(rng.random(chosen.size) < 0.5, 1.0, -1.0)
    step[point[chosen] <= domain.lower[chosen]] = 1.0
    step[point[chosen] >= domain.upper[chosen]] = -1.0
    moved = point.copy()
    moved[chosen] += step
    return moved


def _sparse(rows: list[Array], d: int) -> Matrix:
    parts = [sp.csr_array(row[None, :]) for row in rows]
    return sp.csr_array(sp.vstack([sp.csr_array((0, d)), *parts]))
