"""Anyone's poison past the same defences."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core import Budget, Dataset, InputError, Poison
from ..core.sizes import check_scale
from ..core.writing import alone_in, check_folder
from ..reporting.gates import Gates
from ..reporting.report import AuditReport
from .assemble import assemble
from .damage import Scored, find_damages
from .entries import entry
from .inputs import prepare
from .options import EvaluateOptions
from .run import check_bare
from .target import Target


def evaluate(
    data: Any,
    poison: Poison | str | os.PathLike[str],
    options: EvaluateOptions | None = None,
    *,
    epsilon: float = 0.03,
    out: str | os.PathLike[str] | None = None,
    gates: Gates | None = None,
    redact: bool = False,
    **keywords: Any,
) -> AuditReport:
    """Score a poison that was made elsewhere.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`.
    poison : Poison or path
        Rows with whole copies, or a file of them (format: docs/files.md).
    options : EvaluateOptions, optional
        As an object, in place of keywords.
    epsilon : float, default 0.03
        Budget that the poison is held against. More rows are reported, not refused; the report's own
        ``epsilon`` is what the poison takes.
    out : path, optional
        Folder for the report.
    gates : Gates, optional
    redact : bool, default False
        As in `audit`.
    **keywords
        `model`, `reg`, `class_weight`, `estimator`, `penalize_intercept`, `sample_weight`, `defenses`, `variant`,
        `remove`, `domain`, `seed`, `label`, `test`, `test_fraction`, `header`, `index`, `frozen` and
        `metric` of `audit`.

    Raises
    ------
    InputError
        For rows of another width, other labels, fractional copies, counts that are negative or
        not whole, or rows outside of a `domain` that is named. How far rows are outside of the data's own domain is
        reported.

    Examples
    --------
    >>> report = evaluate("gaussians", Poison([[3.0] * 10], [-1], [12]), defenses=("l2",))
    >>> report.attacks[0].n_poison, report.epsilon, report.attacks[0].kept_fraction["l2"]
    (12, 0.03, 0.083...)
    """
    asked, budget = EvaluateOptions.of(options, keywords), Budget(epsilon)
    limits = Gates() if gates is None else gates
    limits.check_asked(target="given", certify=False, metric=asked.metric)
    folder = None if out is None else check_folder(out)
    if redact:
        check_bare(folder)
    with alone_in(folder):
        report = _scored(data, poison, asked, budget).judged(limits)
        report = report.redacted() if redact else report
        if folder is not None:
            report.save(folder)
    return report


def _scored(
    data: Any, poison: Poison | str | os.PathLike[str], options: EvaluateOptions, budget: Budget
) -> AuditReport:
    rows, name = (poison, "poison") if isinstance(poison, Poison) else (Poison.load(poison), Path(poison).name)
    setting = prepare(data, options, many=True)
    train = setting.split.train
    check_poison(rows, train, named=options.domain is not None)
    target = Target.parse("test").rows(setting.split, options.seed, setting.measure)
    clean = setting.defender.score(None, target.parts)
    start = time.perf_counter()
    scores = setting.defender.score(rows, target.parts)
    seconds = time.perf_counter() - start
    domain = options.domain or train.domain.kind
    told = entry(
        name, rows, scores, seconds, space=train.domain, n_allowed=budget.count(train.n), domain=domain
    )  # fmt: skip
    found = [
        (replace(damage, seen_error=None), item)
        for damage, item in find_damages([Scored(rows, scores, domain, name)], clean, [domain], target)
    ]
    return assemble(
        "evaluate", data, options, setting, clean=clean, rows=target, entries=[(replace(told, seen_error=None), rows)],
        found=found, domains=[domain], target="given", epsilon=rows.total / train.n,
    )  # fmt: skip


def check_poison(poison: Poison, train: Dataset, *, named: bool) -> None:
    """Raise unless the rows can stand among those of `train`, inside its domain if the user `named` that."""
    if poison.X.shape[1] != train.d:
        raise InputError(
            f"poison rows of {train.d} features, as the data", f"{poison.X.shape[1]} features",
            "Use the data set that the poison was made for.",
        )  # fmt: skip
    if poison.relaxed:
        raise InputError("whole copies of each poison row", "fractional ones", "Round the poison first.")
    if poison.total == 0:
        raise InputError("at least one poison row", "none")
    check_scale(poison.X, "poison X")
    (train.domain.check if named else train.domain.check_kind)(poison.X, "poison X")
