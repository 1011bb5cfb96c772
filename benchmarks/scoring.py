"""Training after sanitisation: the hinge learner from nothing, and warm from the model that was trained before.

    python benchmarks/scoring.py [--data enron1] [--quick]

Copies of flipped training rows (3 %) are planted, and the least-margin rows dropped as a loss defence does. Both
sets of rows are learned from nothing (`HingeLearner`, which takes liblinear or libsvm) and by `warm_hinge` from the
model of the clean rows: processor seconds of one thread, their ratio, Newton steps, the certified gap of the warm
model and the relative difference of the two objectives. Expected on Enron: with a free intercept warm is several
times faster than libsvm; with a penalised one liblinear from nothing is faster, which is why the learner uses the warm
start for the first only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from linpoison import Dataset, load
from linpoison.learners import HingeLearner, warm_hinge
from linpoison.losses import Hinge, Problem

HEAD = "| data | intercept | rows | cold s | warm s | cold / warm | steps | gap | difference |"
REG = {"enron1": 0.09, "imdb": 0.01, "mnist17": 0.01}
EPSILON, REMOVED = 0.03, 0.05
T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def planted(train: Dataset, rng: np.random.Generator) -> Dataset:
    """Clean rows and 3 % of them again, with the other label."""
    chosen = train.take(rng.choice(train.n, size=max(1, round(EPSILON * train.n)), replace=False))
    flipped = Dataset(chosen.X, -chosen.y, domain=train.domain)
    return train.mix(flipped)


def races(name: str, train: Dataset, reg: float, penalized: bool) -> list[str]:
    """Two rows of the table: all rows, and those that a loss defence keeps."""
    problem = Problem(Hinge(), reg, penalize_intercept=penalized)
    learner = HingeLearner(problem)
    start = learner.fit(train)
    data = planted(train, np.random.default_rng(0))
    margins = learner.fit(data).margins(data)
    kept = data.take(np.flatnonzero(margins >= np.quantile(margins, REMOVED)))
    lines = []
    for what, rows in (("poisoned", data), ("kept", kept)):
        cold_s, cold = timed(lambda rows=rows: learner.fit(rows))  # type: ignore[misc]
        warm_s, warm = timed(lambda rows=rows: warm_hinge(problem, rows, start))  # type: ignore[misc]
        value = problem.value(cold, rows)
        lines.append(
            f"| {name} | {'penalised' if penalized else 'free'} | {what} | {cold_s:.3f} | {warm_s:.3f} | "
            f"{cold_s / warm_s:.2f} | {warm.steps} | {warm.gap / warm.value:.1e} | {warm.value / value - 1:.1e} |"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", default="enron1", metavar="NAME", help="data set (default: enron1)")
    parser.add_argument("--quick", action="store_true", help="a small generated set")
    given = parser.parse_args(argv)
    name = "counts" if given.quick else given.data
    train = load(name).train
    print(HEAD)
    print("|---" * HEAD.count(" | ") + "|---|")
    for penalized in (True, False):
        for line in races(name, train, REG.get(name, 0.05), penalized):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
