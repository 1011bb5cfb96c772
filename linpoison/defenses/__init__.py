"""Data sanitisation defences, scikit-learn and imbalanced-learn style.

`DEFENSES` are the five of Koh et al., fitted once, and `DuplicatesDefense`. `TRIM`, `SEVER`, `InfluenceDefense` and
`RONI` train models, of the linear core or of any `RowLearner`; `SpectralSignatures` and `ActivationClustering` look at
a representation, which may be that of a `RowLearner`. `deep.RiskLearner` is a `RowLearner` around any torch module, so
every defence here takes networks by the same argument.

`TrustedDefense` fits a defence on trusted rows, `NormClipper` pulls far rows in, `MaxUp` is a way to train: none has a
quota that poison could overrun, as `class_exposures` tells of the others.
"""

from __future__ import annotations

from ..core.errors import InputError
from ..losses import Problem
from .base import Defense
from .clipping import NormClipper
from .duplicates import DuplicatesDefense
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
from .trusted import TrustedDefense

DEFENSES: dict[str, type[Defense]] = {
    "l2": L2Defense,
    "slab": SlabDefense,
    "loss": LossDefense,
    "svd": SVDDefense,
    "knn": KNNDefense,
    "duplicates": DuplicatesDefense,
}


def make_defense(name: str, *, remove: float = 0.05, variant: str = "paper", problem: Problem | None = None) -> Defense:
    """The defence of a name.

    Parameters
    ----------
    name : str
        One of `DEFENSES`.
    remove : float, default 0.05
        Fraction of each class that is dropped; `duplicates` drops by rule.
    variant : {"paper", "reference"}, default "paper"
    problem : Problem, optional
        What the model of the loss defence minimises.

    Examples
    --------
    >>> make_defense("slab", remove=0.1)
    SlabDefense(remove=0.1)
    """
    if not isinstance(name, str) or name not in DEFENSES:
        raise InputError(f"a defence among {', '.join(DEFENSES)}", repr(name))
    return DEFENSES[name].made(remove, variant, problem)


__all__ = [
    "DEFENSES",
    "RONI",
    "SEVER",
    "TRIM",
    "ActivationClustering",
    "ClassExposure",
    "Defense",
    "DuplicatesDefense",
    "InfluenceDefense",
    "KNNDefense",
    "L2Defense",
    "LinearRowLearner",
    "LossDefense",
    "MaxUp",
    "NormClipper",
    "ProductModel",
    "RowLearner",
    "RowModel",
    "SVDDefense",
    "SanitizedClassifier",
    "SlabDefense",
    "SpectralSignatures",
    "TrustedDefense",
    "class_exposures",
    "make_defense",
]
