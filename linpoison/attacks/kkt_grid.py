"""The paper's version of the KKT attack: a grid over the split of the budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import InfeasibleSet, SolverFailed, check_integer
from ..optimality.stationarity import KKTSolution
from ..sets import ByLabel
from .decoys import Decoy
from .kkt import KKT
from .scenario import Scenario


@dataclass(frozen=True)
class KKTGrid(KKT):
    """Algorithm 4 of Koh et al.: solve once for each ``eps_+`` of an even grid from 0 to epsilon.

    The baseline to compare the joint program with: each of its solves is the joint program with
    the split of the budget held fixed. By default sets are fitted on the clean rows only.

    Parameters
    ----------
    splits : int, default 7
        Points of the grid (the paper: 7).
    generations : int, default 0
    """

    name = "kkt-grid"
    splits: int = 7
    generations: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self.splits, "splits", at_least=2)

    def solve(self, scenario: Scenario, decoy: Decoy, sets: ByLabel) -> list[KKTSolution]:
        """One relaxed poison for each split that can be solved."""
        epsilon = scenario.budget.epsilon
        solutions = []
        for positive in np.linspace(0.0, epsilon, self.splits):
            try:
                solutions.append(
                    self.program.solve(
                        decoy.model, scenario.train, scenario.problem, sets, epsilon, split=float(positive)
                    )
                )
            except (InfeasibleSet, SolverFailed):
                continue
        if not solutions:
            raise SolverFailed("expected a solution for one split of the budget, got none.")
        return solutions
