"""From a relaxed poison (real rows, fractional weights) to one that can be planted."""

from .deploy import deploy, on_sphere
from .distinct import make_distinct
from .integers import copies_of, largest_remainder, round_balanced, round_point

__all__ = ["copies_of", "deploy", "largest_remainder", "make_distinct", "on_sphere", "round_balanced", "round_point"]
