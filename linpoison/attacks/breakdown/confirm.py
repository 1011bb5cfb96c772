"""The last word on a poison: the defender's own learner, and no result where it misses the optimum of its rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...core.errors import InputError, SolverFailed
from ...core.model import LinearModel
from ...core.poison import Poison
from ...core.results import UNDEFENDED, Candidate
from ...learners.base import LearnerWarning
from ...rounding import make_distinct
from ..ranking import UNKNOWN
from ..run import Step, skipped
from ..scenario import Scenario
from .climb import State
from .trials import excess

UNCONVERGED = 1e-3
"""Relative excess of the objective from which a fit is no result: far rows can keep a solver from its optimum."""
ROUGH = ", rough fit"
"""How the label of a candidate ends that the defender's own learner has not scored: fits of wide rows take seconds."""


def confirm(started: float, scenario: Scenario, states: Sequence[State]) -> Step:
    """The states by the defender's own learner; one whose fits did not converge is named and left out."""
    found, solves = [], []
    for state in states:
        try:
            found.append(_candidate(started, scenario, state))
        except (InputError, SolverFailed, LearnerWarning) as error:
            solves += skipped(error)[1]
    return found, solves


def measured(started: float, scenario: Scenario, state: State) -> Candidate:
    """A state as the search measured it, with the loose tolerances of its learner."""
    poison = state.trial.poison.merged()
    error = _errors(scenario, state.trial.models)
    return _item(started, scenario, replace(state, label=f"{state.label}{ROUGH}"), poison, state.trial.models, error)


def _candidate(started: float, scenario: Scenario, state: State) -> Candidate:
    poison = make_distinct(state.trial.poison.merged(), scenario.gap, scenario.train, np.random.default_rng(0))
    if not poison.total:
        raise InputError("room in the domain for rows that are no copies", "none")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LearnerWarning)
        outcome = scenario.defender.open(poison)
        models = {name: outcome.model(name) for name in (UNDEFENDED, *scenario.defenses)}
    for name, model in models.items():
        over = excess(scenario.problem, outcome.mixed.take(outcome.kept(name)), model)
        if over > UNCONVERGED:
            raise SolverFailed(
                f"far fit behind {name} did not converge, its objective is {100 * over:.2g} % too large."
            )
    return _item(started, scenario, state, poison, models, _errors(scenario, models))


def _errors(scenario: Scenario, models: Mapping[str, LinearModel]) -> dict[str, float]:
    return {name: scenario.measure.of(model, scenario.aim.target) for name, model in models.items()}


def _item(
    started: float,
    scenario: Scenario,
    state: State,
    poison: Poison,
    models: Mapping[str, LinearModel],
    error: Mapping[str, float],
) -> Candidate:
    return Candidate(
        poison=poison,
        relaxed=poison,
        decoy=models[UNDEFENDED],
        residual=UNKNOWN,
        violation=float(scenario.train.domain.violation(poison.X).max()),
        distance=UNKNOWN,
        test_error=dict(error),
        label=state.label,
        seconds=time.time() - started,
    )
