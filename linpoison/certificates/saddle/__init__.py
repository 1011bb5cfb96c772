"""How great the average loss of the clean rows can become, whatever is inserted."""

from .certify import certify_average_loss

__all__ = ["certify_average_loss"]
