"""What an audit runs: the attacks that were named, or a portfolio from cheap to dear."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from .. import attacks
from ..attacks.base import Attack
from ..attacks.sampling import sample_size
from ..attacks.scenario import Scenario
from ..core import UNDEFENDED, Dataset
from ..defenses import DEFAULTS
from ..reporting.cells import domain_words
from ..reporting.findings import ALL
from .campaign import Task
from .inputs import Setting
from .options import AuditOptions
from .portfolio import (
    ALONE_OF_MANY,
    FAR,
    FAR_ALONE,
    FIRST,
    IN_TABLE,
    INSIDE,
    LIBRARY,
    NEAR_ALONE,
    OF_MANY,
    ON_TOP,
    PUBLISHED,
    WORDS_ON_TOP,
)

UNIT = 72_000
"""Entries times learners (one for each defence and one without) of breast cancer behind five defences."""
LIMIT = 600.0
"""Work of a portfolio at most. One unit of it takes one core of 2020 about a second."""

SPEED = 2e10
"""Multiplications of matrices that such a core does in a second."""
FIT = 150.0 * SPEED
"""Those of one fit of a filter at most, where filters were not named."""
IN_TIME = SPEED / 10
"""The same for each second of a time limit: a fit takes a tenth of it."""


@dataclass(frozen=True)
class Plan:
    """What is run and what is not.

    Parameters
    ----------
    left_out : tuple of dict
        ``name`` and ``reason``.
    """

    tasks: tuple[Task, ...]
    left_out: tuple[dict[str, str], ...] = ()


def make_plan(options: AuditOptions, scenarios: Mapping[str, Scenario]) -> Plan:
    """The tasks of an audit.

    Parameters
    ----------
    scenarios : mapping of str to Scenario
        By domain, the widest first; each holds all those after it.
    """
    if not options.portfolio:
        names, many = options.attack_names(), _many(scenarios)
        made = attacks.make_attacks(names, variant=options.attack_variant, solver=options.solver, many=many)
        return Plan(
            tuple(
                Task(name, attack, scenario, domain, _where(domain, scenarios), always=name == names[0])
                for domain, scenario in scenarios.items()
                for name, attack in made.items()
            )
        )
    return _portfolio_of_many(options, scenarios) if _many(scenarios) else _portfolio(options, scenarios)


def _many(scenarios: Mapping[str, Scenario]) -> bool:
    return any(scenario.train.n_classes is not None for scenario in scenarios.values())


def _portfolio_of_many(options: AuditOptions, scenarios: Mapping[str, Scenario]) -> Plan:
    """Every attack of more than two classes in the narrowest domain, and far rows in each.

    Then a local search from the strongest of them on for each defender alone, in each domain; not where attacks search
    on a sample, of which a poison for all rows is none, nor beyond `LIMIT`.
    """
    narrow = list(scenarios)[-1]
    library = options.attack_variant == LIBRARY
    items = [one for one in OF_MANY if library or one.name in attacks.MANY_AS_PUBLISHED]
    runs = [(item, domain, ALL) for item in items for domain in scenarios if domain == narrow or item.name == FAR.name]
    if library:
        runs += [(ALONE_OF_MANY, domain, behind) for domain in scenarios for behind in _alone(scenarios[domain])]
    made = attacks.make_attacks(
        dict.fromkeys(item.name for item, _, _ in runs),
        variant=options.attack_variant,
        solver=options.solver,
        many=True,
    )
    left, tasks = LIMIT, []
    missing: list[tuple[Task, float]] = []
    for item, domain, against in runs:
        scenario = _against(scenarios[domain], against)
        rows = sample_size(scenario)
        attack, where = _set(made[item.name], item.options), _where(domain, scenarios)
        always = item in FIRST
        task = Task(item.name, attack, scenario, domain, where, against, item.onward, rows, item.work, always)
        work = item.work * work_size(scenario.train, len(scenario.defenses), rows) * scenario.train.k
        if not item.onward:
            tasks.append(task)
        elif rows is None and work <= left:
            tasks.append(task)
            left -= work
        else:
            missing.append((task, work))
    return Plan(tuple(tasks), _left_out(missing, {task.name for task in tasks}))


def _portfolio(options: AuditOptions, scenarios: Mapping[str, Scenario]) -> Plan:
    """From cheap to dear, as far as `LIMIT` goes.

    Far rows have the widest domain, and are tried in the narrowest, where a defender without a filter, or with one
    alone, may still fall to a corner of it. Flips and the attacks inside the sets run in the narrowest, with a local
    search from the strongest of their poisons: they count for the wider domains too. Of raw tables under a time limit
    the search comes first: it goes on from rows that the steps can make, of which relaxed points lose much.
    """
    wide, narrow = next(iter(scenarios)), list(scenarios)[-1]
    train = scenarios[narrow].train
    on_top = WORDS_ON_TOP if train.is_sparse or train.domain.integral else ON_TOP
    runs = [(item, narrow, ALL) for item in (*FIRST, *[IN_TABLE] * bool(train.domain.parts))] + [(FAR, wide, ALL)]
    runs += [(FAR_ALONE, wide, behind) for behind in _alone(scenarios[wide])]
    inside = [(item, narrow, ALL) for item in INSIDE]
    search = [] if on_top is ON_TOP and wide == narrow else [(on_top, narrow, ALL)]
    if narrow != wide:
        search += [(NEAR_ALONE, narrow, behind) for behind in _alone(scenarios[narrow])]
    first = on_top is ON_TOP and bool(train.domain.parts) and options.time_limit is not None
    runs += [*search, *inside] if first else [*inside, *search]
    runs = [run for run in runs if options.attack_variant == LIBRARY or run[0].name in PUBLISHED]
    names = dict.fromkeys(item.name for item, _, _ in runs)
    made = attacks.make_attacks(names, variant=options.attack_variant, solver=options.solver)
    left, tasks = LIMIT, []
    missing: list[tuple[Task, float]] = []
    for item, domain, against in runs:
        scenario = _against(scenarios[domain], against)
        rows = sample_size(scenario)
        work = item.work * work_size(scenario.train, len(scenario.defenses), rows)
        attack = _set(
            made[item.name], item.options + (item.fewer if rows and options.attack_variant == LIBRARY else ())
        )
        where, always = _where(domain, scenarios), item in FIRST
        task = Task(item.name, attack, scenario, domain, where, against, item.onward, rows, work, always)
        if item in FIRST or work <= left:
            tasks.append(task)
            left -= work
        else:
            missing.append((task, work))
    return Plan(tuple(tasks), _left_out(missing, {task.name for task in tasks}))


def affordable(setting: Setting, options: AuditOptions) -> tuple[Setting, tuple[dict[str, str], ...]]:
    """The setting without those of the default filters that take too long to fit, and what a report says of these.

    Every poison that is scored fits them once more, and no time limit ends a fit.
    """
    most = FIT if options.time_limit is None else min(FIT, IN_TIME * options.time_limit)
    if options.defenses != DEFAULTS:
        return setting, ()
    work = {name: one.fit_work(setting.split.train.X) for name, one in setting.defenses.items()}
    dear = {name: size for name, size in work.items() if size > most}
    kept = {name: one for name, one in setting.defenses.items() if name not in dear}
    if not dear:
        return setting, ()
    told = []
    for name, size in dear.items():  # named first, since the default ones in their order stand for no choice
        lasting = _lasting(size / SPEED)
        why = f"one fit of it takes about {lasting} of work by a count of rows and columns"
        told.append({"name": f"the filter {name}", "reason": f"{why}; --defenses {','.join([name, *kept])} has it"})
    return replace(setting, defenses=kept), tuple(told)


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _alone(scenario: Scenario) -> list[str]:
    """The defenders that an attack is made for by itself: each filter, and none; not the only one there is."""
    names = [UNDEFENDED, *scenario.defenses]
    return [] if len(names) == 1 else [name for name in names if len(names) > 2 or name == UNDEFENDED]


def _against(scenario: Scenario, behind: str) -> Scenario:
    """The scenario with one filter only, or none; itself for all at once."""
    if behind == ALL:
        return scenario
    return replace(scenario, defenses={name: one for name, one in scenario.defenses.items() if name == behind})


def _where(domain: str, domains: Collection[str]) -> str:
    return domain_words(domain) if len(domains) > 1 else ""


def work_size(train: Dataset, n_defenses: int, rows: int | None = None) -> float:
    """How many times the work of a retraining is that of `UNIT`: entries (stored ones if sparse) times learners.

    With `rows` on a sample of so many rows.
    """
    entries = train.X.nnz if train.is_sparse else (rows or train.n) * train.d
    return max(1.0, entries * (1 + n_defenses) / UNIT)


def _set(attack: Attack, options: Sequence[tuple[str, Any]]) -> Attack:
    """The attack with other hyperparameters, where it has any; those of a part stand behind its name and a dot."""
    for name, value in options:
        part, dot, inner = name.partition(".")
        attack = replace(
            cast(Any, attack), **{part: replace(getattr(attack, part), **{inner: value}) if dot else value}
        )
    return attack


def _left_out(missing: Sequence[tuple[Task, float]], ran: Collection[str]) -> tuple[dict[str, str], ...]:
    """An attack that did not run at all by its name, once; of one that did, what it was left out of."""
    reasons: dict[str, str] = {}
    for task, work in missing:
        why = f"about {work / 60:.0f} minutes of work by a count of rows and columns"
        if task.name not in ran:
            reasons.setdefault(task.name, f"{why}; --attacks {task.name} runs it")
        elif task.onward and not task.alone:
            reasons[f"{task.title}, from the strongest poison on"] = why
        else:
            reasons[task.title] = why
    return tuple({"name": name, "reason": reason} for name, reason in reasons.items())
