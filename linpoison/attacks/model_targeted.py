"""The model-targeted online attack of Suya et al., with its lower bound on the poison that it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ..core.dataset import Dataset
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from ..core.validation import LABELS, Array, Matrix, check_integers, check_number
from ..learners import make_learner
from ..losses import Problem
from ..rounding import round_point
from ..sets import ByLabel
from .deadline import time_is_up
from .decoys import LabelFlipDecoys
from .feasible import SetPolicy
from .loss_gap import GapOracle, LossGap, require_decreasing
from .planting import MostPromising, Relaxed, Subproblem
from .run import Run
from .scenario import Scenario


@dataclass(frozen=True)
class ModelTargeted(MostPromising):
    """Add, again and again, the row on which the learned model loses most against a target model.

    ::

        (x, y) = argmax over y, x in F_y of  phi(theta_t; x, y) - phi(theta_p; x, y)

    Add `repeat` copies, train, and so on until the budget is spent or no row loses more than `tol`. The
    targets ``theta_p`` are decoys. The maximum is global for every loss that does not increase in the
    margin (`GapOracle`).

    Every model on the way gives a lower bound on the number of rows, of any kind in the sets, that make
    the target optimal (see `rows_needed`). The greatest is in ``AttackResult.info["rows_needed"]``.

    Parameters
    ----------
    decoys : LabelFlipDecoys
    most_decoys : int, default 4
        The most promising decoys are tried.
    repeat : int, default 2
        Copies that are added in a step.
    tol : float, default 0.01
    finalists : int, default 4
    policy : SetPolicy

    References
    ----------
    Suya, Mahloujifar, Suri, Evans, Tian: Model-targeted poisoning attacks with provable convergence
    (2021), Algorithm 1 and Theorem 2. In the authors' program the bound of a logistic model mixes
    hinge and logistic losses; here numerator and denominator have the loss that is learned.
    """

    name: ClassVar[str] = "model-targeted"
    tells_distance: ClassVar[bool] = False
    decoys: LabelFlipDecoys = field(default_factory=LabelFlipDecoys)
    most_decoys: int = 4
    repeat: int = 2
    tol: float = 0.01
    finalists: int = 4
    policy: SetPolicy = field(default_factory=SetPolicy)

    def __post_init__(self) -> None:
        check_integers(self, "most_decoys", "repeat", "finalists", at_least=1)
        check_number(self.tol, "tol", at_least=0)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """The bound of each decoy is the `value` of its entry in `AttackResult.solves`.

        Raises
        ------
        InputError
            If the sets leave the loss difference unbounded.
        """
        found = super()._search(scenario, run)
        needed = [float(solve.value) for solve in run.solves if np.isfinite(solve.value)]
        run.info["rows_needed"] = max(needed, default=0.0)
        return found

    def relaxed(self, asked: Subproblem) -> list[Relaxed]:
        """The rows of one pursuit, which are whole; the bound travels as the value of its solve."""
        scenario, begun, rng = asked.scenario, time.time(), np.random.default_rng(asked.seed)
        end = chase(
            asked.model, scenario.train, scenario.problem, asked.sets, scenario.n_poison,
            repeat=self.repeat, tol=self.tol, rng=rng,
        )  # fmt: skip
        info = SolveInfo("online", "optimal", float(end.rows_needed), time.time() - begun)
        poison = end.poison.merged()
        return [Relaxed(poison, rng, info, {"violation": float(asked.sets.violation(poison).max(initial=0.0))})]

    def whole(self, asked: Subproblem, found: Relaxed, draws: int) -> Iterator[Poison]:
        """The poison itself."""
        return iter([found.poison])

    def _check(self, scenario: Scenario) -> None:
        """Refuse a loss that grows again beyond the margin."""
        require_decreasing(scenario.problem.loss)
        super()._check(scenario)


@dataclass(frozen=True, eq=False)
class Pursuit:
    """The rows that an online attack has added, and what it has learned about its target.

    Parameters
    ----------
    poison : Poison
    model : LinearModel
        Learned from clean rows and poison.
    gap : float
        Largest loss difference left.
    rows_needed : int
        Lower bound on the rows that make the target optimal.
    """

    poison: Poison
    model: LinearModel
    gap: float
    rows_needed: int


def chase(
    target: LinearModel,
    train: Dataset,
    problem: Problem,
    sets: ByLabel,
    limit: int,
    *,
    repeat: int = 1,
    tol: float = 0.01,
    rng: np.random.Generator | None = None,
) -> Pursuit:
    """Add rows until `limit` or until no row loses more than `tol` against the target.

    Parameters
    ----------
    target : LinearModel
    train, problem, sets
    limit : int
        Rows that may be added.
    repeat : int
        Copies in a step.
    tol : float
    rng : numpy.random.Generator, optional
        For rounding, where features are counts.
    """
    learner = make_learner(problem)
    oracles = {label: GapOracle(sets[label], label, problem.loss, target) for label in LABELS}
    draw = np.random.default_rng(0) if rng is None else rng
    rows: list[Matrix] = []
    labels: list[float] = []
    copies: list[float] = []
    model, needed, left = learner.fit(train), 0, np.inf
    while True:
        gaps = {label: oracle.worst(model) for label, oracle in oracles.items()}
        label = max(gaps, key=lambda each: gaps[each].value)
        needed = max(needed, rows_needed(problem, train, target, model, max(gap.bound for gap in gaps.values())))
        left = gaps[label].value
        spent = int(sum(copies))
        if left <= tol or spent >= limit or time_is_up():
            break
        row = _deployable(gaps[label], label, train, sets, draw)[None, :]
        rows.append(sp.csr_array(row) if train.is_sparse else row)
        labels.append(label)
        copies.append(float(min(repeat, limit - spent)))
        poison = Poison(_stacked(rows, train), np.array(labels), np.array(copies))
        model = learner.fit(train.mix(poison.as_dataset()), start=model)
    poison = Poison(_stacked(rows, train), np.array(labels), np.array(copies))
    return Pursuit(poison, model, float(left), needed)


def _stacked(rows: list[Matrix], train: Dataset) -> Matrix:
    """Single rows as one matrix, in the storage of the training rows."""
    if not rows:
        return train.X[:0]
    return sp.csr_array(sp.vstack(rows)) if train.is_sparse else np.vstack(rows)


def _deployable(gap: LossGap, label: float, train: Dataset, sets: ByLabel, rng: np.random.Generator) -> Array:
    row = train.domain.clip(gap.x)
    return round_point(row, 1, rng, inside=sets[label])[0] if train.domain.integral else row


def rows_needed(problem: Problem, train: Dataset, target: LinearModel, model: LinearModel, gap: float) -> int:
    """A lower bound on the number of poison rows that make `target` optimal, from any other model.

    With ``S`` the sum of the clean losses, ``R`` half the penalised squared norm and ``gap`` at least
    ``max over F of phi(theta) - phi(theta_p)``: if ``theta_p`` minimises the objective on n clean and k poison
    rows, its value is no more than that of ``theta``, and so

    ::

        k >= [S(theta_p) - S(theta) + n reg (R_p - R)] / [gap + reg (R - R_p)]

    under mean scaling (under sum scaling without the last term), where both are positive.

    Parameters
    ----------
    problem : Problem
    train : Dataset
        Clean rows.
    target, model : LinearModel
        The model to be planted, and the one that it is compared with.
    gap : float
        An upper bound on how much more one row of the sets loses under `model` than under `target`.

    References
    ----------
    Suya et al. (2021), Theorem 2.
    """

    def total(each: LinearModel) -> float:
        return float(train.weight @ problem.loss.value(each.margins(train)))

    mask = problem.penalty_mask(train.d)
    norms = 0.5 * float(mask @ target.vector**2), 0.5 * float(mask @ model.vector**2)
    reg = problem.reg_at(train.total)
    cost = total(target) - total(model) + train.total * reg * (norms[0] - norms[1])
    growth = reg * (norms[1] - norms[0]) if problem.scaling == "mean" else 0.0
    if cost <= 0 or gap + growth <= 0:
        return 0
    return int(np.ceil(cost / (gap + growth) - 1e-9))
