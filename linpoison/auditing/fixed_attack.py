"""The KKT attack against the defender that is certified: filters that are fixed beforehand."""

from __future__ import annotations

import numpy as np

from ..core import Dataset, LinpoisonError, Poison, SolverFailed
from ..rounding import deploy
from .bracket import Progress, wrong
from .journal import FolderJournal
from .trusted import Trusted

NAME = "kkt on the fixed sets"
DECOYS = 12
"""How many decoys are aimed at, those of the greatest error first."""


def fixed_attack(
    defender: Trusted,
    target: Dataset,
    count: int,
    *,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
    journal: FolderJournal | None = None,
) -> Poison:
    """The strongest poison of `count` rows inside the fixed sets, one program for each decoy.

    `KKT` aims at a defender who fits its filters again on clean rows and poison, so that some of its rows are
    outside the fixed sets. Here the program is solved, and the outcome retrained, behind the very sets of the
    certificate.

    Parameters
    ----------
    defender : Trusted
    target : Dataset
        Rows that the attacker wants misclassified.
    count : int
        Rows to insert.
    seed, jobs : int
    progress : callable, optional
    journal : FolderJournal, optional
        Holds the outcome of an earlier run.

    Raises
    ------
    SolverFailed
        If no decoy leads to a poison.
    """
    stored = None if journal is None else journal.get(NAME)
    if stored is not None:
        return Poison(stored["X"], stored["y"], stored["count"])
    best = _strongest(defender, target, count, np.random.default_rng(seed), jobs, progress)
    if journal is not None:
        X = best.X.toarray() if hasattr(best.X, "toarray") else best.X
        journal.put(NAME, {"X": X, "y": best.y, "count": best.count})
    return best


def _strongest(
    defender: Trusted, target: Dataset, count: int, rng: np.random.Generator, jobs: int, progress: Progress | None
) -> Poison:
    from ..attacks import KKTProgram, LabelFlipDecoys

    train, problem, sets = defender.train, defender.problem, defender.sets
    decoys = LabelFlipDecoys().generate(train, problem, target, n_jobs=jobs)[:DECOYS]
    best, least, reason = None, -1.0, "no decoy"
    for number, decoy in enumerate(decoys):
        if progress is not None:
            progress(number, len(decoys), NAME)
        try:
            relaxed = KKTProgram().solve(decoy.model, train, problem, sets, count / train.total).poison
            poison = deploy(_projected(relaxed, defender), count, train.domain, rng, sets=sets)
            error = wrong(defender.learn(poison)[0], target)
        except LinpoisonError as failure:
            reason = str(failure)
            continue
        if error > least:
            best, least = poison, error
    if best is None:
        raise SolverFailed(f"expected a poison inside the fixed sets, got none ({reason})")
    return best


def _projected(poison: Poison, defender: Trusted) -> Poison:
    """Rows moved to where they are inside up to rounding: a solver's are inside up to its accuracy."""
    X = poison.X.toarray() if hasattr(poison.X, "toarray") else poison.X
    rows = [defender.sets[int(label)].project(row[None])[0] for row, label in zip(X, poison.y, strict=True)]
    return Poison(np.array(rows).reshape(X.shape), poison.y, poison.count)
