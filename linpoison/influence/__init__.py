"""The derivative of the learned model in the rows it is learned from."""

from .implicit import ImplicitGradient, MeanLoss, PoisonGradient, SoftError, Target

__all__ = ["ImplicitGradient", "MeanLoss", "PoisonGradient", "SoftError", "Target"]
