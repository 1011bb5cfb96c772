"""Who would be hurt: what one poison does to each subpopulation, behind each defence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import UNDEFENDED, Dataset, InputError, LinearModel
from ..core.validation import Array

CLUSTERS = 10
"""How many clusters `clusters` stands for."""
LEAST_ROWS = 5
"""Subpopulations with fewer measured rows are counted, not reported."""
LEVEL = 0.95
"""Of the intervals, for all subpopulations together."""
_DISTINCT = 6  # a column of more values is cut at its quartiles
_EXPECTED = (
    "subpopulation 'clusters', 'clusters:K' with a whole number K, or 'columns:' with names or numbers of columns"
)


@dataclass(frozen=True)
class Grouping:
    """How rows are divided, as the command line says it.

    ``clusters`` or ``clusters:K``: k-means on principal components. ``columns:A,B,...``: rows that agree in these
    columns, by name or by number from 0; a column of more than six values is cut at its quartiles. Either is fitted on
    the clean training rows alone.

    Examples
    --------
    >>> Grouping.parse("clusters:4")
    Grouping(kind='clusters', clusters=4, columns=())
    >>> Grouping.parse("columns:age, sex").columns
    ('age', 'sex')
    """

    kind: str
    clusters: int = CLUSTERS
    columns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: Any) -> Grouping:
        """Read the words of the command line.

        Raises
        ------
        InputError
            For other words, no cluster, no column, or one that is named twice.
        """
        kind, colon, tail = text.partition(":") if isinstance(text, str) else ("", "", "")
        if kind == "clusters" and (not colon or (tail.isascii() and tail.isdigit() and int(tail) > 0)):
            return cls("clusters", int(tail) if colon else CLUSTERS)
        columns = tuple(word.strip() for word in tail.split(","))
        if kind != "columns" or not all(columns):
            raise InputError(_EXPECTED, repr(text), "Such as --subpopulation clusters:10 or columns:age,sex.")
        if len(set(columns)) < len(columns):
            raise InputError("columns that are named once", repr(text))
        return cls("columns", columns=columns)

    def check(self, train: Dataset) -> None:
        """Raise unless the rows have these columns, or are enough for the clusters."""
        if self.kind == "clusters" and self.clusters > train.n:
            raise InputError(f"at most {train.n} clusters, one for each training row", f"{self.clusters}")
        for word in self.columns:
            self._column(word, train)

    def assign(self, train: Dataset, rows: Dataset, seed: int) -> tuple[list[str], Array, Any]:
        """Name and training rows of each subpopulation, and that of each measured row (-1: of none)."""
        from ..subpopulations import ClusterMatch, FeatureMatch, Population

        first, second = (Population(part.X, part.y, self._annotations(train, part)) for part in (train, rows))
        if self.kind == "clusters":
            match: Any = ClusterMatch(n_clusters=self.clusters, random_state=seed)
        else:
            match = FeatureMatch(self.columns)
        match.fit(first)
        return match.names_, match.sizes_, match.assign(second)

    def _annotations(self, train: Dataset, part: Dataset) -> dict[str, Any]:
        return {word: _words(word, *(_values(data, self._column(word, train)) for data in (train, part)))
                for word in self.columns}  # fmt: skip

    def _column(self, word: str, train: Dataset) -> int:
        names = train.feature_names
        if names is not None and word in names:
            return names.index(word)
        if word.isascii() and word.isdigit() and int(word) < train.d:
            return int(word)
        known = "" if names is None else f" (such as {', '.join(names[:5])})"
        raise InputError(f"columns by name{known} or by number below {train.d}", repr(word))


def _values(data: Dataset, column: int) -> Array:
    values = data.X[:, [column]]
    return np.asarray(values.toarray() if sp.issparse(values) else values).ravel()


def _words(name: str, train: Array, values: Array) -> Any:
    """Each value as a word; of a column of many values the quarter of the training rows that it lies in."""
    if np.unique(train).size <= _DISTINCT:
        own = np.unique(values)
        return np.array(_told_apart(own))[np.searchsorted(own, values)]
    borders = np.unique(np.quantile(train, [0.25, 0.5, 0.75]))
    ends = _told_apart(borders)
    words = [f"below {ends[0]}", *(f"{low} to {high}" for low, high in zip(ends[:-1], ends[1:], strict=True))]
    return np.array([*words, f"from {ends[-1]}"])[np.digitize(values, borders)]


def _told_apart(values: Array) -> list[str]:
    """Different numbers as different words, as short as that allows."""
    for digits in range(3, 18):
        words = [f"{value:.{digits}g}" for value in values]
        if len(set(words)) == len(words):
            break
    return words


def large_enough(names: Sequence[str], codes: Array) -> tuple[np.ndarray, np.ndarray]:
    """Measured rows in each subpopulation, and which have `LEAST_ROWS` of them.

    Raises
    ------
    InputError
        If none has.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    chosen = np.flatnonzero(counts >= LEAST_ROWS)
    if not chosen.size:
        raise InputError(
            f"a subpopulation of at least {LEAST_ROWS} test rows", f"{int(counts.max(initial=0))} in the largest",
            "Name fewer columns or clusters.",
        )  # fmt: skip
    return counts, chosen


def damage_by_group(
    grouping: Grouping,
    train: Dataset,
    rows: Dataset,
    clean: Mapping[str, LinearModel],
    poisoned: Mapping[str, LinearModel],
    seed: int,
) -> dict[str, Any]:
    """Errors without and with poison on each subpopulation, and their difference with an interval.

    Parameters
    ----------
    grouping : Grouping
    train : Dataset
        Clean training rows, which the subpopulations are found in.
    rows : Dataset
        Rows to measure on, disjoint from them.
    clean, poisoned : mapping of str to LinearModel
        By defence.
    seed : int
        Of the clusters.

    Returns
    -------
    dict
        ``groups`` (see docs/files.md), ``overall``, ``left_out`` and ``level``.

    Raises
    ------
    InputError
        If no subpopulation has `LEAST_ROWS` of the rows.
    """
    names, sizes, codes = grouping.assign(train, rows, seed)
    counts, chosen = large_enough(names, codes)
    z = NormalDist().inv_cdf(1 - (1 - LEVEL) / (2 * chosen.size))
    wrong = {name: (clean[name].predict(rows.X) != rows.y, poisoned[name].predict(rows.X) != rows.y) for name in clean}
    groups = [
        {
            "name": names[code], "n_train": int(sizes[code]), "n_rows": int(counts[code]),
            "positive": float((rows.y[codes == code] > 0).mean()), "defenses": _compared(wrong, codes == code, z),
        }
        for code in chosen
    ]  # fmt: skip
    left = int(rows.n - counts[chosen].sum())
    everyone = _compared(wrong, np.ones(rows.n, dtype=bool), NormalDist().inv_cdf((1 + LEVEL) / 2))
    return {"groups": groups, "overall": everyone, "left_out": left, "level": LEVEL, "n_rows": rows.n}


def _compared(wrong: Mapping[str, tuple[Any, Any]], mask: Any, z: float) -> dict[str, dict[str, float]]:
    found = {}
    for name, (before, after) in wrong.items():
        first, second = before[mask], after[mask]
        low, high = paired_interval(int((second & ~first).sum()), int((first & ~second).sum()), first.size, z)
        error, later = float(first.mean()), float(second.mean())
        found[name] = {"clean": error, "poisoned": later, "damage": later - error, "low": low, "high": high}
    return found


def paired_interval(gained: int, lost: int, n: int, z: float) -> tuple[float, float]:
    """Interval of a difference of two error rates on the same n rows.

    ::

        d +- z sqrt( (b + c) - (b - c)^2 / m ) / m,   d = (b - c) / m,   b = gained + 1/2,  c = lost + 1/2,  m = n + 2

    which has a width where no row changed too.

    Parameters
    ----------
    gained, lost : int
        Rows that only the second, and only the first model misclassifies.
    n : int
    z : float
        Quantile of the normal distribution.

    References
    ----------
    Agresti, Min, "Simple improved confidence intervals for comparing matched proportions", 2005, section 3.

    Examples
    --------
    >>> [round(end, 3) for end in paired_interval(0, 0, 98, 1.96)]
    [-0.02, 0.02]
    """
    b, c, m = gained + 0.5, lost + 0.5, n + 2
    middle, half = (b - c) / m, z * float(np.sqrt(max(b + c - (b - c) ** 2 / m, 0.0))) / m
    return max(middle - half, -1.0), min(middle + half, 1.0)


def hurt(
    grouping: Grouping,
    train: Dataset,
    rows: tuple[str, Dataset],
    models: tuple[Mapping[str, LinearModel], Mapping[str, LinearModel]],
    strongest: tuple[str, Mapping[str, float]],
    *,
    words: str,
    seed: int,
) -> dict[str, Any]:
    """The part ``subpopulations`` of a report: of the strongest attack, the most damaged subpopulation first.

    Parameters
    ----------
    grouping, train, seed
        See `damage_by_group`.
    rows : pair
        What they are, "scored" or "unseen", and the rows.
    models : pair of mapping
        Clean and poisoned, by defence.
    strongest : pair
        Name of the attack, and its error by defence, which tells the best defence.
    words : str
        What the user asked for.
    """
    name, errors = strongest
    defenses = {key: value for key, value in errors.items() if key != UNDEFENDED} or dict(errors)
    best = min(defenses, key=lambda key: defenses[key])
    found = damage_by_group(grouping, train, rows[1], *models, seed)
    found["groups"].sort(key=lambda group: -group["defenses"][best]["damage"])
    return {"by": words, "rows": rows[0], "attack": name, "defense": best, **found}
