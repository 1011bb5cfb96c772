"""Who would be hurt: what one poison does to each subpopulation, behind each defence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import UNDEFENDED, Dataset, InputError, LinearModel, as_whole
from ..subpopulations import ClusterMatch, ColumnMatch, Matcher, Sample, column_numbers
from .damage import LEVEL, interval

CLUSTERS = 10
"""How many clusters `clusters` stands for."""
LEAST_ROWS = 5
"""Subpopulations with fewer measured rows are counted, not reported."""
_EXPECTED = (
    "subpopulation 'clusters', 'clusters:K' with a whole number K, or 'columns:' with names or numbers of columns"
)


@dataclass(frozen=True)
class Grouping:
    """How rows are divided, as the command line says it.

    ``clusters`` or ``clusters:K``: k-means on principal components. ``columns:A,B,...``: rows that agree in these
    columns, by name or by number from 0; a column of more than six values is cut at its quartiles, see
    `linpoison.subpopulations.ColumnMatch`. Either is fitted on the clean training rows alone.

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
            For other words, no cluster or no column.
        """
        kind, colon, tail = text.partition(":") if isinstance(text, str) else ("", "", "")
        if kind == "clusters" and not colon:
            return cls("clusters", CLUSTERS)
        if kind == "clusters" and tail.isascii() and tail.isdigit() and tail.strip("0"):
            return cls("clusters", as_whole(tail))
        columns = tuple(word.strip() for word in tail.split(","))
        if kind != "columns" or not all(columns):
            raise InputError(_EXPECTED, repr(text), "Such as --subpopulation clusters:10 or columns:age,sex.")
        return cls("columns", columns=columns)

    def divide(self, train: Dataset, rows: Dataset, seed: int) -> Division:
        """Find the subpopulations in the training rows, and which one each measured row is in.

        Raises
        ------
        InputError
            For a column that there is not or that is named twice, or fewer training rows than clusters.
        """
        match = self._matcher(train, seed).fit(Sample(train.X, train.y))
        return Division(match.names_, match.sizes_, match.assign(Sample(rows.X, rows.y)))

    def _matcher(self, train: Dataset, seed: int) -> Matcher:
        if self.kind == "columns":
            names = train.feature_names
            return ColumnMatch(column_numbers(self.columns, names, train.d), names)
        if self.clusters > train.n:
            raise InputError(f"at most {train.n} clusters, one for each training row", f"{self.clusters}")
        return ClusterMatch(n_clusters=self.clusters, random_state=seed)


@dataclass(frozen=True, eq=False)
class Division:
    """Subpopulations of some training rows, and the measured rows in them.

    Parameters
    ----------
    sizes : ndarray of int
        Training rows of each.
    codes : ndarray of int, shape (n,)
        The subpopulation of each measured row, -1 for none.

    Raises
    ------
    InputError
        If none has `LEAST_ROWS` of the measured rows.
    """

    names: Sequence[str]
    sizes: Any
    codes: Any

    def __post_init__(self) -> None:
        if not self.chosen.size:
            raise InputError(
                f"a subpopulation of at least {LEAST_ROWS} test rows", f"{int(self.counts.max(initial=0))} in the "
                "largest", "Name fewer columns or clusters.",
            )  # fmt: skip

    @property
    def counts(self) -> np.ndarray:
        """Measured rows of each."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))

    @property
    def chosen(self) -> np.ndarray:
        """Those that are reported."""
        return np.flatnonzero(self.counts >= LEAST_ROWS)


def damage_by_group(
    division: Division, rows: Dataset, clean: Mapping[str, LinearModel], poisoned: Mapping[str, LinearModel]
) -> dict[str, Any]:
    """Errors without and with poison on each subpopulation, and their difference with an interval.

    Parameters
    ----------
    rows : Dataset
        The measured rows, disjoint from the training rows.
    clean, poisoned : mapping of str to LinearModel
        By defence.

    Returns
    -------
    dict
        ``groups`` (see docs/files.md), ``overall``, ``left_out`` and ``level``.
    """
    counts, chosen, codes = division.counts, division.chosen, division.codes
    wrong = {name: (clean[name].predict(rows.X) != rows.y, poisoned[name].predict(rows.X) != rows.y) for name in clean}
    groups = [
        {
            "name": division.names[code], "n_train": int(division.sizes[code]), "n_rows": int(counts[code]),
            "positive": float((rows.y[codes == code] > 0).mean()),
            "defenses": _compared(wrong, codes == code, chosen.size),
        }
        for code in chosen
    ]  # fmt: skip
    left = int(rows.n - counts[chosen].sum())
    everyone = _compared(wrong, np.ones(rows.n, dtype=bool), 1)
    return {"groups": groups, "overall": everyone, "left_out": left, "level": LEVEL, "n_rows": rows.n}


def _compared(wrong: Mapping[str, tuple[Any, Any]], mask: Any, among: int) -> dict[str, dict[str, float]]:
    found = {}
    for name, (before, after) in wrong.items():
        first, second = before[mask], after[mask]
        low, high = interval(second.astype(np.float64) - first, among)
        error, later = float(first.mean()), float(second.mean())
        found[name] = {"clean": error, "poisoned": later, "damage": later - error, "low": low, "high": high}
    return found


def hurt(
    division: Division,
    rows: tuple[str, Dataset],
    models: tuple[Mapping[str, LinearModel], Mapping[str, LinearModel]],
    strongest: tuple[str, Mapping[str, float]],
    *,
    words: str,
) -> dict[str, Any]:
    """The part ``subpopulations`` of a report: of the strongest attack, the most damaged subpopulation first.

    Parameters
    ----------
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
    found = damage_by_group(division, rows[1], *models)
    found["groups"].sort(key=lambda group: -group["defenses"][best]["damage"])
    return {"by": words, "rows": rows[0], "attack": name, "defense": best, **found}
