"""Which rows the attacker may look at, and which rows score the poison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..core import Dataset, InputError, Split

Goal = Literal["target", "population"]

_EXPECTED = "target 'test', 'train', 'split:F' with a fraction 0 < F < 1, or 'rows:' with row numbers or a file"
_ROWS = "Give numbers of test rows from 0 on, each once, such as rows:3,17 or rows:FILE with one number a line."


@dataclass(frozen=True)
class Target:
    """What the attacker tunes on.

    ``test``: the scored rows themselves (the papers' protocol). ``train``: training rows only.
    ``split:F``: a fraction F of the test rows, stratified by class; the rest stay unseen. ``rows:I,J,...`` or
    ``rows:FILE`` (text, ``.csv`` or ``.npy``): the attacker wants exactly these test rows misclassified, and
    what happens to the others is collateral damage.

    Examples
    --------
    >>> Target.parse("split:0.5")
    Target(kind='split', fraction=0.5)
    """

    kind: str
    fraction: float = 1.0
    index: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the words of the command line."""
        if text in ("test", "train"):
            return cls(text)
        head, _, tail = text.partition(":") if isinstance(text, str) else ("", "", "")
        if head == "rows" and tail:
            return cls("rows", index=_row_numbers(tail))
        try:
            fraction = float(tail)
        except ValueError:
            fraction = 0.0
        if head != "split" or not 0 < fraction < 1:
            raise InputError(_EXPECTED, repr(text))
        return cls("split", fraction)

    def rows(self, split: Split, seed: int) -> TargetRows:
        """Divide the rows of `split`."""
        if self.kind == "test":
            return TargetRows(seen=split.test, scored=split.test, unseen=None)
        if self.kind == "train":
            return TargetRows(seen=split.train, scored=split.test, unseen=split.test)
        if self.kind == "rows":
            return self._given(split.test)
        first, second = _halves(split.test, self.fraction, seed)
        return TargetRows(seen=first, scored=first, unseen=second)

    def _given(self, test: Dataset) -> TargetRows:
        """Rows by number, and the other test rows."""
        if max(self.index) >= test.n:
            raise InputError(f"numbers of test rows below {test.n}", str(max(self.index)), _ROWS)
        rest = np.setdiff1d(np.arange(test.n), self.index)
        chosen = test.take(np.array(self.index))
        return TargetRows(chosen, chosen, test.take(rest) if rest.size else None, targeted=True)


@dataclass(frozen=True, eq=False)
class TargetRows:
    """Rows the attacker saw, rows behind ``test_error``, and rows behind ``unseen_test_error``."""

    seen: Dataset
    scored: Dataset
    unseen: Dataset | None
    targeted: bool = False

    @property
    def goal(self) -> Goal:
        """Whether damage is meant for the seen rows themselves or for rows like them."""
        return "target" if self.targeted or self.unseen is None else "population"


def _row_numbers(text: str) -> tuple[int, ...]:
    """Row numbers from a comma list or a file."""
    path = Path(text)
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False).ravel().tolist()
        elif path.suffix or not text.replace(",", "").strip().isdigit():
            values = path.read_text(encoding="utf-8").replace(",", " ").split()
        else:
            values = text.split(",")
        numbers = [int(value) for value in values]
    except (OSError, ValueError):
        raise InputError(_EXPECTED, repr(f"rows:{text}"), _ROWS) from None
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise InputError("row numbers of at least 0, each once", repr(f"rows:{text}"), _ROWS)
    return tuple(sorted(numbers))


def _halves(test: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    from sklearn.model_selection import train_test_split

    try:
        first, second = train_test_split(
            np.arange(test.n), train_size=fraction, random_state=seed, stratify=test.y, shuffle=True
        )
    except ValueError as error:
        raise InputError(
            "test rows enough for a stratified split of both parts",
            f"{test.n} rows and a fraction of {fraction:g} ({error})",
            "Use another fraction, or the target 'test'.",
        ) from None
    return test.take(np.sort(first)), test.take(np.sort(second))
