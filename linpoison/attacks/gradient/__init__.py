"""Attacks by derivatives, each written once for every `Risk`: linear models in numpy and networks in torch.

Those that are an `Attack` run on a `Scenario` of any learner that offers a view of its risk, as the linear ones and
`deep.NetworkLearner` do; what they do on rows and parameters by hand is a method of theirs.

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
from .source import Pixels, Source
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
    "Pixels",
    "Source",
    "conflicting_rows",
    "flip_labels",
]
