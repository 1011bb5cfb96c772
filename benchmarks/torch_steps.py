"""What do the steps of attacks on networks cost beside plain torch? TGDA, gradient canceling, Hessian, retraining.

    python benchmarks/torch_steps.py [--models lr nn cnn] [--repeat 5] [--cg 16] [--steps ...] [--quick]

For each model one table of four steps on generated images of MNIST's size, in float32 on the CPU: an update of TGDA
(one leader step through as many products with the Hessian as `--cg` says, 20 follower steps on 1000 training and 30
poison rows, 429 validation rows), a step of gradient canceling of 600 rows by Adam, one product with the Hessian
inside of a solve, and an epoch of retraining in 10 batches. "plain" is the same algorithm in some forty lines of torch
at the end of this file, which share no code with the library, on the same module and rows. "ratio" is the median over
repeats in which the two take turns: CPU seconds of the library's over those of plain torch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from deep import LeaderNetwork, SGDTrainer, TorchRisk, make_model
from deep.models import DenseLeader
from linpoison.attacks.gradient import TGDA, Canceler
from linpoison.risk import CG, Adam, Box, Sample, hessian

STEPS = ("TGDA update", "canceling step", "Hessian product", "retraining epoch")
FOLLOWER_STEPS = 20
DAMPING = 10.0
"""Of the Hessian: so much that conjugate gradients take all of their steps on a network too."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A model, its rows, and the attacker."""

    model: str
    cg: int
    rows: int
    quick: bool

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8) if self.quick else (1, 28, 28)

    @cached_property
    def module(self) -> Any:
        return made(lambda: make_model(self.model, self.shape, 10))

    @cached_property
    def risk(self) -> TorchRisk:
        return TorchRisk(self.module, chunk=2048)

    @cached_property
    def leader(self) -> LeaderNetwork:
        return LeaderNetwork(made(lambda: DenseLeader(self.shape, 10)), self.seeds)

    def game(self, epochs: int, **options: Any) -> tuple[Any, Any]:
        """The follower and the attacker after so many updates of TGDA."""
        rule = TGDA(
            epochs=epochs, batch_size=None, follower_steps=FOLLOWER_STEPS, solver=CG(0.0, DAMPING, self.cg, 0.0)
        )
        start = self.risk.current, self.train, self.validation, self.leader, self.leader.current, self.seeds
        found = rule.play(self.risk, *start, **options)
        return found.w, found.phi

    def sample(self, count: int, seed: int) -> Sample:
        """Generated rows: so many where there are 1000 to train on."""
        rng = np.random.default_rng(seed)
        count = count * self.rows // 1000
        return Sample(self.risk.rows(rng.uniform(size=(count, *self.shape))), rng.integers(10, size=count))

    @cached_property
    def train(self) -> Sample:
        return self.sample(1000, 0)

    @cached_property
    def validation(self) -> Sample:
        return self.sample(429, 1)

    @cached_property
    def seeds(self) -> Sample:
        return self.sample(30, 2)


def made(build: Callable[[], Any]) -> Any:
    """A module in float32 from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().float()


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def inside(risk: TorchRisk, call: Callable[[], Any]) -> float:
    """CPU seconds of a call inside of the state of a solve."""
    with risk.steady():
        return repeated(call)


def repeated(call: Callable[[], Any], times: int = 10) -> float:
    """CPU seconds of a call, a mean."""
    return seconds(lambda: [call() for _ in range(times)]) / times


def between(run: Callable[[Callable[[int, float], None]], Any]) -> float:
    """CPU seconds from one report of progress to the next, a median."""
    ticks: list[float] = []
    run(lambda step, value: ticks.append(time.process_time()))
    return float(np.median(np.diff(ticks)))


def ours(scene: Scene) -> dict[str, Callable[[], float]]:
    """CPU seconds of each step of the library."""
    risk, w = scene.risk, scene.risk.current
    poison = scene.sample(600, 3)
    descent = Canceler(Adam(steps=3), Box(0.0, 1.0))
    products = hessian(risk, w, scene.train)
    learner = SGDTrainer(epochs=3, batch_size=max(scene.train.n // 10, 1))
    return {
        "TGDA update": lambda: between(lambda progress: scene.game(2, progress=progress)),
        "canceling step": lambda: between(
            lambda progress: descent.cancel(risk, w, scene.train, 0.6, start=poison, progress=progress)
        ),
        "Hessian product": lambda: inside(risk, lambda: products(w)),
        "retraining epoch": lambda: between(lambda progress: learner.fit(risk, scene.train, progress=progress)),
    }


def plain(scene: Scene) -> dict[str, Callable[[], float]]:
    """CPU seconds of the same steps in plain torch."""
    module, leader = scene.module, scene.leader.module
    X, V, S, P = (
        (s.X, torch.as_tensor(s.y)) for s in (scene.train, scene.validation, scene.seeds, scene.sample(600, 3))
    )
    parameters = list(module.parameters())
    kept = gradient(module, *X, parameters, create_graph=True)
    clean = gradient(module, *X, parameters)
    state = adam_state(P[0])
    return {
        "TGDA update": lambda: seconds(lambda: plain_update(deepcopy(module), deepcopy(leader), X, V, S, scene.cg)),
        "canceling step": lambda: repeated(lambda: plain_canceling(module, clean, 0.6, *P, state), 2),
        "Hessian product": lambda: repeated(lambda: product_with(kept, parameters, parameters)),
        "retraining epoch": lambda: seconds(lambda: plain_epoch(deepcopy(module), *X, max(len(X[0]) // 10, 1))),
    }


# ---------------------------------------------------------------------------------------- plain torch, nothing of ours


def gradient(module: Any, x: Any, y: Any, parameters: list[Any], **options: Any) -> Any:
    return torch.autograd.grad(torch.nn.functional.cross_entropy(module(x), y), parameters, **options)


def product_with(slopes: Any, parameters: list[Any], vector: Any) -> Any:
    return torch.autograd.grad(slopes, parameters, grad_outputs=[v.detach() for v in vector], retain_graph=True)


def dot(one: Any, other: Any) -> Any:
    return sum((a * b).sum() for a, b in zip(one, other, strict=True))


def plain_update(module: Any, leader: Any, train: Any, validation: Any, seeds: Any, steps: int) -> None:
    w, phi = list(module.parameters()), list(leader.parameters())
    b = gradient(module, *validation, w)
    rows = leader(*seeds)
    slopes = gradient(
        module, torch.cat([train[0], rows]), torch.cat([train[1], seeds[1]]), w, create_graph=True
    )  # one graph for all products
    x, r, p = [torch.zeros_like(v) for v in b], list(b), list(b)
    squared = dot(r, r)
    for _ in range(steps):
        product = [h + DAMPING * d for h, d in zip(product_with(slopes, w, p), p, strict=True)]
        length = squared / dot(p, product)
        x = [v + length * d for v, d in zip(x, p, strict=True)]
        r = [v - length * d for v, d in zip(r, product, strict=True)]
        squared, before = dot(r, r), squared
        p = [v + (squared / before) * d for v, d in zip(r, p, strict=True)]
    up = torch.autograd.grad(slopes, phi, grad_outputs=x)
    with torch.no_grad():
        for v, d in zip(phi, up, strict=True):
            v -= 0.01 * d
        both, labels = torch.cat([train[0], leader(*seeds)]), torch.cat([train[1], seeds[1]])
    for _ in range(FOLLOWER_STEPS):
        slope = gradient(module, both, labels, w)
        with torch.no_grad():
            for v, d in zip(w, slope, strict=True):
                v -= 0.1 * d


def adam_state(rows: Any) -> tuple[Any, Any]:
    moved = rows.clone().requires_grad_()
    return moved, torch.optim.Adam([moved], lr=0.1)


def plain_canceling(module: Any, clean: Any, epsilon: float, rows: Any, y: Any, state: Any) -> None:
    moved, rule = state
    slopes = gradient(module, moved, y, list(module.parameters()), create_graph=True)
    residual = 0.5 * sum(((g + epsilon * s) ** 2).sum() for g, s in zip(clean, slopes, strict=True))
    (moved.grad,) = torch.autograd.grad(residual, [moved])
    rule.step()
    with torch.no_grad():
        moved.clamp_(0.0, 1.0)


def plain_epoch(module: Any, X: Any, y: Any, size: int) -> None:
    rule = torch.optim.SGD(module.parameters(), lr=0.1)
    for part in torch.randperm(len(X)).split(size):
        rule.zero_grad()
        torch.nn.functional.cross_entropy(module(X[part]), y[part]).backward()
        rule.step()


# --------------------------------------------------------------------------------------------------------------------


def measure(scene: Scene, repeat: int, steps: Sequence[str] = STEPS) -> Iterator[tuple[str, float, float, float]]:
    """Of each step its name, milliseconds of ours and of plain torch, and the ratio: medians over repeats."""
    one, other = ours(scene), plain(scene)
    for name in steps:
        pairs = np.array([(one[name](), other[name]()) for _ in range(repeat)])
        yield name, *(1e3 * np.median(pairs, axis=0)), float(np.median(pairs[:, 0] / np.maximum(pairs[:, 1], 1e-9)))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["lr", "nn", "cnn"], help="see deep.models (default: lr nn cnn)")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cg", type=int, default=16, help="steps of conjugate gradients (default: %(default)s)")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="those to measure (default: all)")
    parser.add_argument("--rows", type=int, default=1000, help="to train on (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="images of 8 x 8 pixels, 100 rows, one repeat")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    print("| model | step | ours ms | plain ms | ratio |\n|---|---|---|---|---|")
    for model in given.models:
        scene = Scene(model, given.cg, 100 if given.quick else given.rows, given.quick)
        for name, mine, theirs, ratio in measure(scene, 1 if given.quick else given.repeat, given.steps):
            print(f"| {model} | {name} | {mine:.2f} | {theirs:.2f} | {ratio:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
