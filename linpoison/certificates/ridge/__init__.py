"""The ridge classifier: scores bounded exactly, and the poison that attains the bound."""

from .certify import certify_ridge, ridge_attack
from .deletions import deletions_ridge
from .flips import label_flips_ridge

__all__ = ["certify_ridge", "deletions_ridge", "label_flips_ridge", "ridge_attack"]
