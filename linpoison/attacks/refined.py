"""The refined attack: local search on the measured error behind every defence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..core.domain import Domain
from ..core.errors import InfeasibleSet, InputError, SolverFailed
from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import Candidate
from ..core.validation import LABELS, Array, check_integer, check_integers, check_number
from ..influence import ImplicitGradient, SoftError
from ..sets import ByLabel
from .base import Attack
from .deadline import time_is_up
from .feasible import FeasibleRegion, SetPolicy, active
from .kkt import KKT
from .moves import Compass, Moves, Slots
from .ranking import candidate, score_fully
from .run import Run, Step
from .scenario import Scenario, check_deployable
from .soft_worst import Measured, SoftWorst, pressing


@dataclass(frozen=True)
class Refined(Attack):
    """Start from a strong poison and raise the measured error by small moves of its rows.

    A state is a poison of whole copies (and whole counts). Every step draws a move (`Moves`),
    retrains behind every defence, and keeps the move if the soft minimum over the defences of the
    damage has grown (`SoftWorst`). Moves follow the exact implicit gradient: with ``T`` the smoothed
    error and ``s = H^(-1) grad T`` at the model behind a defence, one more copy of a row ``(x, y)`` on
    the active part of the loss adds ``y s . (x, 1) / N`` to ``T``; the gradients of the defences are
    averaged by how much each presses on the least error. Whole rows are drawn towards the best
    feasible row, single words are exchanged, and slots pass from one class to the other.

    `chains` searches run side by side; after each round all go on from the best of them.

    Where damage is meant for unseen rows (``scenario.goal == "population"``) errors are measured
    by cross-fitting: each training row by a model trained without it. What the search gains on the
    rows it measures then carries over, where a search on the target's own error does not.

    Parameters
    ----------
    start : Attack or Poison, optional
        What to begin from: the poison of another attack, which is run first (`KKT` by default), or
        a poison of whole copies, within the budget and the domain.
    rounds : int, default 8
        Most rounds.
    steps : int, default 200
        Moves that each chain tries in a round.
    chains : int, default 2
    least_gain : float, default 0.001
        The search ends after a round whose gain in damage is less.
    copies : int, default 2
        Copies of each row that move together, more where the budget is large: a row is divided
        into at most `max_slots` in all. Two copies and more pass a k-NN defence together.
    max_slots : int, default 80
    folds : int, default 2
        Parts in cross-fitting.
    turn : int, default 10
        Moves between two computations of the gradient.
    policy : SetPolicy
        Of the sets that the best feasible row is taken from.
    """

    name = "refined"
    start: Attack | Poison | None = None
    rounds: int = 8
    steps: int = 200
    chains: int = 2
    least_gain: float = 0.001
    copies: int = 2
    max_slots: int = 80
    folds: int = 2
    turn: int = 10
    policy: SetPolicy = field(default_factory=SetPolicy)

    def __post_init__(self) -> None:
        if not (self.start is None or isinstance(self.start, (Attack, Poison))):
            raise InputError("an attack or a poison to start from", repr(self.start))
        check_integers(self, "rounds", "steps", "chains", "copies", "max_slots", "turn", at_least=1)
        check_integer(self.folds, "folds", at_least=2)
        check_number(self.least_gain, "least_gain", at_least=0)

    @property
    def needs_start(self) -> bool:
        """See `Attack.needs_start`."""
        return self.start is None

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """The poisons from the start to the end. `AttackResult.info` holds the damage and the error at either.

        The end is the poison that is returned. ``start_kept`` tells that it is the one that the search started from:
        no move raised the damage, or the moves raised it and yet lost error behind the exact defences.
        """
        line = [self._begin(scenario, run)]
        ratings = [measured(scenario, line[0].poison, self.folds, run.seed)]
        for number in range(self.rounds):
            arguments = [(self, scenario, line[-1].poison, [run.seed, number, chain]) for chain in range(self.chains)]
            ends = run.steps(f"refining, round {number + 1}", search, arguments)
            rates = [measured(scenario, item.poison, self.folds, run.seed) for item in ends]
            first = int(np.argmax([rating.value for rating in rates]))
            gain = rates[first].value - ratings[-1].value
            if gain > 0:
                line.append(ends[first])
                ratings.append(rates[first])
            if gain < self.least_gain:
                break
        begun, final = line[0], run.steps("finalists", score_fully, [(scenario, line[-1])], needed=True)[0]
        lost = scenario.goal == "target" and begun.worst > final.worst
        kept = lost or len(line) == 1
        end = ratings[0] if kept else ratings[-1]
        run.info |= {
            "rounds": 0 if kept else len(line) - 1,
            "damage_at_start": ratings[0].value,
            "damage_at_end": end.value,
            "measured_at_start": ratings[0].worst,
            "measured_at_end": end.worst,
            "cross_fitted": scenario.goal == "population",
            "start_kept": kept,
        }
        return [*((begun, final) if lost else (final, begun)), *line[:0:-1]]

    def _ranked(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        """As the search has ranked them: damage counts, which errors on the target rows do not tell."""
        return list(found)

    def _begin(self, scenario: Scenario, run: Run) -> Candidate:
        """The candidate to start from."""
        if isinstance(self.start, Poison):
            check_deployable(self.start, scenario, "to start from")
            return candidate(run.started, scenario, self.start, label="given poison", full=True)
        attack = KKT() if self.start is None else self.start
        result = attack.run(scenario, **run.inside("start-"))
        run.add(result)
        return replace(result.best, label=f"{attack.name}: {result.best.label}")


def measured(scenario: Scenario, poison: Poison, folds: int, seed: int) -> Measured:
    """What a poison does with every defence fitted anew."""
    value = SoftWorst(scenario, folds=folds, seed=seed)
    value.refresh(poison)
    return value.at(poison)


def search(started: float, attack: Refined, scenario: Scenario, poison: Poison, seed: list[int]) -> Step:
    """One chain of one round: the state it ends in."""
    rng = np.random.default_rng(seed)
    value = SoftWorst(scenario, folds=attack.folds, seed=seed[0])
    value.refresh(poison)
    slots = Slots.of(poison, max(attack.copies, int(np.ceil(poison.total / attack.max_slots))))
    now = value.at(slots.poison)
    moves = Moves(scenario.train.domain, rng)
    sets = _sets(attack, scenario, poison, now.models["none"])
    best: dict[float, Array] = {}
    for step in range(attack.steps):
        if time_is_up():
            break
        if step % attack.turn == 0:
            slope = slope_of(now, value.goal, scenario, rng)
            best = _best_rows(sets, slope, scenario.train.domain) if step % (4 * attack.turn) == 0 else best
            compass = Compass(slope[:-1], best)
        kind, changed = moves.propose(slots, compass, sets)
        if changed is None:
            continue
        outcome = value.at(changed.poison)
        moves.learn(kind, outcome.value > now.value)
        if outcome.value > now.value:
            slots, now = changed, outcome
    item = candidate(started, scenario, slots.poison.merged(), label=f"refined, round {seed[1] + 1}")
    return [item], []


def _sets(attack: Refined, scenario: Scenario, poison: Poison, planted: LinearModel) -> ByLabel:
    """Feasible rows with the poison in; for a hinge, with an active loss under the planted model."""
    region = FeasibleRegion.fit(scenario, attack.policy, poison)
    return active(region.sets(planted), planted, scenario.problem.loss)


def slope_of(found: Measured, goal: object, scenario: Scenario, rng: np.random.Generator) -> Array:
    """``H^(-1) grad T``, averaged over the defences that press on the least error; widths are drawn anew."""
    smooth = scenario.problem.loss.kink is None
    band = None if smooth else float(10 ** rng.uniform(-1.7, -0.4))
    target = SoftError(goal, float(10 ** rng.uniform(-1.3, -0.4)))  # type: ignore[arg-type]
    total = np.zeros(scenario.train.d + 1)
    for name, share in pressing(found.error).items():
        implicit = ImplicitGradient(scenario.problem, found.kept[name], found.models[name], band, tol=1e-6)
        try:
            total += share * implicit.solve(target.gradient(found.models[name]))
        except (InputError, SolverFailed):
            continue
    return total


def _best_rows(sets: ByLabel, slope: Array, domain: Domain) -> dict[float, Array]:
    """For each label the feasible row of the greatest first-order gain, put into the domain.

    A label is left out where there is no such row, or no greatest gain.
    """
    rows: dict[float, Array] = {}
    for label in LABELS:
        try:
            row = sets[label].support(label * slope[:-1])
        except (InputError, InfeasibleSet, SolverFailed):
            continue
        rows[label] = domain.clip(np.round(row) if domain.integral else row)
    return rows
