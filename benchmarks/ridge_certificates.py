"""Ridge certificates: set-up and time per test row of the structured dual, and of the conic program beside it.

    python benchmarks/ridge_certificates.py [--quick] [--data NAME ...] [--epsilon 0.01] [--conic-rows 5]

One row of the table for each data set and kind of set: balls (Newton's method on the diagonalised dual) and
balls cut by slabs (cutting planes with the sets' oracles, on a few rows). Times are processor seconds of one
thread; those of the conic program leave out its compilation. "difference" is the largest between the two
methods' bounds. Expected on MNIST 1 against 7: all 2163 test rows in well under a minute, about a millisecond
each after the set-up, and every bound exact or nearly so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from linpoison import Dataset, Problem, Split, load
from linpoison.certificates.claim import Claim
from linpoison.certificates.ridge.ball import BallDual
from linpoison.certificates.ridge.certify import certify_ridge
from linpoison.certificates.ridge.conic import RidgeProgram
from linpoison.certificates.ridge.model import RidgeSystem, comparator_bounds
from linpoison.datasets import names
from linpoison.losses import Squared
from linpoison.sets import Ball, ByLabel, FeasibleSet, Intersection, Slab

DATA = ("breast_cancer", "digits17", "mnist17")
HEAD = "| data | d | sets | rows | set-up s | ms / row | certified | attacked | exact | conic ms / row | difference |"
CONIC_D = 100


def spheres(train: Dataset) -> tuple[Dataset, dict[int, Ball]]:
    """Balls that hold 95 % of each class, and the rows inside."""
    sets, keep = {}, np.zeros(train.n, dtype=bool)
    for label in (1, -1):
        rows = np.flatnonzero(train.y == label)
        mean = train.X[rows].mean(axis=0)
        distance = np.linalg.norm(train.X[rows] - mean, axis=1)
        sets[label] = Ball(mean, float(np.quantile(distance, 0.95)))
        keep[rows[distance <= sets[label].radius]] = True
    return train.take(keep), sets


def with_slabs(train: Dataset, balls: dict[int, Ball]) -> dict[int, FeasibleSet]:
    """The balls, cut to where the clean rows are along the line between the means."""
    between = balls[1].center - balls[-1].center
    cut: dict[int, FeasibleSet] = {}
    for label, ball in balls.items():
        middle = float(between @ ball.center)
        width = float(np.abs(train.X[train.y == label] @ between - middle).max())
        cut[label] = Intersection((ball, Slab(between, middle, width)))
    return cut


def race(name: str, claim: Claim, kind: str, conic_rows: int) -> str:
    """One row of the table."""
    start = time.process_time()
    system = RidgeSystem.of(claim)
    system.solve(system.rows.moment)
    if kind == "balls":
        BallDual.of(system)
    setup = time.process_time() - start
    start = time.process_time()
    found = certify_ridge(claim, method="structured")
    rows = claim.demand_rows().n
    each = 1e3 * (time.process_time() - start - setup) / rows
    found.verify()
    conic = ["", ""]
    if conic_rows and claim.train.d <= CONIC_D:
        program = RidgeProgram(system)
        program.solve(0)
        start = time.process_time()
        answers = [program.solve(row) for row in range(min(conic_rows, rows))]
        seconds = (time.process_time() - start) / len(answers)
        pairs = [(comparator_bounds(system, a.V[None], [row])[0], row) for row, a in enumerate(answers) if a]
        conic = [f"{1e3 * seconds:.1f}", f"{max(abs(value - found.bound[row]) for value, row in pairs):.0e}"]
    info = found.info
    shares = " | ".join(f"{info[key]:.4f}" for key in ("certified", "attacked", "exact_share"))
    return f"| {name} | {claim.train.d} | {kind} | {rows} | {setup:.2f} | {each:.2f} | {shares} | {' | '.join(conic)} |"


def claims(split: Split, epsilon: float, few: int) -> dict[str, Claim]:
    """The claim with balls on all test rows, that with slabs on the first few."""
    train, balls = spheres(split.train)
    problem = Problem(Squared(), 0.1)
    return {
        "balls": Claim(train, problem, ByLabel(balls), epsilon, split.test),
        "slabs": Claim(train, problem, ByLabel(with_slabs(train, balls)), epsilon, split.test.take(np.arange(few))),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small data sets only")
    parser.add_argument("--data", nargs="+", help="names of data sets")
    parser.add_argument("--epsilon", type=float, default=0.01)
    parser.add_argument("--conic-rows", type=int, default=5, help="rows that the conic program solves too")
    options = parser.parse_args(arguments)
    here = {info.name for info in names() if info.available}
    print(HEAD + "\n|" + "---|" * HEAD.count(" | ") + "---|")
    for name in options.data or [name for name in DATA[: 2 if options.quick else 3] if name in here]:
        for kind, claim in claims(load(name), options.epsilon, few=20).items():
            print(race(name, claim, kind, options.conic_rows), flush=True)


if __name__ == "__main__":
    main()
