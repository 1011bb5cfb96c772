"""Far rows of more than two classes: what filters fitted on the poison itself let through."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InputError, SolverFailed
from ...core.poison import Poison
from ...core.results import Candidate, SolveInfo
from ...core.validation import Array, check_integer, check_integers, check_number
from ...learners import LearnerWarning
from ...rounding import deploy
from ..base import Attack
from ..breakdown.plans import Ground
from ..ranking import candidate
from ..run import Run, Step, skipped
from ..scenario import Scenario, check_deployable
from .climb import climbed

_ENTRIES = 2_400_000
"""Entries of the training rows times single pairs that are tried."""
_LEAST = 4
_BATCH = 6
_BEGUN = 2  # poisons of pairs that the local search goes on from
_MOVED = 10_000  # entries of the training rows up to which it makes all its moves


@dataclass(frozen=True)
class FarPlan:
    """Equal shares of the budget on one far row for each pair (label, rival).

    Parameters
    ----------
    pairs : tuple of (int, int)
        Codes of the label and of the rival.
    radius : float
        In units of the median distance of the clean rows to their mean.
    """

    pairs: tuple[tuple[int, int], ...]
    radius: float

    def __str__(self) -> str:
        told = ", ".join(f"{label} beyond {rival}" for label, rival in self.pairs)
        return f"far rows of {told}, radius {self.radius:g}"


@dataclass(frozen=True)
class MultiBreakdown(Attack):
    """Copies of rows far beyond a rival class, for as many classes as it pays to overrun.

    A filter that is fitted with the poison in drops its quota of a class, wherever the rest lies
    (`linpoison.defenses.quota`). Rows labelled c at

    ::

        m_c + R (m_j - m_c) / |m_j - m_c|,      m the means of the clean classes

    teach that what lies towards j, and beyond, is c. First single pairs (c, j), those of near means before others;
    then pairs are joined, one at a time, with equal shares of the budget, as long as the error rises; then radii. From
    the best of them, and from rows in one place away from the centre, a local search goes on (`climbed`): rows between
    the classes do what no pair does.

    Parameters
    ----------
    pairs : int, default 30
        Single pairs that are tried; fewer of large data.
    kept : int, default 6
        Of these, how many are candidates for joining.
    joined : int, default 4
        Pairs of a poison at most.
    radii : sequence of float, default (10, 3, 1, 30)
        Of the rows, the first of them at which fits converge for the search; rows are clipped to the domain.
    steps : int, default 80
        Moves of the local search, fewer on data of more than 10,000 entries. Zero leaves it out.
    start : Poison, optional
        A poison within budget and domain, which the local search goes on from too.
    only_on : bool, default False
        Leave the pairs out, and go on from `start` alone, which has to be given then.
    finalists : int, default 3
    """

    name: ClassVar[str] = "breakdown"
    many_classes: ClassVar[bool] = True
    pairs: int = 30
    kept: int = 6
    joined: int = 4
    radii: Sequence[float] = (10.0, 3.0, 1.0, 30.0)
    steps: int = 80
    start: Poison | None = None
    only_on: bool = False
    finalists: int = 3

    def __post_init__(self) -> None:
        check_integers(self, "pairs", "kept", "joined", "finalists", at_least=1)
        check_integer(self.steps, "steps", at_least=0)
        radii = tuple(check_number(radius, "a radius", above=0) for radius in self.radii)
        if not radii:
            raise InputError("at least one radius", "none")
        object.__setattr__(self, "radii", radii)

    @property
    def needs_start(self) -> bool:
        """See `Attack.needs_start`."""
        return self.only_on and self.start is None

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """A plan whose fits do not converge is passed over."""
        if self.start is not None:
            check_deployable(self.start, scenario, "to start from")
        found = [] if self.only_on else self._pairs(scenario, run)
        moves = affordable(self.steps, scenario.train)
        if not moves:
            return found
        ranked = sorted(found, key=lambda item: -item.worst)
        begun = [(item.label, item.poison) for item in ranked[:_BEGUN]]
        begun += [] if self.start is None else [("given poison", self.start)]
        return found + run.steps("climb", climbed, [(scenario, begun, moves, moves, [run.seed, 1])])

    def _pairs(self, scenario: Scenario, run: Run) -> list[Candidate]:
        most = max(_LEAST, min(self.pairs, _ENTRIES // (scenario.train.n * scenario.train.d)))
        pairs, found = near_pairs(scenario.train)[:most], []
        for radius in self.radii:
            singles = [FarPlan((pair,), radius) for pair in pairs]
            found = self._tried(scenario, run, f"pairs at {radius:g}", singles)
            if found:
                break
        best = max(found, default=None, key=lambda item: item[1].worst)
        if best is None:
            return []
        ranked = sorted(found, key=lambda item: -item[1].worst)
        pool = [plan.pairs[0] for plan, _ in ranked[: self.kept]]
        for size in range(2, min(self.joined, scenario.n_poison) + 1):
            wider = [replace(best[0], pairs=(*best[0].pairs, pair)) for pair in pool if pair not in best[0].pairs]
            more = self._tried(scenario, run, f"{size} pairs", wider)
            found += more
            top = max(more, default=best, key=lambda item: item[1].worst)
            if top[1].worst <= best[1].worst:
                break
            best = top
        others = [replace(best[0], radius=radius) for radius in self.radii if radius != best[0].radius]
        found += self._tried(scenario, run, "radii", others)
        return [candidate for _, candidate in found]

    def _tried(
        self, scenario: Scenario, run: Run, name: str, plans: Sequence[FarPlan]
    ) -> list[tuple[FarPlan, Candidate]]:
        """The plans that could be measured, with their candidates."""
        batches = [plans[start : start + _BATCH] for start in range(0, len(plans), _BATCH)]
        found = run.steps(name, measured, [(scenario, batch, [run.seed, 0]) for batch in batches])
        by_label = {str(plan): plan for plan in plans}
        return [(by_label[item.label], item) for item in found]


def affordable(moves: int, train: Dataset) -> int:
    """All on small data; in proportion fewer the more entries the rows have."""
    entries = int(train.X.nnz) if train.is_sparse else train.n * train.d
    return min(moves, max(min(moves, _LEAST), moves * _MOVED // max(entries, 1)))


def near_pairs(train: Dataset) -> list[tuple[int, int]]:
    """Ordered pairs of classes, those with the nearest means first."""
    means = class_means(train)
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)
    pairs = [(label, rival) for label in range(train.k) for rival in range(train.k) if label != rival]
    return sorted((pair for pair in pairs if apart[pair] > 0), key=lambda pair: apart[pair])


def class_means(train: Dataset) -> Array:
    """Means of the classes, shape (k, d)."""
    return np.array([np.asarray(train.of_class(label).X.mean(axis=0)).ravel() for label in train.labels])


def measured(started: float, scenario: Scenario, plans: Sequence[FarPlan], seed: Sequence[int]) -> Step:
    """The candidates of some plans, in order, without those whose fits do not converge."""
    means = class_means(scenario.train)
    unit = Ground(scenario.train, scenario.n_poison).base
    candidates: list[Candidate] = []
    solves: list[SolveInfo] = []
    for plan in plans:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", LearnerWarning)
                poison = planted(scenario, plan, means, unit, np.random.default_rng(seed))
                candidates.append(candidate(started, scenario, poison, label=str(plan)))
        except (InputError, SolverFailed, LearnerWarning) as error:
            solves += skipped(error)[1]
    return candidates, solves


def planted(scenario: Scenario, plan: FarPlan, means: Array, unit: float, rng: np.random.Generator) -> Poison:
    """The rows of a plan in the domain, with whole copies that add up to the budget."""
    train, total = scenario.train, scenario.n_poison
    steps = np.array([means[rival] - means[label] for label, rival in plan.pairs])
    X = means[[label for label, _ in plan.pairs]] + plan.radius * unit * steps / np.linalg.norm(steps, axis=1)[:, None]
    share = np.full(len(plan.pairs), total / len(plan.pairs))
    labels = np.array([float(label) for label, _ in plan.pairs])
    relaxed = Poison(X, labels, share, train.n_classes)
    return deploy(relaxed, total, train.domain, rng, sparse=train.is_sparse)
