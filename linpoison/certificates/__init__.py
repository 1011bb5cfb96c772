"""Certificates: what no attack can do, and the least that an attack must spend."""

from . import theory
from .budget import Flip, budget_poison, budget_to_flip, min_budget
from .certificate import Certificate, recompute
from .claim import Claim
from .deployed import CertifiedClassifier
from .hinge import certify_deletions, certify_flips
from .outer import certify_ball, certify_margin
from .partition import PartitionClassifier, certify_partition
from .radius import radius
from .ridge import certify_ridge, deletions_ridge, label_flips_ridge, ridge_attack
from .saddle import certify_average_loss
from .smooth import deletions_smooth, flips_smooth
from .test_error import certify_test_error

__all__ = [
    "Certificate",
    "CertifiedClassifier",
    "Claim",
    "Flip",
    "PartitionClassifier",
    "budget_poison",
    "budget_to_flip",
    "certify_average_loss",
    "certify_ball",
    "certify_deletions",
    "certify_flips",
    "certify_margin",
    "certify_partition",
    "certify_ridge",
    "certify_test_error",
    "deletions_ridge",
    "deletions_smooth",
    "flips_smooth",
    "label_flips_ridge",
    "min_budget",
    "radius",
    "recompute",
    "ridge_attack",
    "theory",
]
