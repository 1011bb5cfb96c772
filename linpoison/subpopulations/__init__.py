"""Subpopulations: who is in one, attacks on one, and what an attack does to it and to everybody else."""

from .columns import ColumnMatch, column_numbers
from .convex_attack import ConvexAttack, Planted
from .cross_fitted import CrossFittedAttack, Recipe
from .crossfit import CrossFit, Score, most_damaging
from .damage import Damage, Estimate, correctness, measure_damage, paired_interval
from .decoys import Aim, GroupDecoy, group_decoys
from .joint_program import JointPlan, Stage, plant_jointly
from .least_budget import BudgetLadder, BudgetRung, least_budgets
from .mapping import GroupMap, group_map
from .matching import ClusterMatch, FeatureMatch, Matcher, Subpopulation
from .poisoning import LabelFlip, MovedFlips, SubpopulationAttack, gradient_optimization, influence, poison_count
from .population import Parts, Population, three_parts
from .row_ascent import climb_rows
from .row_weights import RowWeights, weigh_rows
from .study import GroupDamage, Study, Worst, study
from .trainers import (
    EstimatorTrainer,
    Predictor,
    ProblemTrainer,
    RiskPredictor,
    RiskTrainer,
    SubpopulationTrainer,
)

__all__ = [
    "Aim",
    "BudgetLadder",
    "BudgetRung",
    "ClusterMatch",
    "ColumnMatch",
    "ConvexAttack",
    "CrossFit",
    "CrossFittedAttack",
    "Damage",
    "Estimate",
    "EstimatorTrainer",
    "FeatureMatch",
    "GroupDamage",
    "GroupDecoy",
    "GroupMap",
    "JointPlan",
    "LabelFlip",
    "Matcher",
    "MovedFlips",
    "Parts",
    "Planted",
    "Population",
    "Predictor",
    "ProblemTrainer",
    "Recipe",
    "RiskPredictor",
    "RiskTrainer",
    "RowWeights",
    "Score",
    "Stage",
    "Study",
    "Subpopulation",
    "SubpopulationAttack",
    "SubpopulationTrainer",
    "Worst",
    "climb_rows",
    "column_numbers",
    "correctness",
    "gradient_optimization",
    "group_decoys",
    "group_map",
    "influence",
    "least_budgets",
    "measure_damage",
    "most_damaging",
    "paired_interval",
    "plant_jointly",
    "poison_count",
    "study",
    "three_parts",
    "weigh_rows",
]
