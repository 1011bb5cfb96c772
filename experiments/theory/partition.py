"""Majority over parts of the data: certified insertions, with and without what each base withstands by itself.

    LINPOISON_DATA=FOLDER python experiments/theory/partition.py --out DIR

writes ``digits.md`` / ``.csv`` (digits 1 against 7, median of certified insertions by counting votes and by base
budgets, beside the fewest insertions of an attack that lands), ``curve.md`` / ``.csv`` and ``curve.png`` (MNIST-1-7,
share of test rows that are right and certified against the budget), and ``flips.md`` / ``.csv`` (flipped labels that
the average of scores withstands, `CertifiedClassifier(n_parts=...)`). Deep partition aggregation (Levine and
Feizi, 2021) is the line "votes".

Expected: digits, medians 2 -> 12 (ridge, 5 parts), 4 -> 9 (ridge, 10 parts) or better, 2 -> 5 (SVM, 5 parts) or
better, and attacks that land with one row more than certified. MNIST-1-7, for the same number of parts, base budgets
above votes at every budget: medians of 4 against more than 100 insertions with 10 parts. Votes alone catch up with
many parts (a median of 496 with 1000 parts, at twice the test error), where a part has so few rows that it withstands
little by itself. Sets: for each class the ball around its mean that holds 95 % of its rows. ``--quick`` takes fewer
rows of digits and no MNIST; all test rows of MNIST with 10 parts take some ten minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import linpoison
from linpoison.certificates import Certificate, Claim, PartitionClassifier, certify_ridge, ridge_attack
from linpoison.certificates.partition.bases import proven_levels
from linpoison.certificates.partition.classifier import parts_of
from linpoison.certificates.partition.hashing import split_rows
from linpoison.certificates.partition.votes import certified_insertions, flips_needed
from linpoison.certificates.ridge.flips import flips_withstood
from linpoison.core import Dataset, Poison
from linpoison.learners import make_learner
from linpoison.losses import Problem, Squared
from linpoison.sets import Ball, Box, ByLabel

sys.path.append(str(Path(__file__).parent.parent))
from written import write  # noqa: E402

REG = 0.3
DIGITS = (("squared", 5, "2 -> 12"), ("squared", 10, "4 -> 9"), ("hinge", 5, "2 -> 5"))
"""Loss of the bases, parts, and the medians that were found before, by votes and by base budgets."""

BUDGETS = (0, 1, 2, 3, 4, 5, 7, 10, 20, 30, 50, 70, 100, 150, 200, 250, 300, 400, 500)


def split_of(name: str) -> tuple[Dataset, Dataset]:
    """Training and test rows, centred by the mean of the former."""
    if name == "mnist17":
        from linpoison.datasets import load

        split = load("mnist17")
        rows = [(part.X.toarray() if part.is_sparse else part.X, part.y) for part in (split.train, split.test)]
    else:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        X, y = load_digits(return_X_y=True)
        pair = (y == 1) | (y == 7)
        X, y = X[pair] / 16.0, np.where(y[pair] == 1, 1.0, -1.0)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
        rows = [(X, y), (X_test, y_test)]
    mean = rows[0][0].mean(axis=0)
    train, test = (Dataset(X - mean, y) for X, y in rows)
    return train, test


def balls(train: Dataset, share: float = 0.95) -> ByLabel:
    """For each class the ball around its mean that holds this share of its rows."""
    sets = {}
    for label in (1, -1):
        X = train.of_class(label).X
        center = X.mean(axis=0)
        sets[label] = Ball(center, float(np.quantile(np.linalg.norm(X - center, axis=1), share)))
    return ByLabel(sets)


def digits(quick: bool) -> list[list[str]]:
    """One line for each of `DIGITS`."""
    train, test = split_of("digits")
    lines = []
    for loss, k, before in DIGITS:
        rows = test.take(np.arange(test.n) < (20 if quick else 50 if loss == "hinge" else test.n))
        model = PartitionClassifier(k, loss, REG, sets=balls(train)).fit(train.X, train.y)
        began = time.process_time()
        votes, ours = (model.certificate(rows.X, most=most) for most in (0, None))
        seconds = time.process_time() - began
        ours.verify()
        found = attacked(model, ours) if loss == "squared" else None
        if found is not None:
            ours.check_attack(found, what="the insertions that were found")
        medians = [np.median(votes.bound), np.median(ours.bound), np.nan if found is None else np.median(found)]
        lines.append([loss, str(k), str(rows.n), before, *(f"{value:g}" for value in medians), f"{seconds:.1f}"])
    return lines


def attacked(model: PartitionClassifier, certificate: Certificate) -> Any:
    """The fewest insertions found that change each prediction, by the ridge certificate's own attack on each part.

    Each attack is rounded to whole rows, moved to its part by 1e-9, and counts only if retraining confirms it.
    """
    claim = certificate.claim
    parts = split_rows(claim.train, claim.sets, model.n_parts)[1]
    levels = proven_levels(claim, parts, certificate.witness)
    spent = np.full(claim.rows.n, np.inf)
    for i, label in enumerate(claim.rows.y):
        row = claim.rows.take([i])
        held = np.flatnonzero(label * (model.coef_ @ row.X[0] + model.intercept_) > 0)
        costs = sorted(base_cost(Claim(parts[j], claim.problem, claim.sets, 0, row), j, levels[i]) for j in held)
        flips = flips_needed([held.size], model.n_parts, [label])[0]
        spent[i] = sum(costs[: max(flips, 0)])
    return spent


def base_cost(claim: Claim, part: int, levels: Any) -> float:
    """The fewest whole rows found that turn one base for the one row of a claim."""
    for m in range(levels[part] + 1, int(claim.mass) + 1):
        found = certify_ridge(claim.at(m / claim.mass), method="structured")
        planted = whole_rows(ridge_attack(found, 0), m, part, levels.size, claim.sets)
        model = make_learner(claim.problem).fit(claim.train.mix(planted))
        if model.predict(claim.rows.X)[0] != claim.rows.y[0]:
            return float(m)
    return float("inf")


def whole_rows(poison: Poison, m: int, part: int, n_parts: int, sets: ByLabel) -> Dataset:
    """`m` whole rows at the points of a poison, each strictly inside its ball and hashed to one part."""
    share = poison.count / poison.count.sum() * m
    count = np.floor(share)
    count[np.argsort(share - count)[::-1][: round(m - count.sum())]] += 1
    points = []
    for x, label in zip(poison.X, poison.y, strict=True):
        center = sets[int(label)].center  # type: ignore[attr-defined]
        tries = center + (1 - 1e-9 * np.arange(1, 200))[:, None] * (x - center)
        points.append(tries[np.flatnonzero(parts_of(tries, n_parts) == part)[0]])
    return Dataset(np.array(points), poison.y, count)


Curves = dict[str, list[float]]


def mnist(shapes: Sequence[tuple[int, int]], alone: Sequence[int], precision: float) -> tuple[Curves, list[list[str]]]:
    """Shares of certified rows at `BUDGETS`, and what each certificate took.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Parts, and test rows to certify with base budgets.
    alone : sequence of int
        Numbers of parts to count votes for, on the most rows of `shapes`.
    precision : float
        See `certify_partition`.
    """
    train, test = split_of("mnist17")
    order, sets = np.random.default_rng(0).permutation(test.n), balls(train)
    lines: Curves = {}
    costs = []
    for k, n, voted in [*((k, max(n for _, n in shapes), True) for k in alone), *((k, n, False) for k, n in shapes)]:
        rows = test.take(np.sort(order[:n]))
        model = PartitionClassifier(k, "squared", REG, sets=sets).fit(train.X, train.y)
        began = time.process_time()
        if voted:
            bound = by_votes(model, rows)
        else:
            found = model.certificate(rows.X, rows.y, precision=precision)
            bound = found.bound
        seconds, began = time.process_time() - began, time.process_time()
        if not voted:
            found.verify()
        name = f"{'votes' if voted else 'base budgets'}, {k} parts"
        lines[name] = [float(np.mean(bound >= budget)) for budget in BUDGETS]
        error = float(np.mean(model.predict(test.X) != test.y))
        costs.append([name, str(n), f"{100 * error:.2f} %", f"{np.median(bound):g}", f"{bound.max():g}",
                      f"{seconds:.0f}", f"{time.process_time() - began:.0f}"])  # fmt: skip
        print(" | ".join(costs[-1]), file=sys.stderr, flush=True)
    return lines, costs


def flips(rows: int, shapes: Sequence[tuple[float, int]]) -> list[list[str]]:
    """Flipped labels that the average of the scores of ridge models of parts withstands, on MNIST-1-7 as it comes."""
    split = linpoison.load("mnist17")
    test = split.test.take(np.arange(rows))
    everything = ByLabel(dict.fromkeys((1, -1), Box(np.full(test.d, -np.inf), np.full(test.d, np.inf))))
    lines = []
    for reg, parts in shapes:
        start = time.process_time()
        claim = Claim(split.train, Problem(Squared(), reg), everything, 0.0, test)
        held = flips_withstood(claim, split.train.n, n_parts=parts)
        median = f"{np.median(held):g}", f"{np.quantile(held, 0.25):g}"
        seconds = f"{time.process_time() - start:.0f}"
        lines.append([f"{reg:g}", str(parts), f"{np.mean(held >= 0):.3f}", *median, seconds])
    return lines


def by_votes(model: PartitionClassifier, rows: Dataset) -> Any:
    """Deep partition aggregation: insertions that the votes of the trained models withstand, -1 for wrong labels."""
    right = rows.y[:, None] * (rows.X @ model.coef_.T + model.intercept_) > 0
    return certified_insertions(np.where(right, 0, -1), rows.y)


def draw(path: Path, lines: Mapping[str, Sequence[float]]) -> None:
    """Share of certified rows against the budget: dashed by votes, solid by base budgets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, shares in lines.items():
        style = "--" if name.startswith("votes") else "-"
        axes.plot(BUDGETS, [100 * share for share in shares], style, label=name, drawstyle="steps-post")
    axes.set_xscale("symlog", linthresh=5)
    axes.set_xlim(left=0)
    axes.set_xlabel("inserted rows")
    axes.set_ylabel("test rows right and certified, %")
    axes.legend(fontsize="x-small")
    figure.savefig(path, dpi=150)


def pairs(text: str) -> list[tuple[int, int]]:
    """``10:300,50:200`` as pairs of numbers."""
    return [(int(k), int(n)) for k, _, n in (item.partition(":") for item in text.split(","))]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and the figure")
    parser.add_argument("--quick", action="store_true", help="digits only, fewer rows")
    parser.add_argument("--data", default="digits,mnist17,flips", help="which of these")
    parser.add_argument("--shapes", type=pairs, default="10:2163,50:300", help="PARTS:ROWS for base budgets")
    parser.add_argument("--votes", default="10,50,200,1000", help="parts for certificates by votes")
    parser.add_argument("--precision", type=float, default=0.1)
    given = parser.parse_args(argv)
    if "digits" in given.data.split(","):
        header = ["bases", "parts", "rows", "before", "votes", "base budgets", "attacked with", "seconds"]
        print(write(given.out, "digits", header, digits(given.quick)))
    if "mnist17" in given.data.split(",") and not given.quick:
        lines, costs = mnist(given.shapes, [int(k) for k in given.votes.split(",")], given.precision)
        names = ["certificate", "rows", "error", "median", "most", "seconds", "seconds to verify"]
        print(write(given.out, "mnist17", names, costs))
        shares = [[name, *(f"{100 * share:.1f}" for share in values)] for name, values in lines.items()]
        print(write(given.out, "curve", ["right and certified, %", *map(str, BUDGETS)], shares))
        draw(given.out / "curve.png", lines)
    if "flips" in given.data.split(",") and not given.quick:
        header = ["reg", "parts", "right", "flips withstood, median", "25 %", "seconds"]
        print(write(given.out, "flips", header, flips(600, ((0.1, 1), (0.1, 200), (1.0, 1), (1.0, 200)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
