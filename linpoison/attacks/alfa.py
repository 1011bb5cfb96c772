"""The alfa attack: label flips that the poisoned model fits and the clean model does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from ..core import (
    Array,
    Candidate,
    Dataset,
    InputError,
    LinearModel,
    Poison,
    check_among,
    check_integer,
    check_integers,
)
from ..learners import make_learner
from ..rounding import largest_remainder
from .base import Attack
from .deadline import time_is_up
from .feasible import SetPolicy
from .random_flips import in_sets, plantable
from .ranking import candidate
from .run import Run, Step
from .scenario import Scenario


@dataclass(frozen=True)
class ALFA(Attack):
    """Adversarial label flips (Xiao et al.), as Koh et al. adapt them to insertions.

    ::

        minimise over weights c  L(theta; D_c + D_p(c)) - L(theta*; D_p(c))
        subject to               sum c = epsilon n,  0 <= c_i <= most,   theta = argmin L(.; D_c + D_p(c))

    over a pool of flipped rows that lie in the feasible sets, with ``theta*`` the clean model: poison of
    high loss before and low loss after. Solved by turns: train on clean rows and weighted pool,
    then the linear program in ``c``, whose solution fills the rows of least ``phi(theta; i) -
    phi(theta*; i)`` in order.

    Parameters
    ----------
    most : sequence of int or "budget", optional
        Largest numbers of copies of one row that are tried; "budget": the whole budget on one row (the
        authors' program: a vertex of the linear program). By default 1 (the flips of Xiao et al.: each
        row once), 3, and the whole budget.
    pool : {"target", "train"}, default "target"
        Which rows may be flipped: Koh et al. take the target rows.
    rounds : int, default 100
        Most turns; fewer if the weights come back.
    finalists : int, default 3
    policy : SetPolicy

    References
    ----------
    Xiao, Xiao, Eckert: Adversarial label flips attack on support vector machines (2012). Koh,
    Steinhardt, Liang, appendix D.
    """

    name: ClassVar[str] = "alfa"
    takes_class_weights: ClassVar[bool] = True
    most: Sequence[int] | Literal["budget"] | None = None
    pool: Literal["target", "train"] = "target"
    rounds: int = 100
    finalists: int = 3
    policy: SetPolicy = field(default_factory=SetPolicy)

    def __post_init__(self) -> None:
        check_among(self.pool, "a pool", "target", "train")
        check_integers(self, "rounds", "finalists", at_least=1)
        if self.most not in (None, "budget"):
            object.__setattr__(self, "most", tuple(check_integer(m, "most", at_least=1) for m in self.most))
            if not self.most:
                raise InputError("at least one number of copies", "none")

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """Alternate from each limit on the copies of a row. Nothing is random: the seed changes nothing."""
        rows = self.flipped(scenario)
        arguments = [(self, scenario, rows, most) for most in self.limits(scenario.n_poison)]
        run.info["pool"] = rows.n
        return run.steps("alfa", alternate, arguments)

    def limits(self, budget: int) -> tuple[int, ...]:
        """Largest numbers of copies of one row, each once."""
        if self.most == "budget":
            return (budget,)
        return tuple(dict.fromkeys((1, 3, budget))) if self.most is None else tuple(map(int, self.most))

    def flipped(self, scenario: Scenario) -> Dataset:
        """The pool: flipped rows in the sets of their new class, or all in the domain if none is."""
        source = scenario.target if self.pool == "target" else scenario.train
        rows = plantable(Dataset(source.X, -source.y, source.weight, domain=scenario.train.domain, name="flipped"))
        inside = np.flatnonzero(in_sets(scenario, self.policy, rows))
        return rows.take(inside) if inside.size else rows


def alternate(started: float, attack: ALFA, scenario: Scenario, rows: Dataset, most: int) -> Step:
    """Train and choose by turns for one bound on copies; the strongest choice on the way is kept."""
    loss, train, limit = scenario.problem.loss, scenario.train, scenario.n_poison
    learner = make_learner(scenario.problem)
    clean = scenario.clean_model
    before = loss.value(clean.margins(rows))
    count = chosen(-before, limit, most)
    visited: set[bytes] = set()
    best = None
    for turn in range(attack.rounds):
        if count.tobytes() in visited or (best is not None and time_is_up()):
            break
        visited.add(count.tobytes())
        poison = poison_of(rows, count)
        item = candidate(started, scenario, poison, label=f"alfa, at most {most} copies, turn {turn + 1}", decoy=clean)
        best = item if best is None or item.worst > best.worst else best
        learned: LinearModel = learner.fit(train.mix(poison.as_dataset()), start=clean)
        count = chosen(loss.value(learned.margins(rows)) - before, limit, most)
    return ([] if best is None else [best]), []


def chosen(cost: Array, limit: int, most: int) -> np.ndarray:
    """Whole copies, at most `most` of each row, of the rows of least cost; more if the pool is too small.

    Examples
    --------
    >>> chosen(np.array([0.3, 0.1, 0.2]), 3, 2).tolist()
    [0, 2, 1]
    """
    most = max(most, -(-limit // cost.size))
    count = np.zeros(cost.size, dtype=int)
    order = np.argsort(cost, kind="stable")
    count[order] = np.clip(limit - most * np.arange(cost.size), 0, most)
    return count


def poison_of(rows: Dataset, count: np.ndarray) -> Poison:
    """The rows that have copies."""
    used = np.flatnonzero(count)
    picked = rows.take(used)
    return Poison(picked.X, picked.y, largest_remainder(count[used], int(count.sum()))).merged()
