"""What every attack promises, and the one way in which all of them run."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast, final

from ..core import AttackInvalid, AttackResult, Candidate, InputError, LinpoisonError, check_integer
from ..core.journal import Journal
from .deadline import Deadline, Interrupted, OutOfTime, until
from .ranking import check_found, finalists
from .run import Progress, Run
from .sampling import NOISE, TRIES, sampled, scaled, strongest_alone, verified
from .scenario import Scenario, check_deployable


def whole_numbers(values: Sequence[int], name: str) -> tuple[int, ...]:
    """At least one whole number, all of at least 1.

    Examples
    --------
    >>> whole_numbers([2, 3], "repeats")
    (2, 3)
    """
    numbers = tuple(check_integer(value, name, at_least=1) for value in values)
    if not numbers:
        raise InputError(f"at least one number of {name}", "none")
    return numbers


class Attack(ABC):
    """Hyperparameters in the constructor, the scenario at call time.

    A subclass has a `name` and `_search`, which builds poisons. `run` is the same for all: it opens the run, calls the
    search, scores the best candidates by retraining behind every defence, and refuses a poison that the budget does
    not buy or that the domain does not hold.
    """

    name: ClassVar[str]
    many_classes: ClassVar[bool] = False
    """Whether the attack takes more than two classes."""
    needs_of_loss: ClassVar[tuple[str, ...]] = ()
    """What a loss must state beyond its values, such as its `pull_constraints`."""
    takes_class_weights: ClassVar[bool] = False
    """Whether the attack only trains and measures, so that class weights need no mathematics of their own."""
    finalists: int = 6
    """How many candidates are scored behind every defence."""

    @property
    def needs_start(self) -> bool:
        """Whether the attack only improves on a poison and has not been told which."""
        return False

    @property
    def only_goes_on(self) -> bool:
        """Whether of many rows no sample is searched: the attack goes on, on all rows, from poisons that are known.

        Such an attack has two fields for them: `start`, and `others`, of attacks that were made for one defence.
        """
        return False

    @property
    def title(self) -> str:
        """Name of the result."""
        return self.name

    @final
    def run(
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        n_jobs: int = 1,
        progress: Progress | None = None,
        journal: Journal | None = None,
        rows: int | None = None,
        deadline: Deadline | None = None,
    ) -> AttackResult:
        """Build the strongest poison found for a scenario.

        Parameters
        ----------
        scenario : Scenario
        seed : int
            Seeds every random draw; the same seed gives the same poison for any `n_jobs`.
        n_jobs : int
            Worker processes.
        progress : callable, optional
            Called with (steps done, steps in all, description).
        journal : Journal, optional
            Finished steps are read from it and written to it.
        rows : int, optional
            Search on a sample of so many training rows, and score what that finds on all.
        deadline : Deadline, optional
            When the search ends with what it has: no further step begins. What is found then depends on the machine,
            and ``info["cut"]`` of the result says so.

        Raises
        ------
        Interrupted
            After Ctrl-C, where something had been found.
        CapabilityError
            If the attack cannot do what the scenario asks for, before any work.
        SolverFailed
            If there is no candidate.
        AttackInvalid
            If the search gives a poison beyond the budget or outside of the domain.
        """
        run = Run(seed, n_jobs, progress, journal, deadline)
        self._check(scenario)
        try:
            with until(deadline):
                ranked = self._found(scenario, run) if rows is None else self._found_on_sample(scenario, run, rows)
            self._keeps_its_word(scenario, ranked[0])
        except LinpoisonError:
            if run.interrupted:
                raise KeyboardInterrupt from None
            raise
        result = self._result(ranked, run)
        if run.interrupted:
            raise Interrupted(result)
        return result

    def _result(self, ranked: Sequence[Candidate], run: Run) -> AttackResult:
        skipped = sum(solve.status.startswith("skipped") for solve in run.solves)
        return AttackResult(
            name=self.title,
            best=ranked[0],
            candidates=tuple(ranked),
            seconds=time.time() - run.started,
            seed=run.seed,
            solves=tuple(run.solves),
            info={"solves": len(run.solves), "skipped": skipped, "candidates": len(ranked), **run.info},
        )

    def _found(self, scenario: Scenario, run: Run) -> list[Candidate]:
        try:
            found = self._search(scenario, run)
        except (OutOfTime, KeyboardInterrupt) as stop:
            run.stopped_by(stop)
            found = run.found
            check_found(self.title, found, run)
            return finalists(scenario, run, found, 1)
        if run.over():
            run.stopped_by(OutOfTime())
        check_found(self.title, found, run)
        return self._ranked(scenario, run, found)

    def _found_on_sample(self, scenario: Scenario, run: Run, rows: int) -> list[Candidate]:
        if self.only_goes_on:
            onward = self._on_all_rows(scenario, run, [])
            check_found(self.title, onward, run)
            return sorted(onward, key=lambda item: item.rank)
        few = sampled(scenario, rows, run.seed)
        times = scenario.n_poison / few.n_poison
        attack, start = self, getattr(self, "start", None)
        if start is not None:
            attack = replace(cast(Any, self), start=scaled(start, max(1, int(start.total / times))))
        try:
            result = attack.run(few, **run.inside("sample-"))
        except Interrupted as stop:
            run.interrupted, result = True, stop.result
        run.add(result)
        run.info |= {**result.info, "rows": few.train.n}
        found: list[Candidate] = []
        try:
            for place, item in enumerate(result.candidates[:TRIES]):
                if not found or item.worst > max(one.worst for one in found) + NOISE:
                    step = [(scenario, item, times)]
                    found += run.steps(f"all rows, {place + 1}", verified, step, needed=not found)
            check_found(self.title, found, run)
            others = [(scenario, item, times) for item in strongest_alone(result.candidates)]
            alone = run.steps("all rows, alone", verified, others)
            found += self._on_all_rows(scenario, run, sorted(found, key=lambda item: item.rank))
        except (OutOfTime, KeyboardInterrupt) as stop:
            run.stopped_by(stop)
            found, alone = run.found, []
            check_found(self.title, found, run)
        return sorted(found, key=lambda item: item.rank) + alone

    @abstractmethod
    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """Deployable candidates with their errors behind the quick defences, in any order.

        `Run.steps` spreads work over processes and keeps it in the journal; `ranking.candidate` makes a candidate of a
        poison. What `AttackResult.info` is to show goes into ``run.info``.
        """

    def _ranked(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, best first: the finalists by their errors behind every defence, then the rest."""
        return finalists(scenario, run, found, self.finalists)

    def _on_all_rows(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        """What the search goes on to from the best of a sample, scored behind every defence; nothing by default."""
        return []

    def first_rows(self, stage: Any, seed: int) -> Any:
        """The clean rows that are moved from a seed, in the order of the poison; None where no row comes from one.

        `stage` is the scenario as attacks by derivatives see it, a `linpoison.attacks.gradient.stage.Stage`.
        """
        return None

    def _check(self, scenario: Scenario) -> None:
        """Raise if the scenario asks for what the attack cannot do."""
        if self.many_classes:
            scenario.train.require_all_classes()
        else:
            scenario.train.require_both_classes(f"rows for the attack {self.name}")
            scenario.problem.loss.require(*self.needs_of_loss)
        if not self.takes_class_weights:
            scenario.refuse_class_weights(self.name)

    def _keeps_its_word(self, scenario: Scenario, best: Candidate) -> None:
        """Raise unless the poison is deployable and has been scored behind every defence."""
        try:
            check_deployable(best.poison, scenario, f"from the attack {self.title}")
        except InputError as error:
            raise AttackInvalid(str(error)) from error
        missing = sorted(set(scenario.defenses) - set(best.test_error))
        if missing:
            raise AttackInvalid(f"expected errors of the attack {self.title} behind {', '.join(missing)}, got none.")
