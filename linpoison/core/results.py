"""What solvers and attacks return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .model import LinearModel
from .poison import Poison

UNDEFENDED = "none"
"""The entry of a mapping by defence that stands for no defence at all."""


def worst_case(error: Mapping[str, float]) -> float:
    """The least error over the defences, all of which one poison must pass; without any, that of "none".

    Examples
    --------
    >>> worst_case({"none": 0.1, "l2": 0.3, "slab": 0.2}), worst_case({"none": 0.1})
    (0.2, 0.1)
    """
    defended = [float(value) for name, value in error.items() if name != UNDEFENDED]
    return min(defended) if defended else float(error[UNDEFENDED])


def most_over_defenses(values: Mapping[str, float]) -> float:
    """The greatest value over the defences; without any, that of "none".

    Examples
    --------
    >>> most_over_defenses({"none": 0.4, "l2": 0.3, "slab": 0.2}), most_over_defenses({"none": 0.1})
    (0.3, 0.1)
    """
    return -worst_case({name: -value for name, value in values.items()})


@dataclass(frozen=True)
class SolveInfo:
    """How one conic solve went.

    Parameters
    ----------
    solver : str
        Name of the solver that gave the answer.
    status : str
        Its own word for the outcome.
    value : float
        Optimal value as recomputed in numpy, not as reported.
    seconds : float
        Wall time, modelling included.
    max_violation : float
        Largest violation of a constraint, recomputed in numpy.
    """

    solver: str
    status: str
    value: float
    seconds: float
    max_violation: float = 0.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """One poison that an attack considered.

    Parameters
    ----------
    poison : Poison
        Deployable rows with whole copies.
    relaxed : Poison
        The rows and weights before rounding (at most one distinct row for each class).
    decoy : LinearModel
        The parameters it aims at.
    residual : float
        Norm of the KKT residual of the relaxed poison at the decoy; NaN for attacks that compute none.
    violation : float
        Largest violation of the feasible sets by a relaxed row.
    distance : float
        Distance between the decoy and the model retrained on clean rows and relaxed poison.
    test_error : dict of str to float
        Error on the attacker's target rows for each defence scored so far.
    label : str
        How it was made, in words for the report.
    seconds : float
        Seconds since the attack began when the candidate was scored.
    gap : float
        Relative duality gap of the program that the relaxed poison was read from; NaN if it has none.
    excess : float
        By how much the error on the rows that the aim spares grows beyond its limit.
    facts : dict of str to float
        What else an attack has to tell of it.
    """

    poison: Poison
    relaxed: Poison
    decoy: LinearModel
    residual: float
    violation: float
    distance: float
    test_error: dict[str, float]
    label: str = ""
    seconds: float = 0.0
    gap: float = float("nan")
    excess: float = 0.0
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        """The least error over the defences scored, see `worst_case`."""
        return worst_case(self.test_error)

    @property
    def rank(self) -> tuple[float, float]:
        """What candidates are sorted by, the best first: within the limit of the aim, then of most damage."""
        return self.excess, -self.worst


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The outcome of an attack: the best candidate, and what it took.

    Parameters
    ----------
    name : str
        Name of the attack.
    best : Candidate
        The candidate with the greatest worst-case error on the target rows, of those within the limit of the aim.
    candidates : tuple of Candidate
        All that were scored: first those scored under every defence, best first, then the rest likewise.
    seconds : float
        Wall time of the attack, an interrupted run that it resumed included.
    seed : int or None
        Seed it ran with.
    solves : tuple of SolveInfo
        Every conic solve. Failed solves are listed too, never dropped silently.
    info : dict
        Whatever else the report should show (numbers of decoys, refits, skipped solves).
    """

    name: str
    best: Candidate
    candidates: tuple[Candidate, ...]
    seconds: float
    seed: int | None
    solves: tuple[SolveInfo, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def poison(self) -> Poison:
        """The deployable rows of the best candidate."""
        return self.best.poison
