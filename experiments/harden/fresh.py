"""Does an attack that `linpoison harden` did not try, of ten times the computing, do more to one of its settings?"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from linpoison.attacks import Attack, Breakdown, Scenario, make_attack
from linpoison.attacks.deadline import Deadline
from linpoison.auditing import HardenOptions, hardening
from linpoison.auditing.domains import settings_of
from linpoison.auditing.measures import AS_IS, Measure
from linpoison.auditing.target import Target
from linpoison.core import UNDEFENDED, Budget, LinpoisonError, Poison
from linpoison.reporting.trial import ALL, PLAIN, Trial

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "inspect"))
from planted import loaded
from written import write

HEADER = (
    "data", "trusted", "seed", "setting", "clean", "growth", "searched", "by", "seconds", "fresh", "by", "seconds",
)  # fmt: skip
NEAR = (0.5, 1.0, 2.0, 4.0)
"""Radii of rows that a filter may let through, in units of the median distance; far ones stand in `Breakdown`."""


def attacks() -> list[Attack]:
    """Wider and longer than those of the search, and some that it lacks."""
    wide = Breakdown(directions=48, kept=12, remade=3, chains=4, steps=720)
    return [
        wide, replace(wide, radii=NEAR, inside=False), make_attack("kkt"), make_attack("influence"),
        make_attack("model-targeted"), make_attack("refined"), make_attack("min-max"),
    ]  # fmt: skip


def searched(search: Any, measure: Measure, quick: bool) -> tuple[Trial, float]:
    """What the search finds of a setting, as of a finalist, and its processor time."""
    search._costing(search.measures[AS_IS])
    began = time.process_time()
    search._try(measure.name, PLAIN if quick else ALL)
    if measure.name not in search.tried:
        raise SystemExit(search.failures[measure.name])
    return search.tried[measure.name], time.process_time() - began


def fresh(search: Any, measure: Measure, seconds: float, quick: bool) -> tuple[float, str, float]:
    """The most that is found within so much processor time, by which attack, and the time that it took.

    Every candidate counts by the greater of its errors on the rows seen and unseen: this attacker looks at both.
    """
    setting, options = search.setting, search.options
    rows = measure.rows(setting.split.train)
    one = replace(
        setting, problem=measure.problem(setting.problem), defenses=measure.defenses,
        split=replace(setting.split, train=rows),
    )  # fmt: skip
    parts = Target.parse(hardening.TARGET).rows(setting.split, options.seed)
    budget = Budget(search.n_poison / rows.n)
    scenarios = [
        Scenario(each.split.train, each.problem, budget, each.defenses, parts.aim, defender=each.defender)
        for each in settings_of(one, None).values()
    ]
    most, by, began = 0.0, "-", time.process_time()
    for number, (attack, scenario) in enumerate(cycle([(a, s) for a in attacks() for s in scenarios])):
        until = Deadline(began + seconds, time.process_time)
        if until.over or (quick and number):
            break
        try:
            attack = make_attack("random-flips") if quick else attack
            result = attack.run(scenario, seed=1000 + number, deadline=until)
        except LinpoisonError:
            continue
        for item in (result.best, *result.candidates):
            error = _error(one.defender, item.poison, parts.parts)
            most, by = max((most, by), (error, result.name))
    return most, by, time.process_time() - began


def _error(defender: Any, poison: Poison, parts: Any) -> float:
    errors = list(defender.score(poison, parts).error.values())
    names = [name for name in errors[0] if name != UNDEFENDED] or [UNDEFENDED]
    return min(max(error[name] for error in errors) for name in names)


def measured(data: str, trusted: float, seed: int, given: argparse.Namespace) -> list[tuple[str, ...]]:
    """A row of the table for each setting."""
    found = []
    options = HardenOptions(trusted=trusted, seed=seed, jobs=1, model=given.model)
    names = given.setting or ["trusted-alone"]
    rows = loaded(data, seed) if ":" in data or data == "reviews" else data
    for name in names:
        search: Any = hardening._Search(rows, options, None, None)
        measure = next((one for one in search.measures.values() if re.fullmatch(name, one.name)), None)
        if measure is None:
            continue
        trial, spent = searched(search, measure, given.quick)
        again = (trial.attacked, "proved", 0.0)
        if not measure.proved:
            again = fresh(search, measure, given.factor * spent, given.quick)
        row = (
            data, f"{trusted:g}", str(seed), measure.name, f"{trial.clean_error:.1%}", f"{100 * trial.cost:+.1f}",
            f"{trial.attacked:.1%}", trial.attack, f"{spent:.0f}", f"{again[0]:.1%}", again[1], f"{again[2]:.0f}",
        )  # fmt: skip
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()
        found.append(row)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Search and attack afresh every setting of every seed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--data", nargs="+", default=["breast_cancer", "digits17"])
    parser.add_argument("--trusted", nargs="+", type=float, default=[0.5])
    parser.add_argument("--setting", nargs="+", help="names, or patterns of them such as parts-.*: the first of each")
    parser.add_argument("--model", default="svm")
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--factor", type=float, default=10.0, help="times the processor time of the search")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--name", default="fresh")
    given = parser.parse_args(argv)
    if given.quick:
        given.data, given.trusted, given.seed, given.setting = ["gaussians"], [0.5], [0], ["trusted-alone", "trusted-5"]
    cases = [(data, trusted, seed) for data in given.data for trusted in given.trusted for seed in given.seed]
    rows = [row for case in cases for row in measured(*case, given)]
    write(given.out, given.name, HEADER, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
