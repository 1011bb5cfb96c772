"""Is there poison in my rows already? Every detector of the library, one ranking, and what the model is without it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from ..core import Array, Dataset, InputError, check_integer, check_number
from ..core.writing import alone_in, check_folder
from ..defenses.detectors import FOLDS, directions, folds_of
from ..defenses.suspicion import Mask
from ..learners import Learner, make_learner
from ..reporting.inspect import InspectReport
from ..reporting.json_values import plain
from .assemble import command_line, describe_data, describe_model, versions
from .damage import interval
from .inputs import Setting, prepare
from .options import LearnerOptions, influences
from .suspecting import Suspected, reasons_of, suspect

ALIGNED = 0.8
"""Cosine from which on two rows pull in one direction."""


def inspect(
    data: Any,
    options: LearnerOptions | None = None,
    *,
    top: int | None = None,
    share: float | None = None,
    out: str | os.PathLike[str] | None = None,
    **keywords: Any,
) -> InspectReport:
    """Rank the rows of `data` by how suspicious they are, and learn without those that stand out.

    All rows of a file are looked at, unless `test_fraction` holds some out; they keep their numbers.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`, or ``(X, y)``; two classes, of 20 rows each at least, near-copies counted once.
    options : LearnerOptions, optional
        As an object, in place of keywords.
    top : int, optional
        Name so many rows, instead of those that stand out.
    share : float, optional
        Or such a share of them.
    out : path, optional
        Folder for ``suspects.csv``, ``inspect.json`` and ``inspect.html``.
    **keywords
        The learner and file options of `audit`.

    Examples
    --------
    >>> rows = [[i % 7 - 3.0 + 4 * (i % 2), i % 5 / 3.0] for i in range(60)] + [[-9.0, 9.0]] * 4
    >>> report = inspect((rows, [i % 2 for i in range(60)] + [1] * 4))
    >>> report.suspects[0]["reasons"][0], sorted(entry["row"] for entry in report.suspects[:4])
    ('4 copies of one row', [60, 61, 62, 63])
    """
    asked = replace(LearnerOptions.of(options, keywords), defenses="none")
    folder = None if out is None else check_folder(out)
    _check(top, share)
    with alone_in(folder):
        started = time.perf_counter()
        setting = prepare(data, asked, whole=True)
        train = setting.split.train
        if top is not None and top > train.n // 2:
            raise InputError(f"at most {train.n // 2} of {train.n} rows to name", str(top))
        found = suspect(train, setting.problem, setting.own, asked.seed)
        report = _reported(data, asked, setting, found, _named(found, top, share))
        words = "".join(f" --{name} {value:g}" for name, value in (("top", top), ("share", share)) if value is not None)
        seconds = round(time.perf_counter() - started, 2)
        report = replace(report, seconds=seconds, command=report.command + words)
        if folder is not None:
            report.save(folder)
    return report


_OPTIONS = {*LearnerOptions.__dataclass_fields__} - {"defenses", "variant", "remove"}
"""No defence stands before the rows that are looked at."""


def _check(top: int | None, share: float | None) -> None:
    if top is not None and share is not None:
        raise InputError("a number of rows to name, or a share of them", "both", "Leave out top or share.")
    if top is not None:
        check_integer(top, "top", at_least=1)
    if share is not None:
        check_number(share, "share", above=0, at_most=0.5, remedy="0.03 means 3 % of the rows.")


def _named(found: Suspected, top: int | None, share: float | None) -> Mask:
    """The rows that stand out, or as many as are asked for."""
    if top is None and share is None:
        return np.asarray(found.by_row(found.found.alarms))
    n = found.groups.size
    named = np.zeros(n, dtype=bool)
    named[found.order[: top if top is not None else max(1, round(float(share or 0.0) * n))]] = True
    return named


def _reported(data: Any, options: LearnerOptions, setting: Setting, found: Suspected, named: Mask) -> InspectReport:
    train = setting.split.train
    return InspectReport(
        dataset=describe_data(setting), model=describe_model(setting),
        ranking=list(_entries(train, found, named)), groups=_groups(train, found, named),
        effect=_effect(setting, found.groups, named, options.seed), left_out=dict(found.left_out),
        detectors=list(found.found.scores), versions=versions(), seed=options.seed,
        options=plain(influences(options)), command=command_line("inspect", data, options, _OPTIONS),
    )  # fmt: skip


def _entries(train: Dataset, found: Suspected, named: Mask) -> Iterator[dict[str, Any]]:
    labels, scores = train.label_values(train.y), found.by_row(found.found.score)
    for rank, row in enumerate(found.order, 1):
        group = int(found.groups[row])
        yield {
            "rank": rank, "row": int(train.numbers[row]), "label": plain(labels[row]), "named": bool(named[row]),
            "score": round(float(scores[row]), 4), "group": group, "copies": int(found.sizes[group]),
            "reasons": reasons_of(found, group) if named[row] else [],
            "surprises": {name: round(float(one[group]), 4) for name, one in found.found.surprises.items()},
        }  # fmt: skip


def _groups(train: Dataset, found: Suspected, named: Mask) -> list[dict[str, Any]]:
    """Named rows that act together: of one class, and from its middle in one direction, copies among them."""
    rows = np.flatnonzero(named)
    if rows.size < 2:
        return []
    towards = directions(train, rows)
    alike = (np.asarray(towards @ towards.T) >= ALIGNED) & (train.y[rows][:, None] == train.y[rows])
    count, part = connected_components(alike, directed=False)
    together = [rows[part == number] for number in range(count)]
    return [
        {
            "rows": [int(number) for number in train.numbers[some]],
            "label": plain(train.label_values(train.y[some[:1]])[0]),
            "distinct": int(np.unique(found.groups[some]).size),
        }
        for some in sorted(together, key=len, reverse=True) if some.size > 1
    ]  # fmt: skip


def _effect(setting: Setting, groups: NDArray[np.intp], named: Mask, seed: int) -> dict[str, Any]:
    """Cross-validated errors of what is learned with and without the named rows, on rows that are not named.

    Copies share a fold, so that no row is learned from its copy.
    """
    train = setting.split.train
    learner = setting.own or make_learner(setting.problem)
    fold = folds_of(train.take(np.unique(groups, return_index=True)[1]), seed)[groups]
    wrong = np.array([_wrong(train, learner, fold, drop) for drop in (np.zeros_like(named), named)])[:, ~named]
    low, high = interval(wrong[1] - wrong[0])
    return {
        "n_named": int(named.sum()), "error_with": float(wrong[0].mean()), "error_without": float(wrong[1].mean()),
        "change": float((wrong[1] - wrong[0]).mean()), "low": low, "high": high, "n_rows": int((~named).sum()),
    }  # fmt: skip


def _wrong(train: Dataset, learner: Learner, fold: NDArray[np.intp], drop: Mask) -> Array:
    """Which rows a model misclassifies that was learned on the other folds, without some rows."""
    wrong = np.zeros(train.n)
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        model = learner.fit(train.take((fold != number) & ~drop))
        wrong[held] = model.predict(train.X[held]) != train.y[held]
    return wrong
