"""How great the average loss of the clean rows can become, whatever is inserted."""

from .certify import certify_average_loss
from .semidefinite import SemidefiniteLoss, semidefinite_loss

__all__ = ["SemidefiniteLoss", "certify_average_loss", "semidefinite_loss"]
