"""Subpopulations: who is in one, attacks on one, and what an attack does to it and to everybody else."""

from .convex_attack import ConvexAttack, Planted
from .damage import Damage, Estimate, correctness, measure_damage
from .decoys import Aim, GroupDecoy, group_decoys
from .least_budget import BudgetLadder, BudgetRung, least_budgets
from .matching import ClusterMatch, FeatureMatch, Matcher, Subpopulation
from .poisoning import LabelFlip, MovedFlips, SubpopulationAttack, gradient_optimization, influence, poison_count
from .population import Parts, Population, three_parts
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
    "ConvexAttack",
    "Damage",
    "Estimate",
    "EstimatorTrainer",
    "FeatureMatch",
    "GroupDamage",
    "GroupDecoy",
    "LabelFlip",
    "Matcher",
    "MovedFlips",
    "Parts",
    "Planted",
    "Population",
    "Predictor",
    "ProblemTrainer",
    "RiskPredictor",
    "RiskTrainer",
    "Study",
    "Subpopulation",
    "SubpopulationAttack",
    "SubpopulationTrainer",
    "Worst",
    "correctness",
    "gradient_optimization",
    "group_decoys",
    "influence",
    "least_budgets",
    "measure_damage",
    "poison_count",
    "study",
    "three_parts",
]
