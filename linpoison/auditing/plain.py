"""Poison that takes no search: what a setting has to withstand before it is worth an attack."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product

import numpy as np
from sklearn.cluster import KMeans

from ..core import Array, Dataset, Domain, LinpoisonError, Matrix, Poison
from ..core.parts import dense
from ..defender import Defender

RADII = (1.0, 3.0, 10.0, 100.0)
"""Of far rows, in units of the median distance to the mean of a class."""
CLUSTERS = 4
"""Of each class."""
DRAWS = 2
"""Of trusted rows to copy."""
SIGNS = (1.0, -1.0)


def plain_poisons(
    defender: Defender, domain: Domain, n_poison: int, trusted: Dataset | None = None, seed: int = 0
) -> Iterator[tuple[str, Poison]]:
    """Poisons of a budget by name, each made by a rule of one line.

    All copies in one far row; a cluster of a class with the other label; corners of the range; trusted rows with the
    other label; and the point of each filter's set that is farthest along the difference of the class means, or along
    the clean model. What lies outside of the domain is cut to it, and left out where that does not help.

    Parameters
    ----------
    defender : Defender
        Whose clean rows and filters are looked at.
    domain : Domain
        Of a poison row.
    n_poison : int
        Copies.
    trusted : Dataset, optional
        Rows that look harmless.
    seed : int
        Of clusters and draws.
    """
    rng = np.random.default_rng([seed, 23])
    copied = _copied(trusted, n_poison, rng) if trusted is not None else ()
    far, clusters = _far(defender.train, n_poison), _clusters(defender.train, n_poison, seed)
    for name, poison in chain(far, clusters, _corners(defender.train, n_poison), _farthest(defender, n_poison), copied):
        inside = domain.violation(poison.X) <= 0
        if not inside.all():
            X = domain.clip(dense(poison.X))
            poison = Poison(np.round(X) if domain.integral else X, poison.y, poison.count)
        if (domain.violation(poison.X) <= 0).all():
            yield name, poison


def _means(train: Dataset) -> dict[float, Array]:
    return {sign: np.asarray(train.of_class(sign).X.mean(axis=0)).ravel() for sign in SIGNS}


def _copies(row: Array, label: float, count: int) -> Poison:
    return Poison(row[None], np.array([label]), np.array([float(count)]))


def _unit(direction: Array) -> Array:
    return direction / (np.linalg.norm(direction) or 1.0)


def _far(train: Dataset, count: int) -> Iterator[tuple[str, Poison]]:
    means = _means(train)
    u = _unit(means[1.0] - means[-1.0])
    for label in SIGNS:
        own = train.of_class(label).X
        square = np.asarray(own.multiply(own).sum(axis=1) if train.is_sparse else (own**2).sum(axis=1)).ravel()
        away = square - 2 * np.asarray(own @ means[label]).ravel() + means[label] @ means[label]
        base = float(np.sqrt(max(np.median(away), 0.0)))
        for sign, radius in product(SIGNS, RADII):
            row = means[label] + sign * radius * base * u
            yield f"one row, {sign * radius:g} times as far out", _copies(row, label, count)


def _clusters(train: Dataset, count: int, seed: int) -> Iterator[tuple[str, Poison]]:
    for label in SIGNS:
        rows = train.of_class(label)
        k = min(CLUSTERS, rows.n)
        found = KMeans(k, n_init=1, random_state=seed).fit_transform(rows.X)
        for number in range(k):
            some = np.argsort(found[:, number], kind="stable")[:count]
            yield f"flips of cluster {number + 1}", _spread(rows.X[some], -label, count)


def _corners(train: Dataset, count: int) -> Iterator[tuple[str, Poison]]:
    """Of what clean rows show in each column, along the difference of the means."""
    means, shown = _means(train), Domain.range(train.X)
    low, high = np.asarray(shown.lower), np.asarray(shown.upper)
    for label, sign in product(SIGNS, SIGNS):
        row = np.where(sign * (means[1.0] - means[-1.0]) > 0, high, low)
        yield "a corner of the range", _copies(row, label, count)


def _copied(trusted: Dataset, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Poison]]:
    for label in SIGNS:
        rows = trusted.of_class(label)
        for _ in range(DRAWS):
            some = rng.choice(rows.n, min(count, rows.n), replace=False)
            yield "trusted rows with the other label", _spread(rows.X[some], -label, count)
        yield "one trusted row with the other label", _spread(rows.X[rng.integers(rows.n, size=1)], -label, count)


def _farthest(defender: Defender, count: int) -> Iterator[tuple[str, Poison]]:
    """Of the sets of filters that have one, in the direction in which a row does most."""
    means = _means(defender.train)
    along = {"means": _unit(means[1.0] - means[-1.0]), "model": _unit(defender.clean_model().coef)}
    for name, defense in defender.defenses.items():
        if not defense.has_convex_set:
            continue
        for label, (word, u) in product(SIGNS, along.items()):
            try:
                row = defender.fit_detector(name).feasible_set(label).support(-label * u)
            except LinpoisonError:  # a set without bounds in this direction
                continue
            yield f"the farthest row that {name} keeps, along the {word}", _copies(np.asarray(row), label, count)


def _spread(X: Matrix, label: float, count: int) -> Poison:
    """Distinct rows with about equal numbers of copies."""
    n = X.shape[0]
    return Poison(X, np.full(n, label), np.full(n, count // n) + (np.arange(n) < count % n))
