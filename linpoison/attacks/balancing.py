"""Balanced class weights of a program: those of the counts with the poison in that its own solution has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from ..core import Array, Dataset, Poison
from ..losses import Problem

_STAYS = 1e-6
"""Change of the masses, as a share of the budget, below which class weights have settled."""


class Planted(Protocol):
    """A solution with a relaxed poison."""

    @property
    def poison(self) -> Poison:
        """Its counts are in rows."""


Solution = TypeVar("Solution", bound=Planted)


def at_its_counts(
    problem: Problem,
    train: Dataset,
    epsilon: float,
    solve: Callable[[Problem], Solution],
    split: float | None = None,
    *,
    rounds: int = 4,
) -> Solution:
    """Solve with balanced class weights written out; at once where they are fixed or there are none.

    ``w(y) = N / (2 N_y)`` counts the poison, whose masses are what is sought: they start even (or as `split` says) and
    become those of the last solutions (by a secant), until they stay or `rounds` solutions are there. The last one is
    returned.

    Parameters
    ----------
    problem : Problem
    train : Dataset
        Clean rows.
    epsilon : float
        Mass of the poison as a fraction of the clean rows.
    solve : callable
        ``solve(problem)`` for a problem with fixed class weights.
    split : float, optional
        Mass of the class +1 to start from, at most `epsilon`.
    rounds : int
    """
    if problem.class_weight != "balanced":
        return solve(problem)
    rows = np.array([train.weight[train.y == label].sum() for label in (-1.0, 1.0)]) / train.total
    high = epsilon / 2 if split is None else split
    masses, before = np.array([epsilon - high, high]), None
    for _ in range(rounds):
        low, high = (1 + masses.sum()) / (2 * (rows + masses))
        found = solve(replace(problem, class_weight=(float(low), float(high))))
        counts = [found.poison.count[found.poison.y == label].sum() for label in (-1.0, 1.0)]
        moved = np.array(counts) / train.total - masses
        if np.abs(moved).max() <= _STAYS * epsilon:
            break
        masses, before = _next(masses, moved, before, epsilon), (masses, moved)
    return found


def _next(masses: Array, moved: Array, before: tuple[Array, Array] | None, epsilon: float) -> Array:
    """Where a secant along the last step says that solutions stay (Anderson's mixing); at first where one moved to."""
    there = masses + moved
    turned = np.zeros(2) if before is None else moved - before[1]
    if before is None or not turned.any():
        return there
    share = float(moved @ turned) / float(turned @ turned)
    return np.clip(there - share * (masses - before[0] + turned), 0.0, epsilon)
