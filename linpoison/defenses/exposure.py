"""Whether the poison that a budget buys can overrun the quota of a class, or drag its mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..core import Array, Dataset, Domain
from ..sets.base import squared_distances
from .base import Defense
from .quota import drag_ratio


@dataclass(frozen=True, kw_only=True)
class ClassExposure:
    """What filters that are fitted on clean and poison rows together hold of one class.

    Parameters
    ----------
    label : float
    n_clean : int
        Clean rows of the class.
    n_poison : int
        Poison rows that may carry the label: the whole budget.
    n_dropped : int
        Rows of the class that every filter is sure to drop if all the poison is in it; the most over the filters.
    n_surviving : int
        Poison rows that stay wherever they lie: ``max(0, n_poison - n_dropped)``.
    least_overrun : int or None
        The least number of poison rows of which one stays wherever it lies, None if the budget buys none.
    least_drag : int or None
        The least number of poison rows that carry the mean of the class off and stay behind it, None if the budget
        and the domain allow none: one or more that drag, and as many as it takes to be neighbours of each other.

    Notes
    -----
    Rows that drag lie `drag_ratio` times as far as those that stay. In R^d there is room for it; a bounded domain
    leaves room only if the rows that stay then lie beyond the radius that holds the clean rows that are kept, for
    else they would stay without it.
    """

    label: float
    n_clean: int
    n_poison: int
    n_dropped: int
    n_surviving: int
    least_overrun: int | None
    least_drag: int | None


def class_exposures(train: Dataset, n_poison: int, defenses: Mapping[str, Defense]) -> dict[float, ClassExposure]:
    """For each label what `n_poison` rows can do to filters that are fitted with them.

    Parameters
    ----------
    train : Dataset
        Clean rows with weights that count as copies, and the domain of the poison rows.
    n_poison : int
    defenses : mapping of str to Defense
        Unfitted. None of them: nothing is dropped.

    Examples
    --------
    >>> from linpoison.defenses import L2Defense
    >>> rows = np.random.default_rng(0).normal(size=(398, 3))
    >>> train = Dataset(rows, np.where(np.arange(398) < 148, 1, -1))
    >>> class_exposures(train, 12, {"l2": L2Defense()})[1.0]  # doctest: +NORMALIZE_WHITESPACE
    ClassExposure(label=1.0, n_clean=148, n_poison=12, n_dropped=8, n_surviving=4, least_overrun=9, least_drag=2)
    """
    filters = [one for one in defenses.values() if one.drops_share and one.follows_poison]
    return {label: _of_class(train, label, n_poison, filters) for label in train.labels[::-1]} if filters else {}


def _of_class(train: Dataset, label: float, n_poison: int, filters: list[Defense]) -> ClassExposure:
    rows = train.of_class(label)
    n = rows.n
    dropped = [_dropped(filters, n + m) for m in range(n_poison + 1)]
    return ClassExposure(
        label=label,
        n_clean=n,
        n_poison=n_poison,
        n_dropped=dropped[-1],
        n_surviving=max(0, n_poison - dropped[-1]),
        least_overrun=next((m for m, gone in enumerate(dropped) if m > gone), None),
        least_drag=_least_drag(rows, train.domain, n_poison, filters),
    )


def _dropped(filters: Iterable[Defense], n: int) -> int:
    return max((one.n_dropped(n) for one in filters), default=0)


def _least_drag(rows: Dataset, domain: Domain, n_poison: int, filters: list[Defense]) -> int | None:
    """Working rows at ``reach / ratio`` have to lie beyond the radius of the clean rows that are kept."""
    n, working = rows.n, max((one.copies_to_pass for one in filters), default=1)
    center = np.asarray(rows.X.mean(axis=0)).ravel()
    reach, radius = domain.reach(center), _radius(rows, center, filters)
    for dragging in range(1, n_poison - working + 1):
        if reach > radius * drag_ratio(n, working, dragging):
            return working + dragging
    return None


def _radius(rows: Dataset, center: Array, filters: list[Defense]) -> float:
    distances = np.sort(np.sqrt(squared_distances(rows.X, center)))
    return float(distances[max(0, distances.size - 1 - _dropped(filters, distances.size))])
