"""Bounds on the scores of a linear SVM under poison: seven ways, on breast cancer and digits 1 against 7.

    python experiments/theory/margin_table.py [--quick] [--loss hinge|logistic] [--out FILE.md]

Poison lies in one ball per class, around the class mean and holding 95 % of its rows; clean rows outside are
left out. Breast cancer is standardised and divided by sqrt(d), digits are centred; ``reg = 0.1`` under mean
scaling, the intercept is penalised. Each column counts the test rows whose bound is not below zero, wrong rows
included: the clean error, the naive level set, that of Steinhardt et al., the same with strong convexity, the
ball of uniform stability, the outer set alone, the outer set with cap and bounds on the clean margins, and, from
below, the rows that retraining on the poison advised by the last program really turns. Every certificate is
verified from its witness, and no retrained model may exceed one.

Expected: each column of bounds at most the one before it, but for the ball, which is better at small budgets and
worse at large ones. The second line of each pair is what was computed before on the same split.
``--quick`` takes two budgets and 30 rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from ridge_table import first_split, prepared, spheres

from linpoison import Problem
from linpoison.certificates import Certificate, Claim, certify_ball, certify_margin
from linpoison.certificates.clean.anchor import anchor
from linpoison.certificates.clean.rows import extended
from linpoison.certificates.clean.screen import screen
from linpoison.certificates.outer.conic import make_program
from linpoison.certificates.outer.margin import scores_of
from linpoison.certificates.theory import certify_naive, certify_steinhardt
from linpoison.core.validation import Array
from linpoison.learners import make_learner
from linpoison.losses import make_loss

sys.path.append(str(Path(__file__).parent.parent))
from written import provenance  # noqa: E402

REG = 0.1
BEFORE = {
    ("breast_cancer", 0.003): ".076 .140 .140 .117 .076 .117 .076 -",
    ("breast_cancer", 0.01): ".076 .251 .251 .211 .158 .170 .117 .082",
    ("breast_cancer", 0.03): ".076 .386 .386 .345 .468 .304 .257 .105",
    ("breast_cancer", 0.1): ".076 .895 .871 .778 1.00 .690 - -",
    ("digits17", 0.005): ".000 .101 .101 .083 .037 .055 .009 .000",
    ("digits17", 0.01): ".000 .257 .257 .156 .156 .110 .064 .000",
    ("digits17", 0.03): ".000 .771 .752 .569 1.00 .450 .413 -",
}
"""The same columns for the hinge loss and this split, by generic cones; .009 with one more round of margins."""
HEADER = ("clean", "naive", "Steinhardt", "+ strong convexity", "ball", "outer set", "+ cap and margins", "attacked")

WAYS: tuple[Callable[[Claim], Certificate], ...] = (
    certify_naive,
    certify_steinhardt,
    lambda claim: certify_steinhardt(claim, strong_convexity=True),
    certify_ball,
    lambda claim: certify_margin(claim, method="conic", cap=False),
    lambda claim: certify_margin(claim, method="conic"),
)


def advised(claim: Claim) -> Array:
    """The score of each row after retraining on the poison that the tightened program advises against it."""
    rows = claim.demand_rows()
    program = make_program(claim, screen(claim, anchor(claim)), rounds=1)
    learner, worst = make_learner(claim.problem), np.full(rows.n, -np.inf)
    for j, goal in enumerate(extended(claim, rows.X, rows.y)):
        poison = program.poison() if program.multipliers(goal) else None
        if poison is not None:
            model = learner.fit(claim.train.mix(poison.as_dataset()))
            worst = np.maximum(worst, scores_of(claim, model.vector))
            worst[j] = max(worst[j], -goal @ model.vector)
    return worst


def shares(claim: Claim) -> tuple[list[float], float]:
    """The columns, and the seconds of the last certificate per row."""
    clean = scores_of(claim, make_learner(claim.problem).fit(claim.train).vector)
    attacked = np.maximum(advised(claim), clean)
    columns, seconds = [float(np.mean(clean >= 0))], 0.0
    for way in WAYS:
        began = time.process_time()
        certificate = way(claim)
        seconds = (time.process_time() - began) / clean.size
        certificate.verify()
        certificate.check_attack(attacked)
        columns.append(float(np.mean(np.asarray(certificate.bound) >= 0)))
    return [*columns, float(np.mean(attacked >= 0))], seconds


def lines(quick: bool, loss: str) -> Iterator[str]:
    """The table."""
    yield f"| data, budget | {' | '.join(HEADER)} | seconds a row |"
    yield "|---" * (len(HEADER) + 2) + "|"
    chosen = list(BEFORE)[1::4] if quick else list(BEFORE)
    for name, epsilon in chosen:
        ready = prepared(first_split(name))
        train, sets = spheres(ready.train)
        rows = ready.test.take(range(30)) if quick else ready.test
        claim = Claim(train, Problem(make_loss(loss), REG), sets, epsilon, rows)
        found, seconds = shares(claim)
        yield f"| {name}, {epsilon:g} | {' | '.join(f'{share:.3f}' for share in found)} | {seconds:.3f} |"
        if loss == "hinge":
            yield f"| before | {' | '.join(BEFORE[name, epsilon].split())} | |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two budgets and 30 rows")
    parser.add_argument("--loss", choices=("hinge", "logistic"), default="hinge")
    parser.add_argument("--out", type=Path, help="file for the table (default: standard output)")
    options = parser.parse_args(arguments)
    if options.out is None:
        _write(sys.stdout, options)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as file:
        file.write(f"# Pointwise certificates, {options.loss} loss\n\n")
        _write(file, options)
        file.write(f"\n{provenance()}\n")


def _write(file: TextIO, options: argparse.Namespace) -> None:
    """Each line as soon as it is known."""
    for line in lines(options.quick, options.loss):
        file.write(f"{line}\n")
        file.flush()


if __name__ == "__main__":
    main()
