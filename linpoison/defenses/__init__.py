"""Data sanitisation defences, scikit-learn and imbalanced-learn style.

`DEFENSES` has those that need rows and a learner only, by name: the five of Koh et al., fitted once, which are the
`DEFAULTS`, `DuplicatesDefense`, and those that follow but `RONI`, which needs trusted rows. `TRIM`, `SEVER`,
`InfluenceDefense` and `RONI` train models, of the linear core or of any `RowLearner`; `SpectralSignatures` and
`ActivationClustering` look at a representation, which may be that of a `RowLearner`. `deep.RiskLearner` is a
`RowLearner` around any torch module, so every defence here takes networks by the same argument.

`TrustedDefense` fits a defence on trusted rows, `NormClipper` pulls far rows in, `MaxUp` is a way to train: none has a
quota that poison could overrun, as `class_exposures` tells of the others.
"""

from __future__ import annotations

from typing import Any

from ..core.plugins import find
from ..losses import Problem
from .adapters import DetectorDefense, SamplerDefense, as_defense
from .base import Defense
from .clipping import NormClipper
from .combined import AllOf, RangeDefense
from .duplicates import DuplicatesDefense, distinct_rows, least_gap
from .exposure import ClassExposure, class_exposures
from .knn import KNNDefense
from .l2 import L2Defense
from .learned import LinearRowLearner, ProductModel, RowLearner, RowModel
from .loss import LossDefense
from .maxup import MaxUp
from .refitting import RONI, SEVER, TRIM, InfluenceDefense
from .sanitized import SanitizedClassifier
from .slab import SlabDefense
from .spectral import ActivationClustering, SpectralSignatures
from .svd import SVDDefense
from .trial import tried
from .trusted import TrustedDefense

DEFENSES: dict[str, type[Defense]] = {
    "l2": L2Defense,
    "slab": SlabDefense,
    "loss": LossDefense,
    "svd": SVDDefense,
    "knn": KNNDefense,
    "duplicates": DuplicatesDefense,
    "trim": TRIM,
    "sever": SEVER,
    "self-influence": InfluenceDefense,
    "spectral": SpectralSignatures,
    "clusters": ActivationClustering,
}
"""Every defence that needs no more than rows and a learner, by name."""


DEFAULTS = ("l2", "slab", "loss", "svd", "knn")
"""The defences that an audit has unless it is told which."""


def make_defense(
    name: str, *, remove: float = 0.05, variant: str = "paper", problem: Problem | RowLearner | None = None
) -> Defense:
    """The defence of a name.

    Parameters
    ----------
    name : str
        One of `DEFENSES`, one that another package registers under the entry points ``linpoison.defenses`` (a class,
        or an object that `as_defense` takes), or a `Named` object.
    remove : float, default 0.05
        Fraction of each class that is dropped; `duplicates` drops by rule.
    variant : {"paper", "reference"}, default "paper"
    problem : Problem or RowLearner, optional
        What the model of a defence that trains one minimises, or who trains it.

    Examples
    --------
    >>> make_defense("slab", remove=0.1)
    SlabDefense(remove=0.1)
    """
    known = find_defense(name)
    if isinstance(known, type):
        known = known.made(remove, variant, problem) if hasattr(known, "made") else known()
    return as_defense(known, remove)


def find_defense(name: str) -> Any:
    """What stands behind a name: a class, or an object; see `linpoison.core.plugins.find`."""
    return find("defenses", name, DEFENSES, "a defence")


__all__ = [
    "DEFAULTS",
    "DEFENSES",
    "RONI",
    "SEVER",
    "TRIM",
    "ActivationClustering",
    "AllOf",
    "ClassExposure",
    "Defense",
    "DetectorDefense",
    "DuplicatesDefense",
    "InfluenceDefense",
    "KNNDefense",
    "L2Defense",
    "LinearRowLearner",
    "LossDefense",
    "MaxUp",
    "NormClipper",
    "ProductModel",
    "RangeDefense",
    "RowLearner",
    "RowModel",
    "SVDDefense",
    "SamplerDefense",
    "SanitizedClassifier",
    "SlabDefense",
    "SpectralSignatures",
    "TrustedDefense",
    "as_defense",
    "class_exposures",
    "distinct_rows",
    "find_defense",
    "least_gap",
    "make_defense",
    "tried",
]
