"""The same share of poison does less as the training set grows (Figure 2.1 of Lu's thesis), on MNIST 1 against 7.

    LINPOISON_DATA=FOLDER python experiments/limits/growing.py --out DIR [--rows 100 300 1000 ...] [--draws 3] [--quick]

3 % of poison within [0, 1], against a support vector machine by what the thesis calls PoisonSVM (points with flipped
labels that move along implicit gradients of the validation loss: `InfluenceBasic`, the hinge loss smoothed on the way),
and against logistic regression by `BackGradient`. A draw is a set of training rows, 500 others of the training file for
the attacker to judge by, and a seed. Figures are the drop of accuracy on all test rows in points, the mean over the
draws with Student's interval of 95 %, beside random flips of the same rows (`RandomFlips`, one draw).

Thesis: curves that fall with the size, without numbers. Its sizes end at 12000: ``--rows 100 1000 3000 12000`` is some
hours of one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from limits_lab import interval, write

from linpoison import Dataset, load
from linpoison.attacks import Attack, InfluenceBasic, RandomFlips, Scenario
from linpoison.attacks.gradient import BackGradient
from linpoison.core import Budget
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.risk import Adam

EPSILON, REG = 0.03, 0.01
CASES: dict[str, tuple[Problem, Attack]] = {
    "PoisonSVM, SVM": (Problem(Hinge(), REG), InfluenceBasic(steps=20)),
    "back-gradient, logistic regression": (
        Problem(Logistic(), REG),
        BackGradient(40, 1.0, optimiser=Adam(0.1, steps=15), validation=None),
    ),
}
HEADER = ("attack", "rows", "poison", "clean error", "drop", "drop of random flips", "draws", "CPU s")


def cell(name: str, train: Dataset, judges: Dataset, test: Dataset, seed: int) -> tuple[float, float, float, float]:
    """Clean error, drops of the attack and of flips, in points, and seconds of the attack."""
    problem, attack = CASES[name]
    learner = make_learner(problem)
    scenario = Scenario(train, problem, Budget(EPSILON), {}, judges)
    began = time.process_time()
    result = attack.run(scenario, seed=seed)
    seconds = time.process_time() - began
    flips = RandomFlips(draws=1).run(scenario, seed=seed)
    errors = [learner.fit(rows).error(test) for rows in (
        train, train.mix(result.poison.expanded()), train.mix(flips.poison.expanded())
    )]  # fmt: skip
    return 100 * errors[0], 100 * (errors[1] - errors[0]), 100 * (errors[2] - errors[0]), seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Attack, learn again, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 300, 1000], metavar="N")
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="digits 1 and 7, 60 rows, one draw")
    given = parser.parse_args(argv)
    split = load("digits17" if given.quick else "mnist17")
    sizes, draws, kept = ([60], 1, 60) if given.quick else (given.rows, given.draws, 500)
    lines = []
    for name in CASES:
        for size in sizes:
            found = []
            for seed in range(draws):
                order = np.random.default_rng(seed).permutation(split.train.n)
                parts = split.train.take(order[:size]), split.train.take(order[size : size + kept])
                found.append(cell(name, *parts, split.test, seed))
            clean, drop, flips, seconds = np.array(found).T
            cells = [f"{clean.mean():.2f}", interval(drop), interval(flips), str(draws), f"{seconds.mean():.0f}"]
            lines.append([name, str(size), str(Budget(EPSILON).count(size)), *cells])
            write(given.out, "growing", HEADER, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
