"""Local search on the measured error of more than two classes: places, radii, labels and copies."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...core.dataset import Dataset
from ...core.errors import InputError, SolverFailed
from ...core.parts import dense
from ...core.poison import Poison
from ...core.results import Candidate, SolveInfo
from ...core.validation import Array
from ...learners import LearnerWarning
from ...rounding import deploy
from ..breakdown.plans import Ground
from ..deadline import time_is_up
from ..ranking import candidate
from ..run import Step, skipped
from ..scenario import Scenario

AXES = 2
"""Principal axes of the clean rows along which all copies are tried in one place, to either side."""
RADII = (2.0, 8.0, 20.0)
"""Of these places, in units of the median distance of clean rows to their mean."""
MOST_PLACES = 5
_LARGE = 400_000  # entries of dense rows from which principal axes are not computed


def climbed(
    started: float,
    scenario: Scenario,
    begun: Sequence[tuple[str, Poison]],
    moves: int,
    singles: int,
    seed: Sequence[int],
) -> Step:
    """What some poisons become by moves that do no less: the greatest least error over the defences, then the mean.

    Errors are whole numbers of rows, so that most moves change nothing: one that does as much is taken too, and the
    search drifts on a level until it finds a way up.

    Parameters
    ----------
    started : float
        ``time.time()`` at which the attack began.
    scenario : Scenario
    begun : sequence of (str, Poison)
        That the search may go on from, with their names.
    moves : int
        Retrainings behind the defences.
    singles : int
        So many poisons of one place, with each label in turn, stand beside `begun`.
    seed : sequence of int
    """
    rng = np.random.default_rng(seed)
    ground = Ground(scenario.train, scenario.n_poison)
    solves: list[SolveInfo] = []
    states: list[tuple[Poison, Candidate]] = []
    for label, poison in [*begun, *_singles(scenario, ground, singles, rng)]:
        states += _measured(started, scenario, poison, label, solves, rng)
    states.sort(key=lambda state: _value(state[1]), reverse=True)
    for _ in range(moves if states else 0):
        if time_is_up():
            break
        place = int(rng.integers(min(2, len(states))))
        poison, current = states[place]
        label = current.label.removesuffix(_MOVED) + _MOVED
        for moved in _measured(started, scenario, _move(poison, scenario, ground, rng), label, solves, rng):
            if _value(moved[1]) >= _value(current):
                states[place] = moved
        states.sort(key=lambda state: _value(state[1]), reverse=True)
    return [item for _, item in states[:2]], solves


_MOVED = ", local search"


def _value(item: Candidate) -> tuple[float, float]:
    return item.worst, float(np.mean(list(item.test_error.values())))


def _measured(
    started: float,
    scenario: Scenario,
    poison: Poison,
    label: str,
    solves: list[SolveInfo],
    rng: np.random.Generator,
) -> list[tuple[Poison, Candidate]]:
    """A poison in the domain with its outcome; nothing, and a line in `solves`, where a fit does not converge."""
    train = scenario.train
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", LearnerWarning)
            rows = deploy(poison, scenario.n_poison, train.domain, rng, sparse=train.is_sparse)
            return [(poison, candidate(started, scenario, rows, label=label))]
    except (InputError, SolverFailed, LearnerWarning) as error:
        solves += skipped(error)[1]
        return []


def _singles(scenario: Scenario, ground: Ground, most: int, rng: np.random.Generator) -> list[tuple[str, Poison]]:
    """All copies in one place, away from the centre along class means and principal axes, with each label."""
    train = scenario.train
    off = np.array([np.asarray(train.of_class(label).X.mean(axis=0)).ravel() for label in train.labels]) - ground.center
    directions = [*off, *_axes(train, ground.center)]
    lengths = [float(np.linalg.norm(direction)) for direction in directions]
    found = [
        (
            f"one place of class {int(label)}, direction {number}, radius {radius:g}",
            _single(ground.center + sign * radius * ground.base * direction / length, label, scenario),
        )
        for radius in RADII
        for number, (direction, length) in enumerate(zip(directions, lengths, strict=True), 1)
        for sign in ((1.0, -1.0) if number > len(off) else (1.0,))
        for label in train.labels
        if length > 0
    ]
    return [found[index] for index in np.sort(rng.permutation(len(found))[:most])]


def _single(row: Array, label: float, scenario: Scenario) -> Poison:
    return Poison(row[None], np.array([label]), np.array([float(scenario.n_poison)]), scenario.train.n_classes)


def _axes(train: Dataset, center: Array) -> list[Array]:
    if train.is_sparse or train.n * train.d > _LARGE:
        return []
    return list(np.linalg.svd(train.X - center, full_matrices=False)[2][:AXES])


def _move(poison: Poison, scenario: Scenario, ground: Ground, rng: np.random.Generator) -> Poison:
    """Another radius, direction, label, number of copies, or a place beyond or opposite to a clean row."""
    X = np.array(dense(poison.X))
    y, count = poison.y.copy(), poison.count.copy()
    row = int(rng.integers(y.size))
    off = X[row] - ground.center
    length = max(float(np.linalg.norm(off)), 0.1 * ground.base)
    kind = rng.choice(["radius", "turn", "label", "copies", "beyond", "gather"], p=[0.2, 0.3, 0.1, 0.15, 0.15, 0.1])
    if kind == "radius":
        X[row] = ground.center + off * np.exp(0.7 * rng.normal())
    elif kind == "turn":
        X[row] += length * 10 ** rng.uniform(-1.5, 0.3) * rng.normal(size=off.size) / np.sqrt(off.size)
    elif kind == "label":
        y[row] = rng.choice([label for label in scenario.train.labels if label != y[row]])
    elif kind == "beyond":
        X[row], y[row] = _beyond(scenario.train, ground, rng), rng.choice(scenario.train.labels)
    elif kind == "gather":
        X, y, count = X[[row]], y[[row]], np.array([count.sum()])
    else:
        moved = float(rng.integers(1, int(count[row]) + 1))
        count[row] -= moved
        if y.size < MOST_PLACES and rng.random() < 0.5:
            X, y = np.vstack([X, _beyond(scenario.train, ground, rng)]), np.append(y, rng.choice(scenario.train.labels))
            count = np.append(count, moved)
        else:
            count[int(rng.integers(y.size))] += moved
    used = count > 0
    return replace(poison, X=X[used], y=y[used], count=count[used])


def _beyond(train: Dataset, ground: Ground, rng: np.random.Generator) -> Array:
    """A place on the line through the centre and a clean row."""
    row = dense(train.X[[int(rng.integers(train.n))]])[0]
    factor = rng.choice([1.0, -1.0]) * np.exp(rng.normal(scale=1.5))
    return np.asarray(ground.center + factor * (row - ground.center))
