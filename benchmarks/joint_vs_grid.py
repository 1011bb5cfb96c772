"""One joint solve against a grid over the split of the budget: objective and time.

    python benchmarks/joint_vs_grid.py [--quick] [--solver ECOS] [--data NAME ...]

For a few decoys of each data set the KKT program is solved once with the split free, and once for
each point of an even grid of 61 splits. The joint optimum is never worse than the best of the grid.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cvxpy  # noqa: F401, imported here so that no race pays for it
import numpy as np

from linpoison import Budget, InfeasibleSet, LinearModel, Problem, SolverFailed, Split, load, make_defense
from linpoison.attacks import FeasibleRegion, KKTProgram, LabelFlipDecoys, Scenario, SetPolicy
from linpoison.datasets import counts, names
from linpoison.losses import Hinge
from linpoison.sets import ByLabel

DEFENSES = ("l2", "slab", "loss")
REG = {"enron1": 0.09, "counts": 0.05}
DEFAULT_REG = 0.01


class Race(NamedTuple):
    """What one decoy took."""

    data: str
    decoy: str
    joint: float
    grid: float
    joint_seconds: float
    grid_seconds: float
    grid_solves: int
    grid_failed: int


def cases(quick: bool, chosen: Sequence[str] | None) -> Iterator[tuple[str, Split]]:
    """Data sets by name: those asked for, or the embedded ones and Enron if it is here."""
    if quick and chosen is None:
        yield "counts", counts(n=80, d=20, seed=4)
        return
    here = {info.name for info in names() if info.available}
    for name in chosen or ("breast_cancer", "digits17", "gaussians", "counts", "enron1"):
        if chosen or name in here:
            yield name, load(name)


def scenario_of(name: str, split: Split, epsilon: float) -> Scenario:
    """A linear SVM behind the defences that have a set."""
    problem = Problem(Hinge(), REG.get(name, DEFAULT_REG))
    defenses = {guard: make_defense(guard, problem=problem) for guard in DEFENSES}
    return Scenario(split.train, problem, Budget(epsilon), defenses, split.test)


def races(
    name: str, split: Split, *, epsilon: float, points: int, n_decoys: int, solver: str | None = None
) -> Iterator[Race]:
    """The races of one data set."""
    scenario = scenario_of(name, split, epsilon)
    decoys = LabelFlipDecoys(quantiles=(0.2, 0.4), repeats=(2, 8), prune=False)
    region = FeasibleRegion.fit(scenario, SetPolicy())
    program = KKTProgram(solver=solver)
    for decoy in decoys.generate(split.train, scenario.problem, split.test)[:n_decoys]:
        sets = region.sets(decoy.model)
        start = time.perf_counter()
        try:
            joint = program.solve(decoy.model, split.train, scenario.problem, sets, epsilon).residual_norm
        except (InfeasibleSet, SolverFailed):
            continue
        middle = time.perf_counter()
        values = grid(program, scenario, decoy.model, sets, points)
        end = time.perf_counter()
        best = min(values, default=float("nan"))
        yield Race(name, decoy.label, joint, best, middle - start, end - middle, points, points - len(values))


def grid(program: KKTProgram, scenario: Scenario, decoy: LinearModel, sets: ByLabel, points: int) -> list[float]:
    """Objectives of the splits that can be solved."""
    epsilon = scenario.budget.epsilon
    values = []
    for split in np.linspace(0.0, epsilon, points):
        try:
            solution = program.solve(
                decoy, scenario.train, scenario.problem, sets, epsilon, split=float(split)
            )  # fmt: skip
        except (InfeasibleSet, SolverFailed):
            continue
        values.append(solution.residual_norm)
    return values


def table(rows: Sequence[Race]) -> str:
    """The races in Markdown, ratios last: grid over joint."""
    lines = [
        "| data | decoy | joint objective | best of grid | joint s | grid s | grid solves (failed) | objective ratio "
        "| time ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.data} | {row.decoy} | {row.joint:.3e} | {row.grid:.3e} | {row.joint_seconds:.2f} "
        f"| {row.grid_seconds:.2f} | {row.grid_solves} ({row.grid_failed}) | {ratio(row.grid, row.joint, 9)} "
        f"| {ratio(row.grid_seconds, row.joint_seconds, 4)} |"
        for row in rows
    ]
    return "\n".join(lines)


def ratio(first: float, second: float, digits: int) -> str:
    """Their quotient, a dash if there is none."""
    return f"{first / second:#.{digits}g}" if second > 0 and np.isfinite(first) else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small set, one decoy, 7 points")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (default: embedded ones, enron1 if here)")
    parser.add_argument("--epsilon", type=float, default=0.03)
    parser.add_argument("--solver", help="a cvxpy solver (default: Clarabel and its fall-backs)")
    parser.add_argument("--points", type=int, default=61, help="points of the grid (default: 61)")
    parser.add_argument("--decoys", type=int, default=3, help="decoys for each data set (default: 3)")
    given = parser.parse_args(argv)
    points, n_decoys = (7, 1) if given.quick else (given.points, given.decoys)
    rows: list[Race] = []
    for name, split in cases(given.quick, given.data):
        rows += races(name, split, epsilon=given.epsilon, points=points, n_decoys=n_decoys, solver=given.solver)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
