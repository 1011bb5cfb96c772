"""Rows changed and rows inserted at once, of odd data, against learners in 60 digits: no bound may be exceeded.

    python experiments/theory/mixed.py --cases 250 --seed 0 --out DIR

`extremes` changes one or two rows, or inserts some; `planted` does it in 64 bits. Here each case draws four to nine
rows: equal ones, with contradictory labels too, constant columns, columns of zeros, whole numbers, a class of one row,
far and badly scaled columns; a loss, an intercept, a scaling, a regulariser from 1e-8 to 1e3, sets that hold the clean
rows or not, and a budget of up to twice the rows. It proves what holds of so many rows lost or relabelled beside the
budget, from none to all but one, of arrays of any order or of sparse rows with stored zeros. Then rows are changed,
those that the certificate names among them, and poison is planted, the whole budget or less. ``mixed.md`` has, for
each certificate, cases, refusals, infinite bounds, checks and violations.

Expected: no violation.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from extremes import INTERCEPTS, OFFSETS, SCALES, planted
from extremes_changes import Tally, hold_scores, verified
from tables import tell_violations

from linpoison.certificates import (
    Certificate,
    Claim,
    certify_deletions,
    certify_flips,
    deletions_ridge,
    deletions_smooth,
    flips_smooth,
    label_flips_ridge,
)
from linpoison.core import Dataset, Poison
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared
from linpoison.sets import Ball, Box, ByLabel

Prove = Callable[[Claim, int], Certificate]

LOSSES = (Squared(), Squared(), Logistic(), Logistic(), SmoothHinge(0.3), SmoothHinge(0.01), SmoothHinge(5.0), Hinge())
WAYS: dict[str, tuple[Prove, Prove]] = {
    "squared": (deletions_ridge, lambda claim, count: label_flips_ridge(claim.at(0.0), count)),
    "hinge": (lambda claim, count: certify_deletions(claim, count, rounds=0),
              lambda claim, count: certify_flips(claim, count, rounds=0)),
}  # fmt: skip
SMOOTH: tuple[Prove, Prove] = (deletions_smooth, flips_smooth)
SUBSETS = 10
"""Of the changes of up to two rows that are tried, besides those of more."""


@dataclass
class Cases(Tally):
    """What became of one certificate: how many cases were proved, and how many were refused with a reason."""

    cases: int = 0
    refused: int = 0
    infinite: list[bool] = field(default_factory=list)


def draw(rng: np.random.Generator) -> Claim:
    """A claim on odd data."""
    n, d = int(rng.integers(4, 10)), int(rng.integers(1, 4))
    y = np.where(np.arange(n) < 1 if rng.random() < 0.3 else np.arange(n) % 2 == 0, 1.0, -1.0)
    scale, offset = np.ones(d), np.zeros(d)
    scale[-1], offset[0] = rng.choice(SCALES), rng.choice(OFFSETS)
    X = odd((rng.normal(size=(n, d)) * rng.choice([0.05, 1.0]) + y[:, None] + offset) * scale, rng)
    loss, reg = LOSSES[int(rng.integers(len(LOSSES)))], float(10.0 ** rng.uniform(*rng.choice([[-8, 3], [-1, 2]])))
    scaling: dict[str, Any] = {"scaling": "sum", "n_reference": float(rng.choice([1, n]))} if rng.random() < 0.4 else {}
    problem = Problem(loss, reg, **INTERCEPTS[int(rng.integers(3))], **scaling)
    size, round_ = float(rng.choice([0.2, 3.0])), rng.random() < 0.5
    middles = {k: X[y == k].mean(axis=0) for k in (1, -1)}
    sets = {k: Ball(m, size * float(scale.max())) if round_ else Box(m - size * scale, m + size * scale)
            for k, m in middles.items()}  # fmt: skip
    rows = Dataset(np.vstack([X[:2], X.mean(axis=0), -X[:1], np.zeros(d)]), [y[0], -y[1], 1, y[0], 1])
    return Claim(
        Dataset(X, y), problem, ByLabel(sets), float(rng.choice([0.0, 1 / n, 0.3, 2.0], p=[0.3, 0.3, 0.3, 0.1])), rows
    )


def odd(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers, a column of one value or of zeros, equal rows, or as it was."""
    kind = int(rng.integers(6))
    if kind == 0:
        return np.asarray(np.round(X))
    if kind in (1, 2):
        X[:, 0] = X[0, 0] if kind == 1 else 0.0
    return X[rng.integers(len(X), size=len(X))] if kind == 3 else X


def stored(data: Dataset, rng: np.random.Generator) -> Dataset:
    """The same rows in another order of memory, or sparse with their zeros stored and columns out of order."""
    kind, (n, d) = int(rng.integers(4)), data.X.shape
    if kind == 0:
        return replace(data, X=np.asfortranarray(data.X))
    if kind == 1:
        return replace(data, X=np.repeat(data.X, 2, axis=0)[::2])
    if kind == 2:
        places = np.tile(np.arange(d)[::-1], n)
        return replace(data, X=sp.csr_array((data.X[:, ::-1].ravel(), places, np.arange(n + 1) * d), shape=(n, d)))
    return data


def changed(claim: Claim, found: Certificate, count: int, flips: bool, rng: np.random.Generator) -> Iterator[Dataset]:
    """The clean rows after changes of up to `count` of them."""
    n, few = claim.train.n, range(1, min(count, 2) + 1)
    subsets = [(), *(chosen for size in few for chosen in itertools.combinations(range(n), size))][:SUBSETS]
    named = found.witness.get("flipped" if flips else "deleted", np.zeros((0, 0), int))
    subsets += [tuple(int(i) for i in row if i >= 0) for row in np.asarray(named)]
    subsets += [tuple(rng.choice(n, count, replace=False).tolist()) for _ in range(2)]
    for chosen in dict.fromkeys(subsets):
        gone = np.isin(np.arange(n), chosen)
        yield replace(claim.train, y=np.where(gone, -1, 1) * claim.train.y) if flips else claim.train.take(~gone)


def poisoned(data: Iterator[Dataset], poisons: list[Poison | None]) -> Iterator[Dataset]:
    """Each data with each poison."""
    for left, poison in itertools.product(data, poisons):
        yield left if poison is None else left.mix(poison.as_dataset())


def fuzz(cases: int, seed: int = 0) -> dict[str, Cases]:
    """So many claims against what can be done within them."""
    tallies: dict[str, Cases] = defaultdict(Cases)
    for number in range(cases):
        rng = np.random.default_rng([seed, number])
        claim, flips = draw(rng), bool(rng.random() < 0.5)
        name = claim.problem.loss.name
        count = int(rng.choice([0, 1, 2, claim.train.n - 1]))
        count = min(count, 2) if name == "hinge" else count
        claim = claim.at(0.0) if name == "squared" and flips else claim
        label = f"{name}, {'relabelled' if flips else 'lost'}{' and inserted' if claim.epsilon else ''}"
        spoken = replace(claim, train=stored(claim.train, rng), rows=stored(claim.demand_rows(), rng))
        prove, tally = WAYS.get(name, SMOOTH)[flips], tallies[label]
        found = verified(partial(prove, spoken, count))
        tally.refused += found is None
        if found is None:
            continue
        tally.cases += 1
        tally.infinite.append(bool(np.isinf(found.bound).any()))
        poisons = [None, *(planted(claim, {}, rng, 2) if claim.epsilon else [])]
        plain = replace(found, claim=claim)
        hold_scores(label, plain, poisoned(changed(claim, found, count, flips, rng), poisons), tally)
    return dict(tallies)


def table(tallies: dict[str, Cases]) -> str:
    """The tallies as Markdown."""
    lines = [
        "| certificate | cases | refused | with infinite bounds | checks | violations |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {t.cases} | {t.refused} | {sum(t.infinite)} | {t.poisoned} | {len(t.violations)} |"
        for name, t in sorted(tallies.items())
    ]
    worst = [words for tally in tallies.values() for words in tally.violations]
    return "\n".join([*lines, *(["", *worst] if worst else []), ""])


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit status is 1 if a certificate was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="twelve cases")
    parser.add_argument("--out", type=Path, help="folder for mixed.md")
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tallies = fuzz(12 if options.quick else options.cases, options.seed)
    return tell_violations(table(tallies), tallies, options.out, "mixed")


if __name__ == "__main__":
    sys.exit(main())
