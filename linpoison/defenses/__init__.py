"""The five data sanitisation defences, scikit-learn and imbalanced-learn style."""

from __future__ import annotations

from ..core.errors import InputError
from ..losses import Problem
from .base import Defense
from .knn import KNNDefense
from .l2 import L2Defense
from .loss import LossDefense
from .sanitized import SanitizedClassifier
from .slab import SlabDefense
from .svd import SVDDefense

DEFENSES: dict[str, type[Defense]] = {
    "l2": L2Defense,
    "slab": SlabDefense,
    "loss": LossDefense,
    "svd": SVDDefense,
    "knn": KNNDefense,
}


def make_defense(name: str, *, remove: float = 0.05, variant: str = "paper", problem: Problem | None = None) -> Defense:
    """The defence of a name.

    Parameters
    ----------
    name : str
        One of `DEFENSES`.
    remove : float, default 0.05
        Fraction of each class that is dropped.
    variant : {"paper", "reference"}, default "paper"
    problem : Problem, optional
        What the model of the loss defence minimises.

    Examples
    --------
    >>> make_defense("slab", remove=0.1)
    SlabDefense(remove=0.1)
    """
    if name not in DEFENSES:
        raise InputError(f"a defence among {', '.join(DEFENSES)}", repr(name))
    if name == "loss":
        return LossDefense(remove, variant, problem)
    return DEFENSES[name](remove, variant)


__all__ = [
    "DEFENSES",
    "Defense",
    "KNNDefense",
    "L2Defense",
    "LossDefense",
    "SVDDefense",
    "SanitizedClassifier",
    "SlabDefense",
    "make_defense",
]
