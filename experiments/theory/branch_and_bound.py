"""How close each bound on one row comes to the truth, on data small enough to know it.

    python experiments/theory/branch_and_bound.py --out DIR

Two Gaussian clouds of 21 rows in the plane, the hinge loss with reg 0.1, balls as sets, three seeds and two
budgets. For each case one row, and the greatest negative margin that poison can force on it: bounded by Steinhardt
et al.'s sublevel set, the same with strong convexity, the ball around the clean parameters, the outer set alone,
the outer set with cap, screening and bounds on margins (the root of the search), and by branch and bound; and attained
by the poison that the search found and retrained.
``table.md`` and ``table.csv``; a minute. ``--quick`` takes one case of 9 rows.

Expected: in each case the outer set is below both Steinhardt bounds, and branch and bound within 0.001 of the attack.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linpoison.certificates import Claim, certify_ball, certify_margin
from linpoison.certificates.theory import certify_exact, certify_steinhardt
from linpoison.core import Dataset
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, ByLabel

sys.path.append(str(Path(__file__).parent.parent))
from written import write  # noqa: E402

TOL = 1e-3


class Case(NamedTuple):
    """One line: what each bound says of one row."""

    seed: int
    epsilon: float
    steinhardt: float
    strong: float
    ball: float
    outer: float
    root: float
    exact: float
    attack: float
    nodes: int
    seconds: float


HEADS = ("seed", "eps", "Steinhardt", "+ strong convexity", "ball", "outer set", "root", "B&B", "attack", "nodes", "s")


def toy(seed: int, epsilon: float, n: int) -> Claim:
    """Two clouds in the plane, a ball around each that holds it, and one row near the border."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X = 0.7 * rng.standard_normal((n, 2)) + 0.6 * y[:, None]
    sets = {}
    for label in (1, -1):
        center = X[y == label].mean(axis=0)
        sets[label] = Ball(center, float(np.linalg.norm(X[y == label] - center, axis=1).max()))
    row = Dataset([[-0.3, -0.9]], [-1])
    return Claim(Dataset(X, y), Problem(Hinge(), 0.1), ByLabel(sets), epsilon, row)


def measure(seed: int, epsilon: float, n: int) -> Case:
    """All bounds of one case."""
    claim = toy(seed, epsilon, n)
    start = time.perf_counter()
    found = certify_exact(claim, tol=TOL, max_nodes=3000)
    seconds = time.perf_counter() - start
    others = [
        certify_steinhardt(claim),
        certify_steinhardt(claim, strong_convexity=True),
        certify_ball(claim),
        certify_margin(claim, method="conic", tighten=False, cap=False),
        certify_exact(claim, max_nodes=1),
    ]
    first = [float(np.ravel(certificate.bound)[0]) for certificate in others]
    bound, attack = float(np.ravel(found.bound)[0]), float(found.info["attack"][0])
    return Case(seed, epsilon, *first, bound, attack, int(found.info["nodes"]), seconds)


def cells(case: Case) -> list[str]:
    """A line as text."""
    bounds = (f"{value:.4f}" for value in case[2:9])
    return [str(case.seed), f"{case.epsilon:g}", *bounds, str(case.nodes), f"{case.seconds:.1f}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the table")
    parser.add_argument("--quick", action="store_true", help="one small case")
    options: Any = parser.parse_args(arguments)
    grid = [(0, 0.05, 9)] if options.quick else [(seed, eps, 21) for seed in (0, 1, 2) for eps in (0.03, 0.1)]
    sys.stdout.write(write(options.out, "table", HEADS, [cells(measure(*case)) for case in grid]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
