"""The convex attack on subpopulations of Enron and Adult, beside label flips and gradient optimisation.

    LINPOISON_DATA=... python experiments/subpopulation/linear.py [--data enron1 adult] [--alpha 1] [--quick]

All rows are split into training, auxiliary and test rows (40, 40 and 20 %; of Adult 12000 rows are used). ClusterMatch
with 10 components and 100 clusters is fitted on the auxiliary rows (for Enron on log counts of unit length). The ten
largest clusters are attacked with alpha poison rows for each auxiliary row of the cluster:

flip
    label flips;
go
    gradient optimisation from these flips, within the domain: the better of rows anywhere in it, and rows within a
    tenth of its extent around the flips, as judged on the auxiliary rows;
convex
    `ConvexAttack`: KKT and model-targeted, collateral at most 1 % on the auxiliary rows; it knows the training rows,
    as the attacks of Koh et al. do. The other two know the auxiliary rows only.

Hinge loss, reg 0.01, counts (Enron); logistic loss, reg 0.001, the box of the standardised columns (Adult). Learning is
deterministic, so the null damage is zero. The last line counts the clusters on which the convex attack does at least as
much target damage as both others. Expected: at least 9 of 10.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deep import Box, LinearRisk
from linpoison import load
from linpoison.core import Domain
from linpoison.core.dataset import stack_rows
from linpoison.datasets import gaussians
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.subpopulations import (
    ClusterMatch,
    ConvexAttack,
    LabelFlip,
    Parts,
    Population,
    ProblemTrainer,
    RiskPredictor,
    correctness,
    gradient_optimization,
    measure_damage,
    poison_count,
    three_parts,
)


@dataclass(frozen=True, eq=False)
class Case:
    """One data set as this experiment uses it."""

    parts: Parts
    problem: Problem
    domain: Domain
    match: ClusterMatch


def unit_logs(X: Any) -> Any:
    """Log counts of unit length."""
    from sklearn.preprocessing import normalize

    return normalize(np.log1p(X))


def case_of(name: str, quick: bool) -> Case:
    """Rows, learner, domain and clusters of a data set."""
    split = gaussians(n=200, n_test=60) if quick else load(name)
    whole = Population(stack_rows(split.train.X, split.test.X), np.concatenate([split.train.y, split.test.y]))
    sizes = (0.4, 0.4, 0.2)
    if name == "enron1" and not quick:
        return Case(three_parts(whole, sizes), Problem(Hinge(), 0.01), split.train.domain, ClusterMatch(unit_logs))
    chosen = np.random.default_rng(0).permutation(whole.n)[:12000]
    box = Domain.box(whole.X.min(axis=0), whole.X.max(axis=0))
    problem = Problem(Logistic(), 1e-3, penalize_intercept=False)
    match = ClusterMatch(n_components=2, n_clusters=6) if quick else ClusterMatch()
    return Case(three_parts(whole.take(chosen), sizes), problem, box, match)


class GradientOptimization:
    """The better of two regions, as judged by the target accuracy on the auxiliary rows."""

    def __init__(self, case: Case) -> None:
        self.case, self.trainer = case, ProblemTrainer(case.problem)

    def poison(self, auxiliary: Population, group: Any, count: int, surrogate: Any, seed: int) -> Population:
        """Both, retrained on the auxiliary rows."""
        domain = self.case.domain
        flips = LabelFlip().poison(auxiliary, group, count, surrogate, seed)
        rows = domain.clip(surrogate.risk.rows(flips.X))
        reach = 0.1 * (domain.upper - domain.lower)
        near = Box(np.maximum(rows - reach, domain.lower), np.minimum(rows + reach, domain.upper))
        tried = [
            gradient_optimization(place).poison(auxiliary, group, count, surrogate, seed)
            for place in (Box(domain.lower, domain.upper), near)
        ]
        target = auxiliary.take(group.mask(auxiliary))
        return min(tried, key=lambda p: correctness([self.trainer.fit(auxiliary.mix(p), 0)], target).mean())


def measure(name: str, alpha: float, quick: bool) -> tuple[list[str], int]:
    """Lines of the table, and on how many clusters the convex attack is best."""
    case = case_of(name, quick)
    parts, trainer = case.parts, ProblemTrainer(case.problem)
    clean = trainer.fit(parts.train, 0)
    surrogate = RiskPredictor(LinearRisk.of(case.problem), trainer.fit(parts.auxiliary, 0).vector)
    attacks = {
        "flip": LabelFlip(),
        "go": GradientOptimization(case),
        "convex": ConvexAttack(case.problem, parts.train, case.domain),
    }
    lines, wins = [], 0
    for group in case.match.fit(parts.auxiliary).subpopulations()[: 2 if quick else 10]:
        mask, count = group.mask(parts.test), poison_count(alpha, group, parts.auxiliary)
        cells, found = [], {}
        for label, attack in attacks.items():
            began = time.process_time()
            poison = attack.poison(parts.auxiliary, group, count, surrogate, 0)
            after = trainer.fit(parts.train.mix(poison), 0)
            damage = measure_damage(*(correctness([m], parts.test) for m in (clean, after)), mask)
            found[label] = damage.target.value
            cells.append(f"{damage.target.value:.3f} ({damage.collateral.value:+.4f})")
            seconds = time.process_time() - began
        wins += found["convex"] >= max(found["flip"], found["go"])
        lines.append(
            f"| {name} | {group.name} | {count} | {int(mask.sum())} | " + " | ".join(cells) + f" | {seconds:.0f} |"
        )
        print(lines[-1], flush=True)
    return lines, wins


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["enron1", "adult"])
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true", help="one small generated data set")
    options = parser.parse_args(argv)
    print("| data | cluster | poison | test rows | flip | go | convex | seconds |\n|---|---|---|---|---|---|---|---|")
    for name in ["gaussians"] if options.quick else options.data:
        lines, wins = measure(name, options.alpha, options.quick)
        print(f"{name}: convex at least as damaging as both others on {wins} of {len(lines)} clusters", flush=True)


if __name__ == "__main__":
    sys.exit(main())
