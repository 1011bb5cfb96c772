"""The nearest-point solver against the conic program on the same decoys: residual, bound, time.

    python benchmarks/nearest_point.py [--quick] [--data NAME ...] [--decoys 3]

Both solve the KKT program of the same decoys in the same run, in turn. Times are processor seconds of one
thread; the conic program's include cvxpy's compilation. The made data sets double their number of features
from row to row; the exponents fitted to them stand below the table. Where the column "solver" names a
conic one the nearest-point solver declined or failed, and its time includes the program that answered.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cvxpy  # noqa: F401, imported here so that no race pays for it
import numpy as np

from linpoison import Budget, InfeasibleSet, Problem, SolverFailed, Split, load, make_defense
from linpoison.attacks import FeasibleRegion, KKTProgram, KKTSolution, LabelFlipDecoys, Scenario, SetPolicy
from linpoison.datasets import counts, names
from linpoison.losses import Hinge

DEFENSES = ("l2", "slab", "loss")
REG = {"enron1": 0.09, "imdb": 0.01}
DEFAULT_REG = 0.05


class Race(NamedTuple):
    """One decoy, solved in two ways."""

    data: str
    d: int
    nearest: KKTSolution
    nearest_seconds: float
    conic: KKTSolution
    conic_seconds: float


def cases(quick: bool, chosen: Sequence[str] | None) -> Iterator[tuple[str, Split]]:
    """Data sets by name, and made ones of growing size."""
    if chosen is None:
        for d in (25, 50) if quick else (100, 200, 400, 800, 1600, 3200):
            yield f"counts, d={d}", counts(n=120 if quick else 600, d=d, contrast=0.7, length=20.0, seed=4)
    here = {info.name for info in names() if info.available}
    for name in chosen or (() if quick else ("breast_cancer", "digits17", "mnist17", "enron1")):
        if chosen or name in here:
            yield name, load(name)


def races(name: str, split: Split, *, epsilon: float, n_decoys: int) -> Iterator[Race]:
    """The races of one data set; decoys that either way cannot solve are left out."""
    problem = Problem(Hinge(), REG.get(name, DEFAULT_REG))
    defenses = {guard: make_defense(guard, problem=problem) for guard in DEFENSES}
    scenario = Scenario(split.train, problem, Budget(epsilon), defenses, split.test)
    region = FeasibleRegion.fit(scenario, SetPolicy())
    grid = LabelFlipDecoys(quantiles=(0.2, 0.3, 0.5), repeats=(3,), prune=False)
    for decoy in grid.generate(split.train, problem, split.test)[:n_decoys]:
        sets = region.sets(decoy.model)

        def by(method: str, model: object = decoy.model, sets: object = sets) -> KKTSolution:
            program = KKTProgram(method=method)  # type: ignore[arg-type]
            return program.solve(model, split.train, problem, sets, epsilon)  # type: ignore[arg-type]

        try:
            nearest, nearest_seconds = timed(lambda by=by: by("nearest"))  # type: ignore[misc]
            conic, conic_seconds = timed(lambda by=by: by("conic"))  # type: ignore[misc]
        except (InfeasibleSet, SolverFailed):
            continue
        yield Race(name, split.train.d, nearest, nearest_seconds, conic, conic_seconds)


def timed(solve: Callable[[], KKTSolution]) -> tuple[KKTSolution, float]:
    """A solution and its processor seconds."""
    start = time.process_time()
    solution = solve()
    return solution, time.process_time() - start


def table(rows: Sequence[Race]) -> str:
    """The races in Markdown, ratios of conic over nearest last."""
    lines = [
        "| data | d | solver | steps | residual over conic - 1 | relative gap | nearest s | conic s | time ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        worse = row.nearest.residual_norm / max(row.conic.residual_norm, 1e-300) - 1
        steps = row.nearest.info.status.split()[-2] if row.nearest.info.solver == "NEAREST" else "-"
        lines.append(
            f"| {row.data} | {row.d} | {row.nearest.info.solver} | {steps} | {worse:.1e} | {row.nearest.gap:.1e} "
            f"| {row.nearest_seconds:.3f} | {row.conic_seconds:.3f} | {row.conic_seconds / row.nearest_seconds:.2f} |"
        )
    return "\n".join(lines)


def exponent(rows: Sequence[Race]) -> str:
    """Slope of log seconds over log d in the made data sets, both ways."""
    made = [row for row in rows if row.data.startswith("counts") and row.nearest.info.solver == "NEAREST"]
    if len({row.d for row in made}) < 3:
        return "too few sizes for an exponent"
    d = np.log([row.d for row in made])
    slopes = [np.polyfit(d, np.log(seconds), 1)[0] for seconds in zip(*map(both, made), strict=True)]
    return f"exponent in d: nearest {slopes[0]:.2f}, conic {slopes[1]:.2f}"


def both(row: Race) -> tuple[float, float]:
    """Seconds of the two ways."""
    return row.nearest_seconds, row.conic_seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small made sets, one decoy")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (default: embedded ones, enron1 if here)")
    parser.add_argument("--epsilon", type=float, default=0.03)
    parser.add_argument("--decoys", type=int, default=3, help="decoys for each data set (default: 3)")
    given = parser.parse_args(argv)
    rows: list[Race] = []
    for name, split in cases(given.quick, given.data):
        rows += races(name, split, epsilon=given.epsilon, n_decoys=1 if given.quick else given.decoys)
    print(table(rows))
    print(exponent(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
