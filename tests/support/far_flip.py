"""An attack of someone else, as the how-to page has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from linpoison import Poison
from linpoison.attacks import Attack
from linpoison.attacks.ranking import candidate


@dataclass(frozen=True)
class FarFlip(Attack):
    """Copies of the clean row that lies farthest from the mean of its class, with the other label."""

    name: ClassVar[str] = "far-flip"
    finalists: int = 1

    def _search(self, scenario, run):
        X, y = scenario.train.X, scenario.train.y
        means = {label: X[y == label].mean(axis=0) for label in (-1.0, 1.0)}
        farthest = np.argmax([np.linalg.norm(row - means[label]) for row, label in zip(X, y, strict=True)])
        poison = Poison(X[[farthest]], [-y[farthest]], [scenario.n_poison])
        return [candidate(run.started, scenario, poison, label="the farthest row, flipped")]
