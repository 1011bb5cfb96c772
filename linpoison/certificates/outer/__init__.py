"""SVM and logistic regression: scores bounded over an outer set of the reachable parameters, and older bounds."""

from .baselines import certify_ball, certify_naive, certify_steinhardt
from .margin import certify_margin

__all__ = ["certify_ball", "certify_margin", "certify_naive", "certify_steinhardt"]
