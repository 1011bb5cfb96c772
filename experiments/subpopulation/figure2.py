"""Figure 2 of Jagielski et al. (2021): TRIM makes a subpopulation attack worse.

    python experiments/subpopulation/figure2.py [--seeds 20] [--out FILE]

Three groups of 20 rows in a plane, the first two of one class, the second between the others; 30 poison rows carry the
second group's features and the wrong label. Logistic regression, ``reg`` 1e-3. TRIM, told the number of poison rows,
drops the second group itself, whose rows are fewer than the poison, and keeps the poison.

Expected, for each seed: error on the second group 0 without poison, above 0.5 with it, and at least as high with TRIM,
which drops four fifths of the group or more. Over 20 seeds: 0.74 with the poison, 0.93 with TRIM, which adds 0.193
(interval of 95 %: 0.129 to 0.256), is worse on 17 of them and better on none. About 2 s.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

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


def summary(found: np.ndarray) -> dict[str, float]:
    """Means over the seeds, and the difference that TRIM makes with its 95 % interval (Student's t over seeds)."""
    change = found[:, 2] - found[:, 1]
    half = float(stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change)))
    mean = float(change.mean())
    return {
        "seeds": len(found),
        "clean": float(found[:, 0].mean()),
        "poisoned": float(found[:, 1].mean()),
        "with_trim": float(found[:, 2].mean()),
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
        "worse": float((change > 0).mean()),
        "better": float((change < 0).mean()),
        "dropped": float(found[:, 3].mean()),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and write it with its summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", help="file for the table in JSON")
    options = parser.parse_args(argv)
    if options.seeds < 2:
        parser.error("at least 2 seeds")
    print("| seed | clean | poisoned | with TRIM | group dropped |\n|---|---|---|---|---|")
    rows = []
    for seed in range(options.seeds):
        rows.append(measure(seed))
        print(f"| {seed} | " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |")
    found = summary(np.array(rows))
    print(
        f"\nTRIM adds {found['difference']:.3f} to the error on the group, 95 % interval {found['low']:.3f} to "
        f"{found['high']:.3f}; worse on {found['worse']:.0%} of the seeds, better on {found['better']:.0%}"
    )
    if options.out is not None:
        text = json.dumps({"rows": [list(map(float, row)) for row in rows], "summary": found}, indent=1)
        Path(options.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
