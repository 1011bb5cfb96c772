"""What label flips of one group of people do to it, to others and to the gap between groups (Jagielski et al., 5.4).

    LINPOISON_DATA=... python experiments/subpopulation/fairness.py [--learner linear|mlp] [--alphas 0.5 1 2]
        [--by race sex education paper] [--out FILE] [--quick]

UCI Adult as in `adult.py`: of the auxiliary rows those of a race, of a sex, or of an education, and the paper's own
example, Black women who are high school graduates, get the wrong label of greatest loss, `alpha` poison rows for each
of them. Groups of fewer than 50 auxiliary or 30 test rows are left out. "gap" is the accuracy of the most accurate
group of the same attribute less that of the least accurate one, without poison and with it, on test rows.

By default the learner is logistic regression, of which nothing is random, so that every change is the poison's; the
paper's network of ten units (``--learner mlp``) takes ten times as long, and changes by itself from seed to seed: its
numbers are means over `--seeds` trainings.

Paper, network: Black women who are high school graduates, alpha 2: accuracy 91.4 to 76.7 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import adult

from linpoison.attacks.groups import LabelFlip
from linpoison.subpopulations import (
    EstimatorTrainer,
    FeatureMatch,
    Parts,
    Subpopulation,
    correctness,
    measure_damage,
    poison_count,
    three_parts,
)

sys.path.append(str(Path(__file__).resolve().parents[1]))
import written  # noqa: E402

PAPER = ("education=HS-grad", "race=Black", "sex=Female")
HEADER = (
    "group",
    "alpha",
    "poison rows",
    "test rows",
    "accuracy",
    "with poison",
    "drop",
    "95 %",
    "drop of others",
    "gap",
)


def groups_of(by: str, parts: Parts, least: int) -> list[Subpopulation]:
    """Those of an attribute, or the paper's example."""
    names = ["education", "race", "sex"] if by == "paper" else [by]
    found = FeatureMatch(names, least=least).fit(parts.auxiliary).subpopulations()
    return [group for group in found if by != "paper" or all(part in group.name for part in PAPER)]


def gap(right: Any, masks: Sequence[Any]) -> float:
    """Between the most and the least accurate group."""
    shares = [float(right[:, mask].mean()) for mask in masks]
    return max(shares) - min(shares)


def lines_of(by: str, parts: Parts, options: argparse.Namespace, before: Any, surrogate: Any) -> Iterator[list[str]]:
    """A line for each group of an attribute and each strength."""
    least = (10, 5) if options.quick else (50, 30)
    groups = [group for group in groups_of(by, parts, least[0]) if group.mask(parts.test).sum() >= least[1]]
    masks, trainer = [group.mask(parts.test) for group in groups], EstimatorTrainer(adult.LEARNERS[options.learner])
    for group, mask in zip(groups, masks, strict=True):
        for alpha in options.alphas:
            count = poison_count(alpha, group, parts.auxiliary)
            poison = LabelFlip().poison(parts.auxiliary, group, count, surrogate, 0)
            models = [trainer.fit(parts.train.mix(poison), seed) for seed in range(len(before))]
            after = correctness(models, parts.test)
            found = measure_damage(before, after, mask)
            apart = f"{gap(before, masks):.3f} to {gap(after, masks):.3f}" if len(masks) > 1 else ""
            yield [
                group.name, f"{alpha:g}", str(count), str(int(mask.sum())), f"{before[:, mask].mean():.3f}",
                f"{after[:, mask].mean():.3f}", f"{found.target.value:.3f}",
                f"{found.target.low:.3f} to {found.target.high:.3f}", f"{found.collateral.value:.3f}", apart,
            ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Attack group after group, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learner", choices=list(adult.LEARNERS), default="linear")
    parser.add_argument("--by", nargs="+", choices=["race", "sex", "education", "paper"],
                        default=["race", "sex", "education", "paper"])  # fmt: skip
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--seeds", type=int, help="trainings for each number (default: 1 of linear, 2 of mlp)")
    parser.add_argument("--out", type=Path, help="file for the table")
    parser.add_argument("--quick", action="store_true", help="600 generated rows, one strength")
    options = parser.parse_args(argv)
    if options.quick:
        options.alphas, options.by = [1.0], ["sex"]
    whole = adult.generated() if options.quick else adult.adult()
    parts = three_parts(whole, (1 / 3, 1 / 3, 0.33))
    trainer = EstimatorTrainer(adult.LEARNERS[options.learner])
    seeds = options.seeds or {"linear": 1, "mlp": 2}[options.learner]
    before = correctness([trainer.fit(parts.train, seed) for seed in range(seeds)], parts.test)
    surrogate = trainer.fit(parts.auxiliary, 0)
    rows = []
    for by in options.by:
        for row in lines_of(by, parts, options, before, surrogate):
            print("| " + " | ".join(row) + " |", flush=True)
            rows.append(row)
    if options.out is not None:
        written.write(options.out.parent, options.out.stem, HEADER, rows)


if __name__ == "__main__":
    sys.exit(main())
