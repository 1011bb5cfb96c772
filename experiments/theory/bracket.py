"""The bracket: what attacks do, and what certificates allow, over the budget.

    LINPOISON_DATA=FOLDER python experiments/theory/bracket.py --out DIR [--data NAMES] [--model svm|ridge|logistic]

The defender drops rows outside the sphere, the slab (5 % of each class for each, fitted to the clean rows and fixed)
and the domain, and learns from the rest; regularisers are those of ``average_loss.py``. ``table.md`` has for each
budget, from below upwards: the test error of the clean model, of the strongest attack, and the bound
(`certify_test_error`); the share of test rows that are right whatever the poison; and the same three for the average
loss of the clean rows (`certify_average_loss`). Bounds and attacks speak of the same attacker: fixed sets, fractions
of copies allowed. ``figure.png`` draws both.

Attacks: the min-max program (`SaddleProgram`), and the joint KKT program (`KKTProgram`) for six decoys spread over
the Pareto front of label flips; each poison is trained on, and poison of a smaller budget counts for a greater one.
For ridge also the poisons that the certificate advises against the four rows nearest to falling. An attack above a
bound ends the run with `CertificateViolated`, and every certificate is verified from its witness.

Expected: clean <= attack <= bound in every line, both rising with the budget. Loss brackets are tight for small
budgets (SVM at 0.3 %: bound and attack differ by 0.02 on breast cancer and 0.03 on digits), error brackets only where
the regulariser is strong. SVM at 1 %: breast cancer 7 and 13 %, digits 1 and 4 %; ridge: 9 and 11 %, 1 and 1 %. On
Enron, Adult and MNIST-1-7 as they are, without scaling, a single model has hardly an error bound: on Enron 70 % at
0.1 % and none at 1 %, while its loss is bounded throughout (at 1 %: attack 0.31, bound 0.48). Breast cancer and
digits take five minutes. ``--rows N`` takes N test rows, evenly spread, in place of all; ``--quick`` is a small
generated set.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from average_loss import REG, trusted
from tables import canvas, options, write

from linpoison import Dataset, LinearModel, Poison, Problem, SolverFailed, Split, load
from linpoison.attacks import KKTProgram, LabelFlipDecoys, SaddleProgram
from linpoison.certificates import (
    Certificate,
    Claim,
    certify_average_loss,
    certify_margin,
    certify_ridge,
    certify_test_error,
    ridge_attack,
)
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import make_loss

EPSILONS = (0.001, 0.003, 0.01, 0.03, 0.1)
LOSS = {"svm": "hinge", "logistic": "logistic", "ridge": "squared"}
DECOYS = LabelFlipDecoys(quantiles=(0.1, 0.3, 0.5), repeats=(1, 3, 8, 18))
HEADER = (
    "data", "model", "budget", "clean error", "attack", "bound", "certified rows", "clean loss", "attack's loss",
    "loss bound", "strongest", "seconds",
)  # fmt: skip


class Rung(NamedTuple):
    """One budget."""

    data: str
    model: str
    epsilon: float
    error: tuple[float, float, float]
    certified: float
    loss: tuple[float, float, float]
    strongest: str
    seconds: float

    def cells(self) -> list[str]:
        """A line of the table."""
        error, loss = ([f"{value:.4f}" for value in three] for three in (self.error, self.loss))
        return [self.data, self.model, f"{self.epsilon:g}", *error, f"{self.certified:.3f}", *loss,
                self.strongest, f"{self.seconds:.0f}"]  # fmt: skip


def split_of(name: str, most: int | None) -> Split:
    """The data, with `most` of the test rows, evenly spread."""
    if name == "quick":
        return gaussians(n=60, d=4, n_test=20, seed=1)
    split = load(name)
    if most is None or split.test.n <= most:
        return split
    return Split(split.train, split.test.take(np.linspace(0, split.test.n - 1, most).astype(int)))


def attacks(claim: Claim, decoys: Sequence[LinearModel], score: Certificate) -> Iterator[tuple[str, Poison]]:
    """Poisons of one budget inside the sets."""
    arguments = (claim.train, claim.problem, claim.sets, claim.epsilon)
    yield "min-max", SaddleProgram(tol=1e-2, max_rounds=60).solve(*arguments).poison
    for decoy in decoys:
        try:
            yield "kkt", KKTProgram().solve(decoy, *arguments).poison
        except SolverFailed:
            continue
    if score.name.startswith("ridge"):
        bound = np.asarray(score.bound)
        for row in np.argsort(np.where(bound < 0, np.inf, bound))[:4]:
            yield "advised", ridge_attack(score, int(row))


def spread(claim: Claim, rows: Dataset) -> list[LinearModel]:
    """Six decoys from one end of the Pareto front to the other."""
    front = DECOYS.generate(claim.train, claim.problem, rows)
    return [front[index].model for index in sorted(set(np.linspace(0, len(front) - 1, 6).astype(int)))]


def damage(claim: Claim, model: LinearModel) -> tuple[float, float]:
    """Error on the rows, a score of zero counted as wrong, and the clean rows' average loss."""
    losses = claim.problem.loss.value(model.margins(claim.train))
    return float(np.mean(model.margins(claim.demand_rows()) <= 0)), float(
        np.average(losses, weights=claim.train.weight)
    )


def score_of(claim: Claim) -> Certificate:
    """The certificate of each row."""
    return certify_ridge(claim) if claim.problem.loss.name == "squared" else certify_margin(claim)


def rungs(name: str, model: str, epsilons: Sequence[float], most: int | None) -> Iterator[Rung]:
    """The lines of one data set."""
    split = split_of(name, most)
    train, sets = trusted(split.train)
    problem = Problem(make_loss(LOSS[model]), REG.get(name, 0.1))
    learner, first = make_learner(problem), Claim(train, problem, sets, 0.0, split.test)
    decoys, clean = spread(first, split.test), damage(first, learner.fit(train))
    error, loss, strongest = clean[0], clean[1], "none"
    for epsilon in epsilons:
        began, claim = time.process_time(), first.at(epsilon)
        score = score_of(claim)
        proofs = [score, certify_test_error(claim, reusing(claim, score)), certify_average_loss(claim)]
        seconds = time.process_time() - began
        for proof in proofs:
            proof.verify()
        for attack, poison in attacks(claim, decoys, score):
            planted = learner.fit(train.mix(poison.as_dataset(train.domain)))
            found = damage(claim, planted)
            score.check_attack(-planted.margins(split.test), tol=1e-4, what=attack)
            proofs[1].check_attack(found[0], what=attack)
            proofs[2].check_attack(found[1], tol=1e-3 * clean[1], what=attack)
            if found[0] > error:
                strongest = attack
            error, loss = max(error, found[0]), max(loss, found[1])
        bounds = [float(proof.bound) for proof in proofs[1:]]
        certified = float(np.mean(np.asarray(score.bound) < 0))
        yield Rung(name, model, epsilon, (clean[0], error, bounds[0]), certified, (clean[1], loss, bounds[1]),
                   strongest, seconds)  # fmt: skip


def reusing(claim: Claim, score: Certificate) -> Any:
    """The certifier of scores, which does not work twice for the claim itself."""
    return lambda asked: score if asked is claim else score_of(asked)


def draw(path: Path, found: Sequence[Rung]) -> None:
    """Above, test error; below, average loss: bound solid, attack dashed, clean dotted."""
    names = list(dict.fromkeys((rung.data, rung.model) for rung in found))
    (left, right), save = canvas(path, 2)
    for place, name in enumerate(names):
        mine = [rung for rung in found if (rung.data, rung.model) == name]
        budgets = [100 * rung.epsilon for rung in mine]
        for axes, part, scale in ((left, "error", 100), (right, "loss", 1)):
            for index, style in enumerate((":", "--", "-")):
                label = " ".join(name) if style == "-" else None
                values = [scale * getattr(rung, part)[index] for rung in mine]
                axes.plot(budgets, values, style, color=f"C{place}", marker="o", markersize=3, label=label)
    left.set_ylabel("test error, %")
    right.set_ylabel("average loss of clean rows")
    left.set_title("bound solid, attack dashed, clean dotted", fontsize="small")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("poison, % of the clean rows")
    left.legend(fontsize="x-small")
    save()


def numbers(text: str) -> list[float]:
    """A comma list."""
    return [float(item) for item in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser: argparse.ArgumentParser = options(__doc__, data="breast_cancer,digits17", quick="a small generated set")
    parser.add_argument("--model", choices=list(LOSS), default="svm")
    parser.add_argument("--epsilon", type=numbers, default=EPSILONS, metavar="E,...")
    parser.add_argument("--rows", type=int, metavar="N", help="test rows of each data set at most")
    given = parser.parse_args(argv)
    found: list[Rung] = []
    for name in ["quick"] if given.quick else given.data.split(","):
        for rung in rungs(name, given.model, (0.01, 0.1) if given.quick else given.epsilon, given.rows):
            found.append(rung)
            print(" ".join(rung.cells()), file=sys.stderr, flush=True)
    write(given.out, "table", HEADER, [rung.cells() for rung in found])
    draw(given.out / "figure.png", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
