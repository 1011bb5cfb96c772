"""What a whole run of `linpoison harden` buys, and whether the dumbest poison does more than it states.

Each case is one run: a data set, a share of trusted rows, a seed (of these rows, of the halves of the test rows, and of
generated sets). The table has the setting that is recommended and, where that one needs no attack, the best one that
was attacked. Then some 400 poisons that nobody searched for are tried on that setting, see `dumb`: none may do more
than is stated. Cases are kept in a folder, so that a table of many is made in pieces.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from linpoison.auditing import HardenOptions, hardening
from linpoison.auditing.measures import AS_IS, Measure
from linpoison.core import UNDEFENDED, Dataset, Domain, LinpoisonError, Poison
from linpoison.defender import Defender
from linpoison.learners import make_learner
from linpoison.learners.base import LearnerWarning
from linpoison.losses import Problem

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "inspect"))
sys.path.insert(0, str(Path(__file__).parent.parent / "stronger_attacks"))
from naive import Ground, copies, grid
from planted import loaded
from written import write

HEADER = (
    "data", "trusted", "seed", "setting", "clean", "growth (95 %)", "before: seen, unseen", "after: seen, unseen", "by",
    "proved at most", "dumbest", "which", "processor s",
)  # fmt: skip
Named = tuple[str, Poison]


def dumb(rows: Dataset, problem: Problem, trusted: Dataset | None, total: int) -> Iterator[Named]:
    """Poisons without any search: the grid of `naive.py`, clusters with the other label, trusted rows with the other
    label, rows on the border of the range, the rows nearest to the boundary and those deepest behind it with the other
    label, and equal rows one unit in the last place apart."""
    domain, rng = rows.domain, np.random.default_rng(5)
    shown = Domain.range(rows.X)
    low, high = np.asarray(shown.lower), np.asarray(shown.upper)
    clean = make_learner(problem).fit(rows)
    for label in (1.0, -1.0):
        mine = rows.of_class(-label)
        behind = np.argsort(-label * clean.decision_function(mine.X))
        for word, some in (("nearest to the boundary", behind[:total]), ("deepest in its class", behind[-total:])):
            yield f"flips of the rows {word}", copies(mine.X[some], [label] * some.size, _split(total, some.size))
            if not rows.is_sparse:
                apart = _apart(mine.X[some[0]], total)
                yield f"the row {word}, one unit in the last place apart", copies(apart, [label] * total, [1] * total)
        near = KMeans(6, n_init=1, random_state=1).fit_transform(mine.X)
        for number in range(near.shape[1]):
            some = np.argsort(near[:, number])[:total]
            yield f"flips of cluster {number + 1}", copies(mine.X[some], [label] * some.size, _split(total, some.size))
        for draw in range(6):
            row = np.where(rng.random(rows.d) < 0.5, low, high)
            yield f"border of the range, draw {draw + 1}", copies(row[None], [label], [total])
        for draw in range(6 if trusted is not None else 0):
            held = trusted.of_class(-label)
            some = rng.choice(held.n, min(total, held.n) if draw % 2 else 1, replace=False)
            yield (
                "trusted rows with the other label",
                copies(held.X[some], [label] * some.size, _split(total, some.size)),
            )
    if not rows.is_sparse:
        yield from grid(Ground(rows, total, rng), domain).items()


def _apart(row: np.ndarray, total: int) -> np.ndarray:
    """Rows that are distinct, each the next number up from the one before in one column."""
    found = [row]
    for number in range(total - 1):
        following, column = found[-1].copy(), number % row.size
        following[column] = np.nextafter(following[column], np.inf)
        found.append(following)
    return np.stack(found)


def _split(total: int, n: int) -> list[int]:
    return [total // n + (place < total % n) for place in range(n)]


def dumbest(search: Any, measure: Measure, seconds: float) -> tuple[float, str]:
    """The most that such a poison does to a setting, on the rows seen and unseen, of those tried in so much time."""
    split, parts = search.setting.split, dict(zip(("seen", "unseen"), search.parts, strict=True))
    rows = measure.rows(split.train)
    defender = Defender(rows, measure.problem(search.setting.problem), measure.defenses)
    most, began = (0.0, "-"), time.process_time()
    for name, poison in dumb(split.train, search.setting.problem, search.trusted, search.n_poison):
        if time.process_time() - began > seconds:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("error", LearnerWarning)
            try:
                errors = defender.score(poison, parts).error
            except (LearnerWarning, LinpoisonError):  # no result
                continue
        filters = [one for one in errors["seen"] if one != UNDEFENDED] or [UNDEFENDED]
        most = max(most, (min(max(errors[part][one] for part in parts) for one in filters), name))
    return most


def case(data: str, trusted: float, seed: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """One run: the settings of the table as plain values."""
    began = time.process_time()
    options = HardenOptions(
        trusted=trusted, seed=seed, jobs=1, model=given.model, finalists=given.finalists, time_limit=given.time_limit,
        defenses=given.defenses,
    )  # fmt: skip
    search: Any = hardening._Search(loaded(data, seed), options, None, None)
    report = search.run()
    spent, now = time.process_time() - began, report.trials[0]
    attacked = [one for one in report.trials if one.met == "all" and not search.measures[one.name].proved]
    attacked = [one for one in attacked if one.cost <= report.max_cost and one.name != AS_IS]
    best = min(attacked, key=lambda one: one.preference, default=None)
    found = []
    for trial in dict.fromkeys(one.name for one in (report.recommended, best) if one is not None):
        told = search.tried[trial]
        proved = search.measures[trial].proved
        worst = (told.attacked, "-") if proved or given.quick else dumbest(search, search.measures[trial], given.dumb)
        found.append({
            "data": data, "trusted": trusted, "seed": seed, "now": asdict(now), "then": asdict(told),
            "chosen": trial == report.chosen, "dumbest": worst, "seconds": spent, "unfinished": report.unfinished,
        })  # fmt: skip
    return found


def row(found: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    now, then = found["now"], found["then"]
    pair = [f"{100 * one['seen_error']:.1f}, {100 * one['unseen_error']:.1f}" for one in (now, then)]
    growth = f"{100 * then['cost']:+.1f} ({100 * then['low']:+.1f} to {100 * then['high']:+.1f})"
    bound = "-" if then["bound"] is None else f"{100 * then['bound']:.1f}"
    return (
        found["data"], f"{found['trusted']:.0%}", str(found["seed"]), then["name"] + ("" if found["chosen"] else " *"),
        f"{100 * then['clean_error']:.1f}", growth, *pair, then["attack"], bound, f"{100 * found['dumbest'][0]:.1f}",
        found["dumbest"][1], f"{found['seconds']:.0f}",
    )  # fmt: skip


def kept(data: str, trusted: float, seed: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A case, read back where it is known."""
    name = f"{data.replace(':', '-')}-{trusted:g}-{seed}-{given.finalists}-{given.model}.json"
    path = given.kept / name
    if not path.exists():
        found = case(data, trusted, seed, given)
        given.kept.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found), encoding="utf-8")
    cases: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return cases


def main(argv: Sequence[str] | None = None) -> int:
    """Run all cases, and write the table; those marked * are the best that were attacked, not what is recommended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--data", nargs="+", default=["breast_cancer", "digits17"])
    parser.add_argument("--trusted", nargs="+", type=float, default=[0.5, 0.1])
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--model", default="svm")
    parser.add_argument("--defenses", default="l2,slab,loss,svd,knn", help="the filters of today")
    parser.add_argument("--finalists", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=None, help="seconds of each run")
    parser.add_argument("--dumb", type=float, default=np.inf, help="processor seconds of dumb poisons for each setting")
    parser.add_argument("--kept", type=Path, default=Path("kept"), help="folder of the cases")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--name", default="whole")
    given = parser.parse_args(argv)
    if given.quick:
        given.data, given.trusted, given.seed, given.finalists = ["gaussians:60"], [0.5], [0], 0
        given.defenses, given.time_limit, given.kept = "l2", 1e-3, given.out
    found = [
        one for data in given.data for trusted in given.trusted for seed in given.seed
        for one in kept(data, trusted, seed, given)
    ]  # fmt: skip
    late = sorted({name for one in found for name in one["unfinished"]})
    sys.stdout.write(write(given.out, given.name, HEADER, [row(one) for one in found]))
    sys.stdout.write(f"Not ended: {', '.join(late)}\n" if late else "")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
