"""Random label flips: the weakest attack worth the name, as a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from ..core import Candidate, Dataset, InputError, Poison, check_among, check_integers
from ..sets import ByLabel
from .base import Attack
from .feasible import FeasibleRegion, SetPolicy
from .ranking import candidate
from .run import Run, Step
from .scenario import DOMAIN_TOL, Scenario


@dataclass(frozen=True)
class RandomFlips(Attack):
    """Training rows drawn at random, with the other label; of more than two classes with any other one.

    Parameters
    ----------
    draws : int, default 8
        Poisons that are drawn; the best behind the defences is kept.
    feasible : bool, default True
        Draw only rows that lie in the sets of their new class, if there are any. Of more than two classes all rows.
    finalists : int, default 2
    policy : SetPolicy
    rule : {"random", "reverse"}, default "random"
        Of more than two classes: any other label, or ``k - 1 - y``, with which the middle one of an odd number stays
        and is not drawn.

    References
    ----------
    Koh, Steinhardt, Liang, appendix D; Biggio et al. (2011).
    """

    name: ClassVar[str] = "random-flips"
    many_classes: ClassVar[bool] = True
    takes_class_weights: ClassVar[bool] = True
    draws: int = 8
    feasible: bool = True
    finalists: int = 2
    policy: SetPolicy = field(default_factory=SetPolicy)
    rule: Literal["random", "reverse"] = "random"

    def __post_init__(self) -> None:
        check_among(self.rule, "the rule", "random", "reverse")
        check_integers(self, "draws", "finalists", at_least=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """The draws. `AttackResult.info` says how many rows there were to draw from."""
        pool = self.pool(scenario)
        arguments = [(scenario, pool, [run.seed, draw], self.rule) for draw in range(self.draws)]
        run.info["pool"] = pool.n
        return run.steps("random flips", drawn, arguments)

    def pool(self, scenario: Scenario) -> Dataset:
        """Flipped training rows to draw from; of more than two classes not flipped yet."""
        if scenario.train.n_classes is not None:
            rows = scenario.train
            return plantable(rows if self.rule == "random" else rows.take(2 * rows.y != rows.k - 1))
        flipped = plantable(replace(scenario.train, y=-scenario.train.y))
        if not self.feasible:
            return flipped
        inside = np.flatnonzero(in_sets(scenario, self.policy, flipped))
        return flipped.take(inside) if inside.size else flipped


def plantable(rows: Dataset) -> Dataset:
    """The rows inside their domain that have at least one copy.

    Raises
    ------
    InputError
        If there is none.
    """
    allowed = (rows.weight > 0) & (rows.domain.violation(rows.X) <= DOMAIN_TOL)
    if not allowed.any():
        raise InputError("rows to flip inside the domain", f"none among {rows.n}", "Widen the domain.")
    return rows if allowed.all() else rows.take(allowed)


def in_sets(scenario: Scenario, policy: SetPolicy, rows: Dataset) -> np.ndarray:
    """Mask of the rows that lie in the sets of their label, losses left uncapped; all where no set can be stated."""
    sets = sets_without_loss(scenario, policy)
    return np.ones(rows.n, dtype=bool) if sets is None else np.asarray(sets.contains(rows))


def sets_without_loss(scenario: Scenario, policy: SetPolicy) -> ByLabel | None:
    """The sets of all chosen defences but the loss defence, which depends on the model that is learned."""
    try:
        return FeasibleRegion.fit(scenario, policy).sets()
    except InputError:  # such as equal class means, which have no slab between them
        return None


def drawn(started: float, scenario: Scenario, pool: Dataset, seed: Sequence[int], rule: str) -> Step:
    """One draw, without repetition while there are rows enough."""
    rng, limit = np.random.default_rng(seed), scenario.n_poison
    rows = pool.take(rng.choice(pool.n, size=limit, replace=limit > pool.n))
    y = rows.y
    if rows.n_classes is not None:
        y = rows.k - 1 - y if rule == "reverse" else (y + rng.integers(1, rows.k, limit)) % rows.k
    poison = Poison(rows.X, y, np.ones(limit), rows.n_classes).merged()
    return [candidate(started, scenario, poison, label=f"random flips, draw {seed[-1] + 1}")], []
