"""The poison of TGDA, learned by other models and behind defences (Tables 2.9 to 2.11 of Lu's thesis), on MNIST.

    LINPOISON_DATA=FOLDER python experiments/limits/defended.py --out DIR [--models lr nn cnn] [--onto lr nn cnn]
        [--defend lr ...] [--quick]

The games are those of `tgda.py` with its settings, seed 0, and are taken from the same folder if they are there: "main"
for logistic regression, "tied" for the networks. Another seed learns. Without a defence from all rows (`transfer`),
then (`defended`) from what a defence leaves that is fitted on clean rows and poison together:

* loss: the rows of greatest loss under a model of all rows are dropped, as many as there is poison (TRIM, one round);
* SEVER: 3 % of each class by the scores along the first singular vector of the gradients, once;
* influence: 3 % of each class, by what a row does to the loss of the first 5 % of the clean rows, in one solve;
* MaxUp: nothing is dropped; two rounds with the worse of two noisy copies of each row.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from limits_lab import MODELS, Lab, options, victim, write
from tgda import table_of
from thesis_figures import TRANSFER, WITH

from deep import RiskLearner
from linpoison.defenses import SEVER, TRIM, InfluenceDefense, MaxUp
from linpoison.risk import Sample, accuracy

GAMES = {"lr": "main", "nn": "tied", "cnn": "tied"}
HEADER = ("game of", "learner", "clean", "accuracy", "drop", "thesis", "CPU s")
KEPT = ("game of", "defence", "clean", "accuracy", "drop", "thesis", "poison kept", "clean rows kept", "CPU s")


class Games:
    """The labs of all models, and the poison of their games."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.labs = {model: Lab(model, given.out, given.quick) for model in MODELS}

    def poison(self, model: str) -> tuple[str, Sample]:
        """The rows that the game of a model ends with, and its name in the journal; one row for each copy."""
        name = GAMES[model]
        table = table_of(name, self.labs[model], {})
        found = table.game(name, 0)
        copies = np.asarray(found["copies"], dtype=int)
        return table.key(name), Sample(np.repeat(found["X"], copies, axis=0), np.repeat(found["y"], copies))

    def transferred(self, model: str, learner: str) -> list[str]:
        """A line: what another model learns from the poison."""
        key, poison = self.poison(model)
        lab = self.labs[learner]
        clean, found = lab.clean(victim(0)), lab.learn(f"{model}, {key}, transferred", victim(0), lambda: poison)
        numbers = points(clean.accuracy, found.accuracy)
        return [model, learner, *numbers, TRANSFER[model][learner], f"{found.seconds:.0f}"]

    def defended(self, model: str, defence: str) -> list[str]:
        """A line: what the model itself learns behind a defence."""
        (key, poison), lab = self.poison(model), self.labs[model]
        make = lambda: behind(defence, lab, poison)  # noqa: E731
        found = lab.kept(f"{key}, behind {defence}, learner {victim(0)}", make)
        numbers = points(lab.clean(victim(0)).accuracy, float(found["accuracy"]))
        shares = [f"{100 * float(found[name]):.1f} %" for name in ("poison", "clean")]
        return [
            model,
            defence,
            *numbers,
            WITH[defence].get(model, {}).get("TGDA", "-"),
            *shares,
            f"{float(found['seconds']):.0f}",
        ]


def behind(defence: str, lab: Lab, poison: Sample) -> dict[str, Any]:
    """Accuracy behind a defence, and the shares that it keeps."""
    data, began, seed = lab.train.joined(poison, lab.risk), time.process_time(), victim(0)
    share = poison.n / data.n
    learner = RiskLearner(lab.risk, lab.recipe, seed=seed, classes=range(10))
    X, y = data.X.detach().numpy(), np.asarray(data.y)
    if defence == "MaxUp":
        model = MaxUp(learner, copies=2, sigma=0.1, rounds=2, random_state=seed).fit(X, y)
        right = model.model_.predict(lab.test.X) == np.asarray(lab.test.y)
        kept, reached = np.arange(data.n), float(right.mean())
    else:
        known = slice(0, round(0.05 * lab.train.n))
        rules = {
            "loss": TRIM(share, learner, rounds=1), "SEVER": SEVER(0.03, learner, rounds=1),
            "influence": InfluenceDefense(0.03, learner, (X[known], y[known])),
        }  # fmt: skip
        kept = rules[defence].fit(X, y).sample_indices_
        found = lab.recipe.fit(lab.risk, data.take(kept), seed=seed)
        reached = accuracy(found.risk, found.w, lab.test)
    n = lab.train.n
    return {
        "accuracy": reached, "poison": (kept >= n).sum() / poison.n, "clean": (kept < n).sum() / n,
        "seconds": time.process_time() - began,
    }  # fmt: skip


def points(clean: float, reached: float) -> list[str]:
    """Both accuracies and the drop, in points."""
    return [f"{100 * clean:.2f}", f"{100 * reached:.2f}", f"{100 * (clean - reached):.2f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Learn, and write the tables."""
    parser = options(__doc__, seeds=False)
    parser.add_argument("--onto", nargs="+", choices=MODELS, default=list(MODELS), help="who learns from the poison")
    parser.add_argument("--defend", nargs="*", choices=MODELS, default=["lr"], help="who defends itself (default: lr)")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    games = Games(given)
    lines: list[list[str]] = []
    for model in given.models:
        for learner in given.onto:
            lines.append(games.transferred(model, learner))
            write(given.out, "transfer", HEADER, lines)
    lines = []
    for model in given.defend:
        for defence in WITH:
            lines.append(games.defended(model, defence))
            write(given.out, "defended", KEPT, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
