"""Ridge certificates on breast cancer and digits 1 against 7: how many test rows fall, and to which attack.

    python experiments/theory/ridge_table.py [--quick] [--splits 20] [--out FILE.md]

Poison lies in one ball per class, around the class mean and holding 95 % of its rows; clean rows outside are
left out. Breast cancer is standardised and divided by sqrt(d), digits are centred; the intercept is penalised
and the regulariser scales with the mean. "Uncertified" counts the test rows whose bound is not below zero,
wrong rows included; "attacked" those that retraining on the recovered poison really turns. The first row of
each pair is one permutation of the rows (`first_split`), the second the range over random 70 / 30 splits.

Expected: the column "before", computed for the same split by generic cones; "uncertified" and "attacked" are
equal or differ by a few rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

from linpoison import Dataset, Problem, Split
from linpoison.certificates import Certificate, Claim, certify_ridge
from linpoison.losses import Squared
from linpoison.sets import Ball, ByLabel

sys.path.append(str(Path(__file__).parent.parent))
from written import with_provenance  # noqa: E402

BEFORE = {
    ("breast_cancer", 0.1): {0.003: (0.076, 0.076), 0.01: (0.094, 0.094), 0.03: (0.164, 0.164), 0.1: (0.380, 0.374)},
    ("digits17", 0.1): {0.01: (0.037, 0.037), 0.03: (0.183, 0.183), 0.1: (0.853, 0.853)},
    ("digits17", 0.3): {0.01: (0.018, 0.018), 0.03: (0.073, 0.073), 0.1: (0.486, 0.486)},
}
"""Data and regulariser -> budget -> shares of uncertified and attacked rows."""


class Shares(NamedTuple):
    """What one certificate says."""

    uncertified: float
    attacked: float
    exact: float
    median_gap: float


def first_split(name: str) -> Split:
    """All rows in the order of the package, permuted by ``default_rng(0)``; the last 171 or 109 are for testing."""
    whole = load_breast_cancer() if name == "breast_cancer" else load_digits()
    X, y = np.asarray(whole.data, dtype=np.float64), np.where(whole.target == 1, 1.0, -1.0)
    if name == "digits17":
        rows = np.isin(whole.target, (1, 7))
        X, y = X[rows] / 16, y[rows]
    order, held = np.random.default_rng(0).permutation(y.size), 171 if name == "breast_cancer" else 109
    parts = [Dataset(X[rows], y[rows], name=name) for rows in (order[:-held], order[-held:])]
    return Split(*parts)


def spheres(train: Dataset, quantile: float = 0.95) -> tuple[Dataset, ByLabel]:
    """The rows inside the balls of their classes, and the balls."""
    sets, keep = {}, np.zeros(train.n, dtype=bool)
    for label in (1, -1):
        rows = np.flatnonzero(train.y == label)
        mean = train.X[rows].mean(axis=0)
        distance = np.linalg.norm(train.X[rows] - mean, axis=1)
        radius = float(np.quantile(distance, quantile))
        sets[label] = Ball(mean, radius)
        keep[rows[distance <= radius]] = True
    return train.take(keep), ByLabel(sets)


def prepared(split: Split) -> Split:
    """Centred on the training rows; breast cancer scaled to length about one besides."""
    mean = split.train.X.mean(axis=0)
    scale = 1.0
    if split.name == "breast_cancer":
        scale = split.train.X.std(axis=0) * np.sqrt(split.train.d)
    parts = [Dataset((part.X - mean) / scale, part.y, name=split.name) for part in (split.train, split.test)]
    return Split(*parts)


def resplit(split: Split, seed: int) -> Split:
    """All rows, divided anew."""
    everything = split.train.mix(split.test)
    parts = train_test_split(everything.X, everything.y, test_size=split.test.n, random_state=seed)
    return Split(Dataset(parts[0], parts[2], name=split.name), Dataset(parts[1], parts[3], name=split.name))


def measure(split: Split, reg: float, epsilon: float) -> Shares:
    """Certify the test rows of a split, and check the certificate without its solver."""
    ready = prepared(split)
    train, sets = spheres(ready.train)
    found: Certificate = certify_ridge(Claim(train, Problem(Squared(), reg), sets, epsilon, ready.test))
    found.verify()
    info = found.info
    return Shares(1 - info["certified"], info["attacked"], info["exact_share"], info["median_gap"])


def lines(splits: int) -> Iterator[str]:
    """The table."""
    yield "| data, reg | budget | split | before | uncertified | attacked | exact | median gap |"
    yield "|---|---|---|---|---|---|---|---|"
    for (name, reg), expected in BEFORE.items():
        split = first_split(name)
        for epsilon, before in expected.items():
            one = measure(split, reg, epsilon)
            yield (
                f"| {name}, {reg:g} | {epsilon:g} | first | {before[0]:.3f} / {before[1]:.3f} | {one.uncertified:.3f} "
                f"| {one.attacked:.3f} | {one.exact:.3f} | {one.median_gap:.0e} |"
            )
            if splits:
                many = np.array([measure(resplit(split, seed), reg, epsilon) for seed in range(splits)])
                ranges = [f"{low:.3f} .. {high:.3f}" for low, high in zip(many.min(0), many.max(0), strict=True)]
                yield f"| | | {splits} random | | {ranges[0]} | {ranges[1]} | {ranges[2]} | to {many[:, 3].max():.0e} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first splits only")
    parser.add_argument("--splits", type=int, default=20, help="random splits besides the first one")
    parser.add_argument("--out", type=Path, help="file for the table (default: standard output)")
    options = parser.parse_args(arguments)
    table = "\n".join(lines(0 if options.quick else options.splits)) + "\n"
    if options.out is None:
        sys.stdout.write(table)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(with_provenance(f"# Ridge certificates\n\n{table}"), encoding="utf-8")


if __name__ == "__main__":
    main()
