"""What a defender should do: settings of learner and filters, each attacked anew by an attacker who knows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
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
    Poison,
    SolverFailed,
    Split,
    check_integer,
    check_number,
)
from ..core.journal import FolderJournal
from ..core.writing import alone_in, check_folder
from ..datasets.layout import Layout
from ..reporting.harden import HardenReport
from ..reporting.trial import ALL, ANY, FEW, PLAIN, Trial
from .assemble import command_line, describe_data, describe_model, versions
from .contest import Contest, Strongest
from .damage import interval
from .inputs import prepare
from .measures import AS_IS, Measure, code_of, measures
from .options import DEFAULT_DATA, PORTFOLIO, AuditOptions, LearnerOptions, influences, processors
from .plain import plain_poisons
from .target import Target
from .trusted_rows import TrustedRows

TARGET = "split:0.5"
"""The attacker looks at half of the test rows; the other half is unseen."""
LEAST_SECONDS = 2.0
"""That attacks are given, however little is left."""
SHARE = 0.4
"""Of the time that is left, for one step of the search at most."""
HANDED_ON = 12
"""Poisons that did most to other settings, which a setting is tried with first."""
_NOT_IN_STEPS = ("time_limit", "finalists", "certify", "max_cost", "trusted")


@dataclass(frozen=True, kw_only=True)
class HardenOptions(LearnerOptions):
    """Options of `harden`, which says what each means, checked: wrong ones raise `InputError`."""

    epsilon: float = 0.03
    trusted: Any = 0.5
    max_cost: float = 0.01
    finalists: int = 2
    certify: bool = False
    jobs: int | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("trusted", TrustedRows.parse(self.trusted))
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
        self.audited()  # what an audit would refuse is refused now

    def layout(self) -> Layout:
        """How a table is laid out; the column of trusted rows is no feature."""
        return replace(super().layout(), trusted=TrustedRows.parse(self.trusted).column)

    def audited(self) -> AuditOptions:
        """Options of an audit, which the attacks on each setting follow."""
        shared = {name: getattr(self, name) for name in LearnerOptions.__dataclass_fields__}
        return AuditOptions(**shared, epsilon=self.epsilon, attacks=PORTFOLIO, target=TARGET, jobs=self.jobs)


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

    The inner maximum is the most that was found: the greater of the errors on rows that the attacker saw and on those
    it did not. Of learning from trusted rows alone, and of votes over parts of the rows, it is what any poison can do
    at most. More attacks can only find more, so the setting that seems best is the next to be attacked harder, until
    the best ones have met all attacks of the portfolio of `audit`:

    1. every setting meets poisons that take no search (`linpoison.auditing.plain`) and those that did most to others;
    2. the one with the least damage meets flips and far rows that are searched for it;
    3. then the rest of the portfolio, and a local search from the strongest of all.

    A setting is recommended only if it loses no more than the present one on either half of the test rows.

    Parameters
    ----------
    data : str, path, Split or tuple, default "breast_cancer"
        As in `audit`.
    options : HardenOptions, optional
        As an object, in place of keywords.
    out : path, optional
        Folder for ``harden.json``, ``harden.html``, ``hardened.py``, where skops is installed ``hardened.skops``, and
        ``poison.npz``, what did most to the recommended setting. Attacks that have ended are kept in ``journal``
        there, for a search that is started again; one that is interrupted leaves what it knows by then.
    progress : callable, optional
        Called with (steps done, steps in all, description).
    **keywords
        `epsilon`, `jobs` and the options of the learner as in `audit`; and:

    Other Parameters
    ----------------
    trusted : float, str, or sequence of int, default 0.5
        The training rows that were checked and are known to be clean: ``"rows:3,17,42"``, ``"rows:FILE"`` (text,
        ``.csv`` or ``.npy``) or a sequence of row numbers, those of the user's file where there is one;
        ``"column:NAME"``, a column of the file that is 0 in all other rows; or a share of each class, drawn at random,
        to see what checking so many would buy. Filters fitted on trusted rows cannot be moved by poison. With 0 no
        setting needs any.
    max_cost : float, default 0.01
        How much the clean error may grow: 0.01 is one point.
    finalists : int, default 2
        How many settings meet the whole portfolio at least, what is recommended among them; none for 0.
    certify : bool, default False
        Also bound what any poison can do to the finalists with fixed filters.
    time_limit : float, optional
        Seconds of wall time, in shrinking shares for the steps. Settings that found no time are named in the report,
        and so are those whose attacks did not end; the same call with `out` goes on from there.

    Raises
    ------
    InputError
        For an option or data that cannot be used, or trusted rows that are not there.
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
    """One search; what attacks find is kept in a journal."""

    def __init__(self, data: Any, options: HardenOptions, folder: Path | None, progress: Progress | None) -> None:
        self.data, self.options, self.folder, self.progress = data, options, folder, progress
        self.deadline = None if options.time_limit is None else Deadline.after(options.time_limit)
        self.setting = prepare(data, options)
        split = self.setting.split
        self.parts = _halves(split, options.seed)
        self.trusted, self.cautions = options.trusted.of(data, split, options.layout(), options.seed)
        self.n_poison = Budget(options.epsilon).count(split.train.n)
        found = measures(self.setting, options, self.n_poison, self.trusted)
        self.measures = {item.name: item for item in found}
        self.done, self.total = 0, len(found) + 2 * options.finalists + 1
        self.tried: dict[str, Trial] = {}
        self.failures: dict[str, str] = {}
        self.unfinished: list[str] = []
        self.hurried: list[str] = []
        self._contests: dict[str, Contest] = {}
        self._wrong_now: np.ndarray | None = None
        self._models: dict[tuple[str, str], Any] = {}

    def run(self) -> HardenReport:
        """Every setting by poison that is there, the one that seems best by attacks, and the choice."""
        self._try(AS_IS, FEW)
        if AS_IS not in self.tried:  # no attack has ended: what takes no search is known at least
            self._try(AS_IS, PLAIN)
        if AS_IS not in self.tried:
            why = self.failures.get(AS_IS, "the time limit")
            raise SolverFailed(f"expected an attack on the present setting, got: {why}")
        for name in self.measures:
            if name != AS_IS:
                self._try(name, PLAIN)
        while (following := self._following()) is not None:
            if not self._loses_to_others(following[0]):
                self._try(*following)
        return self.report()

    def _loses_to_others(self, name: str) -> bool:
        """Whether what was found meanwhile against other settings does more to one than is known of it."""
        contest, before = self._contests.get(name), self.tried[name]
        if contest is None:
            return False
        contest.meets(self._handed_on())
        if contest.best is None or contest.best.error <= before.attacked + 1e-12:
            return False
        self.tried[name] = self._judged(self.measures[name], contest, contest.best, before.met)
        return True

    def _following(self) -> tuple[str, str] | None:
        """The setting that is to be attacked next, and how: the best that has not met everything, if it may matter."""
        if self.deadline is not None and self.deadline.over:
            return None
        last = ALL if self.options.finalists else FEW
        ranked = [self.tried[name] for name in self._ranked() if name not in self.unfinished]
        best = ranked[: max(self.options.finalists, 1)]
        for trial in best:
            if trial.met != last and not trial.thorough:
                return trial.name, FEW if trial.met == PLAIN else ALL
        now = self.tried[AS_IS]
        undecided = last == ALL and not now.thorough and AS_IS not in self.unfinished
        return (AS_IS, ALL) if undecided and not any(trial.no_worse_than(now) for trial in best) else None

    def _ranked(self) -> list[str]:
        """Names of the settings that cost no more than is allowed, the least damage first."""
        cheap = [name for name, trial in self.tried.items() if trial.cost <= self.options.max_cost + 1e-12]
        return sorted(cheap, key=lambda name: self.tried[name].preference)

    def _chosen(self) -> str:
        """The setting to take: of those attacked hardest the best that is no worse than the present one."""
        now = self.tried[AS_IS]
        ranked = [self.tried[name] for name in self._ranked()]
        for hard in (ALL,) if self.options.finalists else (), (ALL, FEW):
            better = [trial for trial in ranked if trial.met in hard and trial.no_worse_than(now)]
            if better:
                return better[0].name if better[0].attacked < now.attacked else AS_IS
        return AS_IS

    def _try(self, name: str, met: str) -> None:
        """Attack a setting by so much more than it has met, within a share of the time that is left."""
        if self.progress is not None:
            self.progress(min(self.done, self.total - 1), self.total, name)
        self.done += 1
        measure = self.measures[name]
        late = self.deadline is not None and self.deadline.over and not measure.proved and name != AS_IS
        try:
            trial = None if late else self._proved(measure) if measure.proved else self._attacked(measure, met)
        except LinpoisonError as error:
            self.failures[name] = " ".join(str(error).split())
            self.unfinished += [name] if name in self.tried else []  # what it has lost before stays known
            return
        if trial is not None:
            self.tried[name] = trial

    def _attacked(self, measure: Measure, met: str) -> Trial:
        """What attacks find, of which those before are kept."""
        contest = self._contest(measure)
        if contest.best is None:
            there = chain(self._handed_on(), self._plain(measure, contest, met))
            if not contest.meets(there, self._until(1 / sum(name not in self.tried for name in self.measures))):
                self.hurried.append(measure.name)
        if met != PLAIN:
            until = self._until(1.0, LEAST_SECONDS)
            campaign = replace(contest.campaign, deadline=until, progress=self.progress and self._inner, late=[])
            tasks = contest.first if met == FEW else [*contest.first, *contest.rest]
            contest.attacked(tasks, campaign)
            if contest.cut and measure.name not in self.unfinished:
                self.unfinished.append(measure.name)
                if len(measure.defenses) > 1:
                    contest.meets(self._plain(measure, contest, PLAIN), self._until(1 / len(self.measures)))
        if contest.best is None:
            raise SolverFailed(f"expected a poison that can be scored behind {measure.name}, got none")
        return self._judged(measure, contest, contest.best, met)

    def _until(self, part: float, at_least: float = 0.0) -> Deadline | None:
        """The end of a part of the share of the time that is left."""
        return None if self.deadline is None else Deadline.after(max(SHARE * part * self.deadline.left, at_least))

    def _inner(self, done: int, total: int, what: str) -> None:
        """Progress within a step."""
        if self.progress is not None:
            self.progress(min(self.done, self.total) - 1, self.total, what)

    def _contest(self, measure: Measure) -> Contest:
        if measure.name not in self._contests:
            own = self.setting
            setting = replace(
                own, problem=measure.problem(own.problem), defenses=measure.defenses,
                split=Split(measure.rows(own.split.train), own.split.test),
            )  # fmt: skip
            made = Contest.of(setting, self.options.audited(), self.n_poison, self._journal(measure))
            self._contests[measure.name] = made
        return self._contests[measure.name]

    def _journal(self, measure: Measure) -> FolderJournal | None:
        if self.folder is None:
            return None
        told = {name: value for name, value in influences(self.options).items() if name not in _NOT_IN_STEPS}
        trusted = None if self.trusted is None else self.trusted.numbers
        key = self.setting.key(told, setting=measure.name, trusted=trusted)
        return FolderJournal(self.folder / "journal" / key)

    def _handed_on(self) -> Iterator[tuple[str, Poison]]:
        """What did most to other settings."""
        others = [contest.best for contest in self._contests.values() if contest.best is not None]
        for best in sorted(others, key=lambda item: -item.error)[:HANDED_ON]:
            yield best.attack, best.poison

    def _plain(self, measure: Measure, contest: Contest, met: str) -> Iterator[tuple[str, Poison]]:
        """Before an attack on several filters there are none: one that is made for them does more, if it ends."""
        if len(measure.defenses) > 1 and met != PLAIN:
            return
        wide = next(iter(contest.scenarios.values()))
        yield from plain_poisons(
            contest.setting.defender, wide.train.domain, self.n_poison, self.trusted, self.options.seed
        )

    def _judged(self, measure: Measure, contest: Contest, best: Strongest, met: str) -> Trial:
        trial = self._costing(measure, best.filter)
        bound = None
        if met == ALL and self.options.certify and measure.fixed:
            total = contest.setting.split.train.total
            bound = contest.bound(max(self.n_poison / contest.setting.split.train.n, self.n_poison / total))
        return replace(
            trial, seen_error=best.seen, unseen_error=best.unseen, attack=best.attack,
            filter=best.filter if len(measure.defenses) > 1 else "", met=met, bound=bound,
        )  # fmt: skip

    def _proved(self, measure: Measure) -> Trial:
        """What any poison can do at most; no attack is needed."""
        split = self.setting.split
        model = measure.build(self.setting.problem, split.train)
        parts = (*self.parts, split.test)
        seen, unseen, bound = (float(measure.worst_wrong(model, self.n_poison, part).mean()) for part in parts)
        trial = self._costing(measure)
        return replace(trial, seen_error=seen, unseen_error=unseen, attack=ANY, met=ALL, bound=bound)

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
            trusted=measure.trusted is not None,
        )  # fmt: skip

    def _built(self, measure: Measure, name: str) -> Any:
        """The classifier of a setting behind one of its filters, fitted once: a finalist is asked for three times."""
        if (measure.name, name) not in self._models:
            built = measure.build(self.setting.problem, self.setting.split.train, name)
            self._models[measure.name, name] = built
        return self._models[measure.name, name]

    def report(self) -> HardenReport:
        """What is known by now."""
        chosen = self._chosen()
        measure, setting, name = self.measures[chosen], self.setting, self.tried[chosen].filter
        train = setting.split.train
        left = [name for name in self.measures if name not in self.tried and name not in self.failures]
        return HardenReport(
            dataset=describe_data(setting), model=describe_model(setting), epsilon=self.options.epsilon,
            n_poison=self.n_poison, n_trusted=0 if self.trusted is None else self.trusted.n,
            trials=list(self.tried.values()), chosen=chosen, max_cost=self.options.max_cost,
            failures=dict(self.failures), unfinished=list(dict.fromkeys([*self.unfinished, *self.hurried, *left])),
            trusted=[] if self.trusted is None else [int(number) for number in self.trusted.numbers],
            cautions=self.cautions,
            versions=versions(), seed=self.options.seed, command=command_line("harden", self.data, self.options),
            code=code_of(measure, setting.problem, train, name), estimator=self._built(measure, name),
            poison=None if measure.proved else getattr(self._contests[chosen].best, "poison", None),
        )  # fmt: skip


def _halves(split: Split, seed: int) -> tuple[Dataset, Dataset]:
    """The test rows that attackers look at, and the others."""
    few = min(int((split.test.y == label).sum()) for label in split.test.labels)
    if few < 2:
        remedy = "Half of the test rows are held back from the attacker."
        raise InputError("two test rows of each class at least", str(few), remedy)
    rows = Target.parse(TARGET).rows(split, seed)
    return rows.seen, rows.unseen or rows.seen
