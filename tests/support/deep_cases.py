"""Small rows, models and networks that the tests of `deep` share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from deep import TorchRisk
from linpoison.losses import make_loss
from linpoison.risk import LinearRisk, Sample

nn = torch.nn
torch.set_num_threads(1)


def binary(n: int = 30, d: int = 4, seed: int = 0) -> Sample:
    """Two overlapping classes, labels in {-1, +1}."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return Sample(X, np.where(X @ rng.normal(size=d) + rng.normal(size=n) > 0, 1.0, -1.0))


def several(n: int = 30, d: int = 4, classes: int = 3, seed: int = 0) -> Sample:
    """Overlapping classes, labels from 0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = (X @ rng.normal(size=(d, classes)) + rng.normal(size=(n, classes))).argmax(axis=1)
    y[:classes] = np.arange(classes)
    return Sample(X, y)


def images(n: int = 9, classes: int = 3, seed: int = 0) -> Sample:
    """Images of one channel and 6 x 6 pixels."""
    rng = np.random.default_rng(seed)
    return Sample(rng.uniform(size=(n, 1, 6, 6)), rng.integers(classes, size=n))


def seeded(build: Any, seed: int = 0) -> Any:
    """A module in float64, from a seed, without touching the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().double()


def mlp(d: int = 4, outputs: int = 3, width: int = 5) -> Any:
    return seeded(lambda: nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, outputs)))


def conv(classes: int = 3) -> Any:
    def build() -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, classes)
        )

    return seeded(build)


def linear_pair(loss: str, *, bias: bool = True, reg: float = 0.1, penalize: bool = True, d: int = 4) -> tuple:
    """The same linear model in numpy and in torch, with rows: `loss` is a margin loss or a number of classes."""
    margin = not loss.isdigit()
    outputs = 1 if margin else int(loss)
    layer = seeded(lambda: nn.Linear(d, outputs, bias=bias))
    ours = LinearRisk(make_loss(loss) if margin else outputs, reg, fit_intercept=bias, penalize_intercept=penalize)
    theirs = TorchRisk(layer, loss if margin else "cross_entropy", reg, penalize_intercept=penalize, chunk=7)
    return ours, theirs, binary() if margin else several(classes=outputs)


def trained_by_adam(module: Any, dataset: Any, seed: int) -> Any:
    """A training function."""
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(dataset.tensors[0]), dataset.tensors[1]).backward()
        optimiser.step()
    return module


def vectors(size: int, count: int = 2, seed: int = 5) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size) for _ in range(count)]


def slope(function: Any, at: Any, along: Any, h: float = 1e-5) -> Any:
    """Central difference of fourth order."""
    near = function(at + h * along) - function(at - h * along)
    far = function(at + 2 * h * along) - function(at - 2 * h * along)
    return (8 * near - far) / (12 * h)
