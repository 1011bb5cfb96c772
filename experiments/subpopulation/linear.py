"""The convex attack on subpopulations of Enron and Adult, beside label flips and gradient optimisation.

    LINPOISON_DATA=... python experiments/subpopulation/linear.py [--data enron1 adult] [--split 3] [--alpha 0.5]
        [--out experiments/subpopulation/results] [--quick]

All rows are split into training, auxiliary and test rows (40, 40 and 20 %). ClusterMatch
with 10 components and 100 clusters is fitted on the auxiliary rows (for Enron on log counts of unit length). The ten
largest clusters are attacked with alpha poison rows for each auxiliary row of the cluster. All three attacks know the
training and the auxiliary rows, may write the same rows (domain), and choose among their variants in the same way: each
auxiliary row judges poison that was made without it (`CrossFit`).

flip
    label flips, of auxiliary or of training rows;
go
    gradient optimisation from flips of auxiliary rows, within 1, 0.1, 0.01 or 0.001 of the domain's extent;
convex
    `CrossFittedAttack`. Enron, program "kkt": decoys are trained with the rows of the cluster flipped at several
    weights, the KKT program finds the poison that makes a decoy optimal, whole rows are rounded together. Adult,
    program "joint": convex programs in the model and its poison at once, one after the other (`plant_jointly`), since
    few decoys can be planted under the logistic loss. Flips and gradient optimisation are among its candidates and
    give way only to what turns clearly more auxiliary rows out of fold. The upper limit of the out-of-fold collateral,
    of 75 %, must be within 1 % (Enron); that of 95 % within 0.8 %, so that the test rows keep 1 % too (Adult). The
    other two attacks have no such limit.
null
    as many auxiliary rows of the cluster with their own labels. Learning is deterministic: no null over seeds.

Hinge loss, reg 0.01, counts (Enron); logistic loss, reg 0.001, the box of the standardised columns (Adult). Settings
were chosen on splits 0 to 2 by looking at test damage. For Enron split 3 is fresh; for Adult split 4, as an earlier
program was measured on split 3 (8 of 10). Ties count as "at least as much", and are counted.

Expected at alpha 0.5, test collateral within 1 % throughout: Enron, split 3, at least as damaging as both on 10 of 10
clusters, mean damage six times that of flips; Adult, split 4, on 9 of 10, mean damage .183 against .006, and where it
is less it is so by one test row. With alpha 1 flips alone come up to the limit of the collateral on Enron, and the
convex attack, which is held to it, no longer outdoes them everywhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linpoison import load
from linpoison.attacks import Scenario
from linpoison.attacks.groups import (
    CrossFitted,
    CrossFittedAttack,
    Directed,
    GroupAttack,
    GroupFlips,
    gradient_optimization,
)
from linpoison.attacks.ranking import candidate
from linpoison.attacks.run import Run, Step
from linpoison.core import Candidate, Domain, Poison
from linpoison.core.dataset import stack_rows
from linpoison.datasets import gaussians
from linpoison.losses import Hinge, Logistic, Problem
from linpoison.risk import Box, LinearRisk, Sample
from linpoison.subpopulations import (
    ClusterMatch,
    Damage,
    Parts,
    ProblemTrainer,
    RiskPredictor,
    Subpopulation,
    correctness,
    measure_damage,
    poison_count,
    three_parts,
)

sys.path.append(str(Path(__file__).resolve().parents[1]))
import written  # noqa: E402

REACHES = (1.0, 0.1, 0.01, 0.001)
DECOYS = {"programs": ("kkt",)}
JOINT = {"programs": ("joint",), "reaches": (3.0,), "level": 0.95}
HEAD = (
    "| cluster | poison | test rows | null | flip | go | convex | 95 % of its collateral | convex chose |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, eq=False)
class Case:
    """One data set as this experiment uses it; `options` are those of `CrossFittedAttack`."""

    parts: Parts
    problem: Problem
    domain: Domain
    match: ClusterMatch
    options: Mapping[str, Any]
    collateral: float = 0.01


def unit_logs(X: Any) -> Any:
    """Log counts of unit length."""
    from sklearn.preprocessing import normalize

    return normalize(np.log1p(X))


def case_of(name: str, quick: bool = False, seed: int = 0) -> Case:
    """Rows, learner, domain and clusters of a data set."""
    split = gaussians(n=120, n_test=40) if quick else load(name)
    whole = Sample(stack_rows(split.train.X, split.test.X), np.concatenate([split.train.y, split.test.y]))
    sizes = (0.4, 0.4, 0.2)
    if name == "enron1" and not quick:
        parts = three_parts(whole, sizes, seed)
        return Case(parts, Problem(Hinge(), 0.01), split.train.domain, ClusterMatch(unit_logs), DECOYS)
    chosen = np.random.default_rng(0).permutation(whole.n)
    box = Domain.box(whole.X.min(axis=0), whole.X.max(axis=0))
    problem = Problem(Logistic(), 1e-3, penalize_intercept=False)
    match = ClusterMatch(n_components=2, n_clusters=6) if quick else ClusterMatch()
    return Case(three_parts(whole.take(chosen), sizes, seed), problem, box, match, JOINT, 0.008)


def near_flips(domain: Domain, rows: Any, reach: float) -> Box:
    """The part of the domain within so much of its extent around rows; whole steps for counts."""
    step = reach * (domain.upper - domain.lower)
    step = np.maximum(np.rint(step), reach >= 0.01) if domain.integral else step
    return Box(np.maximum(rows - step, domain.lower), np.minimum(rows + step, domain.upper))


@dataclass(frozen=True)
class GradientOptimization(GroupAttack):
    """Flips moved within a reach, whole numbers for counts."""

    name: ClassVar[str] = "gradient-optimization"
    reach: float = 1.0

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        return run.steps("moved flips", moved, [(scenario, self.reach, run.seed)])


def moved(started: float, scenario: Scenario, reach: float, seed: int) -> Step:
    """One candidate; the surrogate is the model of the training rows."""
    aim, domain = scenario.aim, scenario.train.domain
    surrogate = RiskPredictor(LinearRisk.of(scenario.problem), scenario.clean_model.vector)
    flips = GroupFlips().poison(scenario, seed)
    place = near_flips(domain, domain.clip(surrogate.risk.rows(flips.X)), reach)
    known = aim.target.mix(aim.rest("gradient optimisation"))
    rows = gradient_optimization(place).moved(surrogate, known, aim.target, flips)
    poison = Poison(np.rint(rows) if domain.integral else rows, flips.y, flips.count)
    return [candidate(started, scenario, poison, label=f"{reach:g}")], []


class Attacks:
    """The three attacks on one subpopulation, and which variant each chose."""

    def __init__(self, case: Case, group: Subpopulation, count: int) -> None:
        self.case, self.group, self.count = case, group, count
        self.moving = {f"go {reach:g}": GradientOptimization(reach) for reach in REACHES}

    def _best(self, attack: CrossFitted, collateral: float = 1.0) -> tuple[str, Sample]:
        parts = self.case.parts
        directed = Directed(attack, self.case.problem, parts.train, self.case.domain, collateral)
        best = attack.run(directed.scenario(parts.auxiliary, self.group, self.count)).best
        rows = best.poison.expanded()
        return best.label, Sample(rows.X, rows.y)

    def flip(self) -> tuple[str, Sample]:
        """Of auxiliary or training rows."""
        return self._best(CrossFitted({"flip": GroupFlips(), "flip training rows": GroupFlips(rows="train")}))

    def go(self) -> tuple[str, Sample]:
        """Within one of `REACHES`."""
        return self._best(CrossFitted(self.moving))

    def convex(self) -> tuple[str, Sample]:
        """With the collateral held down."""
        options, collateral = self.case.options, self.case.collateral
        return self._best(CrossFittedAttack(ways=self.moving, **options), collateral)

    def null(self) -> tuple[str, Sample]:
        """Rows of the cluster as they are."""
        rows = self.case.parts.auxiliary.take(self.group.mask(self.case.parts.auxiliary))
        return "", rows.take(np.arange(self.count) % rows.n)


def attack_group(case: Case, group: Subpopulation, alpha: float, clean: Any) -> tuple[str, dict[str, Damage]]:
    """A line of the table, and what each attack did to the test rows."""
    parts, trainer = case.parts, ProblemTrainer(case.problem)
    mask, count = group.mask(parts.test), poison_count(alpha, group, parts.auxiliary)
    attacks = Attacks(case, group, count)
    found, chosen = {}, ""
    for name in ("null", "flip", "go", "convex"):
        chosen, poison = getattr(attacks, name)()
        after = trainer.fit(parts.train.mix(poison), 0)
        found[name] = measure_damage(*(correctness([model], parts.test) for model in (clean, after)), mask)
    cells = " | ".join(f"{d.target.value:.3f} ({d.collateral.value:+.4f})" for d in found.values())
    bounds = found["convex"].collateral
    cells += f" | {bounds.low:+.4f} to {bounds.high:+.4f} | {chosen}"
    return f"| {group.name} | {count} | {int(mask.sum())} | {cells} |", found


def summary(found: Sequence[dict[str, Damage]]) -> str:
    """How often the convex attack wins, and who keeps the collateral."""
    convex = [item["convex"].target.value for item in found]
    best = [max(item["flip"].target.value, item["go"].target.value) for item in found]
    wins, ties = (sum(a >= b for a, b in zip(convex, best, strict=True)), sum(map(np.equal, convex, best)))
    kept = {name: sum(item[name].collateral.value <= 0.01 for item in found) for name in ("flip", "go", "convex")}
    fair = sum(item["convex"].collateral.low <= 0.01 for item in found)
    mean = {name: float(np.mean([item[name].target.value for item in found])) for name in ("flip", "go", "convex")}
    return (
        f"convex at least as damaging as both others on {wins} of {len(found)} clusters ({ties} ties). "
        f"Mean damage: {', '.join(f'{name} {value:.3f}' for name, value in mean.items())}. "
        f"Test collateral at most 1 %: {', '.join(f'{name} {value}' for name, value in kept.items())} of {len(found)}; "
        f"1 % within the interval of convex or above it: {fair}."
    )


def measure(name: str, options: argparse.Namespace) -> str:
    """The table of one data set; printed line by line."""
    began = time.process_time()
    case = case_of(name, options.quick, options.split)
    clean = ProblemTrainer(case.problem).fit(case.parts.train, 0)
    lines, found = [f"## {name}, split {options.split}, alpha {options.alpha:g}\n", HEAD], []
    for group in case.match.fit(case.parts.auxiliary).subpopulations()[: 2 if options.quick else 10]:
        line, damages = attack_group(case, group, options.alpha, clean)
        lines.append(line)
        found.append(damages)
        print(line, flush=True)
    lines.append(f"\n{summary(found)} {time.process_time() - began:.0f} s of processor time.\n")
    print(lines[-1], flush=True)
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, and write each to a file of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["enron1", "adult"])
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--split", type=int, default=3, help="seed of the three parts")
    parser.add_argument("--out", type=Path, help="folder for linear-DATA-split-N.md")
    parser.add_argument("--quick", action="store_true", help="one small generated data set")
    options = parser.parse_args(argv)
    for name in ["gaussians"] if options.quick else options.data:
        table = measure(name, options)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            file = options.out / f"linear-{name}-split-{options.split}-alpha-{options.alpha:g}.md"
            head = "Damage to the cluster, and in brackets to the others, on test rows.\n\n"
            file.write_text(written.with_provenance(head + table), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
