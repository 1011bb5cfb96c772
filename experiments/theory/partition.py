"""Majority over parts of the data: certified insertions, with and without what each base withstands by itself.

    LINPOISON_DATA=FOLDER python experiments/theory/partition.py --out DIR

writes ``digits.md`` / ``.csv`` (digits 1 against 7, median of certified insertions by counting votes and by base
budgets, beside the fewest insertions of an attack that lands), ``curve.md`` / ``.csv`` and ``curve.png`` (MNIST-1-7,
share of test rows that are right and certified against the budget). Deep partition aggregation (Levine and
Feizi, 2021) is the line "votes".

Expected: digits, medians 2 -> 12 (ridge, 5 parts), 4 -> 9 (ridge, 10 parts) or better, 2 -> 5 (SVM, 5 parts) or better;
MNIST-1-7, base budgets above votes at every budget for the same number of parts, and medians of 5 against more than 100
insertions with 10 parts. Sets: for each class the ball around its mean that holds 95 % of its rows. ``--quick`` takes
fewer rows of digits and no MNIST.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linpoison.certificates.certificate import Certificate
from linpoison.certificates.partition import PartitionClassifier, parts_of
from linpoison.certificates.ridge import certify_ridge, ridge_attack
from linpoison.core import Dataset
from linpoison.learners import make_learner
from linpoison.sets import Ball, ByLabel

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
            ours.check_attack(found - 1, what="the insertions that were found")
        medians = [np.median(votes.bound), np.median(ours.bound), np.nan if found is None else np.median(found)]
        lines.append([loss, str(k), str(rows.n), before, *(f"{value:g}" for value in medians), f"{seconds:.1f}"])
    return lines


def attacked(model: PartitionClassifier, certificate: Certificate) -> Any:
    """The fewest insertions found that change each prediction, by the ridge certificate's own attack on each part.

    Each attack is rounded to whole rows, moved to its part by 1e-9, and counts only if retraining confirms it.
    """
    claim = certificate.claim
    parts = [claim.train.take(model.parts_ == j) for j in range(model.n_parts)]
    spent = np.full(claim.rows.n, np.inf)
    for i, label in enumerate(claim.rows.y):
        row = claim.rows.take([i])
        sides = np.sign(row.X @ model.coef_.T + model.intercept_)[0]
        costs = sorted(base_cost(claim, part, j, row) for j, part in enumerate(parts) if sides[j] == label)
        gap = 2 * len(costs) - model.n_parts
        spent[i] = sum(costs[: -(-gap // 2) if label > 0 else gap // 2 + 1])
    return spent


def base_cost(claim: Any, part: Dataset, j: int, row: Dataset) -> float:
    """The fewest whole rows found that turn one base."""
    from linpoison.certificates.claim import Claim

    for m in range(1, int(part.total) + 1):
        found = certify_ridge(Claim(part, claim.problem, claim.sets, m / part.total, row), method="structured")
        if found.bound[0] < 0:
            continue
        poison = ridge_attack(found, 0)
        if poison.count.sum() == 0:
            continue
        planted = whole_rows(poison, m, j, claim)
        if make_learner(claim.problem).fit(part.mix(planted)).predict(row.X)[0] != row.y[0]:
            return float(m)
    return float("inf")


def whole_rows(poison: Any, m: int, j: int, claim: Any) -> Dataset:
    """`m` copies in all of the poison's points, each strictly inside its ball and hashed to part `j`."""
    n_parts = int(claim_parts(claim))
    share = poison.count / poison.count.sum() * m
    count = np.floor(share)
    count[np.argsort(share - count)[::-1][: int(round(m - count.sum()))]] += 1
    points = []
    for x, label in zip(poison.X, poison.y, strict=True):
        center = claim.sets[int(label)].center
        tries = center + (1 - 1e-9 * np.arange(1, 200))[:, None] * (x - center)
        points.append(tries[np.flatnonzero(parts_of(tries, n_parts) == j)[0]])
    return Dataset(np.array(points), poison.y, count)
