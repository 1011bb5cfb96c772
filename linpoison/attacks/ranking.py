"""From a poison to its rank: rounding, retraining behind the quick defences, the final scoring."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core import Candidate, LinearModel, Poison, SolveInfo, SolverFailed
from ..learners import make_learner
from ..rounding import deploy, make_distinct
from ..sets import ByLabel
from .run import Run, Step
from .scenario import Scenario

SMALL = 200_000
"""Entries of the training rows up to which every defence is quick."""
MANY = 80
"""Distinct rounded rows of a poison that are enough for its mean."""
COSTLY = 500_000_000
"""Entries of the training rows, zeros counted, from which one finalist is scored: it takes minutes and gigabytes."""
SHRINKING = (1.0, 0.97, 0.9)
"""How much rows that are made distinct are pulled towards the mean of their class: noise alone may carry them out."""
UNKNOWN = float("nan")
_REASONS = 2  # that an attack without a poison names


def candidate(
    started: float,
    scenario: Scenario,
    poison: Poison,
    *,
    label: str,
    decoy: LinearModel | None = None,
    relaxed: Poison | None = None,
    residual: float = UNKNOWN,
    violation: float = UNKNOWN,
    gap: float = UNKNOWN,
    distance: float = UNKNOWN,
    facts: Mapping[str, float] | None = None,
    behind: Sequence[str] | None = None,
    full: bool = False,
) -> Candidate:
    """A deployable poison with its error behind the quick defences, or behind all.

    Where copies are not allowed (`Scenario.gap`) every row becomes one of its own first.

    Parameters
    ----------
    started : float
        ``time.time()`` at which the attack began.
    scenario : Scenario
    poison : Poison
        With whole copies.
    label : str
        How it was made.
    decoy : LinearModel, optional
        The parameters it aims at; by default those that it plants.
    relaxed : Poison, optional
        What it was rounded from; by default itself.
    residual, violation, gap, distance, facts
        See `Candidate`.
    behind : sequence of str, optional
        Names of the defences that are quick; by default `quick_defenses`.
    full : bool
        Score every defence, with the defender's own learner.
    """
    quick = quick_defenses(scenario) if behind is None else behind
    poison = _distinct(scenario, poison, quick)
    names, defender = (None, scenario.defender) if full else (quick, scenario.quick)
    scores = defender.score(poison, scenario.judged, names)
    return Candidate(
        poison=poison,
        relaxed=poison if relaxed is None else relaxed,
        decoy=scores.models["none"] if decoy is None else decoy,
        residual=residual,
        violation=violation,
        distance=distance,
        test_error=scores.error["target"],
        label=label,
        seconds=time.time() - started,
        gap=gap,
        excess=scenario.excess(scores.error),
        facts=facts or {},
    )


def strongest(started: float, scenario: Scenario, poisons: Iterator[Poison], **facts: Any) -> Candidate | None:
    """The strongest `candidate` of several deployable versions of one poison; empty ones are left out."""
    scored = [candidate(started, scenario, poison, **facts) for poison in poisons if poison.n_distinct]
    return max(scored, key=lambda item: item.worst, default=None)


def quick_worst(scenario: Scenario, poison: Poison, behind: Sequence[str]) -> float:
    """The least error over some defences, by the quick learner."""
    return scenario.quick.score(poison, {"target": scenario.aim.target}, behind).worst("target")


def _distinct(scenario: Scenario, poison: Poison, behind: Sequence[str]) -> Poison:
    """The poison with rows that are no copies: of several ways the strongest."""
    gap, train = scenario.gap, scenario.train
    if gap <= 0:
        return poison
    versions = [make_distinct(poison, gap, train, np.random.default_rng(0), shrink) for shrink in SHRINKING]
    filled = [version for version in versions if version.total > 0]
    return max(filled, key=lambda version: quick_worst(scenario, version, behind), default=poison)


def quick_defenses(scenario: Scenario, near: int = 0) -> list[str]:
    """Names of the defences that every step scores; up to `near` training rows, those that ask for neighbours too."""
    few, small = scenario.train.n <= near, scenario.train.n * scenario.train.d <= SMALL
    return [
        name
        for name, defense in scenario.defenses.items()
        if small or defense.cheap or (few and defense.copies_to_pass > 1)
    ]


def roundings(
    scenario: Scenario,
    relaxed: Poison,
    sets: ByLabel | None,
    rng: np.random.Generator,
    *,
    repeats: Sequence[int] = (2, 3),
    draws: int = 1,
) -> Iterator[Poison]:
    """Deployable versions of a relaxed poison, several draws where rows must be whole.

    Where features are counts, rows that fall outside the sets are drawn again in all versions but one:
    drawing again moves the mean, which may cost more than the rows that a defence then removes.
    Elsewhere, and where the relaxed poison leaves some of the budget, a version that spends it all is
    among them: more copies weigh against what the defences remove, and let points pass a k-NN defence.

    Parameters
    ----------
    scenario : Scenario
    relaxed : Poison
    sets : ByLabel, optional
        Rounded rows outside are drawn again, but for the last version of each number of repeats.
    rng : numpy.random.Generator
    repeats : sequence of int
        Copies of each rounded row that are tried, where features are counts. Where a defence is passed by
        equal rows (`Defense.copies_to_pass`) and the budget buys `MANY` times as many, that number takes their place.
    draws : int
        Roundings for each number of repeats.
    """
    train, limit = scenario.train, scenario.n_poison
    together = max((guard.copies_to_pass for guard in scenario.defenses.values()), default=1)
    if together > 1 and limit >= MANY * together:
        repeats = (together,)
    if not train.domain.integral:
        yield deploy(relaxed, limit, train.domain, rng, sets=sets, sparse=train.is_sparse)
        if relaxed.total > 0 and round(relaxed.total) < limit:
            whole = replace(relaxed, count=relaxed.count * (limit / relaxed.total))
            yield deploy(whole, limit, train.domain, rng, sets=sets, sparse=train.is_sparse)
        return
    for copies in repeats:
        for inside in [sets] * draws + ([] if sets is None else [None]):
            yield deploy(relaxed, limit, train.domain, rng, repeats=copies, sets=inside, sparse=train.is_sparse)


def score_fully(started: float, scenario: Scenario, item: Candidate) -> Step:
    """The candidate with its error behind every defence."""
    error = scenario.defender.score(item.poison, scenario.judged).error
    excess, seconds = scenario.excess(error), time.time() - started
    return [replace(item, test_error=error["target"], excess=excess, seconds=seconds)], []


def check_found(name: str, found: Sequence[Candidate], run: Run) -> None:
    """Raise if an attack found nothing, with the most frequent reasons of what was skipped.

    Raises
    ------
    SolverFailed
        If there is no candidate.
    """
    if not found:
        raise SolverFailed(
            f"expected at least one poison of the attack {name}, got none{_reasons(run.solves)}. Allow a larger "
            "budget, leave out a defence, or use another attack."
        )


def finalists(scenario: Scenario, run: Run, found: Sequence[Candidate], most: int) -> list[Candidate]:
    """The candidates by `Candidate.rank`: at most so many that are scored behind every defence, then the rest.

    From `COSTLY` entries on only the best one, by the quick defences, is scored behind every defence.
    """
    ranked = sorted(found, key=lambda item: item.rank)
    if scenario.train.n * scenario.train.d >= COSTLY or run.over():
        most = 1
    finals = run.steps("finalists", score_fully, [(scenario, item) for item in ranked[:most]], needed=True)
    return [*sorted(finals, key=lambda item: item.rank), *ranked[most:]]


def _reasons(solves: Sequence[SolveInfo]) -> str:
    """Why steps gave nothing, in brackets, the most frequent reasons first; nothing where no step was tried."""
    counts = Counter(solve.status for solve in solves if solve.status.startswith("skipped")).most_common()
    words = [word for word, _ in counts[:_REASONS]]
    if len(counts) > _REASONS:
        words.append(f"{len(counts) - _REASONS} other reasons" if len(counts) > _REASONS + 1 else "another reason")
    return f" ({'; '.join(words)})" if words else ""


def distance_from(scenario: Scenario, item: Candidate) -> float:
    """How far the model retrained on clean rows and relaxed poison ends from the decoy."""
    mixed = scenario.train.mix(item.relaxed.as_dataset())
    return make_learner(scenario.problem).fit(mixed, start=item.decoy).distance(item.decoy)
