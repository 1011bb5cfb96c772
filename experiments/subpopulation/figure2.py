"""Figure 2 of Jagielski et al. (2021): TRIM makes a subpopulation attack worse.

    python experiments/subpopulation/figure2.py [--seeds 5]

Three groups of 20 rows in a plane, the first two of one class, the second between the others; 30 poison rows carry the
second group's features and the wrong label. Logistic regression, ``reg`` 1e-3. TRIM, told the number of poison rows,
drops the second group itself, whose rows are fewer than the poison, and keeps the poison.

Expected, for each seed: error on the second group 0 without poison, above 0.5 with it, and at least as high with TRIM,
which drops four fifths of the group or more (seed 0: 0.75 with the poison, 1.00 with TRIM, the whole group dropped).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from linpoison.core import Dataset
from linpoison.defenses import TRIM
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem

PROBLEM = Problem(Logistic(), 1e-3)
CENTRES = np.array([[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
LABELS = np.array([1.0, 1.0, -1.0])


def three_groups(seed: int) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Rows, labels, number of clean rows, and which rows are the second group."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1, 2], 20)
    clean = CENTRES[group] + 0.6 * rng.normal(size=(60, 2))
    poison = CENTRES[1] + 0.6 * rng.normal(size=(30, 2))
    y = np.append(LABELS[group], np.full(30, -LABELS[1]))
    return np.vstack([clean, poison]), y, 60, np.arange(20, 40)


def measure(seed: int) -> tuple[float, float, float, float]:
    """Error on the second group: clean, poisoned, with TRIM; and the share of the group that TRIM drops."""
    X, y, n_clean, second = three_groups(seed)
    trim = TRIM(remove=30 / len(y), learner=PROBLEM).fit(X, y)
    kept = trim.sample_indices_
    rows = [np.arange(n_clean), np.arange(len(y)), kept]
    models = [make_learner(PROBLEM).fit(Dataset(X[index], y[index])) for index in rows]
    group = Dataset(X[second], y[second])
    errors = [model.error(group) for model in models]
    return errors[0], errors[1], errors[2], 1 - float(np.isin(second, kept).mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args(argv).seeds
    print("| seed | clean | poisoned | with TRIM | group dropped |\n|---|---|---|---|---|")
    for seed in range(seeds):
        print(f"| {seed} | " + " | ".join(f"{value:.2f}" for value in measure(seed)) + " |")


if __name__ == "__main__":
    sys.exit(main())
