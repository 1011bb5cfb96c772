"""Gradient canceling of linear models: the optimality condition of decoys, met by rows that defences let pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..core.dataset import Dataset
from ..core.errors import InputError
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import SolveInfo
from ..core.validation import LABELS, Array, check_among, check_integer, check_integers, check_number
from ..losses import Problem
from ..optimality.stationarity import Stationarity
from ..risk import LBFGS, Accelerated, Condition, LinearRisk, Projection, Sample
from ..sets import ByLabel, Oracle
from .base import whole_numbers
from .decoys import LabelFlipDecoys
from .feasible import SetPolicy, active
from .gradient import Canceler, Canceling
from .planting import MostPromising, Relaxed, Subproblem


@dataclass(frozen=True)
class DecoyCanceler:
    """Minimise the norm of a decoy's gradient over poison rows and their weights.

    ::

        minimise  | r |^2 / 2,   r = g + A a + c(e) * (theta, b) - sum_j (c_j / n) psi(m_j) y_j (x_j, 1)
        over      x_j in F_(y_j),   c >= 0,  sum c <= epsilon n,   0 <= a <= 1

    for fixed labels, by `Canceler` on the `LinearRisk` of the problem: with `LBFGS` at equal weights where rows are
    free or bounded coordinate by coordinate, with `Accelerated` otherwise.

    For a hinge the rows are held where the loss is active (``m_j <= 1``), and the problem is convex in
    ``(c_j x_j, c_j)``; otherwise it is not, and `KKTProgram`, which is, gives the global minimum
    that this can be compared with.

    Parameters
    ----------
    steps : int, default 400
    rows : int, default 2
        Rows in all, half of them with each label.
    free_weights : bool, default True
        Move copies between the rows with `Accelerated`; otherwise each has the same share.
    method : {"auto", "projected", "lbfgs"}, default "auto"
    tol : float, default 1e-10
        Residual, relative to that without poison, at which `Accelerated` ends.

    References
    ----------
    Lu, Kamath, Yu: Exploring the limits of model-targeted indiscriminate data poisoning attacks (2023),
    section 4, Algorithm 1.
    """

    steps: int = 400
    rows: int = 2
    free_weights: bool = True
    method: Literal["auto", "projected", "lbfgs"] = "auto"
    tol: float = 1e-10

    def __post_init__(self) -> None:
        check_integer(self.steps, "steps", at_least=1)
        check_integer(self.rows, "rows", at_least=2)
        check_number(self.tol, "tol", at_least=0)
        check_among(self.method, "the method", "auto", "projected", "lbfgs")

    def solve(
        self,
        decoy: LinearModel,
        train: Dataset,
        problem: Problem,
        sets: ByLabel,
        epsilon: float,
        rng: np.random.Generator,
    ) -> Canceling:
        """Descend from random training rows, made feasible.

        Raises
        ------
        InfeasibleSet
            If a class has no feasible row.
        """
        y = np.repeat(LABELS, [self.rows - self.rows // 2, self.rows // 2])
        start = Sample(train.take(rng.choice(train.n, size=y.size)).X, y)
        p = train.d + problem.fit_intercept
        risk, clean = LinearRisk.of(problem.pinned(train.total)).active(), Sample(train.X, train.y, train.weight)
        condition = condition_of(Stationarity(train, problem, decoy), p)
        tol = self.tol * float(np.linalg.norm(condition.rest))
        rule = self._rule(RowSets(active(sets, decoy, problem.loss), y), tol)
        found = rule.cancel(risk, decoy.vector[:p], clean, epsilon, start=start, condition=condition)
        return replace(found, poison=Poison(found.poison.X, y, found.poison.mass))

    def _rule(self, sets: RowSets, tol: float) -> Canceler:
        boxes = sets.bounds() is not None
        if self.method == "lbfgs" and not boxes:
            raise InputError("rows that are bounded coordinate by coordinate for L-BFGS", "other sets", "Use 'auto'.")
        if boxes and self.method != "projected":
            return Canceler(LBFGS(steps=50 * self.steps), sets)
        return Canceler(Accelerated(self.steps), sets, tol=tol, free_weights=self.free_weights)


class RowSets(Projection):
    """The feasible set of each row's label.

    Parameters
    ----------
    sets : ByLabel
    y : ndarray, shape (m,)
    """

    def __init__(self, sets: ByLabel, y: Array) -> None:
        self.sets = [sets[label] for label in y]
        self.oracles = [Oracle(part) for part in self.sets]

    def project(self, X: Any) -> Any:
        return np.array([oracle.project(row) for oracle, row in zip(self.oracles, X, strict=True)])

    def bounds(self) -> tuple[Any, Any] | None:
        pieces = [part.piece for part in self.sets]
        if any(piece is None or not piece.is_box for piece in pieces):
            return None
        return np.array([piece.lower for piece in pieces]), np.array([piece.upper for piece in pieces])  # type: ignore[union-attr]


def condition_of(decoy: Stationarity, p: int) -> Condition:
    """The optimality condition of a decoy, in its first `p` entries."""
    fixed, growth = decoy.penalty
    return Condition((decoy.constant + fixed)[:p], growth[:p], decoy.kink_matrix[:p])


@dataclass(frozen=True)
class GradientCanceling(MostPromising):
    """Gradient canceling (Lu et al.) on linear models, decoy by decoy, ranked by retraining.

    Parameters
    ----------
    canceler : DecoyCanceler
    decoys : LabelFlipDecoys
    most_decoys : int, default 8
        The most promising decoys are tried.
    finalists : int, default 4
    repeats : sequence of int, default (2, 3)
    draws : int, default 2
    policy : SetPolicy

    References
    ----------
    Lu, Kamath, Yu (2023), section 4; decoys by Koh et al., Algorithm 3.
    """

    name: ClassVar[str] = "gradient-canceling"
    canceler: DecoyCanceler = field(default_factory=DecoyCanceler)
    decoys: LabelFlipDecoys = field(default_factory=LabelFlipDecoys)
    most_decoys: int = 8
    finalists: int = 4
    repeats: Sequence[int] = (2, 3)
    draws: int = 2
    policy: SetPolicy = field(default_factory=SetPolicy)

    def __post_init__(self) -> None:
        check_integers(self, "most_decoys", "finalists", "draws", at_least=1)
        object.__setattr__(self, "repeats", whole_numbers(self.repeats, "repeats"))

    def relaxed(self, asked: Subproblem) -> list[Relaxed]:
        """The rows and weights that one descent ends at."""
        scenario, begun, rng = asked.scenario, time.time(), np.random.default_rng(asked.seed)
        epsilon = scenario.budget.epsilon
        found = self.canceler.solve(asked.model, scenario.train, scenario.problem, asked.sets, epsilon, rng)
        violation = float(asked.sets.violation(found.poison).max())
        info = SolveInfo("descent", "optimal_inaccurate", found.residual, time.time() - begun, violation)
        return [Relaxed(found.poison, rng, info, {"residual": found.residual, "violation": violation})]
