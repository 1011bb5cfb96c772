"""Total gradient descent ascent on MNIST (Lu, Kamath, Yu 2022; Tables 2.2 and 2.4 to 2.8 of Lu's thesis), shortened.

    LINPOISON_DATA=FOLDER python experiments/limits/tgda.py --out DIR [--models lr nn cnn] [--seeds 3]
        [--games NAME ...] [--subset N] [--epochs N] [--cg N] [--step X] [--batch N] [--name TABLE] [--quick]

The attacker is a network that makes 3 % of poison, in [0, 1], of clean rows and their labels. It plays m steps
against n steps of a follower on 70 % of the training rows and judges by the other 30 %, which the follower does not
see; then its rows are frozen, and another seed learns from scratch on all training rows and the poison.

Shortened to what a CPU does: `SIZES` in the place of the thesis' 200 epochs, and Adam moves the attacker's network
where the thesis has plain ascent, which needs all the epochs. "CG residual" is |(H + damping) u - g| / |g|, a mean
over the game; "indefinite" the share of systems in which the Hessian was not positive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from limits_lab import Clean, Lab, name_of, options, spread, victim, write

from deep import CG, TGDA, LeaderNetwork, Sample, flip_labels, pretrain
from deep.models import DenseLeader

EPSILON = 0.03
PAPER = {
    "lr": {"main": "2.79", "flip": "1.52"},
    "nn": {"main": "1.50", "flip": "0.05"},
    "cnn": {"main": "1.11", "flip": "0.01"},
}


@dataclass(frozen=True)
class Variant:
    """A line of the table: what differs from the main game, and the thesis' drop of logistic regression."""

    paper: str
    changes: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = True
    share: float = 1.0
    """Of the epochs: 20 leader steps in a turn are given fewer turns, 4 times the leader steps of the main game."""


VARIANTS = {
    "main": Variant("2.79"),
    "defender first": Variant("2.56 (Table 2.4)", {"order": "defender"}),
    "zero-sum": Variant("0.02 (2.5)", {"game": "zero-sum"}),
    "not pretrained": Variant("0.26 (2.6)", pretrained=False),
    "(m, n) = (1, 0)": Variant("0.05 (2.7)", {"follower_steps": 0}),
    "(m, n) = (1, 1)": Variant("2.38 (2.7)", {"follower_steps": 1}),
    "(m, n) = (20, 1)": Variant("3.06 (2.7)", {"leader_steps": 20, "follower_steps": 1}, share=0.2),
    "(m, n) = (20, 20)": Variant("2.57 (2.7)", {"leader_steps": 20}, share=0.2),
    "cold start": Variant("2.51 (2.8)", {"start": "cold"}),
}
"""The thesis prints 2.57 and 2.41 as drops of (20, 20) and the cold start; its accuracies give 2.58 and 2.51."""

HEADER = (
    "model", "game", "clean", "accuracy", "drop", "thesis", "epochs", "CG residual", "indefinite", "|w - w_c| / |w_c|",
    "seeds", "CPU s: game, learner", "MiB",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How much of a game is played."""

    epochs: int
    cg: int
    step: float = 3e-4
    batch: int = 1000


SIZES = {"lr": Size(15, 16), "nn": Size(1, 6), "cnn": Size(1, 6)}


class Table:
    """Games and baselines of one model."""

    def __init__(self, lab: Lab, size: Size) -> None:
        self.lab, self.size = lab, size

    def leader(self, seed: int) -> tuple[LeaderNetwork, Any]:
        """The attacker's network before it has learned anything, and its seeds' weights in the game."""
        full, train = self.lab.train, self.split(seed)[0]
        rows = full.drawn(round(EPSILON * full.n), seed)
        seeds = Sample(rows.X, rows.y, np.full(rows.n, train.total / full.total))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = DenseLeader(full.X.shape[1:], 10).float()
        return LeaderNetwork(module, seeds), seeds

    def split(self, seed: int) -> tuple[Sample, Sample]:
        """Rows to learn from, and rows to judge by."""
        return self.lab.train.held_out(0.3, seed)

    def autoencoder(self, seed: int) -> Any:
        """Weights of the attacker's network that return what it is given."""
        epochs = 1 if self.lab.quick else max(4, 4 * 60_000 // self.lab.train.n // 2)
        leader = self.leader(seed)[0]
        make = lambda: {"phi": pretrain(leader, self.split(seed)[0], epochs=epochs, seed=seed)}  # noqa: E731
        return torch.as_tensor(self.lab.kept(f"autoencoder, seed {seed}", make)["phi"])

    def rule(self, variant: Variant) -> TGDA:
        """The game's settings."""
        size, settings = self.size, dict(variant.changes)
        if self.lab.quick:
            settings["follower_steps"] = min(2, settings.get("follower_steps", 2))
        epochs = max(1, round(variant.share * size.epochs))
        solver = CG(maxiter=size.cg)
        return TGDA(epochs, rule="adam", leader_step=size.step, batch_size=size.batch, solver=solver, **settings)

    def game(self, name: str, seed: int) -> dict[str, Any]:
        """A game to its end."""
        variant, clean = VARIANTS[name], self.lab.clean(seed)
        rule = self.rule(variant)

        def make() -> dict[str, Any]:
            leader, seeds = self.leader(seed)
            phi = self.autoencoder(seed) if variant.pretrained else leader.current
            train, validation = self.split(seed)
            began = time.process_time()
            game = rule.run(self.lab.risk, clean.w, train, validation, leader, phi, seeds, seed=seed)
            return {
                "X": game.poison.X, "y": seeds.y, "seconds": time.process_time() - began, "memory": game.memory,
                "residual": np.nanmean(game.history["residual"]),
                "indefinite": np.nanmean(game.history["negative_curvature"]),
                "moved": float((game.w - clean.w).norm() / clean.w.norm()),
            }  # fmt: skip

        return self.lab.kept(f"game {name}, {rule}, seed {seed}", make)

    def row(self, name: str, seeds: int) -> list[str]:
        """A line: means and standard deviations over seeds."""
        lab, cells = self.lab, [self.cell(name, seed) for seed in range(seeds)]
        column = {key: np.array([cell[key] for cell in cells]) for key in cells[0]}
        thesis = PAPER[lab.model].get(name) or VARIANTS[name].paper
        game = ["-"] * 4
        if name != "flip":
            numbers = [f"{np.mean(column[key]):.2g}" for key in ("residual", "indefinite", "moved")]
            game = [f"{self.rule(VARIANTS[name]).epochs}", *numbers]
        times = f"{np.mean(column['game_s']):.0f}, {np.mean(column['learner_s']):.0f}"
        return [
            lab.model, name, spread(column["clean"], 2, 100), spread(column["accuracy"], 2, 100),
            spread(column["drop"], 2, 100), thesis, *game, str(seeds), times, f"{np.max(column['memory']):.0f}",
        ]  # fmt: skip

    def cell(self, name: str, seed: int) -> dict[str, float]:
        """What one game, or the label flips, do to another seed."""
        before = self.lab.clean(victim(seed))
        found: dict[str, Any] = {} if name == "flip" else self.game(name, seed)
        after = self.learned(name, seed)
        numbers = {key: float(found.get(key, np.nan)) for key in ("residual", "indefinite", "moved", "memory")}
        return numbers | {
            "clean": before.accuracy, "accuracy": after.accuracy, "drop": before.accuracy - after.accuracy,
            "game_s": float(found.get("seconds", 0.0)), "learner_s": after.seconds,
        }  # fmt: skip

    def learned(self, name: str, seed: int) -> Clean:
        """From clean rows and the poison."""
        lab = self.lab
        if name == "flip":
            return lab.learn(f"flip, from {seed}", victim(seed), lambda: self.flipped(seed))
        found, key = self.game(name, seed), f"{name}, {self.rule(VARIANTS[name])}, from {seed}"
        return lab.learn(key, victim(seed), lambda: Sample(torch.as_tensor(found["X"]), found["y"]))

    def flipped(self, seed: int) -> Sample:
        """The baseline: 9 - y."""
        poison = flip_labels(self.lab.train, EPSILON, classes=10, seed=seed)
        return Sample(poison.X, poison.y)


def main(argv: Sequence[str] | None = None) -> int:
    """Play, learn, and write the tables."""
    parser = options(__doc__)
    parser.add_argument("--games", nargs="+", choices=["flip", *VARIANTS], metavar="NAME", help="lines of the table")
    parser.add_argument("--subset", type=int, metavar="N", help="training rows (default: all)")
    parser.add_argument("--name", default="tgda", help="of the table (default: %(default)s)")
    for name, kind in (("epochs", int), ("cg", int), ("step", float), ("batch", int)):
        parser.add_argument(f"--{name}", type=kind, help="instead of that in SIZES")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    own = {name: getattr(given, name) for name in ("epochs", "cg", "step", "batch") if getattr(given, name) is not None}
    rows = []
    for model in given.models:
        size = Size(1, 2, batch=70) if given.quick else replace(SIZES[model], **own)
        table = Table(Lab(model, given.out, given.quick, given.subset), size)
        for name in given.games or ["flip", "main"]:
            rows.append(table.row(name, given.seeds if name in ("flip", "main") else 1))
            write(given.out, name_of(given.name, given.models), HEADER, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
