"""What stops rows that overrun a filter or drag a mean, and what each measure costs on clean data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone

from ..core import CapabilityError, Dataset, Domain, InputError, Matrix, Poison, SolverFailed
from ..core.parts import dense
from ..defender import Evaluation
from ..defenses import Defense, NormClipper, TrustedDefense, distinct_rows
from ..defenses.quota import quota
from .inputs import Setting

_ROWS = "rows"


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One measure, and what it does behind each filter.

    Parameters
    ----------
    name : str
        ``range``: rows beyond the range of the clean rows in some column are refused. ``clip``: rows are pulled back
        to the 95 % quantile of the distances to the median, in training and in use. ``median``: `l2` and `slab` take
        medians, and every filter removes enough to hold the whole budget. ``trusted``: the filters are fitted on one
        half of the clean rows, every other one of each class. ``duplicates``: near-copies of earlier rows of a class
        are dropped before the filters.
    words : str
        The measure in a few words.
    clean_error : dict of float
        Test error by filter, and ``"none"``, with the measure and without poison.
    poisoned_error : dict of float or None
        The same with the poison that was given.
    touched : float
        Share of clean rows that the measure itself refuses or moves: of the test rows for ``range``, which knows the
        training rows, and of the training rows for ``clip`` and ``duplicates``; 0 for the others, whose filters
        drop rows.
    kept_clean_fraction : dict of float
        Share of the clean training rows that pass each filter without poison.
    """

    name: str
    words: str
    clean_error: dict[str, float]
    poisoned_error: dict[str, float] | None
    touched: float
    kept_clean_fraction: dict[str, float]


def find_remedies(setting: Setting, rows: Dataset, n_poison: int, poison: Poison | None = None) -> list[Remedy]:
    """Measure each remedy on clean data, and against a poison; one that cannot be applied is left out.

    Parameters
    ----------
    rows : Dataset
        What errors are measured on.
    n_poison : int
        The budget that is to be held, in rows.
    poison : Poison, optional
        With whole copies, such as the strongest found. It was made without regard to the measures: an attacker who
        knows them may do more.
    """
    measures: list[Callable[..., Remedy]] = [_range, _clip, _median, _trusted, _duplicates]
    found = []
    for measure in measures:
        with suppress(InputError, CapabilityError, SolverFailed):
            found.append(measure(setting, rows, n_poison, poison))
    return found


def _range(setting: Setting, rows: Dataset, n_poison: int, poison: Poison | None) -> Remedy:
    space = Domain.range(setting.split.train.X)
    inside = None if poison is None else _taken(poison, space.violation(poison.X) <= 1e-9)
    clean, poisoned = _scores(setting, rows, inside)
    return _remedy(
        "range", "refuse rows beyond the range of the clean rows in any column", clean,
        clean if poison is not None and inside is None else poisoned,
        float((space.violation(setting.split.test.X) > 1e-9).mean()),
    )  # fmt: skip


def _clip(setting: Setting, rows: Dataset, n_poison: int, poison: Poison | None) -> Remedy:
    train = setting.split.train
    alone = NormClipper().fit(train.X)
    clean, _ = _scores(_moved(setting, alone), _clipped(rows, alone), None)
    poisoned = None
    if poison is not None:
        both = NormClipper().fit(train.mix(poison.expanded()).X)
        rows_in = Poison(both.transform(poison.X), poison.y, poison.count)
        poisoned = _scores(_moved(setting, both), _clipped(rows, both), rows_in)[1]
    moved = abs(alone.transform(train.X) - train.X).max(axis=1)
    touched = float(dense(moved).astype(bool).mean())
    return _remedy(
        "clip", f"clip distances to the median at their {alone.quantile:.0%} quantile", clean, poisoned, touched
    )


def _median(setting: Setting, rows: Dataset, n_poison: int, poison: Poison | None) -> Remedy:
    defenses = {name: _robust(one, setting.split.train, n_poison) for name, one in setting.defenses.items()}
    clean, poisoned = _scores(replace(setting, defenses=defenses), rows, poison)
    share = max((one.get_params().get("remove", 0.0) for one in defenses.values()), default=0.0)
    return _remedy("median", f"take medians for means and remove {share:.1%} of each class", clean, poisoned, 0.0)


def _trusted(setting: Setting, rows: Dataset, n_poison: int, poison: Poison | None) -> Remedy:
    train = setting.split.train
    half = train.take(np.sort(np.concatenate([np.flatnonzero(train.y == label)[::2] for label in train.labels])))
    defenses = {name: TrustedDefense(one, (half.X, half.y)) for name, one in setting.defenses.items()}
    clean, poisoned = _scores(replace(setting, defenses=defenses), rows, poison)
    return _remedy("trusted", "fit the filters on trusted rows (half of the clean ones)", clean, poisoned, 0.0)


def _duplicates(setting: Setting, rows: Dataset, n_poison: int, poison: Poison | None) -> Remedy:
    train = setting.split.train
    alone = distinct_rows(train.X, train.y)
    clean, poisoned = _scores(_trained_on(setting, train.take(alone)), rows, None)
    if poison is not None:
        mixed = train.mix(poison.expanded())
        kept = distinct_rows(mixed.X, mixed.y)
        left = mixed.take(kept[kept >= train.n])
        distinct = Poison(left.X, left.y, np.ones(left.n), left.n_classes)
        poisoned = _scores(_trained_on(setting, train.take(kept[kept < train.n])), rows, distinct)[1]
    words = "drop near-copies of rows before the filters (distinct rows, --distinct, pass)"
    return _remedy("duplicates", words, clean, poisoned, 1 - alone.size / train.n)


def _trained_on(setting: Setting, train: Dataset) -> Setting:
    return replace(setting, split=replace(setting.split, train=train))


def enough(train: Dataset, n_poison: int, remove: float) -> float:
    """The least share, in thousandths and at least `remove`, whose quota holds a budget that is all in one class.

    Examples
    --------
    >>> enough(Dataset(np.zeros((398, 1)), np.where(np.arange(398) < 148, 1, -1)), 12, 0.05)
    0.072
    """
    sizes = [train.of_class(label).n + n_poison for label in train.labels]
    for thousandths in range(int(np.ceil(1000 * remove)), 1000):
        if all(quota(thousandths / 1000, n) >= n_poison for n in sizes):
            return max(remove, thousandths / 1000)
    raise InputError("classes with more rows than the budget", f"a budget of {n_poison} rows", "Take a smaller one.")


def _robust(defense: Defense, train: Dataset, n_poison: int) -> Defense:
    """A defence that removes enough to hold the budget, with a median in place of a mean if it has one."""
    known = defense.get_params()
    changes = {"center": "median"} if "center" in known else {}
    share = {"remove": enough(train, n_poison, defense.remove)} if "remove" in known else {}
    robust: Defense = clone(defense).set_params(**changes, **share)
    return robust


def _moved(setting: Setting, clipper: NormClipper) -> Setting:
    split = replace(
        setting.split, train=_clipped(setting.split.train, clipper), test=_clipped(setting.split.test, clipper)
    )
    return replace(setting, split=split)


def _clipped(part: Dataset, clipper: NormClipper) -> Dataset:
    return Dataset(clipper.transform(part.X), part.y, part.weight)


def _taken(poison: Poison, mask: np.ndarray) -> Poison | None:
    X: Matrix = poison.X[np.flatnonzero(mask)]
    return Poison(X, poison.y[mask], poison.count[mask]) if mask.any() else None


def _scores(setting: Setting, rows: Dataset, poison: Poison | None) -> tuple[Evaluation, Evaluation | None]:
    clean = setting.defender.score(None, {_ROWS: rows})
    return clean, None if poison is None else setting.defender.score(poison, {_ROWS: rows})


def _remedy(name: str, words: str, clean: Evaluation, poisoned: Evaluation | None, touched: float) -> Remedy:
    errors: Mapping[str, float] = clean.error[_ROWS]
    return Remedy(
        name=name,
        words=words,
        clean_error=dict(errors),
        poisoned_error=None if poisoned is None else dict(poisoned.error[_ROWS]),
        touched=touched,
        kept_clean_fraction=dict(clean.kept_clean_fraction),
    )
