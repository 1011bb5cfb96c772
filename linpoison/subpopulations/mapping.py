"""A map of subpopulations: rows, and the poison against some of them, in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core import Array, InputError, check_integer
from ..core.parts import dense
from ..risk import Sample
from .matching import Matcher, Subpopulation
from .parts import Index
from .study import SubpopulationAttack

METHODS = ("pca", "tsne")


@dataclass(frozen=True, eq=False)
class GroupMap:
    """Places in a plane.

    Parameters
    ----------
    method : {"pca", "tsne"}
    points : ndarray of shape (n, 2)
    index : ndarray of int, shape (n,)
        Which of the rows these are.
    codes : ndarray of int, shape (n,)
        The subpopulation of each, -1 for none.
    poison : ndarray of shape (m, 2)
    poison_codes : ndarray of int, shape (m,)
        The subpopulation that each poison row is against.
    """

    method: str
    points: Array
    index: Index
    codes: Index
    poison: Array
    poison_codes: Index

    def arrays(self) -> dict[str, Any]:
        """For an ``.npz`` file."""
        return {**vars(self), "method": np.array(self.method)}


def group_map(
    matcher: Matcher,
    auxiliary: Sample,
    rows: Sample,
    poison: Mapping[int, Sample],
    *,
    method: str = "pca",
    most: int = 1500,
    random_state: int = 0,
) -> GroupMap:
    """Put rows and poison into one plane, by scikit-learn.

    Parameters
    ----------
    matcher : Matcher
        Fitted. What it clusters is mapped (``embed``), the rows themselves if it is no `ClusterMatch`.
    auxiliary : Sample
        The rows that the principal components are fitted on.
    rows : Sample
        To be shown.
    poison : mapping of int to Sample
        By the code of the subpopulation that it is against.
    method : {"pca", "tsne"}, default "pca"
        Two principal components of the auxiliary rows; or t-SNE of the rows and the poison together, begun at these,
        whose distances between clusters mean nothing.
    most : int, default 1500
        Rows, and poison rows, shown at most; others are left out at random.
    random_state : int, default 0

    Examples
    --------
    >>> from linpoison.subpopulations import FeatureMatch
    >>> rows = Sample([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]], [1, 1, -1, -1])
    >>> found = group_map(FeatureMatch([0]).fit(rows), rows, rows, {0: rows.take([2])})
    >>> np.abs(found.points[:, 0]), found.codes, found.poison_codes
    (array([2., 2., 2., 2.]), array([0, 0, 1, 1]), array([0]))
    """
    if method not in METHODS:
        raise InputError(f"a map by {' or '.join(METHODS)}", repr(method))
    limit, rng = check_integer(most, "most", at_least=2), np.random.default_rng(random_state)
    index = _drawn(rows.n, limit, rng)
    shown, codes = _values(matcher, rows.take(index)), matcher.assign(rows)[index]
    against = np.repeat(list(poison), [part.n for part in poison.values()]).astype(np.intp)
    chosen = _drawn(against.size, limit, rng)
    parts = [_values(matcher, part) for part in poison.values()]
    planted = np.concatenate(parts)[chosen] if parts else shown[:0]
    draw = _principal if method == "pca" else _neighbours
    points = draw(_values(matcher, auxiliary), np.concatenate([shown, planted]), random_state)
    return GroupMap(method, points[: len(shown)], index, codes, points[len(shown) :], against[chosen])


def _drawn(n: int, most: int, rng: np.random.Generator) -> Index:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _values(matcher: Any, rows: Sample) -> Array:
    values = matcher.embed(rows) if hasattr(matcher, "embed") else rows.X
    values = dense(values)
    return values.reshape(len(values), -1)


def _principal(auxiliary: Array, values: Array, random_state: int) -> Array:
    from sklearn.decomposition import PCA

    points = PCA(min(2, *auxiliary.shape), random_state=random_state).fit(auxiliary).transform(values)
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def _neighbours(auxiliary: Array, values: Array, random_state: int) -> Array:
    from sklearn.manifold import TSNE

    if len(values) < 4:
        raise InputError("at least 4 rows to map by tsne", f"{len(values)}", "Map them by pca.")
    near = min(30.0, (len(values) - 1) / 3)
    start = "pca" if values.shape[1] > 1 else "random"
    return np.asarray(TSNE(perplexity=near, init=start, random_state=random_state).fit_transform(values), dtype=float)


@dataclass(eq=False)
class Recording:
    """An attack that keeps what it made last against each subpopulation.

    Parameters
    ----------
    attack : SubpopulationAttack
    """

    attack: SubpopulationAttack
    made: dict[int, Sample] = field(default_factory=dict)

    def poison(self, auxiliary: Sample, group: Subpopulation, count: int, surrogate: Any, seed: int) -> Sample:
        """See `SubpopulationAttack.poison`."""
        self.made[group.code] = self.attack.poison(auxiliary, group, count, surrogate, seed)
        return self.made[group.code]
