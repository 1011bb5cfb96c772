"""From what each base withstands to what their majority withstands, and how to find the former."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.validation import Array

Levels = np.ndarray[Any, np.dtype[np.int64]]
Attempt = Callable[[int, int, np.ndarray], Any]


def flips_needed(votes_for: Any, n_parts: int, label: Any) -> Levels:
    """How many bases must change sides before the majority leaves a label; at most 0 if it does not hold it.

    ::

        +1 holds while  for > against:      ceil(gap / 2)         gap = for - against
        -1 holds while  for >= against:     floor(gap / 2) + 1    (a tie goes to -1)

    that is one more than the certified changes of Levine and Feizi (2021), equation 3.

    Parameters
    ----------
    votes_for : array_like of int, shape (n,)
        Bases whose vote for the label is proven; all others count against it.
    n_parts : int
    label : array_like, shape (n,)
        In {-1, +1}.

    Examples
    --------
    >>> flips_needed([4, 4, 2, 2], 4, [1, -1, 1, -1])
    array([2, 3, 0, 1])
    """
    gap = 2 * np.asarray(votes_for, dtype=np.int64) - n_parts
    return np.where(np.asarray(label) > 0, -(-gap // 2), gap // 2 + 1)


def certified_insertions(levels: Any, label: Any, deletions: int = 0) -> Array:
    """Rows that can be inserted without moving the majority from a label, -1 if it is not proven at all.

    A base that withstands m insertions into its part takes ``tau = m + 1`` of them to change sides, and each
    row that is deleted or relabelled can turn one base at once. With f = `flips_needed`, an attack spends at
    least the ``f - deletions`` smallest tau among the bases on the side of the label: certified is one less.

    Parameters
    ----------
    levels : array_like of int, shape (n, n_parts)
        Insertions that each base withstands in its own part, -1 where its vote is not proven.
    label : array_like, shape (n,)
    deletions : int
        Clean rows that may be deleted or relabelled as well.

    Examples
    --------
    >>> certified_insertions([[0, 0, 0], [3, 5, 4], [3, -1, 5], [-1, -1, 5]], [1, 1, 1, 1])
    array([ 1.,  8.,  3., -1.])
    """
    levels = np.asarray(levels, dtype=np.int64)
    n_parts = levels.shape[1]
    flips = flips_needed((levels >= 0).sum(axis=1), n_parts, label) - deletions
    taus = np.sort(np.where(levels >= 0, levels + 1, np.iinfo(np.int32).max), axis=1)
    counted = np.arange(n_parts) < flips[:, None]
    return np.maximum(np.where(counted, taus, 0).sum(axis=1) - 1.0, -1.0)


def search_levels(
    attempt: Attempt, wanted: Any, tops: Any, label: Any, deletions: int = 0, *, precision: float = 0.0
) -> Levels:
    """The insertions that each base withstands, as far as the majority depends on them.

    Doubling, then bisection, for all rows and bases in step. A base that already withstands as much as
    ``f - deletions`` others at most is left alone: more from it would not count.

    Parameters
    ----------
    attempt : callable
        ``attempt(base, m, rows)`` says which of these rows (indices) it proves at m insertions.
    wanted : array_like of bool, shape (n, n_parts)
        Where to look, as a rule where the trained base votes for the label.
    tops : array_like of int, shape (n_parts,)
        Largest m to try.
    label, deletions
        See `certified_insertions`.
    precision : float
        Share of a level that may be left unexplored above it.

    Returns
    -------
    ndarray of int, shape (n, n_parts)
        -1 where not even m = 0 is proven.
    """
    wanted = np.asarray(wanted, dtype=bool)
    low = np.full(wanted.shape, -1, dtype=np.int64)
    high = np.where(wanted, np.asarray(tops, dtype=np.int64) + 1, 0)
    while (open_ := _open(low, high, label, deletions) & (high - low > 1 + precision * np.maximum(low, 0))).any():
        for base in range(wanted.shape[1]):
            rows = np.flatnonzero(open_[:, base])
            middle = (low[rows, base] + high[rows, base]) // 2
            tries = np.minimum(np.maximum(1, 2 * low[rows, base]), middle)
            for m in np.unique(tries):
                group = rows[tries == m]
                proven = np.asarray(attempt(base, int(m), group), dtype=bool)
                low[group[proven], base] = m
                high[group[~proven], base] = m
    return low


def _open(low: Levels, high: Levels, label: Any, deletions: int) -> Any:
    """Where more would be of consequence for the sum of the least tau."""
    flips = flips_needed((high > 0).sum(axis=1), high.shape[1], label) - deletions
    ordered = np.sort(np.where(high > 0, high, np.iinfo(np.int64).max), axis=1)
    last = np.take_along_axis(ordered, np.maximum(flips - 1, 0)[:, None], axis=1)
    return (low + 1 < last) & (flips > 0)[:, None]
