"""The SVM on small data: deleted rows and flipped labels."""

from .deletions import certify_deletions, certify_flips

__all__ = ["certify_deletions", "certify_flips"]
