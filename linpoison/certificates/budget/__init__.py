"""The least mass of poison in given sets that makes a given model optimal."""

from .flip import Flip, budget_to_flip
from .least import budget_poison, min_budget

__all__ = ["Flip", "budget_poison", "budget_to_flip", "min_budget"]
