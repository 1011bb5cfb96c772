"""Every certificate of this library, and what there was before, on the same rows and budgets.

    python experiments/theory/comparison.py --out DIR

Breast cancer and digits 1 against 7, prepared as in ``ridge_table.py``: poison lies in the ball around the mean of
its class that holds 95 % of its rows, clean rows outside are left out, intercepts are penalised, the regulariser
scales with the mean. Each cell of ``table.md`` is the share of the test rows that are classified rightly whatever the
poison of that budget (a fraction of the clean rows); the last column is processor seconds for all budgets.
``figure.png`` draws the same.

* a single SVM, reg 0.1: the naive level set, Steinhardt et al.'s, the same with strong convexity, the ball of uniform
  stability, the outer set, the outer set with cap and bounds on margins, and branch and bound (`certify_exact`, at
  most 20 programs a row) for the ten open rows that the last of these nearly closes, at budgets up to 1 %
* a single ridge classifier, reg 0.1: `certify_ridge`
* votes of a partition (deep partition aggregation, Levine and Feizi, 2021): SVMs, reg 0.1, for 10, 40 and 60 parts;
  it assumes nothing of the inserted rows, and counts whole ones
* votes with what each base withstands by itself: SVMs and ridge classifiers, reg 0.3, for 5 and 10 parts

Expected: each line of the SVM at least the one before it, but for the ball, which is good at small budgets and
worthless at large ones. Breast cancer at 1 %: naive 0.72, outer set with everything 0.86, branch and bound 0.87 (two
more rows, at four times the cost), ridge 0.89, votes of 40 SVMs 0.92. Up to 3 % votes of many parts are the best of
all, and assume least; at 10 % they are worth nothing, and ridge classifiers hold 0.52 alone and 0.42 in five parts.
Eight minutes; ``--quick`` is a small generated set.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ridge_table import prepared, spheres
from tables import canvas, options, write

from linpoison import Problem, load
from linpoison.certificates import Certificate, Claim, PartitionClassifier, certify_ball, certify_margin, certify_ridge
from linpoison.certificates.theory import certify_exact, certify_naive, certify_steinhardt
from linpoison.datasets import gaussians
from linpoison.losses import Hinge, Squared

EPSILONS = (0.003, 0.01, 0.03, 0.1)
SEARCHED = 0.01
"""Largest budget at which branch and bound is tried."""
FULL = "SVM: outer set, cap, margins"

SINGLE: Mapping[str, Callable[[Claim], Certificate]] = {
    "SVM: naive": certify_naive,
    "SVM: Steinhardt": certify_steinhardt,
    "SVM: + strong convexity": lambda claim: certify_steinhardt(claim, strong_convexity=True),
    "SVM: ball": certify_ball,
    "SVM: outer set": lambda claim: certify_margin(claim, method="conic", tighten=False, cap=False),
    FULL: lambda claim: certify_margin(claim, method="conic"),
    "ridge: exact set": certify_ridge,
}
PARTITIONS = {
    "votes, 10 SVMs": (10, "hinge", 0.1, 0),
    "votes, 40 SVMs": (40, "hinge", 0.1, 0),
    "votes, 60 SVMs": (60, "hinge", 0.1, 0),
    "base budgets, 5 SVMs": (5, "hinge", 0.3, None),
    "base budgets, 5 ridge": (5, "squared", 0.3, None),
    "base budgets, 10 ridge": (10, "squared", 0.3, None),
}
"""Parts, loss, regulariser, and insertions tried into one part (0: votes alone, None: as many as hold)."""
QUICK = ("votes, 10 SVMs", "base budgets, 5 ridge")

Line = tuple[list[float], float]
"""Shares over the budgets, and seconds."""


def single(claim: Claim, epsilons: Sequence[float], certify: Callable[[Claim], Certificate]) -> tuple[Line, list[Any]]:
    """One model; with the bounds of each budget."""
    began, bounds = time.process_time(), []
    for epsilon in epsilons:
        certificate = certify(claim.at(epsilon))
        certificate.verify()
        bounds.append(np.asarray(certificate.bound))
    shares = [float(np.mean(bound < 0)) for bound in bounds]
    return (shares, time.process_time() - began), bounds


def searched(claim: Claim, epsilons: Sequence[float], bounds: Sequence[Any], rows: int) -> Line:
    """Branch and bound on the rows that are nearly closed."""
    began, shares = time.process_time(), []
    for epsilon, bound in zip(epsilons, bounds, strict=True):
        closed = bound < 0
        nearly = np.flatnonzero(~closed)[np.argsort(bound[~closed])][:rows]
        if epsilon <= SEARCHED and nearly.size:
            about = claim.at(epsilon).about(claim.demand_rows().take(nearly))
            closed[nearly] = np.asarray(certify_exact(about, max_nodes=20, rounds=1).bound) < 0
        shares.append(float(np.mean(closed)) if epsilon <= SEARCHED else np.nan)
    return shares, time.process_time() - began


def voted(claim: Claim, epsilons: Sequence[float], how: tuple[int, str, float, int | None]) -> Line:
    """A partition."""
    parts, loss, reg, most = how
    began, rows = time.process_time(), claim.demand_rows()
    sets = None if most == 0 else claim.sets
    model = PartitionClassifier(parts, loss, reg, sets=sets).fit(claim.train.X, claim.train.y)
    certificate = model.certificate(rows.X, rows.y, most=most)
    certificate.verify()
    whole = np.floor(np.array(epsilons) * claim.mass + 1e-9)
    return [float(np.mean(np.asarray(certificate.bound) >= m)) for m in whole], time.process_time() - began


def lines(name: str, quick: bool) -> Iterator[tuple[str, Line]]:
    """The lines of one data set."""
    ready = gaussians(n=60, d=4, separation=2, n_test=20, seed=1) if quick else prepared(load(name))
    train, sets = spheres(ready.train)
    rows, epsilons = ready.test, budgets(quick)
    for words, certify in SINGLE.items():
        loss = Squared() if certify is certify_ridge else Hinge()
        claim = Claim(train, Problem(loss, 0.1), sets, 0.0, rows)
        line, bounds = single(claim, epsilons, certify)
        yield words, line
        if words == FULL:
            yield "SVM: branch and bound", searched(claim, epsilons, bounds, 2 if quick else 10)
    for words, how in PARTITIONS.items():
        if not quick or words in QUICK:
            yield words, voted(claim, epsilons, how)


def budgets(quick: bool) -> tuple[float, ...]:
    """Fractions of the clean rows."""
    return (0.01, 0.05) if quick else EPSILONS


def draw(path: Path, found: Mapping[tuple[str, str], Line], epsilons: Sequence[float]) -> None:
    """Certified share over the budget, a panel for each data set."""
    names = list(dict.fromkeys(name for name, _ in found))
    panels, save = canvas(path, len(names), 5.0)
    styles = {"SVM": "-", "ridge": "-.", "votes": "--", "base": ":"}
    for axes, name in zip(panels, names, strict=True):
        for (data, words), (shares, _) in found.items():
            if data == name:
                style = next(value for key, value in styles.items() if words.startswith(key))
                axes.plot([100 * e for e in epsilons], [100 * s for s in shares], style, marker=".", label=words)
        axes.set_xscale("log")
        axes.set_title(name, fontsize="small")
        axes.set_xlabel("poison, % of the clean rows")
        axes.set_ylabel("test rows right and certified, %")
    panels[0].legend(fontsize="xx-small")
    save()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = options(__doc__, data="breast_cancer,digits17", quick="a small generated set, two budgets").parse_args(argv)
    epsilons = budgets(given.quick)
    found: dict[tuple[str, str], Line] = {}
    for name in ["quick"] if given.quick else given.data.split(","):
        for words, line in lines(name, given.quick):
            found[name, words] = line
            print(name, words, line, file=sys.stderr, flush=True)
    header = ["data", "certificate", *(f"{100 * epsilon:g} %" for epsilon in epsilons), "seconds"]
    rows = [
        [*key, *("-" if np.isnan(share) else f"{share:.3f}" for share in shares), f"{seconds:.1f}"]
        for key, (shares, seconds) in found.items()
    ]
    write(given.out, "table", header, rows)
    draw(given.out / "figure.png", found, epsilons)
    return 0


if __name__ == "__main__":
    sys.exit(main())
