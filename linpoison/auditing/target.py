"""Which rows the attacker may look at, and which rows score the poison."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..attacks.aim import Aim
from ..core import ERROR, Dataset, InputError, Measure, Split
from .numbering import row_numbers

_EXPECTED = "target 'test', 'train', 'split:F' with a fraction 0 < F < 1, or 'rows:' with row numbers or a file"


@dataclass(frozen=True)
class Target:
    """What the attacker tunes on.

    ``test``: the scored rows themselves (the papers' protocol). ``train``: training rows only.
    ``split:F``: a fraction F of the test rows, stratified by class; the rest stay unseen. ``rows:I,J,...`` or
    ``rows:FILE`` (text, ``.csv`` or ``.npy``): the attacker wants exactly these test rows misclassified, and
    what happens to the others is collateral damage. Of a file, rows are numbered as in the file.

    Examples
    --------
    >>> Target.parse("split:0.5")
    Target(kind='split', fraction=0.5)
    """

    kind: str
    fraction: float = 1.0
    index: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the words of the command line."""
        if isinstance(text, str) and text in ("test", "train"):
            return cls(text)
        head, colon, tail = text.partition(":") if isinstance(text, str) else ("", "", "")
        if head == "rows" and colon:
            return cls("rows", index=row_numbers(tail, "test"))
        try:
            fraction = float(tail)
        except ValueError:
            fraction = 0.0
        if head != "split" or not 0 < fraction < 1:
            raise InputError(_EXPECTED, repr(text))
        return cls("split", fraction)

    def rows(self, split: Split, seed: int, measure: Measure = ERROR) -> TargetRows:
        """Divide the rows of `split`; damage is measured by `measure`, for which each part has to have rows."""
        divided = replace(self._divided(split, seed), measure=measure)
        for name in ("seen", "scored", "unseen"):
            part = getattr(divided, name)
            if part is not None:
                measure.require(part, f"{name} rows")
        return divided

    def _divided(self, split: Split, seed: int) -> TargetRows:
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
        positions = test.positions(self.index)
        chosen, rest = test.take(positions), np.setdiff1d(np.arange(test.n), positions)
        return TargetRows(chosen, chosen, test.take(rest) if rest.size else None, self.index)


@dataclass(frozen=True, eq=False)
class TargetRows:
    """Rows the attacker saw, rows behind ``test_error``, and rows behind ``unseen_test_error``.

    In a targeted attack `index` numbers the test rows that the attacker wants misclassified (as the user's file does);
    they are seen and scored, and the unseen rows are those that it does not care about.
    """

    seen: Dataset
    scored: Dataset
    unseen: Dataset | None
    index: tuple[int, ...] = ()
    measure: Measure = ERROR

    @property
    def parts(self) -> dict[str, Dataset]:
        """The seen, the scored and the unseen rows, what a report scores each poison on."""
        parts = {"seen": self.seen, "scored": self.scored, "unseen": self.unseen}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def measured(self) -> tuple[str, Dataset]:
        """What subpopulations are measured on, and its rows: the unseen ones where there are any."""
        return ("scored", self.scored) if self.unseen is None else ("unseen", self.unseen)

    @property
    def aim(self) -> Aim:
        """Damage to the seen rows themselves, at no limit to what others suffer, or to rows like them."""
        if self.index:
            return Aim(self.seen, others=self.unseen, collateral=1.0, measure=self.measure)
        return Aim(self.seen, "target" if self.unseen is None else "population", measure=self.measure)


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
