"""Certificates of badly scaled data against learners in 60 digits: no bound may be exceeded, not by the last digit.

    python experiments/theory/extremes.py --poisons 2000 --seed 0 --out DIR

Each case draws twelve rows, moves the first column by up to 1e8, scales a column by up to 1e10 or down to 1e-6, and
draws a regulariser from 1e-8 to 1e3, an intercept (penalised, free, none), a scaling and a loss; then proves every
certificate that applies. The exact clean minimiser and the exact minimisers of planted poison (`digits`) are held
against the bounds without any tolerance, and so is what `extremes_changes` does besides: rows flipped and deleted,
models to plant, parts of a partition, flags of exactness. ``extremes.md`` has, for each certificate, the checks of
clean models and of attacks, the violations, how many bounds were infinite, and the slack of the clean scores of ridge.

Expected: no violation.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import digits
import numpy as np
from extremes_changes import Tally, changes, exact_flags, verified
from tables import tell_violations

from linpoison.certificates import (
    Certificate,
    Claim,
    certify_average_loss,
    certify_ball,
    certify_margin,
    certify_ridge,
    certify_test_error,
    radius,
    ridge_attack,
)
from linpoison.certificates.theory import certify_exact, certify_naive, certify_steinhardt
from linpoison.core import Dataset, Poison
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared
from linpoison.sets import Ball, Box, ByLabel, Slab, intersect

LOSSES = (Squared(), Squared(), Squared(), Hinge(), Logistic(), SmoothHinge(0.3))
INTERCEPTS: tuple[dict[str, bool], ...] = ({}, {"penalize_intercept": False}, {"fit_intercept": False})
OFFSETS = (0.0, 0.0, 1e2, 1e4, 1e6, 1e8)
SCALES = (1.0, 1.0, 1e3, 1e6, 1e10, 1e-6)
ROWS = 12


def draw(rng: np.random.Generator) -> Claim:
    """A claim on badly scaled data."""
    loss, d = LOSSES[int(rng.integers(len(LOSSES)))], int(rng.integers(1, 3))
    y = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
    scale, offset = np.ones(d), np.zeros(d)
    scale[-1], offset[0] = rng.choice(SCALES), rng.choice(OFFSETS)
    X = (rng.normal(size=(ROWS, d)) + 0.6 * y[:, None] + offset) * scale
    reg = float(10.0 ** rng.integers(-8, 4))
    scaling: dict[str, Any] = {"scaling": "sum", "n_reference": 10.0} if rng.random() < 0.3 else {}
    problem = Problem(loss, reg, **INTERCEPTS[int(rng.integers(3))], **scaling)
    means = {k: X[y == k].mean(axis=0) for k in (1, -1)}
    size = float(rng.choice([0.5, 2.0])) * float(scale.max())
    sets = ByLabel({k: _set(int(rng.integers(3)), m, means, size, scale) for k, m in means.items()})
    rows = Dataset(np.vstack([X[:3], X[:1] + scale * rng.normal(size=d)]), np.append(y[:3], 1.0))
    weight = rng.integers(1, 4, size=ROWS).astype(float) if rng.random() < 0.3 else None
    return Claim(Dataset(X, y, weight), problem, sets, float(rng.choice([0.01, 0.1, 0.4])), rows)


def _set(kind: int, mean: np.ndarray, means: dict[int, np.ndarray], size: float, scale: np.ndarray) -> Any:
    if kind == 1:
        return Box(mean - 2 * scale, mean + 3 * scale)
    ball, w = Ball(mean, size), means[1] - means[-1]
    length = float(np.linalg.norm(w))
    if kind == 0 or length == 0:
        return ball
    return intersect(ball, Slab(w / length, float(w @ mean) / length, size / 2))


def prove(claim: Claim, rng: np.random.Generator) -> dict[str, Certificate]:
    """Every certificate of insertions that applies, the dear ones now and then; one that refuses proves nothing."""
    loss, first = claim.problem.loss, claim.about(claim.demand_rows().take([0]))
    scores = certify_ridge if isinstance(loss, Squared) else certify_ball
    ways: dict[str, Any] = {
        "average-loss": lambda: certify_average_loss(claim, rounds=10),
        "average-objective": lambda: certify_average_loss(claim, plain=False, rounds=10),
        "test-error": lambda: certify_test_error(claim, scores, rounds=1),
        "radius": lambda: radius(scores, claim, tol=1 / 4),
    }
    if isinstance(loss, Squared):
        ways |= {
            "ridge": lambda: certify_ridge(claim, method="structured"),
        }
    else:
        ways |= {"ball": lambda: certify_ball(claim), "naive": lambda: certify_naive(claim),
                 "steinhardt": lambda: certify_steinhardt(claim),
                 "outer fast": lambda: certify_margin(claim, method="fast")}  # fmt: skip
        if rng.random() < 0.2:
            ways["steinhardt, strong"] = lambda: certify_steinhardt(claim, strong_convexity=True)
            ways["outer conic"] = lambda: certify_margin(claim, method="conic", rounds=1)
    if isinstance(loss, Hinge) and rng.random() < 0.3:
        ways["branch and bound"] = lambda: certify_exact(first, tol=0.02, max_nodes=20, rounds=0)
    made = {name: verified(way) for name, way in ways.items()}
    return {name: found for name, found in made.items() if found is not None}


def planted(claim: Claim, proved: dict[str, Certificate], rng: np.random.Generator, count: int) -> Iterator[Poison]:
    """Points of the sets that pull hard, and those that certificates suggest."""
    X = np.asarray(claim.train.X)
    spread = np.maximum(np.abs(X - X.mean(axis=0)).mean(axis=0), 1e-12)
    if "ridge" in proved:
        for row in range(min(claim.demand_rows().n, count // 2)):
            poison = ridge_attack(proved["ridge"], row)
            if poison.total > 0 and _inside(claim, poison.X, poison.y):
                yield poison
    for _ in range(count):
        y = rng.choice([-1.0, 1.0], size=int(rng.integers(1, 3)))
        points = [claim.sets[int(k)].support(rng.normal(size=claim.train.d) / spread) for k in y]
        middles = [np.asarray(X[claim.train.y == k].mean(axis=0)) for k in y]
        rows = np.array([m + (1 - 1e-9) * (x - m) for x, m in zip(points, middles, strict=True)])
        mass = claim.epsilon * (1 - 1e-12) * rng.dirichlet(np.ones(len(y))) * (1.0 if rng.random() < 0.7 else 0.3)
        if "radius" in proved and rng.random() < 0.3:  # exactly as much as a row is said to bear
            most = float(rng.choice(np.asarray(proved["radius"].bound)))
            mass = mass * (min(most, claim.epsilon) / mass.sum() * (1 - 1e-12) if most > 0 else 1.0)
        if _inside(claim, rows, y):
            yield Poison(rows, y, mass * claim.mass)


def _inside(claim: Claim, X: Any, y: Any) -> bool:
    return bool(claim.sets.contains(np.asarray(X), y, 0.0).all())


def hold(claim: Claim, proved: dict[str, Certificate], poison: Poison | None, tallies: dict[str, Tally]) -> bool:
    """Every bound against one exact minimiser; whether it was found."""
    data = claim.train if poison is None else claim.train.mix(poison.as_dataset())
    v = digits.minimiser(claim.problem, data)
    if v is None:
        return False
    mass = 0.0 if poison is None else poison.total / claim.mass
    for name, found in proved.items():
        tally, bound = tallies[name], np.atleast_1d(np.asarray(found.bound, dtype=np.float64))
        tally.clean += poison is None
        tally.poisoned += poison is not None
        tally.endless += int(np.isinf(bound).sum())
        scores = digits.scores(v, found.claim.demand_rows())
        if name in ("average-loss", "average-objective"):
            values = [mean_loss(claim, v, plain=name == "average-loss")]
        elif name == "test-error":
            values = [Decimal(sum(score >= 0 for score in scores)) / len(scores)]
        elif name == "radius":
            values = [score if most > 0 and mass <= most else Decimal(-1)
                      for score, most in zip(scores, bound, strict=True)]  # fmt: skip
            bound = np.zeros(bound.size)
        else:
            values = scores
        for value, most in zip(values, bound, strict=True):
            if not value.is_finite():
                return False
            slack = Decimal(float(most)) - value if np.isfinite(most) else Decimal("inf")
            if slack < 0 and not (name == "test-error" and -slack < Decimal("1e-12")):
                where = "clean" if poison is None else f"poison of {poison.n_distinct}"
                tally.violations.append(f"{name}, {claim.problem}, {where}: {float(-slack):.2e}")
            if poison is None and name == "ridge" and claim.epsilon == 0 and np.isfinite(most):
                tally.slack.append(float(slack))
    return True


def mean_loss(claim: Claim, v: digits.Vector, *, plain: bool) -> Decimal:
    """What an average-loss certificate bounds, in 60 digits."""
    with localcontext(digits.EXACT):
        train, loss = claim.train, claim.problem.loss
        margins = [-score for score in digits.scores(v, Dataset(train.X, train.y))]
        weight = [Decimal(float(w)) for w in train.weight]
        total = sum(w * _loss(loss, m) for w, m in zip(weight, margins, strict=True)) / sum(weight)
        if plain:
            return Decimal(total)
        square = sum(Decimal(int(p)) * t * t for p, t in zip(claim.mask, v, strict=True))
        reg = Decimal(claim.problem.reg)
        if claim.problem.scaling == "sum":
            reg = reg * Decimal(float(claim.problem.n_reference or 0)) / sum(weight)
        return Decimal(total + reg * square / 2)


def _loss(loss: Any, m: Decimal) -> Decimal:
    if isinstance(loss, Squared):
        return (1 - m) ** 2 / 2
    if isinstance(loss, Hinge):
        return max(1 - m, Decimal(0))
    kink, width = (Decimal(1), Decimal(loss.width)) if isinstance(loss, SmoothHinge) else (Decimal(0), Decimal(1))
    t = (kink - m) / width
    return width * ((1 + t.exp()).ln() if t < 0 else t + (1 + (-t).exp()).ln())


def fuzz(
    poisons: int, seed: int = 0, *, each: int = 12, tell: Callable[[str], Any] | None = None
) -> tuple[dict[str, Tally], int, int]:
    """At least so many poisons, and checks of clean models: tallies, clean models and poisons held against them."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    rng, clean, done = np.random.default_rng(seed), 0, 0
    while done < poisons or sum(tally.clean for tally in tallies.values()) < poisons:
        claim = draw(rng)
        claim = claim.at(0.0) if done >= poisons or rng.random() < 0.3 else claim
        proved = prove(claim, rng)
        clean += hold(claim, proved, None, tallies)
        planting = list(planted(claim, proved, rng, each)) if claim.epsilon > 0 else []
        for poison in planting:
            done += hold(claim, proved, poison, tallies)
        if "ridge" in proved:
            exact_flags(proved["ridge"], tallies["ridge, exact flag"])
        changes(claim, planting, tallies, rng)
        if tell is not None:
            violations = sum(len(tally.violations) for tally in tallies.values())
            tell(f"{clean} clean models, {done} poisons, {violations} violations\n")
    return dict(tallies), clean, done


def table(tallies: dict[str, Tally], clean: int, done: int) -> str:
    """The tallies as Markdown."""
    lines = [
        f"{clean} clean models and {done} poisons, in {digits.DIGITS} digits.",
        "",
        "| certificate | clean | attacked | violations | infinite bounds |",
        "|---|---|---|---|---|",
        *(f"| {name} | {t.clean} | {t.poisoned} | {len(t.violations)} | {t.endless} |"
          for name, t in sorted(tallies.items())),
    ]  # fmt: skip
    for name, what in (("ridge", "ridge without a budget"), ("flips", "flips of rows that weigh one, per score")):
        slack = np.sort(tallies[name].slack) if name in tallies else np.zeros(0)
        if slack.size:
            levels = ", ".join(f"{np.quantile(slack, q):.0e}" for q in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0))
            lines += ["", f"Slack of {what}, quantiles 0, 25, 50, 75, 90, 100 %: {levels}."]
    worst = [words for tally in tallies.values() for words in tally.violations]
    return "\n".join([*lines, *(["", *worst] if worst else []), ""])


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit status is 1 if a certificate was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--poisons", type=int, default=2000, help="at least so many, and as many checks of clean models"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="sixty of each")
    parser.add_argument("--progress", action="store_true", help="a line on standard error after each case")
    parser.add_argument("--out", type=Path, help="folder for extremes.md")
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tell = sys.stderr.write if options.progress else None
        tallies, clean, done = fuzz(60 if options.quick else options.poisons, options.seed, tell=tell)
    return tell_violations(table(tallies, clean, done), tallies, options.out, "extremes")


if __name__ == "__main__":
    sys.exit(main())
