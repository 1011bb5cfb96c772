"""The breakdown attack: overrun the quota of a filter, or drag the mean that it measures from, and plant any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InfeasibleSet, InputError, SolverFailed
from ...core.poison import Poison
from ...core.results import UNDEFENDED, Candidate
from ...core.validation import Array, check_integer, check_number
from ..base import Attack
from ..decoys import LabelFlipDecoys
from ..kkt import KKT
from ..run import Run, Step
from ..sampling import TARGETS, stratified
from ..scenario import Scenario, check_deployable
from .climb import CAP, Climb, State
from .confirm import ROUGH, confirm, measured
from .onward import given, on_all_rows
from .plans import Aim, Ground, beside, constant, far_plans, outermost
from .rays import Rays, RaySearch, far_direction
from .trials import Trial, Trials

ENTRIES = 20_000
"""Entries of the training rows up to which a search makes all its moves."""
LEAST_STEPS = 80
"""Steps along the gradient at least, on wide rows."""
FLIPS = LabelFlipDecoys((0.4, 0.5), (8, 20), prune=False)
"""Models of rows with flipped labels, from which directions of sparse rows ascend."""
_ROWS = 3000  # that directions are searched on
_BEYOND = (4.0, 70.0)  # times the largest radius: where the planted model is next to zero, only its signs count
_NEAR = (0.075, 0.3)  # times the least radius: between these rows may turn a model around, see `Breakdown._turned`
_ALIKE = 0.97  # cosine of directions that count as one


@dataclass(frozen=True)
class Breakdown(Attack):
    """Far rows that filters let through, along the direction in which they do the most harm.

    A filter that is fitted on clean and poison rows together drops a fixed share of each class. Two things escape it:

    * *overrun*: m rows at the top of a class with n clean ones are more than the quota r, and ``m - r`` of them stay,
      wherever they lie;
    * *drag*: one row, more than about half a class size times as far out as the others, pulls the mean after it; the
      others are then nearer to the mean than clean rows are, whatever the quota.

    What stays plants every model along any direction that correlates with the labels at all (see
    `linpoison.attacks.breakdown.rays`), so the search is one over directions, each a fit of two numbers.

    1. The difference of the class means, in every layout (overrun or drag, one class or both) at three radii. In a
       narrow domain also corners, and rows beside a class mean along the first principal axes.
    2. Ascent on the smoothed error from many directions at once, and the same layouts along the worst of them.
    3. The same again for models of the rows that the defences left, since each defence drops other clean rows.
    4. Local search from the best on the measured least error over the defences, each fitted with the poison in: ascent
       along the exact gradient of the retrained models, radii, noise, copies from place to place, layouts.
       Where rows are wide or sparse a retraining takes a second: there the search is an ascent from the best states.
    5. The best are scored by the defender's own learner. A fit that misses the optimum of its rows is no result.

    Where damage is meant for unseen rows, half of the rows that may be looked at, training rows among them, are
    searched on, and among what was found the error on the half where it is less chooses.

    Parameters
    ----------
    directions : int, default 24
        Directions that ascend side by side.
    ascents : int, default 120
        Steps of that ascent.
    kept : int, default 6
        Directions whose layouts are measured.
    remade : int, default 2
        Times that models are sought anew on the rows that the defences left of the strongest poison so far.
    radii : sequence of float, default (20, 60, 150)
        Of the first layouts, in units of the median distance of a clean row to the mean, or more where poison is rarer
        than one row in 33 (`Ground`).
    chains : int, default 2
        Local searches side by side.
    steps : int, default 240
        Moves of each, fewer on data of more than 20,000 entries; steps of the ascent where rows are wide or sparse.
        Zero leaves the local search out.
    distinct : bool, default False
        Make every copy a row of its own, moved by noise that a k-NN filter tolerates.
    spread : float, default 0.2
        Length of that noise in units of the median distance.
    start : Poison, optional
        A poison within budget and domain, such as that of an attack inside the sets, which the local search goes on
        from beside far rows: in a narrow domain no row is far, and this does more.
    others : sequence of Poison
        More of them, which the moves on all rows go on from, too.
    inside : bool, default True
        Where there is none and small data have a narrow domain, take the poison of `KKT`.
    on_all : int, default 60
        Moves on all rows after a search on a sample, see `on_all_rows`. Zero leaves them out.
    sample : bool, default True
        Whether to search on a sample at all where there are many rows, or only to go on from `start` on all of them.
    each : bool, default False
        Whether to score beside the best also what was found to do most behind each defence alone.
    """

    name = "breakdown"
    directions: int = 24
    ascents: int = 120
    kept: int = 6
    remade: int = 2
    radii: Sequence[float] = (20.0, 60.0, 150.0)
    chains: int = 2
    steps: int = 240
    distinct: bool = False
    spread: float = 0.2
    start: Poison | None = None
    others: Sequence[Poison] = ()
    inside: bool = True
    on_all: int = 60
    sample: bool = True
    each: bool = False

    def __post_init__(self) -> None:
        for name in ("directions", "kept", "chains"):
            check_integer(getattr(self, name), name, at_least=1)
        for name in ("ascents", "steps", "remade", "on_all"):
            check_integer(getattr(self, name), name, at_least=0)
        check_number(self.spread, "spread", above=0)
        radii = tuple(check_number(radius, "a radius", above=0) for radius in self.radii)
        if not radii:
            raise InputError("at least one radius", "none")
        object.__setattr__(self, "radii", radii)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """Poisons with converged fits behind every defence. Skipped fits are among ``AttackResult.solves``."""
        seed = run.seed
        tune, check = goals(scenario, seed)
        ground = self.ground(scenario)
        costly = ground.costly
        found: list[Candidate] = []
        pool: list[State] = []
        climb = Climb(Trials(scenario, tune), ground, np.random.default_rng([seed, 0]))
        if self.start is not None:
            check_deployable(self.start, scenario, "to start from")
            pool += [state for state in [climb.state(given(self.start), "given poison")] if state is not None]
        stages = 2 if costly else 2 + self.remade
        for stage in range(stages):
            if run.over():
                break
            run.say(stage, stages, "directions")
            aims, radii = self._aims(scenario, tune, [seed, stage], pool)
            pool += starts(climb, aims, scenario.n_poison, radii, pool if scenario.of_sample else None)
            if stage == 0 and ground.bounded:
                pool += climb.states(beside(ground), pool if scenario.of_sample else None)
            if stage == 0 and len(scenario.defenses) <= 1 and not (costly or ground.bounded):
                pool += self._turned(climb, aims, scenario.n_poison)
            pool.sort(key=lambda state: -state.trial.value)
            best = pool[: 4 if tune is not check else 1 + (stage == 1)]
            best += [state for state in sorted(pool, key=lambda state: -state.trial.worst)[:1] if state not in best]
            if costly:
                found += run.kept([measured(run.started, scenario, state) for state in best[:1]])
            else:
                found += run.steps(f"first-{stage}", confirm, [(scenario, best)])
        inner = self.start is None and self.inside and ground.bounded and not costly
        if inner and affordable(1, scenario.train, 0) and not run.over():
            pool = inner_states(climb, scenario, run) + pool
            pool.sort(key=lambda state: -state.trial.value)
        chains, moves = affordable(self.chains, scenario.train, 1), affordable(self.steps, scenario.train, 12)
        if costly and self.steps:
            found += run.steps("ascent", ascend, [(self, scenario, tune, pool)])
        else:
            begun = [state for state in pool if state.plan.reach(ground) <= CAP][:10]
            chains *= bool(moves and begun)
            arguments = [(self, scenario, tune, begun, [seed, chain], moves) for chain in range(chains)]
            found += run.steps("climb", search, arguments)
        if self.each and pool and not costly:
            names = (UNDEFENDED, *scenario.defenses)
            most = {name: max(pool, key=lambda state: state.trial.error[name]) for name in names}
            found += run.steps("each", confirm, [(scenario, list(dict.fromkeys(most.values())))])
        return found

    def _ranked(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        """Poisons with converged fits first; where unseen rows are meant, by the half on which they do less."""
        halves = goals(scenario, run.seed)
        unseen = halves[0] is not halves[1]
        worst = [_least(scenario, item, halves) if unseen else item.worst for item in found]
        order = sorted(range(len(found)), key=lambda index: (found[index].label.endswith(ROUGH), -worst[index]))
        return [found[index] for index in order]

    @property
    def needs_start(self) -> bool:
        """See `Attack.needs_start`."""
        return self.only_goes_on and self.start is None

    @property
    def only_goes_on(self) -> bool:
        """See `Attack.only_goes_on`."""
        return not self.sample

    def _on_all_rows(self, scenario: Scenario, run: Run, found: Sequence[Candidate]) -> list[Candidate]:
        if not self.on_all:
            return []
        ground = self.ground(scenario)
        goal, _ = goals(scenario, run.seed)
        goal = goal.take(stratified(goal, TARGETS, np.random.default_rng([run.seed, 11])))
        plans = [(f"{item.label}, on all rows", given(item.poison)) for item in found]
        for poison in (*([] if self.start is None else [self.start]), *self.others):
            check_deployable(poison, scenario, "to start from")
            plans.append(("given poison, on all rows", given(poison)))
        for aim in constant(scenario.train):
            radii = (max(self.radii) if ground.bounded else self.radii[len(self.radii) // 2],)
            plans += [(f"{layout}, on all rows", plan) for layout, plan in far_plans(ground, aim, ground.total, radii)]
        return run.steps("all rows, onward", on_all_rows, [(scenario, ground, goal, plans, self.on_all)])

    def ground(self, scenario: Scenario) -> Ground:
        """What plans are laid out on, and how far copies lie apart if the attack or the scenario asks for it."""
        ground = Ground(scenario.train, scenario.n_poison)
        return replace(ground, spread=max(self.spread if self.distinct else 0.0, 2 * scenario.gap / ground.base))

    def _aims(
        self, scenario: Scenario, goal: Dataset, seed: Sequence[int], pool: Sequence[State]
    ) -> tuple[list[Aim], tuple[float, ...]]:
        """What is planted next, and at which radii.

        First the constant model, which errs as much on rows that nobody has seen: it is best planted from afar; in a
        narrow domain also corners. Then the worst models of the clean rows, then those of the rows that the defences
        left of the strongest poison.
        """
        train = scenario.train
        near = 0.05 if self.ground(scenario).bounded and not train.domain.integral else 1.0
        radii = tuple(near * radius for radius in self.radii)
        if seed[1] == 0 and self.ground(scenario).costly:
            return constant(train), radii[:1]  # next to the constant model every row is near the kink: fits take long
        if seed[1] == 0 and self.ground(scenario).bounded:
            return constant(train) + outermost(train), (max(radii), _BEYOND[0] * max(radii))
        if seed[1] == 0:
            return constant(train), radii + tuple(factor * max(radii) for factor in _BEYOND)
        if seed[1] == 1 or not pool:
            return self._worst(scenario, train, goal, seed, self.kept), radii
        left = replace(train, weight=train.weight * kept_share(pool[0].trial, train))
        return self._worst(scenario, left, goal, seed, max(1, self.kept // 2)), radii[-2:]

    def _turned(self, climb: Climb, aims: Sequence[Aim], n_poison: int) -> list[State]:
        """Rows at the radius at which they turn a model around that no filter guards, instead of flattening it.

        Nearer they are too few to plant anything; beyond, the planted model is next to zero. In between lies a peak
        that may be narrower than a tenth of the radius: a grid, and a finer one around its best.
        """
        radii = np.geomspace(*_NEAR, 8) * min(self.radii)
        found: list[State] = []
        for _ in range(2):
            states = {radius: starts(climb, aims, n_poison, (radius,)) for radius in radii.tolist()}
            found += [state for some in states.values() for state in some]
            best = max(states, key=lambda radius: max((state.trial.worst for state in states[radius]), default=0.0))
            radii = best * (radii[1] / radii[0]) ** np.array([-2 / 3, -1 / 3, 1 / 3, 2 / 3])
        return found

    def _worst(self, scenario: Scenario, train: Dataset, goal: Dataset, seed: Sequence[int], most: int) -> list[Aim]:
        """The worst models of some rows that can be planted, with directions unlike each other."""
        rng = np.random.default_rng([*seed, 2])
        few, rows = thinned(train, rng), thinned(scenario.measure.searched(goal), rng)
        rays = Rays(scenario.problem, few, rows, scenario.n_poison * few.total / scenario.train.total)
        number, steps = affordable(self.directions, train, 8), affordable(self.ascents, train, 40)
        chosen: list[Aim] = []
        for model in RaySearch(rays, (*seed, 2), number, steps, FLIPS if train.is_sparse else None).models():
            aim = Aim(far_direction(rays, model), model)
            if aim.direction.any() and all(abs(float(aim.direction @ other.direction)) < _ALIKE for other in chosen):
                chosen.append(aim)
            if len(chosen) == affordable(most, train, 1 + 2 * train.is_sparse):
                break
        return chosen


def _least(scenario: Scenario, item: Candidate, halves: Sequence[Dataset]) -> float:
    """The error on the half where it is less: what was found by looking at one half may not do as much on the other."""
    rows = {str(number): half for number, half in enumerate(halves)}
    scores = scenario.defender.score(item.poison, rows)
    return min(scores.worst(name) for name in rows)


def goals(scenario: Scenario, seed: int) -> tuple[Dataset, Dataset]:
    """The rows that are searched on, and those that choose.

    Where unseen rows are meant they are halves of all rows that may be looked at: the target and the training rows.
    """
    target = scenario.aim.target
    if scenario.goal == "target":
        return target, target
    target = target if scenario.sees_only_training_rows else scenario.train.mix(target)
    order = np.random.default_rng([seed, 3]).permutation(target.n)
    order = order[np.argsort(target.y[order], kind="stable")]
    return target.take(np.sort(order[0::2])), target.take(np.sort(order[1::2]))


def inner_states(climb: Climb, scenario: Scenario, run: Run) -> list[State]:
    """The poison of the KKT attack, if there is one, as a state to go on from."""
    try:
        result = KKT().run(scenario, **run.inside("inside-"))
    except (InputError, SolverFailed, InfeasibleSet):
        return []
    run.add(result)
    state = climb.state(given(result.poison), f"kkt: {result.best.label}")
    return [] if state is None else [state]


def kept_share(trial: Trial, train: Dataset) -> Array:
    """The share of the defences that keep each stored clean row.

    A decoy that is optimal on all clean rows is not on those that a defence leaves, and each leaves others: of rows of
    which some defences let go it is to need less.
    """
    copies = train.weight.astype(int) if (train.weight == np.round(train.weight)).all() else np.ones(train.n, dtype=int)
    owner = np.repeat(np.arange(train.n), copies)
    dropped = np.zeros(train.n)
    guards = [rows for name, rows in trial.removed.items() if name != UNDEFENDED]
    for rows in guards:
        np.add.at(dropped, owner[rows[rows < owner.size]], 1.0)
    return np.asarray(1.0 - dropped / np.maximum(copies * max(len(guards), 1), 1))


def thinned(data: Dataset, rng: np.random.Generator) -> Dataset:
    """At most 3000 of the rows."""
    if data.n <= _ROWS:
        return data
    return data.take(np.sort(rng.choice(data.n, _ROWS, replace=False)))


def affordable(number: int, train: Dataset, least: int) -> int:
    """All on small data; in proportion fewer the more entries the rows have, but not fewer than `least`."""
    entries = int(train.X.nnz) if train.is_sparse else train.n * train.d
    return min(number, max(least, number * ENTRIES // max(1, entries)))


def starts(
    climb: Climb, aims: Sequence[Aim], total: int, radii: Sequence[float], among: Sequence[State] | None = None
) -> list[State]:
    """Every layout along every direction, with its outcome; see `Climb.states`."""
    named = (
        (f"direction {number}, {layout}" if number else layout, plan)
        for number, aim in enumerate(aims)
        for layout, plan in far_plans(climb.ground, aim, total, tuple(radii))
    )
    return climb.states(named, among)


def search(
    started: float,
    attack: Breakdown,
    scenario: Scenario,
    goal: Dataset,
    begun: Sequence[State],
    seed: Sequence[int],
    steps: int,
) -> Step:
    """One chain of the local search, and its best three by the defender's own learner."""
    climb = Climb(Trials(scenario, goal), attack.ground(scenario), np.random.default_rng(seed))
    pool = [replace(state, label=f"{state.label}, local search {seed[1] + 1}") for state in begun]
    return confirm(started, scenario, climb.run(pool, steps)[:3])


def ascend(started: float, attack: Breakdown, scenario: Scenario, goal: Dataset, begun: Sequence[State]) -> Step:
    """Steps along the gradient from the best states, most of them from the best of these, for rows of many columns.

    There a retraining takes a second, and a move that is drawn at random hardly ever does more.
    """
    climb = Climb(Trials(scenario, goal), attack.ground(scenario), np.random.default_rng(0))
    steps = affordable(attack.steps, scenario.train, LEAST_STEPS)
    reached = [climb.ascend(state, steps // 8) for state in _unlike(begun, attack.kept // 2)]
    reached.sort(key=lambda state: -state.trial.value)
    best = climb.ascend(reached[0], steps // 2) if reached else None
    return confirm(started, scenario, [*([] if best is None else [best]), *reached[1:2]])


def _unlike(states: Sequence[State], most: int) -> list[State]:
    """The best state of each direction, up to so many."""
    first = {state.label.partition(", ")[0]: state for state in sorted(states, key=lambda item: item.trial.value)}
    return sorted(first.values(), key=lambda state: -state.trial.value)[:most]
