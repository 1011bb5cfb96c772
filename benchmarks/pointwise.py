"""The first-order dual method against the conic program of the same rows: bounds, time.

    python benchmarks/pointwise.py [--quick] [--rows 20]

Both bound the scores of the same test rows over the outer set in the same run; rows are not left early. Times are
processor seconds of one thread. "excess" is by how much the first-order bound is above the conic one, in the unit of
the score. For the hinge both minimise the same function: expect a mean below 1e-3. For the logistic loss the conic
program has in addition the strips along the chords of ``psi``, which the first-order method leaves out: expect 0.2 at
3 %, less at smaller budgets.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from linpoison import Dataset, Problem, load
from linpoison.certificates.claim import Claim
from linpoison.certificates.outer.margin import certify_margin
from linpoison.losses import make_loss
from linpoison.sets import Ball, ByLabel

HEADER = ("data", "loss", "epsilon", "rows", "mean excess", "greatest", "first-order s", "conic s", "conic failed")


def claim_of(name: str, loss: str, epsilon: float, rows: int) -> Claim:
    """Rows of length about 1, balls with 95 % of the rows of a class, reg 0.1."""
    split = load(name)
    middle, spread = split.train.X.mean(axis=0), np.maximum(split.train.X.std(axis=0), 1e-3)
    scale = spread * np.sqrt(split.train.d)
    train, test = (Dataset((part.X - middle) / scale, part.y) for part in (split.train, split.test))
    sets, inside = {}, np.zeros(train.n, bool)
    for label in (1, -1):
        mine = np.flatnonzero(train.y == label)
        distance = np.linalg.norm(train.X[mine] - train.X[mine].mean(axis=0), axis=1)
        radius = float(np.quantile(distance, 0.95))
        sets[label], inside[mine] = Ball(train.X[mine].mean(axis=0), radius), distance <= radius
    train = train.take(np.flatnonzero(inside))
    return Claim(train, Problem(make_loss(loss), 0.1), ByLabel(sets), epsilon, test.take(np.arange(min(rows, test.n))))


def races(quick: bool, rows: int) -> Iterator[tuple[str, ...]]:
    """One line of the table after the other."""
    for name in ("breast_cancer",) if quick else ("breast_cancer", "digits17"):
        for loss in ("hinge", "logistic"):
            for epsilon in (0.03,) if quick else (0.003, 0.01, 0.03):
                claim = claim_of(name, loss, epsilon, rows)
                fast, fast_seconds, _ = timed(claim, "fast")
                conic, conic_seconds, failed = timed(claim, "conic")
                over = fast - conic
                numbers = (over.mean(), over.max(), fast_seconds, conic_seconds)
                cells = (f"{number:.2g}" for number in numbers)
                yield name, loss, f"{epsilon:g}", str(fast.size), *cells, str(failed)


def timed(claim: Claim, method: str) -> tuple[np.ndarray, float, int]:
    """Bounds, processor seconds, and for how many rows no solver answered."""
    from linpoison.certificates.outer.dual import minimise_bound
    from linpoison.certificates.outer.witness import witness_bound

    began = time.process_time()
    if method == "fast":
        bound = witness_bound(claim, minimise_bound(claim, stop_when_decided=False))
        return bound, time.process_time() - began, 0
    certificate = certify_margin(claim, method="conic")
    return np.asarray(certificate.bound), time.process_time() - began, int(certificate.info["failed"])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one data set, one budget, two rows")
    parser.add_argument("--rows", type=int, default=20)
    chosen = parser.parse_args(argv)
    sys.stdout.write("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER) + "\n")
    for line in races(chosen.quick, 2 if chosen.quick else chosen.rows):
        sys.stdout.write("| " + " | ".join(line) + " |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
