"""Attacks by derivatives, each written once for every `Risk`: linear models in numpy and networks in torch.

Those that are an `Attack` run on a `Scenario` of any learner that offers a view of its risk, as the linear ones and
`deep.NetworkLearner` do; what they do on rows and parameters by hand is a method of theirs.

Every one is one shape: a *parameter-space vector*, pushed through the *mixed derivative* of the loss, then a
*projection*.

`Canceler`
    poison that makes given parameters stationary.
`GradPC`, `Given`, `Relabeled`
    parameters to plant.
`AlternatingMinMax`
    rows of greatest loss, planted by turns with steps of the model.
`FixedModelAttack`, `GradientMatching`
    gradient optimisation and influence; matched gradients.
`TGDA`, `SpectralCap`
    poison against what a learner becomes, in turns with it: a `Game`.
`BackGradient`, `MetaPoison`
    poison through the steps of one training, and through a few steps of an ensemble of models of all ages.
`flip_labels`, `conflicting_rows`
    the baseline without any thought; long rows that no learner can fit.
"""

from .alternating import AlternatingMinMax
from .canceling import Canceler, Canceling
from .flips import conflicting_rows, flip_labels
from .matching import Crafted, FixedModelAttack, GradientMatching
from .source import Pixels, Source
from .spectral_cap import SpectralCap
from .targets import Given, GradPC, Relabeled
from .tgda import TGDA, Game
from .through_training import BackGradient, MetaPoison

__all__ = [
    "TGDA",
    "AlternatingMinMax",
    "BackGradient",
    "Canceler",
    "Canceling",
    "Crafted",
    "FixedModelAttack",
    "Game",
    "Given",
    "GradPC",
    "GradientMatching",
    "MetaPoison",
    "Pixels",
    "Relabeled",
    "SpectralCap",
    "Source",
    "conflicting_rows",
    "flip_labels",
]
