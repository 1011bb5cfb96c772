"""What a defender should do: settings of learner and filters, each attacked anew by an attacker who knows it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..attacks.run import Progress
from ..core import Budget, Dataset, SolverFailed, check_integer, check_number
from ..core.writing import alone_in, check_folder
from ..defenses import DEFAULTS, AllOf, Defense, RangeDefense, SanitizedClassifier, TrustedDefense, make_defense
from ..learners import LinearClassifier
from ..losses import Problem
from ..reporting.findings import ALL
from ..reporting.harden import HardenReport
from ..reporting.report import AuditReport
from ..reporting.trial import Trial
from .assemble import command_line, describe_data, describe_model, versions
from .damage import interval
from .inputs import Setting, prepare
from .journal import run_digest
from .options import DEFAULT_DATA, AuditOptions, LearnerOptions, influences, processors
from .remedies import enough
from .sweeping import run_cell

SEARCH = ("random-flips", "breakdown", "influence")
"""Attacks that every setting is attacked by; those that are compared last meet the portfolio."""
TARGET = "split:0.5"
"""The attacker looks at half of the test rows; the other half is unseen."""
AS_IS = "as it is"


@dataclass(frozen=True, kw_only=True)
class HardenOptions(LearnerOptions):
    """Options of `harden`, which says what each means, checked: wrong ones raise `InputError`."""

    epsilon: float = 0.03
    trusted: float = 0.5
    max_cost: float = 0.01
    finalists: int = 2
    certify: bool = False
    jobs: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = "It is the share of the training rows that was checked by hand."
        self._set("trusted", check_number(self.trusted, "trusted", at_least=0, at_most=1, remedy=remedy))
        self._set("max_cost", check_number(self.max_cost, "max_cost", at_least=0, at_most=1))
        check_number(self.finalists, "finalists", at_least=0, at_most=20)
        self._set("finalists", check_integer(self.finalists, "finalists", at_least=0))
        self._set("jobs", processors() if self.jobs is None else check_integer(self.jobs, "jobs", at_least=1))
        self.audited({}, ())  # what an audit would refuse is refused now

    def audited(self, defenses: Any, attacks: Sequence[str], reg: float | None = None) -> AuditOptions:
        """Options of the audit of one setting."""
        shared = {name: getattr(self, name) for name in LearnerOptions.__dataclass_fields__}
        shared |= {"defenses": defenses or "none"} | ({} if reg is None else {"reg": reg})
        return AuditOptions(
            **shared, epsilon=self.epsilon, attacks=attacks or SEARCH, target=TARGET, jobs=self.jobs,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Measure:
    """One setting of what a defender controls.

    Parameters
    ----------
    name : str
    words : str
        What to do, as a phrase.
    defenses : mapping of str to Defense
        Several stand for the best of them in hindsight, as in `audit`.
    reg : float or None
        Another regulariser than the user's.
    """

    name: str
    words: str
    defenses: Mapping[str, Any]
    reg: float | None = None


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
    finds; the greater of the errors on rows that the attacker saw and on those it did not counts.

    Parameters
    ----------
    data : str, path, Split or tuple, default "breast_cancer"
        As in `audit`.
    options : HardenOptions, optional
        As an object, in place of keywords.
    out : path, optional
        Folder for ``harden.json``, ``harden.html``, ``hardened.py`` and, where skops is installed,
        ``hardened.skops``, and for the report of each audit. A search that is started again reads those back.
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
        Settings that the portfolio attacks last, the present one beside them.
    certify : bool, default False
        Also bound what any poison can do to the finalists with fixed filters.

    Raises
    ------
    InputError
        For an option or data that cannot be used.
    """
    asked = HardenOptions.of(options, keywords)
    folder = None if out is None else check_folder(out).absolute()
    with alone_in(folder):
        report = _Search(data, asked, folder, progress).run()
        if folder is not None:
            report.save(folder)
    return report


class _Search:
    """One search; audits are kept in folders of their own."""

    def __init__(self, data: Any, options: HardenOptions, folder: Path | None, progress: Progress | None) -> None:
        self.data, self.options, self.folder, self.progress = data, options, folder, progress
        self.setting = prepare(data, options)
        self.trusted = trusted_rows(self.setting.split.train, options.trusted, options.seed)
        self.measures = {item.name: item for item in measures(self.setting, options, self.trusted)}
        self.done = 0
        self._wrong_now: np.ndarray | None = None
        self.total = len(self.measures) + options.finalists + 1

    def run(self) -> HardenReport:
        """Every setting quickly, the best few thoroughly, and the choice."""
        tried: dict[str, Trial] = {}
        failures: dict[str, str] = {}
        for measure in self.measures.values():
            trial = self._trial(measure, SEARCH, failures)
            if trial is not None:
                tried[measure.name] = trial
        if AS_IS not in tried:
            raise SolverFailed(f"expected an audit of the present setting, got: {failures.get(AS_IS, 'none')}")
        for name in [AS_IS, *self._best(tried, self.options.finalists)]:
            again = self._trial(self.measures[name], ("portfolio",), failures)
            tried[name] = tried[name] if again is None else tried[name].with_more(again)
        chosen = self._best(tried, 1, thorough=True)[0]
        return self._report(list(tried.values()), chosen, failures)

    def _best(self, tried: Mapping[str, Trial], most: int, *, thorough: bool = False) -> list[str]:
        """Names of the settings that cost no more than is allowed, the least damage first."""
        names = [name for name in tried if not thorough or tried[name].thorough or not self.options.finalists]
        names = [name for name in names if thorough or name != AS_IS]
        cheap = [name for name in names if tried[name].cost <= self.options.max_cost + 1e-12]
        return sorted(cheap or names, key=lambda name: round(tried[name].attacked, 6))[:most]

    def _trial(self, measure: Measure, attacks: Sequence[str], failures: dict[str, str]) -> Trial | None:
        if self.progress is not None:
            self.progress(self.done, self.total, measure.name)
        self.done += 1
        thorough = attacks != SEARCH
        chosen = self.options.defenses if measure.name == AS_IS else measure.defenses
        options = self.options.audited(chosen, attacks, measure.reg)
        if thorough and self.options.certify and _fixed(measure):
            options = replace(options, certify=True)
        cell = run_cell(self.data, options, self._place(options, measure))
        if cell.report is None:
            failures[measure.name] = cell.failure
            return None
        return self._judged(measure, cell.report, thorough)

    def _place(self, options: AuditOptions, measure: Measure) -> Path | None:
        if self.folder is None:
            return None
        name = "".join(letter if letter.isalnum() else "-" for letter in measure.name)
        return self.folder / f"{name}_{run_digest(options=influences(options))[:8]}"

    def _judged(self, measure: Measure, report: AuditReport, thorough: bool) -> Trial:
        hardest = [item for item in report.damages if item.behind == ALL]
        worst = max(hardest, key=lambda item: max(item.test_error, item.unseen_test_error or 0.0))
        clean, low, high = self._cost(measure, worst.filter)
        return Trial(
            name=measure.name, words=measure.words, clean_error=clean[1], cost=clean[1] - clean[0], low=low, high=high,
            seen_error=worst.test_error, unseen_error=worst.unseen_test_error, attack=worst.attack,
            filter=worst.filter if len(measure.defenses) > 1 else "", thorough=thorough,
            bound=max((float(rung["bound"]) for rung in report.rungs), default=None),
        )  # fmt: skip

    def _cost(self, measure: Measure, name: str) -> tuple[tuple[float, float], float, float]:
        """Clean error of the present setting and of this one on all test rows, and the interval of the difference."""
        test = self.setting.split.test
        there = self._clean_wrong(measure, test, name)
        if self._wrong_now is None:  # the present setting is the first
            self._wrong_now = there
        here = self._wrong_now
        low, high = interval(there.astype(np.float64) - here)
        return (float(here.mean()), float(there.mean())), low, high

    def _clean_wrong(self, measure: Measure, rows: Dataset, name: str) -> np.ndarray:
        """Rows that the clean model of a setting gets wrong behind one of its filters."""
        problem = self.setting.problem if measure.reg is None else replace(self.setting.problem, reg=measure.reg)
        one = replace(self.setting, problem=problem, defenses=measure.defenses)
        models = one.defender.score(None, {}).models
        return np.asarray(models[name].predict(rows.X) != rows.y)

    def _report(self, trials: list[Trial], chosen: str, failures: Mapping[str, str]) -> HardenReport:
        measure, train = self.measures[chosen], self.setting.split.train
        n_trusted = 0 if self.trusted is None else self.trusted.n
        return HardenReport(
            dataset=describe_data(self.setting), model=describe_model(self.setting), epsilon=self.options.epsilon,
            n_poison=Budget(self.options.epsilon).count(train.n), n_trusted=n_trusted,
            trials=trials, chosen=chosen, max_cost=self.options.max_cost, failures=dict(failures),
            versions=versions(), seed=self.options.seed,
            command=command_line("harden", self.data, self.options),
            code=code_of(measure, self.setting.problem), estimator=self._estimator(measure),
        )  # fmt: skip

    def _estimator(self, measure: Measure) -> Any:
        """The recommended classifier, fitted on all training rows as the learner sees them."""
        problem, train = self.setting.problem, self.setting.split.train
        loss = LinearClassifier(
            problem.loss, problem.reg if measure.reg is None else measure.reg,
            penalize_intercept=problem.penalize_intercept, fit_intercept=problem.fit_intercept,
        )  # fmt: skip
        labels = np.asarray(train.label_values(train.y))
        if not measure.defenses:
            return loss.fit(train.X, labels)
        parts = list(measure.defenses.values())
        defense = parts[0] if len(parts) == 1 else AllOf(parts)
        return SanitizedClassifier(_in_words_of(defense, train), loss).fit(train.X, labels)


def trusted_rows(train: Dataset, share: float, seed: int) -> Dataset | None:
    """So many of the rows of each class; None for a share of zero."""
    if share == 0:
        return None
    rng = np.random.default_rng([seed, 17])
    chosen = []
    for label in train.labels:
        members = np.flatnonzero(train.y == label)
        chosen.append(rng.choice(members, max(round(share * members.size), 2), replace=False))
    return train.take(np.sort(np.concatenate(chosen)))


def measures(setting: Setting, options: HardenOptions, trusted: Dataset | None) -> list[Measure]:
    """The settings that are tried, the present one first."""
    train, problem = setting.split.train, setting.problem
    found = [Measure(AS_IS, "leave it as it is", setting.defenses)]
    share = enough(train, Budget(options.epsilon).count(train.n), options.remove)
    robust = AllOf([_robust(name, share, problem) for name in _cheap(problem)])
    words = f"take medians for means, and keep what {_listed(problem)} all keep that remove {share:.1%} of each class"
    found.append(Measure("medians", words, {"medians": robust}))
    if trusted is not None:
        found += _trusted_measures(trusted, options, problem)
    if options.estimator is None and problem.scaling == "mean":
        reg = 10 * problem.reg
        found += [
            replace(item, name=f"{item.name}, reg {reg:g}", words=f"{item.words}, and regularise with {reg:g}", reg=reg)
            for item in found[1:]
        ]
    return found


def _trusted_measures(trusted: Dataset, options: HardenOptions, problem: Any) -> list[Measure]:
    rows = (trusted.X, trusted.y)
    found = []
    for remove in dict.fromkeys((options.remove, 2 * options.remove)):
        parts = [_robust(name, remove, problem, center="mean") for name in _cheap(problem)]
        for extra, word in (((), ""), ((RangeDefense(),), " and the range of each column")):
            fixed = TrustedDefense(AllOf([*parts, *extra]), rows)
            name = f"trusted{'-range' if extra else ''}-{100 * remove:g}"
            words = (
                f"fit {_listed(problem)}{word} on {trusted.n} trusted rows, with thresholds that {remove:.0%} of these "
                "exceed, and keep the training rows within all of them"
            )
            found.append(Measure(name, words, {name: fixed}))
    return found


def _cheap(problem: Any) -> list[str]:
    """The default filters that cost next to nothing and have a convex set, so that a bound can be made behind them."""
    made = {name: make_defense(name, problem=problem) for name in DEFAULTS}
    return [name for name, one in made.items() if one.cheap and one.has_convex_set]


def _listed(problem: Any) -> str:
    *names, last = _cheap(problem)
    return f"{', '.join(names)} and {last}"


def _robust(name: str, remove: float, problem: Any, center: str = "median") -> Defense:
    made = make_defense(name, remove=min(remove, 0.5), problem=problem)
    return made.set_params(center=center) if "center" in made.get_params() else made


def _fixed(measure: Measure) -> bool:
    return bool(measure.defenses) and not any(one.follows_poison for one in measure.defenses.values())


def _in_words_of(defense: Defense, train: Dataset) -> Defense:
    """The defence, whose trusted rows carry the user's own labels."""
    given = defense.get_params(deep=False)
    if "trusted" not in given:
        return defense
    X, y = given["trusted"]
    return TrustedDefense(given["defense"], (X, np.asarray(train.label_values(y))))


def code_of(measure: Measure, problem: Problem) -> str:
    """Python code that builds the recommended classifier from training rows `X`, `y` and trusted ones."""
    reg = problem.reg if measure.reg is None else measure.reg
    learner = (
        f"LinearClassifier({problem.loss.name!r}, reg={reg:g}, penalize_intercept={problem.penalize_intercept}, "
        f"fit_intercept={problem.fit_intercept})"
    )
    lines = ["from linpoison import LinearClassifier, SanitizedClassifier"]
    if not measure.defenses:
        return f"from linpoison import LinearClassifier\n\nmodel = {learner}.fit(X, y)\n"
    parts = list(measure.defenses.values())
    trusted = len(parts) == 1 and "trusted" in parts[0].get_params(deep=False)
    parts = [parts[0].defense] if trusted else parts
    parts = list(parts[0].get_params(deep=False).get("defenses", parts)) if len(parts) == 1 else parts
    kinds = sorted({type(part).__name__ for part in parts} | {"AllOf"} | ({"TrustedDefense"} if trusted else set()))
    lines += [f"from linpoison.defenses import {', '.join(kinds)}", ""]
    lines += ["filters = AllOf(", "    [", *(f"        {_call(part, learner)}," for part in parts), "    ]", ")"]
    if trusted:
        lines.append(
            "filters = TrustedDefense(filters, (X_trusted, y_trusted))  # rows known to be clean, of every class"
        )
    lines.append(f"model = SanitizedClassifier(filters, {learner}).fit(X, y)")
    return "\n".join(lines) + "\n"


def _call(part: Defense, learner: str) -> str:
    """The constructor of a defence, on one line; one that trains a model trains the learner."""
    given = {name: value for name, value in part.get_params(deep=False).items() if name != "variant"}
    texts = {name: learner if name == "estimator" else repr(value) for name, value in given.items()}
    return f"{type(part).__name__}({', '.join(f'{name}={text}' for name, text in texts.items())})"
