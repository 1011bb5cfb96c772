"""Attacks by derivatives, each written once for every `Risk`: linear models in numpy and networks in torch.

Every one is one shape: a *parameter-space vector*, pushed through the *mixed derivative* of the loss, then a
*projection*.

`Canceler`
    poison that makes given parameters stationary.
`GradPC`, `Given`
    parameters to plant.
`FixedModelAttack`, `GradientMatching`
    gradient optimisation and influence; matched gradients.
`TGDA`
    poison against what a learner becomes, in turns with it: a `Game`.
`flip_labels`, `conflicting_rows`
    the baseline without any thought; long rows that no learner can fit.
"""

from .canceling import Canceler, Canceling
from .conflict import conflicting_rows
from .flips import flip_labels
from .matching import Crafted, FixedModelAttack, GradientMatching
from .targets import Given, GradPC
from .tgda import TGDA, Game

__all__ = [
    "TGDA",
    "Canceler",
    "Canceling",
    "Crafted",
    "FixedModelAttack",
    "Game",
    "Given",
    "GradPC",
    "GradientMatching",
    "conflicting_rows",
    "flip_labels",
]
