"""Certificates: what no attack can do, and the least that an attack must spend."""

from .budget import BudgetPlane, Flip, budget_plane, budget_poison, budget_to_flip, min_budget
from .certificate import Certificate, recompute
from .claim import Claim
from .collapse import collapse, collapse_classes
from .diagnostics import comparator_budget, projections
from .hinge import certify_deletions, certify_exact, certify_flips, removals_of
from .inflation import inflate
from .outer import certify_ball, certify_margin, certify_naive, certify_steinhardt
from .partition import PartitionClassifier, certify_partition
from .radius import radius
from .ridge import certify_ridge, label_flips_ridge, ridge_attack, ridge_values
from .saddle import SemidefiniteLoss, certify_average_loss, semidefinite_loss
from .test_error import certify_test_error
from .thresholds import (
    Threshold,
    reachability_threshold,
)

__all__ = [
    "BudgetPlane",
    "Certificate",
    "Claim",
    "Flip",
    "PartitionClassifier",
    "SemidefiniteLoss",
    "Threshold",
    "budget_plane",
    "budget_poison",
    "budget_to_flip",
    "certify_average_loss",
    "certify_ball",
    "certify_deletions",
    "certify_exact",
    "certify_flips",
    "certify_margin",
    "certify_naive",
    "certify_partition",
    "certify_ridge",
    "certify_steinhardt",
    "certify_test_error",
    "collapse",
    "collapse_classes",
    "comparator_budget",
    "inflate",
    "label_flips_ridge",
    "min_budget",
    "projections",
    "radius",
    "reachability_threshold",
    "recompute",
    "removals_of",
    "ridge_attack",
    "ridge_values",
    "semidefinite_loss",
]
