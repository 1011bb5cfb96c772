"""Subpopulations: who is in one, and what an attack does to it and to everybody else."""

from ..risk import Sample
from .columns import ColumnMatch, column_numbers
from .damage import Damage, Estimate, correctness, measure_damage, paired_interval
from .mapping import GroupMap, group_map
from .matching import ClusterMatch, FeatureMatch, Matcher, Subpopulation
from .parts import Parts, three_parts
from .study import GroupDamage, Study, SubpopulationAttack, Worst, poison_count, study
from .trainers import (
    EstimatorTrainer,
    Predictor,
    ProblemTrainer,
    RiskPredictor,
    RiskTrainer,
    SubpopulationTrainer,
)

__all__ = [
    "ClusterMatch",
    "ColumnMatch",
    "Damage",
    "Estimate",
    "EstimatorTrainer",
    "FeatureMatch",
    "GroupDamage",
    "GroupMap",
    "Matcher",
    "Parts",
    "Predictor",
    "ProblemTrainer",
    "RiskPredictor",
    "RiskTrainer",
    "Sample",
    "Study",
    "Subpopulation",
    "SubpopulationAttack",
    "SubpopulationTrainer",
    "Worst",
    "column_numbers",
    "correctness",
    "group_map",
    "measure_damage",
    "paired_interval",
    "poison_count",
    "study",
    "three_parts",
]
