"""Rankings of suspicious rows, and what removing them does, of the cases that `detect.py` kept: takes seconds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from detect import HEADER, measured
from planted import Found
from scipy.special import logsumexp
from sklearn.metrics import average_precision_score

from linpoison.core import Array
from linpoison.defenses.ranking import RANKING

sys.path.insert(0, str(Path(__file__).parent.parent))
from written import write

Ranking = Callable[[Found], Array]


def _of(found: Found) -> Array:
    return np.array([found.surprises[name] for name in RANKING if name in found.surprises])


COMBINATIONS: dict[str, Ranking] = {
    "inspect": lambda found: found.ranking,
    "mean 1 / p of five": lambda found: logsumexp(_of(found), axis=0),
    "mean 1 / sqrt(p) of five": lambda found: logsumexp(0.5 * _of(found), axis=0),
    "least p of five (Tippett)": lambda found: _of(found).max(axis=0),
    "product of five (Fisher)": lambda found: _of(found).sum(axis=0),
    "mean 1 / p of all": lambda found: logsumexp(list(found.surprises.values()), axis=0),
    "product of all": lambda found: np.sum(list(found.surprises.values()), axis=0),
}
"""What a combination of surprises says of rows, greater for more suspicious ones."""


def precisions(cases: Sequence[Found]) -> dict[str, dict[str, list[float]]]:
    """Average precisions by ranking and data set; those of detectors are named after them."""
    names = dict.fromkeys(name for found in cases for name in found.surprises)
    single: dict[str, Ranking] = {name: lambda found, name=name: found.surprises[name] for name in names}
    told: dict[str, dict[str, list[float]]] = {name: {} for name in (*COMBINATIONS, *single)}
    for found in cases:
        for name, ranking in (COMBINATIONS | single).items():
            if name in COMBINATIONS or name in found.surprises:
                value = float(average_precision_score(found.poison, ranking(found)))
                told[name].setdefault(found.data, []).append(value)
    return told


def table(cases: Sequence[Found]) -> tuple[list[str], list[list[str]]]:
    """Mean average precision of each ranking by data set, and on how many sets it is at least the best detector's."""
    told = precisions(cases)
    sets = list(dict.fromkeys(found.data for found in cases))
    means = {name: np.array([np.mean(by.get(data, [np.nan])) for data in sets]) for name, by in told.items()}
    single = {name: value for name, value in means.items() if name not in COMBINATIONS}
    best = np.nanmax(list(single.values()), axis=0)
    whose = [max(single, key=lambda name, at=at: np.nan_to_num(single[name][at])) for at in range(len(sets))]
    beside = ["best detector of the set", *(f"{value:.3f} {name}" for value, name in zip(best, whose, strict=True))]
    lines = []
    for name in (*COMBINATIONS, *sorted(single, key=lambda name: -np.nanmean(means[name]))):
        every = sum(told[name].values(), [])
        least = f"{int((means[name] >= best - 1e-9).sum())} of {len(sets)}"
        lines.append([name, *(f"{value:.3f}" for value in means[name]), f"{np.mean(every):.3f}",
                      f"{np.median(every):.3f}", least])  # fmt: skip
    counts = [str(sum(found.data == data for found in cases)) for data in sets]
    lines.insert(len(COMBINATIONS), [*beside, "", "", ""])
    lines.append(["cases", *counts, str(len(cases)), "", ""])
    return ["ranking", *sets, "mean of cases", "median", "no less than the best detector"], lines


BY_DATA = (
    "data", "cases", "error within a point of clean", "of those where poison had cost more",
    "named rows that are poison", "poison that is named", "named of clean rows", "clean error without them",
)  # fmt: skip


def remedy(cases: Sequence[Found]) -> list[list[str]]:
    """By data set: what the model is without the named rows, and how many clean rows are named, without poison too."""
    lines = []
    for data in dict.fromkeys(found.data for found in cases):
        here = [found for found in cases if found.data == data]
        poisoned, clean = ([found for found in here if found.poison.any() == told] for told in (True, False))
        near = [within_a_point(found.errors[2], found.errors[0]) for found in poisoned]
        harmed = [not within_a_point(found.errors[1], found.errors[0]) for found in poisoned]
        named = sum(int(found.alarms.sum()) for found in poisoned)
        right = sum(int((found.alarms & found.poison).sum()) for found in poisoned)
        lines.append([
            data, str(len(poisoned)), f"{sum(near)} of {len(near)}",
            f"{sum(back for back, harm in zip(near, harmed, strict=True) if harm)} of {sum(harmed)}",
            f"{right} of {named}", f"{right} of {sum(int(found.poison.sum()) for found in poisoned)}",
            ", ".join(f"{int(found.alarms.sum())} of {found.alarms.size}" for found in clean),
            ", ".join(f"{found.errors[0]:.1%} to {found.errors[2]:.1%}" for found in clean),
        ])  # fmt: skip
    return lines


def within_a_point(error: float, clean: float) -> bool:
    """Whether an error is at most a point above that of clean rows."""
    return error <= clean + 0.01 + 1e-12


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables of the kept cases: all rankings, what removing does, and each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poison", type=Path, default=Path("planted"), help="folder that detect.py kept cases in")
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--attack", nargs="+", help="of these attacks alone")
    parser.add_argument("--share", nargs="+", type=float, help="of these shares alone")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args(argv)
    kept = [Found.load(path) for path in sorted(given.poison.glob("*.found.npz"))]
    cases = [
        found for found in kept
        if found.seed in given.seed and (found.attack in (given.attack or [found.attack]) or not found.share)
        and (found.share in (given.share or [found.share]) or not found.share)
    ]  # fmt: skip
    if not any(found.share for found in cases):
        parser.error(f"{given.poison} keeps no such case: run detect.py first")
    sys.stdout.write(write(given.out, "rankings", *table([found for found in cases if found.share])))
    sys.stdout.write(write(given.out, "remedy", BY_DATA, remedy(cases)))
    write(given.out, "cases", HEADER, [measured(found) for found in cases])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
