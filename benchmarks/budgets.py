"""The least budget of decoys: generic cones against the structured method, and the KKT attack on either side of it.

    python benchmarks/budgets.py [--quick] [--data NAME] [--decoys N] [--no-attack]

For each decoy the budget is found twice, by one conic program and by an interior-point method of structured sets. "Gap"
is how far the budget lies above the exactly evaluated dual ratio. "KKT" says whether the attack's residual vanishes
a little below (expected: no) and above (expected: yes) the two. Where the budget has slack, the attack may spend mass
on the row without loss that `budget_poison` names: several splits are tried, and the best counts. Times are processor
seconds of one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cvxpy  # noqa: F401, imported here so that no decoy pays for it
import numpy as np

from linpoison import Budget, Poison, Problem, SolverFailed, Split, load, make_defense
from linpoison.attacks import FeasibleRegion, KKTProgram, LabelFlipDecoys, Scenario, SetPolicy
from linpoison.certificates import Certificate, budget_poison, min_budget
from linpoison.core import Dataset, InfeasibleSet, LinearModel
from linpoison.datasets import counts
from linpoison.losses import Hinge
from linpoison.optimality import VANISHING, Stationarity
from linpoison.sets import ByLabel

DEFENSES = ("l2", "slab", "loss")
REG = {"enron1": 0.09, "imdb": 0.01}
DEFAULT_REG = 0.05
SIDE = 0.01
"""How far below the bound and above the budget the attack is tried."""


class Line(NamedTuple):
    """One decoy."""

    number: int
    target_error: float
    conic: Certificate
    conic_seconds: float
    structured: Certificate | None
    structured_seconds: float
    below: bool | None
    above: bool | None


def lines(split: Split, reg: float, n_decoys: int | None, attack: bool) -> Iterator[Line]:
    """One line for each decoy of Algorithm 3, under the sets of the defences fitted on clean rows."""
    problem = Problem(Hinge(), reg)
    defenses = {guard: make_defense(guard, problem=problem) for guard in DEFENSES}
    region = FeasibleRegion.fit(Scenario(split.train, problem, Budget(0.03), defenses, split.test), SetPolicy())
    decoys = LabelFlipDecoys().generate(split.train, problem, split.test)
    step = max(1, -(-len(decoys) // n_decoys)) if n_decoys else 1
    for number, decoy in list(enumerate(decoys))[::step]:
        sets = region.sets(decoy.model)
        conic, conic_seconds = priced(split.train, problem, sets, decoy.model, "conic")
        structured, seconds = priced(split.train, problem, sets, decoy.model, "structured")
        if conic is None:
            continue
        below, above = None, None
        if attack and 0 < conic.info["primal"] < np.inf:
            below = vanishes(conic, float(conic.bound) * (1 - SIDE))
            above = vanishes(conic, conic.info["primal"] * (1 + SIDE))
        yield Line(number, decoy.target_error, conic, conic_seconds, structured, seconds, below, above)


def priced(
    train: Dataset, problem: Problem, sets: ByLabel, model: LinearModel, method: str
) -> tuple[Certificate | None, float]:
    """The certificate and its processor seconds; None where the method fails."""
    start = time.process_time()
    try:
        found = min_budget(train, problem, sets, model, method=method)  # type: ignore[arg-type]
    except SolverFailed:
        return None, time.process_time() - start
    return found, time.process_time() - start


def vanishes(certificate: Certificate, epsilon: float) -> bool | None:
    """Whether the attack's residual vanishes at a budget, for any split with idle rows; None where programs fail.

    Idle rows, `s` per clean row, join the clean ones: the others then weigh ``(epsilon - s) / (1 + s)`` of all those.
    """
    problem, sets = certificate.claim.problem, certificate.claim.sets
    model = LinearModel.from_vector(certificate.witness["model"])
    size, total = Stationarity(certificate.claim.train, problem, model).size, certificate.claim.train.total
    answer = None
    for idle in splits(certificate, epsilon):
        train = certificate.claim.train.mix(idle.as_dataset()) if idle.total else certificate.claim.train
        left = (epsilon * total - idle.total) / train.total
        try:
            found = KKTProgram(method="conic").solve(model, train, problem, sets, left)
        except (SolverFailed, InfeasibleSet):
            continue
        answer = found.residual_norm * train.total <= VANISHING * size * total
        if answer:
            break
    return answer


def splits(certificate: Certificate, epsilon: float) -> Iterator[Poison]:
    """Idle rows of several masses up to `epsilon`: as in the certificate, in proportion, or what its other rows leave.

    None where the certificate needs none.
    """
    poison = budget_poison(certificate)
    if poison is None:
        return
    model = LinearModel.from_vector(certificate.witness["model"])
    idle = poison.y * model.decision_function(poison.X) >= 1 + 1e-3
    slack, total = float(poison.count[idle].sum()), certificate.claim.train.total
    if not slack > 1e-6 * total:
        yield Poison(np.zeros((0, model.d)), np.zeros(0), np.zeros(0))
        return
    share = epsilon / float(certificate.info["primal"])
    rest = epsilon * total - float(poison.count[~idle].sum())
    for mass in (slack, slack * share, rest):
        if 0 < mass < epsilon * total:
            yield Poison(poison.X[idle], poison.y[idle], poison.count[idle] * (mass / slack))


def table(rows: Sequence[Line]) -> str:
    """The lines in Markdown."""
    text = [
        "| decoy | error | bound | conic gap | s | structured gap | s | slack | exact | KKT below | KKT above |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        other = "failed" if row.structured is None else f"{row.structured.info['gap']:.1e}"
        text.append(
            f"| {row.number} | {row.target_error:.3f} | {row.conic.bound:.6f} | {row.conic.info['gap']:.1e} "
            f"| {row.conic_seconds:.2f} | {other} | {row.structured_seconds:.2f} | {row.conic.info['slack']:.1e} "
            f"| {word(row.conic.exact)} | {word(row.below)} | {word(row.above)} |"
        )
    return "\n".join(text)


def word(value: bool | None) -> str:
    """Yes, no, or nothing."""
    return "-" if value is None else "yes" if value else "no"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small made set, two decoys")
    parser.add_argument("--data", default="enron1", metavar="NAME", help="data set (default: enron1)")
    parser.add_argument("--decoys", type=int, metavar="N", help="about so many decoys (default: all)")
    parser.add_argument("--no-attack", dest="attack", action="store_false", help="leave the KKT attack out")
    given = parser.parse_args(argv)
    split = counts(n=120, d=25, contrast=0.7, length=20.0, seed=4) if given.quick else load(given.data)
    reg = DEFAULT_REG if given.quick else REG.get(given.data, DEFAULT_REG)
    rows = list(lines(split, reg, 2 if given.quick else given.decoys, given.attack))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
