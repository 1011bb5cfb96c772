"""What a defender should do: settings of learner and filters, each attacked anew by an attacker who knows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..attacks.deadline import Deadline
from ..attacks.run import Progress
from ..core import (
    Budget,
    CapabilityError,
    Dataset,
    InputError,
    LinpoisonError,
    SolverFailed,
    Split,
    check_integer,
    check_number,
)
from ..core.writing import alone_in, check_folder
from ..reporting.findings import ALL
from ..reporting.harden import HardenReport
from ..reporting.report import AuditReport
from ..reporting.trial import ANY, Trial
from .assemble import command_line, describe_data, describe_model, versions
from .damage import interval
from .inputs import prepare
from .journal import run_digest
from .measures import AS_IS, Measure, code_of, measures, trusted_rows
from .options import DEFAULT_DATA, AuditOptions, LearnerOptions, influences, processors
from .sweeping import run_cell
from .target import Target

SEARCH = ("random-flips", "breakdown", "influence")
"""Attacks that every setting is attacked by; those that are compared last meet the portfolio."""
TARGET = "split:0.5"
"""The attacker looks at half of the test rows; the other half is unseen."""
LEAST_SECONDS = 2.0
"""That an audit is given, however little is left."""
_DEARER = 4.0  # times as long as the quick attacks of a setting those of a finalist take
_OF_A_SPLIT = dict.fromkeys(("label", "test", "test_fraction", "header", "index", "domain"))


@dataclass(frozen=True, kw_only=True)
class HardenOptions(LearnerOptions):
    """Options of `harden`, which says what each means, checked: wrong ones raise `InputError`."""

    epsilon: float = 0.03
    trusted: float = 0.5
    max_cost: float = 0.01
    finalists: int = 2
    certify: bool = False
    jobs: int | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = "It is the share of the training rows that was checked by hand."
        self._set("trusted", check_number(self.trusted, "trusted", at_least=0, at_most=1, remedy=remedy))
        self._set("max_cost", check_number(self.max_cost, "max_cost", at_least=0, at_most=1))
        check_number(self.finalists, "finalists", at_least=0, at_most=20)
        self._set("finalists", check_integer(self.finalists, "finalists", at_least=0))
        self._set("jobs", processors() if self.jobs is None else check_integer(self.jobs, "jobs", at_least=1))
        if self.time_limit is not None:
            seconds = check_number(self.time_limit, "time_limit", above=0, remedy="It is in seconds: 60 is a minute.")
            self._set("time_limit", seconds)
        if self.learner is not None:
            remedy = "What is recommended is written down as code."
            raise CapabilityError("a model that is named by its loss", repr(self.model), remedy)
        self.audited({}, ())  # what an audit would refuse is refused now

    def audited(self, defenses: Any, attacks: Sequence[str], reg: float | None = None) -> AuditOptions:
        """Options of the audit of one setting."""
        shared = {name: getattr(self, name) for name in LearnerOptions.__dataclass_fields__}
        shared |= {"defenses": defenses or "none"} | ({} if reg is None else {"reg": reg})
        return AuditOptions(
            **shared, epsilon=self.epsilon, attacks=attacks or SEARCH, target=TARGET, jobs=self.jobs,
        )  # fmt: skip


def harden(
    data: Any = DEFAULT_DATA,
    options: HardenOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> HardenReport:
    """Search what a defender controls for the least damage, every setting attacked anew by one who knows it.

    ::

        min over settings s with clean error <= clean error as it is + max_cost
            max over poison D_p, |D_p| = round(epsilon n)   error(argmin of s on what s keeps of clean + D_p)

    The inner maximum is what the attacks of `SEARCH` find, and for the best few settings what the portfolio of `audit`
    finds; the greater of the errors on rows that the attacker saw and on those it did not counts. Of learning from
    trusted rows alone, and of votes over parts of the rows, it is what any poison can do at most.

    Parameters
    ----------
    data : str, path, Split or tuple, default "breast_cancer"
        As in `audit`.
    options : HardenOptions, optional
        As an object, in place of keywords.
    out : path, optional
        Folder for ``harden.json``, ``harden.html``, ``hardened.py`` and, where skops is installed,
        ``hardened.skops``, and for the report of each audit. A search that is started again reads those back; one that
        is interrupted leaves what it knows by then.
    progress : callable, optional
        Called with (audits done, audits in all, description).
    **keywords
        `epsilon`, `jobs` and the options of the learner as in `audit`; and:

    Other Parameters
    ----------------
    trusted : float, default 0.5
        Share of the training rows, drawn from each class, that was checked and is known to be clean. Filters fitted on
        them cannot be moved by poison. With 0 no setting needs trusted rows.
    max_cost : float, default 0.01
        How much the clean error may grow: 0.01 is one point.
    finalists : int, default 2
        Settings that the portfolio attacks last, the present one beside them; none for 0.
    certify : bool, default False
        Also bound what any poison can do to the finalists with fixed filters.
    time_limit : float, optional
        Seconds of wall time, in about equal shares for the settings. Those that found no time are named in the report,
        and so are those whose attacks did not end; the same call with `out` goes on from there.

    Raises
    ------
    InputError
        For an option or data that cannot be used.
    """
    asked = HardenOptions.of(options, keywords)
    folder = None if out is None else check_folder(out).absolute()
    with alone_in(folder):
        search = _Search(data, asked, folder, progress)
        try:
            report = search.run()
        except KeyboardInterrupt:
            if folder is None or AS_IS not in search.tried:
                raise
            search.report().save(folder)
            raise KeyboardInterrupt(f"What is known by now is in {folder}/harden.html.") from None
        if folder is not None:
            report.save(folder)
    return report


class _Search:
    """One search; audits are kept in folders of their own."""

    def __init__(self, data: Any, options: HardenOptions, folder: Path | None, progress: Progress | None) -> None:
        self.data, self.options, self.folder, self.progress = data, options, folder, progress
        self.deadline = None if options.time_limit is None else Deadline.after(options.time_limit)
        self.setting = prepare(data, options)
        train = self.setting.split.train
        self.parts = _halves(self.setting.split, options.seed)
        self.trusted = trusted_rows(train, options.trusted, options.seed)
        self.n_poison = Budget(options.epsilon).count(train.n)
        found = measures(self.setting, options, self.n_poison, self.trusted)
        self.measures = {item.name: item for item in found}
        self.done, self.total = 0, len(found) + options.finalists + 1
        self.tried: dict[str, Trial] = {}
        self.failures: dict[str, str] = {}
        self.unfinished: list[str] = []
        self._wrong_now: np.ndarray | None = None
        self._models: dict[tuple[str, str], Any] = {}

    def run(self) -> HardenReport:
        """Every setting quickly, the best few thoroughly, and the choice."""
        thorough = self.options.finalists + bool(self.options.finalists)
        for number, measure in enumerate(self.measures.values()):
            self._try(measure, SEARCH, len(self.measures) - number + _DEARER * thorough)
        if AS_IS not in self.tried:
            why = self.failures.get(AS_IS, "the time limit")
            raise SolverFailed(f"expected an audit of the present setting, got: {why}")
        names = [AS_IS, *self._best(self.options.finalists)] if self.options.finalists else []
        for number, name in enumerate(names):
            if not self.measures[name].proved:
                self._try(self.measures[name], ("portfolio",), len(names) - number)
        return self.report()

    def _best(self, most: int, *, thorough: bool = False) -> list[str]:
        """Names of the settings that cost no more than is allowed, the least damage first."""
        last = thorough and self.options.finalists > 0
        last = last and any(trial.thorough for name, trial in self.tried.items() if name != AS_IS)
        names = [name for name, trial in self.tried.items() if trial.thorough or not last]
        names = [name for name in names if thorough or name != AS_IS]
        cheap = [name for name in names if self.tried[name].cost <= self.options.max_cost + 1e-12]
        return sorted(cheap or names, key=lambda name: self.tried[name].preference)[:most]

    def _try(self, measure: Measure, attacks: Sequence[str], shares: float) -> None:
        """Try a setting within an equal share of the time that is left, with what was tried of it before."""
        if self.progress is not None:
            self.progress(self.done, self.total, measure.name)
        self.done += 1
        try:
            trial = self._proved(measure) if measure.proved else self._attacked(measure, attacks, shares)
        except LinpoisonError as error:
            self.failures[measure.name] = " ".join(str(error).split())
            return
        if trial is not None:
            before = self.tried.get(measure.name)
            self.tried[measure.name] = trial if before is None else before.with_more(trial)
        elif measure.name not in self.unfinished:
            self.unfinished.append(measure.name)

    def _attacked(self, measure: Measure, attacks: Sequence[str], shares: float) -> Trial | None:
        """By an audit of this setting; None where there is no time for one."""
        thorough = attacks != SEARCH
        chosen = self.options.defenses if measure.name == AS_IS else measure.defenses
        options = self.options.audited(chosen, attacks, measure.reg)
        if thorough and self.options.certify and measure.fixed:
            options = replace(options, certify=True)
        data = self.data
        if measure.copies > 1:
            rows = measure.rows(self.setting.split.train)
            data = Split(rows, self.setting.split.test)
            epsilon = self.n_poison / rows.n
            options = replace(options, epsilon=epsilon, **_OF_A_SPLIT)  # type: ignore[arg-type]
        place = self._place(options, measure)
        if self.deadline is not None:
            if self.deadline.over and measure.name != AS_IS:
                return None
            options = replace(options, time_limit=max(self.deadline.left / shares, LEAST_SECONDS))
        cell = run_cell(data, options, place)
        if cell.report is None:
            raise SolverFailed(cell.failure)
        if cell.report.unfinished and measure.name not in self.unfinished:
            self.unfinished.append(measure.name)
        return self._judged(measure, cell.report, thorough)

    def _place(self, options: AuditOptions, measure: Measure) -> Path | None:
        if self.folder is None:
            return None
        name = "".join(letter if letter.isalnum() else "-" for letter in measure.name)
        return self.folder / f"{name}_{run_digest(options=influences(options))[:8]}"

    def _judged(self, measure: Measure, report: AuditReport, thorough: bool) -> Trial:
        hardest = [item for item in report.damages if item.behind == ALL]
        worst = max(hardest, key=lambda item: max(item.test_error, item.unseen_test_error or 0.0))
        return replace(
            self._costing(measure, worst.filter), seen_error=worst.test_error, unseen_error=worst.unseen_test_error,
            attack=worst.attack, filter=worst.filter if len(measure.defenses) > 1 else "", thorough=thorough,
            bound=max((float(rung["bound"]) for rung in report.rungs), default=None),
        )  # fmt: skip

    def _proved(self, measure: Measure) -> Trial:
        """What any poison can do at most; no attack is needed."""
        split = self.setting.split
        model = measure.build(self.setting.problem, split.train)
        parts = (*self.parts, split.test)
        seen, unseen, bound = (float(measure.worst_wrong(model, self.n_poison, part).mean()) for part in parts)
        trial = self._costing(measure)
        return replace(trial, seen_error=seen, unseen_error=unseen, attack=ANY, thorough=True, bound=bound)

    def _costing(self, measure: Measure, name: str = "") -> Trial:
        """A setting behind one of its filters on clean rows, held against the present one on all test rows."""
        test = self.setting.split.test
        model = self._built(measure, name)
        there = np.asarray(model.predict(test.X) != np.asarray(test.label_values(test.y)))
        if self._wrong_now is None:  # the present setting is the first
            self._wrong_now = there
        here = self._wrong_now
        low, high = interval(there.astype(np.float64) - here)
        clean, cost = float(there.mean()), float(there.mean() - here.mean())
        return Trial(
            name=measure.name, words=measure.words, clean_error=clean, cost=cost, low=low, high=high,
            seen_error=clean, unseen_error=None, attack="", fixed=measure.fixed,
        )  # fmt: skip

    def _built(self, measure: Measure, name: str) -> Any:
        """The classifier of a setting behind one of its filters, fitted once: a finalist is asked for three times."""
        if (measure.name, name) not in self._models:
            built = measure.build(self.setting.problem, self.setting.split.train, name)
            self._models[measure.name, name] = built
        return self._models[measure.name, name]

    def report(self) -> HardenReport:
        """What is known by now."""
        chosen = self._best(1, thorough=True)[0]
        measure, setting, name = self.measures[chosen], self.setting, self.tried[chosen].filter
        train = setting.split.train
        left = [name for name in self.measures if name not in self.tried and name not in self.failures]
        return HardenReport(
            dataset=describe_data(setting), model=describe_model(setting), epsilon=self.options.epsilon,
            n_poison=self.n_poison, n_trusted=0 if self.trusted is None else self.trusted.n,
            trials=list(self.tried.values()), chosen=chosen, max_cost=self.options.max_cost,
            failures=dict(self.failures), unfinished=list(dict.fromkeys([*self.unfinished, *left])),
            trusted=[] if self.trusted is None else [int(number) for number in self.trusted.numbers],
            versions=versions(), seed=self.options.seed, command=command_line("harden", self.data, self.options),
            code=code_of(measure, setting.problem, train, name), estimator=self._built(measure, name),
        )  # fmt: skip


def _halves(split: Split, seed: int) -> tuple[Dataset, Dataset]:
    """The test rows that attackers look at, and the others."""
    few = min(int((split.test.y == label).sum()) for label in split.test.labels)
    if few < 2:
        remedy = "Half of the test rows are held back from the attacker."
        raise InputError("two test rows of each class at least", str(few), remedy)
    rows = Target.parse(TARGET).rows(split, seed)
    return rows.seen, rows.unseen or rows.seen
