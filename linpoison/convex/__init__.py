"""The only door to a cvxpy solve: fallback chain, one policy on statuses, residuals recomputed in numpy."""

from .choice import STRUCTURED, chosen_solver
from .program import Restated, solve
from .residuals import max_violation
from .status import UnboundedProblem, UnfitSolver

__all__ = ["STRUCTURED", "Restated", "UnboundedProblem", "UnfitSolver", "chosen_solver", "max_violation", "solve"]
