"""What a solver's word is worth."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import InfeasibleSet, LinpoisonError, SolverFailed


class UnboundedProblem(SolverFailed):
    """A program whose objective has no finite optimum."""


class UnfitSolver(LinpoisonError):
    """A solver that was asked for by name and cannot take the cones of the program.

    Parameters
    ----------
    solver : str
    cones : str
        What it lacks, in words.
    """

    def __init__(self, solver: str, cones: str) -> None:
        self.solver, self.cones = solver, cones
        super().__init__(
            f"expected a solver that takes {cones}, which the program of this set, loss and attack has, got {solver}. "
            "CLARABEL, ECOS and SCS take them, and so does 'structured', the default."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.solver, self.cones)


@dataclass(frozen=True)
class Attempt:
    """One solver's try: its name and its own word, with the reason if the answer was turned down."""

    solver: str
    status: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.solver}: {self.status}" + (f" ({self.reason})" if self.reason else "")


FINAL = ("infeasible", "unbounded")  # no other solver can improve on these
ADVICE = (
    "Scale the features to a common size, remove nearly duplicate constraints, or name another solver; "
    "an empty or unbounded set can also end like this."
)


def failure(attempts: list[Attempt]) -> LinpoisonError:
    """The exception for tries that all ended without an answer.

    Returns
    -------
    InfeasibleSet
        If every solver calls the program infeasible, exactly or nearly.
    UnboundedProblem
        If every solver calls it unbounded.
    SolverFailed
        Otherwise, with the status of each solver and advice.
    """
    told = "; ".join(str(attempt) for attempt in attempts)
    if all(attempt.status.startswith("infeasible") and "unbounded" not in attempt.status for attempt in attempts):
        return InfeasibleSet(f"expected constraints that some point meets, got none ({told}).")
    if all(attempt.status.startswith("unbounded") for attempt in attempts):
        return UnboundedProblem(f"expected a program with a finite optimum, got an unbounded one ({told}).")
    return SolverFailed(f"expected a solution of the convex program, got {told}. {ADVICE}")
