"""From a relaxed poison (real rows, fractional weights) to one that can be planted."""

from .balanced import round_balanced
from .deploy import deploy
from .distinct import make_distinct
from .integers import copies_of, largest_remainder, round_point
from .sphere import on_sphere

__all__ = ["copies_of", "deploy", "largest_remainder", "make_distinct", "on_sphere", "round_balanced", "round_point"]
