"""The three disjoint parts that a subpopulation attack is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core import InputError, check_integer
from ..risk import Sample

Index = NDArray[np.intp]


def counted(rows: Sample) -> Sample:
    """The rows, each of which has to stand for itself: members of a group are counted, whatever they weigh.

    Raises
    ------
    InputError
        For rows of other weights than one.
    """
    if rows.weights is not None and (rows.weights != 1).any():
        raise InputError("rows of weight one", "other weights", "Repeat the rows.")
    return rows


@dataclass(frozen=True, eq=False)
class Parts:
    """Training rows (the defender's), auxiliary rows (all that the attacker sees) and test rows, disjoint.

    Parameters
    ----------
    train, auxiliary, test : Sample
    rows : tuple of three ndarrays of int, optional
        Where they come from in the whole.

    References
    ----------
    Jagielski et al., "Subpopulation data poisoning attacks", 2021, section 3.1.
    """

    train: Sample
    auxiliary: Sample
    test: Sample
    rows: tuple[Index, Index, Index] | None = None

    def __post_init__(self) -> None:
        for part in (self.train, self.auxiliary, self.test):
            counted(part)
        if self.rows is None:
            return
        together = np.concatenate(self.rows)
        if np.unique(together).size != together.size:
            raise InputError("disjoint train, auxiliary and test rows", "a row that is in two of them")


def three_parts(whole: Sample, sizes: Sequence[float], seed: int = 0) -> Parts:
    """Draw training, auxiliary and test rows without replacement.

    Parameters
    ----------
    whole : Sample
    sizes : three numbers
        Whole numbers of rows, or fractions of all rows that add up to at most 1.
    seed : int

    Raises
    ------
    InputError
        If there are not enough rows, or a part would be empty.

    Examples
    --------
    >>> parts = three_parts(Sample(np.zeros((10, 1)), np.arange(10)), (0.4, 0.4, 0.2))
    >>> parts.train.n, parts.auxiliary.n, parts.test.n
    (4, 4, 2)
    """
    if len(sizes) != 3:
        raise InputError("three sizes: train, auxiliary, test", f"{len(sizes)}")
    fractions = all(0 < size < 1 for size in sizes)
    if fractions:
        counts = np.diff(np.round(np.cumsum([0.0, *sizes]) * whole.n).astype(int)).tolist()
    else:
        counts = [check_integer(size, "a size", at_least=1) for size in sizes]
    if min(counts) < 1 or sum(counts) > whole.n:
        raise InputError(f"three parts of {whole.n} rows, none empty", f"sizes {counts}")
    order = np.random.default_rng(seed).permutation(whole.n)
    ends = np.cumsum(counts)
    rows = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]])
    train, auxiliary, test = (whole.take(part) for part in rows)
    return Parts(train, auxiliary, test, rows)
