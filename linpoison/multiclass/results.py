"""The question that an attack on k classes is asked, and its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..core.dataset import Dataset
from ..core.errors import InputError, SolverFailed
from ..core.poison import Poison
from ..core.threat import Budget
from ..rounding import largest_remainder
from .evaluation import CHEAP, MultiEvaluation, MultiEvaluator
from .learners import MultiLearner
from .minmax_program import MinMaxSolution, Progress


@dataclass(frozen=True, eq=False)
class MultiScenario:
    """These rows, this learner, these defences, this budget, these target rows.

    Parameters
    ----------
    train : Dataset
        Clean training rows of weight one.
    learner : MultiLearner
        What the defender trains after sanitisation.
    budget : Budget
    target : Dataset
        Rows that the attacker may look at and wants misclassified. The paper uses the test rows.
    defenses : sequence of str
        Empty means an undefended learner.
    remove : float, default 0.05
        Share of each class that a defence drops.
    """

    train: Dataset
    learner: MultiLearner
    budget: Budget
    target: Dataset
    defenses: Sequence[str] = CHEAP
    remove: float = 0.05

    def __post_init__(self) -> None:
        self.train.require_all_classes()
        if self.target.d != self.train.d or self.target.k > self.train.k or self.target.n == 0:
            raise InputError("target rows like the training rows", f"{self.target.n} rows of {self.target.d} features")

    @property
    def n_poison(self) -> int:
        """Whole poison rows that the budget buys."""
        return self.budget.count(self.train.n)

    @property
    def evaluator(self) -> MultiEvaluator:
        """What scores a poison."""
        return MultiEvaluator(self.train, self.learner, self.defenses, self.remove)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A poison before rounding.

    Parameters
    ----------
    poison : Dataset
        Weights are shares of the clean rows.
    label : str
        How it was made.
    solution : MinMaxSolution, optional
        The program that it was read from.
    """

    poison: Dataset
    label: str
    solution: MinMaxSolution | None = None


class MultiStep(NamedTuple):
    """One candidate that was scored: seconds since the start, how it was made, its errors by defence."""

    seconds: float
    label: str
    error: dict[str, float]
    gap: float


@dataclass(frozen=True, eq=False)
class MultiResult:
    """The best poison of an attack.

    Parameters
    ----------
    name : str
    poison : Poison
    relaxed : Relaxed
        What it was rounded from.
    evaluation : MultiEvaluation
        Its errors on the target rows by defence, and the share of it that each keeps.
    seconds : float
        Wall time of the attack, scoring included.
    seed : int
    timeline : tuple of MultiStep
        All candidates in the order in which they were scored.
    skipped : tuple of str
        What gave no candidate, and why.
    """

    name: str
    poison: Poison
    relaxed: Relaxed
    evaluation: MultiEvaluation
    seconds: float
    seed: int
    timeline: tuple[MultiStep, ...] = field(repr=False)
    skipped: tuple[str, ...] = ()

    @property
    def error(self) -> dict[str, float]:
        """Errors on the target rows by defence."""
        return self.evaluation.error

    @property
    def worst(self) -> float:
        """The least error over the defences."""
        return self.evaluation.worst

    @property
    def gap(self) -> float:
        """Relative duality gap of the program behind the poison; NaN if it has none."""
        return gap_of(self.relaxed)


def gap_of(relaxed: Relaxed) -> float:
    """The relative duality gap of a relaxed poison; NaN if it has none."""
    return relaxed.solution.gap if relaxed.solution is not None else float("nan")


def rounded(relaxed: Dataset, total: int) -> Poison:
    """Whole copies that add up to `total`, by largest remainders; rows without a copy are left out."""
    counts = largest_remainder(relaxed.weight, total)
    used = counts > 0
    return Poison(relaxed.X[used], relaxed.y[used], counts[used], relaxed.n_classes)


@dataclass
class Ranking:
    """Rounds and scores candidates one after another and keeps the best: greatest least error over the defences.

    Whole copies may be `settled` before they are scored: pulled into what they themselves move.
    """

    name: str
    scenario: MultiScenario
    seed: int
    progress: Progress | None = None
    settled: Callable[[Dataset], Dataset] | None = None
    _best: tuple[Poison, Relaxed, MultiEvaluation] | None = None
    _steps: list[MultiStep] = field(default_factory=list)
    _skipped: list[str] = field(default_factory=list)
    _start: float = field(default_factory=time.perf_counter)

    def add(self, relaxed: Relaxed) -> MultiEvaluation:
        """Score one more."""
        poison = rounded(relaxed.poison, self.scenario.n_poison)
        if self.settled is not None:
            poison = replace(poison, X=self.settled(poison.as_dataset(self.scenario.train.domain)).X)
        found = self.scenario.evaluator.score(poison, self.scenario.target)
        seconds = time.perf_counter() - self._start
        self._steps.append(MultiStep(seconds, relaxed.label, dict(found.error), gap_of(relaxed)))
        if self._best is None or found.worst > self._best[2].worst:
            self._best = (poison, relaxed, found)
        return found

    def skip(self, label: str, error: Exception) -> None:
        """Take note of what gave no candidate."""
        self._skipped.append(f"{label}: {error}")

    def say(self, done: int, total: int) -> None:
        """Tell the caller how far it is."""
        if self.progress is not None:
            best = self._best[2].worst if self._best is not None else 0.0
            self.progress(done, total, f"{self.name}, worst case so far {best:.4f}")

    def result(self) -> MultiResult:
        """The best of what was added."""
        if self._best is None:
            reasons = f" ({'; '.join(self._skipped)})" if self._skipped else ""
            raise SolverFailed(
                f"expected at least one poison of the attack {self.name}, got none{reasons}. "
                "Loosen the caps or the balls."
            )
        poison, relaxed, found = self._best
        seconds = time.perf_counter() - self._start
        steps, skipped = tuple(self._steps), tuple(self._skipped)
        return MultiResult(self.name, poison, relaxed, found, seconds, self.seed, steps, skipped)
