"""Gradient canceling on MNIST with targets of GradPC (Lu, Kamath, Yu 2023; Tables 2.2 and 3.1 of Lu's thesis).

    LINPOISON_DATA=FOLDER python experiments/limits/canceling.py --out DIR [--models lr nn cnn] [--seeds 3] [--quick]

For each seed: the attacker sees what it learns from clean rows, takes the parameters that GradPC finds in a ball
around it, and cancels the gradient there, with all parameters of the network. Another seed then learns from scratch on
clean rows and poison; drops are against what it learns from clean rows alone.

Logistic regression: rows start from labels 9 - y; pixels anywhere, or in [0, 1]. Networks: rows are pictures with all
ten labels, which stay tied ("tied") and on a sphere; they start as `conflicting_rows`. "start" is no descent at all.

"threshold" is the least budget with which the last layer of the target can be stationary, necessary but not
sufficient for several classes. "residual" is |r| with the poison / without / the least possible with this budget for
the last layer. "distance" is |w_r - w_t| / |w_c - w_t|, with w_r of the other seed: networks of two seeds are far
apart whatever the poison. Clean images have norm 9.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from limits_lab import Clean, Lab, name_of, options, spread, victim, write

from deep import TorchRisk
from linpoison.attacks.gradient import Canceler, GradPC, conflicting_rows, flip_labels
from linpoison.risk import Adam, Box, Everywhere, Projection, Sample, Sphere, Tied, accuracy, reachability
from linpoison.risk import relative_distance as distance

TGDA = {"lr": 2.79, "nn": 1.50, "cnn": 1.11}
"""Drops of TGDA in Table 2.2, in points: what gradient canceling should reach."""

GRADPC = {"lr": "69.80, 21.48", "nn": "76.51, 31.14", "cnn": "73.24, 12.98"}
"""Accuracy of the targets of Table 3.1, eps_w 0.5 and 1."""


@dataclass(frozen=True)
class Plan:
    """How a model is attacked: length of the step to the target, distinct poison rows, and their descent."""

    radius: float
    rows: int
    descent: Adam
    target_rows: int
    cells: tuple[tuple[str, float, int], ...]
    """Pixels, budget and number of seeds."""
    scale: float = 0.0
    """0: start from clean rows. Else from rows of label 9 - y, multiplied by this (by 1 where pixels are in a box)."""
    conflict: float = 0.0
    """Length of rows that start in conflict, and stay on that sphere. Clean images have norm 9."""

    def __str__(self) -> str:
        start = f", {self.scale:g}" if self.scale else f", conflict {self.conflict:g}" if self.conflict else ""
        return f"{self.radius:g}, {self.rows}, {self.descent}, {self.target_rows}{start}"

    def projection(self, pixels: str) -> Projection:
        """Where poison rows may lie."""
        if pixels == "tied":
            return Tied(10, Sphere(self.conflict))
        return Box(0.0, 1.0) if pixels == "box" else Everywhere()


CELLS = (("tied", 0.03, 3), ("start", 0.03, 1))

PLANS = {
    "lr": Plan(
        2.0, 1800, Adam(step=0.1, steps=300), 60_000,
        (("free", 0.03, 3), ("start", 0.03, 1), ("box", 0.03, 1)), 3.0,
    ),
    "nn": Plan(1.0, 1800, Adam(step=1.0, steps=120), 60_000, CELLS, conflict=1000.0),
    "cnn": Plan(1.0, 600, Adam(step=4.0, steps=150), 10_000, CELLS, conflict=3000.0),
}  # fmt: skip

HEADER = (
    "model", "clean", "target: radius (relative), accuracy", "threshold", "budget", "pixels", "residual", "distance",
    "accuracy", "drop", "drop of TGDA in Table 2.2", "norm of rows", "seeds", "CPU s: target, attack, learner", "MiB",
)  # fmt: skip
RADII = ("model", "radius", "relative radius", "accuracy", "threshold", "paper: accuracy at eps_w 0.5, 1")


class Attacker:
    """One model under attack."""

    def __init__(self, lab: Lab, plan: Plan) -> None:
        self.lab, self.plan = lab, plan

    def target(self, seed: int, radius: float) -> dict[str, Any]:
        """What GradPC finds in a ball of an absolute radius, and what is known of it."""
        lab, plan = self.lab, self.plan
        clean = lab.clean(seed)

        def make() -> dict[str, Any]:
            began = time.process_time()
            rows = lab.train if plan.target_rows >= lab.train.n else lab.train.drawn(plan.target_rows, seed)
            w = GradPC(radius=radius, steps=15).target(lab.risk, clean.w, rows)
            seconds = time.process_time() - began
            found = reachability(lab.risk, w, lab.train)
            relative = radius / float(clean.w.norm())
            measured = {"accuracy": accuracy(lab.risk, w, lab.test), "relative": relative, "seconds": seconds}
            return measured | {"w": w, "threshold": found.threshold}

        return lab.kept(f"target {radius:g}, {plan.target_rows}, seed {seed}", make)

    def start(self, seed: int, pixels: str, mass: int) -> Sample:
        """The rows from which the descent starts; labels and copies stay."""
        plan, clean = self.plan, self.lab.train
        if plan.conflict and pixels in ("tied", "start"):
            size = {"length": plan.conflict, "pictures": distinct(plan.rows, mass) // 10}
            return conflicting_rows(clean, mass / clean.n, classes=10, seed=seed, **size)
        rows = distinct(plan.rows, mass)
        found = flip_labels(clean, rows / clean.n, classes=10, seed=seed) if plan.scale else clean.drawn(rows, seed)
        scale = plan.scale if plan.scale and pixels != "box" else 1.0
        return Sample(scale * found.X, found.y, np.full(rows, mass // rows))

    def poison(self, seed: int, pixels: str, epsilon: float) -> dict[str, Any]:
        """Gradient canceling at the target."""
        lab, plan, target = self.lab, self.plan, torch.as_tensor(self.target(seed, self.plan.radius)["w"])

        def make() -> dict[str, Any]:
            began = time.process_time()
            mass = round(epsilon * lab.train.n)
            seeds = self.start(seed, pixels, mass)
            risk = TorchRisk(lab.risk.module_at(target), chunk=1000)
            rule = Canceler(plan.descent, plan.projection(pixels), tol=1e9 if pixels == "start" else 0.0)
            found = rule.cancel(risk, target, lab.train, mass / lab.train.n, start=seeds)
            lengths = found.poison.X.flatten(1).norm(dim=1)
            return {
                "X": found.poison.X, "y": found.poison.y, "copies": found.poison.mass, "residual": found.residual,
                "clean_residual": found.clean_residual, "bound": found.lower_bound, "memory": found.memory,
                "length": float(lengths.median()), "longest": float(lengths.max()),
                "seconds": time.process_time() - began,
            }  # fmt: skip

        return lab.kept(f"poison {pixels} {epsilon:g}, {plan}, seed {seed}", make)

    def learned(self, seed: int, pixels: str, epsilon: float) -> Clean:
        """What another seed learns."""

        def rows() -> Sample:
            found = self.poison(seed, pixels, epsilon)
            return Sample(torch.as_tensor(found["X"]), found["y"], found["copies"])

        return self.lab.learn(f"learned {pixels} {epsilon:g}, {self.plan}, from {seed}", victim(seed), rows)

    def row(self, pixels: str, epsilon: float, seeds: int) -> list[str]:
        """A line of the table: means and standard deviations over seeds."""
        lab, plan = self.lab, self.plan
        found = [self.cell(seed, pixels, epsilon) for seed in range(seeds)]
        column = {name: [cell[name] for cell in found] for name in found[0]}
        residual = " / ".join(f"{np.mean(column[name]):.3g}" for name in ("residual", "clean_residual", "bound"))
        seconds = ", ".join(f"{np.mean(column[name]):.0f}" for name in ("target_s", "attack_s", "learner_s"))
        target = f"{plan.radius:g} ({np.mean(column['relative']):.3f}), {spread(column['target'], 2, 100)}"
        lengths = f"median {np.mean(column['length']):.0f}, most {np.max(column['longest']):.0f}"
        return [
            lab.model, spread(column["clean"], 2, 100), target, spread(column["threshold"]), f"{epsilon:g}", pixels,
            residual, spread(column["distance"], 1), spread(column["accuracy"], 2, 100), spread(column["drop"], 2, 100),
            f"{TGDA[lab.model]:.2f}", lengths, str(seeds), seconds, f"{np.max(column['memory']):.0f}",
        ]  # fmt: skip

    def cell(self, seed: int, pixels: str, epsilon: float) -> dict[str, float]:
        """All numbers of one attack."""
        lab, target = self.lab, self.target(seed, self.plan.radius)
        found, learned = self.poison(seed, pixels, epsilon), self.learned(seed, pixels, epsilon)
        before = lab.clean(victim(seed))
        numbers = {name: float(found[name]) for name in ("residual", "clean_residual", "bound", "memory")}
        numbers |= {name: float(found[name]) for name in ("length", "longest")}
        w = torch.as_tensor(target["w"])
        return numbers | {
            "clean": before.accuracy, "accuracy": learned.accuracy, "drop": before.accuracy - learned.accuracy,
            "target": float(target["accuracy"]), "threshold": float(target["threshold"]),
            "relative": float(target["relative"]), "distance": distance(learned.w, w, lab.clean(seed).w),
            "target_s": float(target["seconds"]), "attack_s": float(found["seconds"]), "learner_s": learned.seconds,
        }  # fmt: skip


def distinct(most: int, mass: int) -> int:
    """The greatest number of distinct rows up to `most` that share `mass` copies evenly."""
    return next(rows for rows in range(min(most, mass), 0, -1) if mass % rows == 0)


def reached(attacker: Attacker, radii: Sequence[float]) -> list[list[str]]:
    """Lines of the table of targets, of seed 0."""
    lines = []
    for radius in radii:
        found = attacker.target(0, radius)
        numbers = f"{float(found['relative']):.3f}", f"{100 * float(found['accuracy']):.2f}"
        threshold = f"{float(found['threshold']):.3f}"
        lines.append([attacker.lab.model, f"{radius:g}", *numbers, threshold, GRADPC[attacker.lab.model]])
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Attack, learn again, and write the tables."""
    parser = options(__doc__)
    parser.add_argument("--radii", type=float, nargs="*", default=[0.2, 0.5, 1.0], help="of the table of targets")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows, targets = [], []
    for model in given.models:
        attacker = Attacker(Lab(model, given.out, given.quick), quick_plan() if given.quick else PLANS[model])
        for pixels, epsilon, seeds in attacker.plan.cells:
            rows.append(attacker.row(pixels, epsilon, min(seeds, given.seeds)))
            write(given.out, name_of("canceling", given.models), HEADER, rows)
        targets += reached(attacker, given.radii)
    write(given.out, name_of("targets", given.models), RADII, targets)
    return 0


def quick_plan() -> Plan:
    """A few steps on few rows."""
    return replace(
        PLANS["nn"], radius=0.3, rows=6, descent=Adam(step=0.5, steps=20), cells=(("free", 0.03, 1), ("box", 0.1, 1))
    )


if __name__ == "__main__":
    sys.exit(main())
