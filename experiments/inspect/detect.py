"""How well `linpoison inspect` finds poison: average precision beside each detector, errors without what it names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from planted import ATTACKS, DATA, OPTIONS, SHARES, Planted, planted
from sklearn.metrics import average_precision_score

from linpoison.auditing.suspecting import suspect
from linpoison.learners import make_learner

sys.path.insert(0, str(Path(__file__).parent.parent))
from written import write

HEADER = (
    "data", "poison", "share", "rows", "named", "of them poison", "AP", "best detector", "its AP", "clean", "with",
    "without",
)  # fmt: skip

BY_DATA = (
    "data", "mean AP", "best detector's", "which", "median AP", "error within a point of clean", "where it was not",
    "named of clean rows", "clean error without them",
)  # fmt: skip


def measured(case: Planted, seed: int) -> tuple[tuple[str, ...], dict[str, float]]:
    """A row of the table; and average precision by detector, "all" of the combination."""
    problem = OPTIONS.problem(case.rows)
    found = suspect(case.rows, problem, seed=seed)
    named = found.by_row(found.found.alarms)
    learner = make_learner(problem)
    errors = [learner.fit(rows).error(case.test) for rows in (case.clean, case.rows, case.rows.take(~named))]
    precision: dict[str, float] = {}
    if case.poison.any():
        ranked = {"all": found.found.ranking, **found.found.surprises}
        precision = {
            name: float(average_precision_score(case.poison, found.by_row(one))) for name, one in ranked.items()
        }
    best = max((name for name in precision if name != "all"), key=precision.__getitem__, default="-")
    told = [f"{precision[name]:.3f}" if name in precision else "-" for name in ("all", best)]
    row = (
        case.data, case.attack, f"{case.share:.1%}", str(int(case.poison.sum())), str(int(named.sum())),
        str(int((named & case.poison).sum())), told[0], best, told[1], *(f"{error:.1%}" for error in errors),
    )  # fmt: skip
    return row, precision


def summary(precisions: Iterable[dict[str, float]]) -> list[tuple[str, ...]]:
    """Mean and median average precision of the combination and of every detector, the best first."""
    every = list(precisions)
    values = {name: [one[name] for one in every if name in one] for name in (every[0] if every else ())}
    order = sorted(values, key=lambda name: -float(np.mean(values[name])))
    return [(name, f"{np.mean(values[name]):.3f}", f"{np.median(values[name]):.3f}") for name in order]


def by_data(rows: Sequence[tuple[str, ...]], precisions: Sequence[dict[str, float]]) -> list[tuple[str, ...]]:
    """For each data set the mean precision, beside the detector that is best there, and what became of errors."""
    found = []
    for data in dict.fromkeys(row[0] for row in rows):
        mine = [one for row, one in zip(rows, precisions, strict=True) if row[0] == data]
        here = [one for one in mine if one]
        means = {name: float(np.mean([one[name] for one in here])) for name in (here[0] if here else ())}
        best = max((name for name in means if name != "all"), key=means.__getitem__, default="-")
        clean, *planted = [row for row in rows if row[0] == data]
        errors = [[float(cell.rstrip("%")) for cell in row[9:]] for row in planted]
        near = sum(without <= before + 1 + 1e-9 for before, _, without in errors)
        harmed = [without <= before + 1 + 1e-9 for before, harm, without in errors if harm > before + 1 + 1e-9]
        median = np.median([one["all"] for one in here]) if here else float("nan")
        parts = f"{near} of {len(planted)}", f"{sum(harmed)} of {len(harmed)}"
        told = (f"{means.get(name, float('nan')):.3f}" for name in ("all", best))
        found.append((
            data, *told, best, f"{median:.3f}", *parts, clean[4], f"{clean[9]} to {clean[11]}",
        ))  # fmt: skip
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all cases and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--attack", nargs="+", default=list(ATTACKS))
    parser.add_argument("--share", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--poison", type=Path, default=Path("planted"), help="folder of the poison that is made")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    data, attacks, shares = given.data, given.attack, given.share
    if given.quick:
        data, attacks, shares = ["gaussians"], ["random-flips"], [0.03]
    rows, precisions = [], []
    for case in planted(tuple(data), tuple(attacks), tuple(shares), given.poison, given.seed):
        row, precision = measured(case, given.seed)
        rows.append(row)
        precisions.append(precision)
    sys.stdout.write(write(given.out, "cases", HEADER, rows))
    sys.stdout.write(
        write(given.out, "detectors", ("detector", "mean AP", "median AP"), summary(filter(None, precisions)))
    )
    sys.stdout.write(write(given.out, "data", BY_DATA, by_data(rows, precisions)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
