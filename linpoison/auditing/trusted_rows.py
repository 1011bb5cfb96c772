"""Which training rows are known to be clean: a share of each class, or those that the user has checked and names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core import Dataset, InputError, Split, check_number
from ..datasets.layout import Layout
from ..datasets.loading import load_marked
from .frames import is_frame, marked_in_frame
from .numbering import in_array, in_order, row_numbers

_EXPECTED = "trusted as a share, rows:3,17,42, rows:FILE, column:NAME, or row numbers"
DRAWN = (
    "The {n} trusted rows were drawn at random, to see what checking so many would buy. Check those that harden.json "
    "lists under trusted before a setting rests on them, or name those that you have checked (--trusted)."
)
LEAST = 2
"""Trusted rows of each class."""


@dataclass(frozen=True)
class TrustedRows:
    """What the user says of trusted rows.

    Parameters
    ----------
    words : str
        As the command line has it.
    share : float
        Of each class, drawn at random; used where nothing is named.
    index : tuple of int
        Row numbers of the user's file, or positions among the training rows where there is none.
    column : str, optional
        The column that is 0 in all rows but the trusted ones.

    Examples
    --------
    >>> TrustedRows.parse("rows:4,2").index, TrustedRows.parse([4, 2]).words, TrustedRows.parse("0.5").share
    ((2, 4), 'rows:2,4', 0.5)
    """

    words: str
    share: float = 0.0
    index: tuple[int, ...] = field(default=(), repr=False)
    column: str | None = None

    @classmethod
    def parse(cls, value: Any) -> TrustedRows:
        """Read the words of the command line, a share, or row numbers."""
        if isinstance(value, TrustedRows):
            return value
        if isinstance(value, str):
            return cls._of_words(value)
        if not hasattr(value, "__iter__"):
            return cls._of_share(value)
        try:
            numbers = np.asarray(value)
        except ValueError:
            raise InputError(_EXPECTED, repr(value)) from None
        index = in_order(in_array(numbers, "trusted"), "trusted")
        return cls(f"rows:{','.join(map(str, index))}", index=index)

    @classmethod
    def _of_words(cls, text: str) -> TrustedRows:
        head, colon, tail = text.partition(":")
        if head == "rows" and colon:
            return cls(text, index=row_numbers(tail, "trusted"))
        if head == "column" and tail.strip():
            return cls(text, column=tail)
        try:
            share = float(text)
        except ValueError:
            raise InputError(_EXPECTED, repr(text)) from None
        return cls._of_share(share)

    @classmethod
    def _of_share(cls, value: Any) -> TrustedRows:
        remedy = "It is the share of the training rows that was checked by hand; rows:3,17,42 names them."
        share = check_number(value, "trusted", at_least=0, at_most=1, remedy=remedy)
        return cls(f"{share:g}", share=share)

    def __str__(self) -> str:
        return self.words

    def of(self, data: Any, split: Split, layout: Layout, seed: int) -> tuple[Dataset | None, list[str]]:
        """The trusted training rows, None for no one; and what there is to be said of them.

        Parameters
        ----------
        data : str, path, Split, frame or tuple
            What the user gave, of which `split` was made; a column is read from it.
        split : Split
        layout : Layout
            How a table is read.
        seed : int
            Of the draw of a share.

        Raises
        ------
        InputError
            For a number that no row has, or fewer than `LEAST` trusted training rows of a class.
        """
        if self.column is None and not self.index:
            rows = _drawn(split.train, self.share, seed)
            return rows, [] if rows is None else [DRAWN.format(n=rows.n)]
        numbers = self.index if self.column is None else self._marked(data, layout)
        mine, away = _present(split, numbers)
        rows = split.train.take(np.sort(split.train.positions(mine, "training")))
        few = min((int((rows.y == label).sum()), str(rows.label_values([label])[0])) for label in rows.labels)
        if few[0] < LEAST:
            remedy = f"{away} of those named are held out as test rows. Name more." if away else "Name more."
            raise InputError(f"{LEAST} trusted rows of each class at least", f"{few[0]} of class {few[1]}", remedy)
        return rows, _cautions(split, rows, away)

    def _marked(self, data: Any, layout: Layout) -> list[int]:
        if is_frame(data):
            found = marked_in_frame(data, str(self.column))
        elif isinstance(data, (str, os.PathLike)):
            found = load_marked(os.fspath(data), layout)
        else:
            raise InputError("a file or a frame with a column of trusted rows", f"a {type(data).__name__}",
                             "Name the rows by number.")  # fmt: skip
        if not found.size:
            raise InputError("rows that the column of trusted rows marks", f"only 0 in {self.column!r}")
        return [int(number) for number in found]


def _drawn(train: Dataset, share: float, seed: int) -> Dataset | None:
    """So many of the rows of each class; None for a share of zero."""
    if share == 0:
        return None
    rng = np.random.default_rng([seed, 17])
    chosen = []
    for label in train.labels:
        members = np.flatnonzero(train.y == label)
        chosen.append(rng.choice(members, max(round(share * members.size), LEAST), replace=False))
    return train.take(np.sort(np.concatenate(chosen)))


def _present(split: Split, numbers: Any) -> tuple[list[int], int]:
    """The numbers of training rows, and how many are those of rows that were held out of the same file."""
    here, there = set(split.train.numbers.tolist()), set(split.test.numbers.tolist())
    held = there if split.train.row_numbers is not None and not here & there else set()
    mine = [number for number in numbers if number not in held]
    return mine, len(numbers) - len(mine)


def _cautions(split: Split, rows: Dataset, away: int) -> list[str]:
    """Trusted rows that are held out, that stand among the test rows too, or that other rows contradict."""
    others = split.train.take(~np.isin(split.train.numbers, rows.numbers))
    key, label = _keys(rows), dict(zip(_keys(rows), rows.y.tolist(), strict=True))
    tested = set(_keys(split.test))
    twice = sum(one in tested for one in key) if split.test is not split.train else 0
    against = sum(label.get(one, y) != y for one, y in zip(_keys(others), others.y.tolist(), strict=True))
    said = [
        (away, "of the rows named as trusted are held out as test rows; no setting uses them"),
        (twice, "trusted rows equal test rows: settings that rest on them look better there than elsewhere"),
        (against, "other training rows equal trusted rows and have another label"),
    ]
    return [f"{count} {words}." for count, words in said if count]


def _keys(rows: Dataset) -> list[bytes]:
    """What tells rows apart, whatever their labels."""
    if not rows.is_sparse:
        return [row.tobytes() for row in np.asarray(rows.X) + 0.0]
    X = rows.X.copy()
    X.sum_duplicates()
    X.eliminate_zeros()
    parts = zip(X.indptr[:-1].tolist(), X.indptr[1:].tolist(), strict=True)
    return [X.indices[i:j].astype(np.int64).tobytes() + X.data[i:j].tobytes() for i, j in parts]
