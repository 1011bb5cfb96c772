"""Which rows the attacker may look at, and which rows score the poison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import Dataset, InputError, Split

_EXPECTED = "target 'test', 'train' or 'split:F' with a fraction 0 < F < 1"


@dataclass(frozen=True)
class Target:
    """What the attacker tunes on.

    ``test``: the scored rows themselves (the papers' protocol). ``train``: training rows only.
    ``split:F``: a fraction F of the test rows, stratified by class; the rest stay unseen.

    Examples
    --------
    >>> Target.parse("split:0.5")
    Target(kind='split', fraction=0.5)
    """

    kind: str
    fraction: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the words of the command line."""
        if text in ("test", "train"):
            return cls(text)
        head, _, tail = text.partition(":") if isinstance(text, str) else ("", "", "")
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
        first, second = _halves(split.test, self.fraction, seed)
        return TargetRows(seen=first, scored=first, unseen=second)


@dataclass(frozen=True, eq=False)
class TargetRows:
    """Rows the attacker saw, rows behind ``test_error``, and rows behind ``unseen_test_error``."""

    seen: Dataset
    scored: Dataset
    unseen: Dataset | None


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
