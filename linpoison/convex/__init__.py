"""The only door to a cvxpy solve: fallback chain, one policy on statuses, residuals recomputed in numpy."""

from .choice import STRUCTURED, chosen_solver
from .program import solve
from .residuals import max_violation
from .status import UnboundedProblem, UnfitSolver

__all__ = ["STRUCTURED", "UnboundedProblem", "UnfitSolver", "chosen_solver", "max_violation", "solve"]
