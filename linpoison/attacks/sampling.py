"""Large data: an attack searches on some of the rows, and what it finds is scored on all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.dataset import Dataset
from ..core.errors import InputError, SolverFailed
from ..core.poison import Poison
from ..core.results import Candidate
from ..learners import LearnerWarning
from ..rounding import largest_remainder
from .newton import COLUMNS, NewtonLearner
from .ranking import candidate
from .run import Step, skipped
from .scenario import Scenario

ENTRIES, ROWS, PER_COLUMN, ROWS_OF_MANY = 16_000, 600, 10, 800
"""Entries of a sample, and rows of it at least, in all and for each column; rows of more than two classes."""
LARGE = 10_000_000
"""Entries times classes from which searches of more than two classes look at a sample."""
TIMES = 3
"""How many samples training rows make up from which a search looks at one."""
LEAST_POISON = 12
"""Poison rows beside a sample at least: fewer cannot be divided."""
LEAST_OF_CLASS = 20
TARGETS = 4_000
"""Rows at most on which a search measures damage."""
NOISE = 0.01
"""Error on a sample that counts as none."""
TRIES = 3
"""Poisons of a search that are scored on all rows at most, as long as the next promises more than those so far do."""


def sample_size(scenario: Scenario) -> int | None:
    """Rows of a sample that a search can do with; None where it is to look at all: of few rows for their columns."""
    train, epsilon = scenario.train, scenario.budget.epsilon
    if scenario.known is not None:
        return None
    if train.is_sparse and train.n_classes is not None:
        return None
    if train.n_classes is not None:  # fits are as many times as dear, and far rows are found among few
        return ROWS_OF_MANY if train.n * train.d * train.k > LARGE and train.n > TIMES * ROWS_OF_MANY else None
    rows = max(ENTRIES // train.d, ROWS, PER_COLUMN * train.d, int(np.ceil(LEAST_POISON / epsilon)))
    return rows if train.n > TIMES * rows else None


def sampled(scenario: Scenario, rows: int, seed: int) -> Scenario:
    """The same question about some of the rows: each class in proportion, with the regulariser that all rows have."""
    rng = np.random.default_rng([seed, 11])
    train, aim = scenario.train, scenario.aim
    chosen = stratified(train, rows, rng)
    few = train.take(chosen)
    few = replace(few, weight=few.weight * few.n / few.total)
    problem = scenario.problem
    if problem.scaling == "sum":
        problem = replace(problem, n_reference=float(problem.n_reference or 0) * few.total / train.total)
    target = few if scenario.sees_only_training_rows else aim.target.take(stratified(aim.target, TARGETS, rng))
    others = None if aim.others is None else aim.others.take(stratified(aim.others, TARGETS, rng))
    members = None if aim.members is None else aim.members[chosen]
    aim = replace(aim, target=target, others=others, members=members)
    learner = scenario.learner
    if learner is None and train.n_classes is None and not train.is_sparse and train.d <= COLUMNS:
        learner = NewtonLearner(problem)  # the last word has the defender's own, on all rows
    return replace(scenario, train=few, problem=problem, aim=aim, learner=learner, of_sample=True)


def stratified(data: Dataset, rows: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """About so many rows, ascending, drawn from each class in proportion; all if there are no more.

    Examples
    --------
    >>> data = Dataset(np.zeros((1000, 1)), np.repeat([-1, 1], [900, 100]))
    >>> np.bincount(data.codes[stratified(data, 200, np.random.default_rng(0))])
    array([180,  20])
    """
    if data.n <= rows:
        return np.arange(data.n)
    parts = []
    for label in data.labels:
        members = np.flatnonzero(data.y == label)
        size = min(members.size, max(round(rows * members.size / data.n), LEAST_OF_CLASS))
        parts.append(rng.choice(members, size, replace=False))
    return np.sort(np.concatenate(parts))


def scaled(poison: Poison, total: int) -> Poison:
    """The rows of a poison with so many whole copies in all, in the same proportions; rows of no copies are dropped.

    Examples
    --------
    >>> scaled(Poison([[0.0], [1.0]], [1, -1], [2, 1]), 300).count
    array([200., 100.])
    """
    count = largest_remainder(poison.count, total).astype(np.float64)
    used = count > 0
    return replace(poison, X=poison.X[used], y=poison.y[used], count=count[used])


def strongest_alone(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that do more behind one defence than the first does, by more than `NOISE`: for each the strongest."""
    first, found = candidates[0], []
    for name, error in first.test_error.items():
        most = max(candidates, key=lambda item: item.test_error.get(name, 0.0))
        if most.test_error[name] > error + NOISE and most not in found:
            found.append(most)
    return found


def verified(started: float, scenario: Scenario, item: Candidate, times: float) -> Step:
    """A poison that a search on a sample has found, with `times` as many copies and its errors on all rows."""
    total = min(max(round(item.poison.total * times), 1), scenario.n_poison)
    relaxed = replace(item.relaxed, count=item.relaxed.count * times)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", LearnerWarning)
            found = candidate(
                started,
                scenario,
                scaled(item.poison, total),
                label=item.label,
                decoy=item.decoy,
                relaxed=relaxed,
                residual=item.residual,
                violation=item.violation,
                gap=item.gap,
                full=True,
            )
    except (InputError, SolverFailed, LearnerWarning) as error:
        return skipped(error)
    return [found], []
