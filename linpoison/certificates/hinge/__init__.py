"""The SVM on small data: exact bounds, deleted rows and flipped labels."""

from .deletions import certify_deletions, certify_flips, removals_of
from .exact import certify_exact

__all__ = ["certify_deletions", "certify_exact", "certify_flips", "removals_of"]
