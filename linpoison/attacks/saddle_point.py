"""What the min-max program is solved to."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import SolveInfo


@dataclass(frozen=True, eq=False)
class Saddle:
    """A solution of the min-max program.

    Parameters
    ----------
    model : LinearModel
        The learner's best answer found: its objective against the worst poison is `upper`.
    poison : Poison
        Relaxed: the worst rows with their weights, which add up to the budget in rows.
    upper, lower : float
        Bounds of the value of the program: what no poison in the sets can exceed after retraining, and
        what the relaxed poison attains at least. In units of the defender's objective, a mean over
        clean and poison rows.
    history : tuple of (float, float)
        (upper, lower) after each round.
    """

    model: LinearModel
    poison: Poison
    upper: float
    lower: float
    history: tuple[tuple[float, float], ...]
    info: SolveInfo

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``."""
        return (self.upper - self.lower) / max(self.upper, 1e-300)
