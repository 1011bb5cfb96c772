"""The only door to a cvxpy solve: fallback chain, one policy on statuses, residuals recomputed in numpy."""

from .program import solve
from .residuals import max_violation
from .status import UnboundedProblem

__all__ = ["UnboundedProblem", "max_violation", "solve"]
