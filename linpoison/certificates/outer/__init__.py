"""SVM and logistic regression: scores bounded over an outer set of the reachable parameters, and the ball."""

from .ball import certify_ball
from .margin import certify_margin

__all__ = ["certify_ball", "certify_margin"]
