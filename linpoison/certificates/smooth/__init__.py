"""Logistic regression and the smooth hinge: deleted rows and flipped labels, with or without inserted rows."""

from .changes import deletions_smooth, flips_smooth

__all__ = ["deletions_smooth", "flips_smooth"]
