"""What an update of TGDA costs beside the derivatives that it is made of: logistic regression, NN and CNN.

    python benchmarks/tgda_update.py [--models lr nn cnn] [--repeat 7] [--cg 16] [--quick]

An update is one leader step and 20 follower steps on a batch of 1000 training rows, 30 poison rows and 429 validation
rows, on generated images of MNIST's size. Its parts are measured one by one on the same rows: the gradients of the
follower, that of the validation loss, products with the Hessian (as many as conjugate gradients took, one for the
mean curvature and one for the residual), the mixed product, and the attacker's network forth (twice) and back. "ratio"
is the CPU time of the update, all that happens between two of them included, over the sum of its parts; medians over
repeats in which the two take turns. "equivalents" is the same sum in gradients of the follower.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deep import LeaderNetwork, TorchRisk, make_model
from deep.models import DenseLeader
from linpoison.attacks.gradient import TGDA
from linpoison.risk import CG, Sample, hessian

SHAPE = (1, 28, 28)
MODELS = ("lr", "nn", "cnn")
FOLLOWER_STEPS = 20


@dataclass(frozen=True, eq=False)
class Scene:
    """A model, its rows, and the attacker."""

    risk: TorchRisk
    train: Sample
    validation: Sample
    seeds: Sample
    leader: LeaderNetwork


def scene(model: str, quick: bool) -> Scene:
    """Generated images; small ones with `quick`."""
    shape, n = ((1, 8, 8), 100) if quick else (SHAPE, 1000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, attacker = make_model(model, shape, 10).float(), DenseLeader(shape, 10).float()
    rng = np.random.default_rng(0)
    risk = TorchRisk(module, chunk=5000)
    train, validation, seeds = (
        Sample(risk.rows(rng.uniform(size=(k, *shape))), rng.integers(10, size=k))
        for k in (n, 3 * n // 7, n * 3 // 100)
    )
    return Scene(risk, train, validation, seeds, LeaderNetwork(attacker, seeds))


def updates(scene: Scene, rule: TGDA) -> tuple[list[float], float]:
    """Seconds from one update to the next, and the products with the Hessian in each."""
    times: list[float] = []
    game = rule.play(
        scene.risk, scene.risk.current, scene.train, scene.validation, scene.leader, scene.leader.current, scene.seeds,
        progress=lambda epoch, loss: times.append(time.process_time()),
    )  # fmt: skip
    return list(np.diff(times)), float(np.mean(game.history["iterations"])) + 2


def parts(scene: Scene, products: float) -> dict[str, tuple[float, Callable[[], Any]]]:
    """What an update is made of: how often, and what."""
    risk, w, leader = scene.risk, scene.risk.current, scene.leader
    made = Sample(leader.points(leader.current), scene.seeds.y)
    both, judged = scene.train.joined(made, risk), scene.validation
    product = hessian(risk, w, both)
    return {
        "gradient": (FOLLOWER_STEPS, lambda: risk.grad(w, both.X, both.y, both.weights)),
        "validation": (1, lambda: risk.data_grad(w, judged.X, judged.y, judged.weights)),
        "Hessian": (products, lambda: product(w)),
        "mixed": (1, lambda: risk.mixed_product(w, made.X, made.y, w)),
        "forth": (2, lambda: leader.points(leader.current)),
        "back": (1, lambda: leader.vjp(leader.current, made.X)),
    }


def seconds(call: Callable[[], Any], times: int = 3) -> float:
    """CPU seconds of a call, a median."""
    found = []
    for _ in range(times):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return float(np.median(found))


def measure(model: str, repeat: int, steps: int, quick: bool = False) -> dict[str, float]:
    """Medians of one model: seconds of an update, of each part, and the ratio."""
    here = scene(model, quick)
    rule = TGDA(epochs=3, batch_size=here.train.n, solver=CG(maxiter=steps))
    rows = []
    for _ in range(repeat):
        times, products = updates(here, rule)
        own = {name: (count, seconds(call)) for name, (count, call) in parts(here, products).items()}
        total = sum(count * each for count, each in own.values())
        row = {"update": float(np.median(times)), "sum": total, "products": products}
        row |= {"ratio": row["update"] / total, "equivalents": total / own["gradient"][1]}
        rows.append(row | {name: each for name, (_, each) in own.items()})
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--cg", type=int, default=16, help="steps of conjugate gradients (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="images of 8 x 8 pixels, 100 rows, one repeat")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    names = ["gradient", "validation", "Hessian", "mixed", "forth", "back"]
    print(f"| model | update ms | sum of parts ms | ratio | equivalents | products | {' ms | '.join(names)} ms |")
    print("|---" * (6 + len(names)) + "|")
    for model in given.models:
        found = measure(model, 1 if given.quick else given.repeat, given.cg, given.quick)
        row = [f"{1e3 * found['update']:.1f}", f"{1e3 * found['sum']:.1f}", f"{found['ratio']:.2f}"]
        row += [f"{found['equivalents']:.0f}", f"{found['products']:.0f}"]
        print(f"| {' | '.join([model, *row, *(f'{1e3 * found[name]:.2f}' for name in names)])} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
