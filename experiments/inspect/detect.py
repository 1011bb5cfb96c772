"""How well `linpoison inspect` finds poison, case by case; what is found is kept for `compare.py`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from planted import ATTACKS, DATA, SHARES, Found, planted
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).parent.parent))
from written import write

HEADER = (
    "data", "poison", "share", "seed", "rows", "named", "of them poison", "AP", "best detector", "its AP",
    "clean", "with", "without",
)  # fmt: skip


def measured(found: Found) -> tuple[str, ...]:
    """A row of the table: average precision of the ranking and of the detector that is best here, and errors."""
    counts = found.poison.sum(), found.alarms.sum(), (found.alarms & found.poison).sum()
    told = ["-"] * 3
    if found.poison.any():
        single = {name: average_precision_score(found.poison, one) for name, one in found.surprises.items()}
        best = max(single, key=single.__getitem__)
        told = [f"{average_precision_score(found.poison, found.ranking):.3f}", best, f"{single[best]:.3f}"]
    return (
        found.data, found.attack, f"{found.share:.1%}", str(found.seed), *map(str, counts), *told,
        *(f"{error:.1%}" for error in found.errors),
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Make and measure all cases and write their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small case")
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--attack", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="clean rows come besides")
    parser.add_argument("--share", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="processor time of an attack at most")
    parser.add_argument("--poison", type=Path, default=Path("planted"), help="folder of what is made")
    parser.add_argument("--again", action="store_true", help="ask the detectors again: they were changed since")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args(argv)
    if given.quick:
        given.data, given.attack, given.share = ["gaussians"], ["random-flips"], [0.03]
    cases = planted(given.data, given.attack, given.share, given.poison, given.seed, given.seconds)
    sys.stdout.write(write(given.out, "cases", HEADER, [measured(Found.of(case, given.again)) for case in cases]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
