"""Attacks whose aim is one group: rows to hurt, and others to spare."""

from .base import Directed, GroupAttack
from .convex import ConvexAttack, GroupDecoy, group_decoys, undominated
from .cross_fitted import CrossFit, CrossFitted, CrossFittedAttack, Score, most_damaging
from .flips import GroupFlips, LabelFlip
from .joint import JointAttack, JointPlan, Stage, plant_jointly
from .moved import MovedFlips, gradient_optimization, influence
from .planted import PlantedDecoy, Recipe

__all__ = [
    "ConvexAttack",
    "CrossFit",
    "CrossFitted",
    "CrossFittedAttack",
    "Directed",
    "GroupAttack",
    "GroupDecoy",
    "GroupFlips",
    "JointAttack",
    "JointPlan",
    "LabelFlip",
    "MovedFlips",
    "PlantedDecoy",
    "Recipe",
    "Score",
    "Stage",
    "gradient_optimization",
    "group_decoys",
    "influence",
    "most_damaging",
    "plant_jointly",
    "undominated",
]
