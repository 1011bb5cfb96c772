"""The contract of an attack: what `Attack.run` gives, held against the scenario and against itself."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..attacks import Aim, Attack, Scenario
from ..attacks.scenario import check_deployable
from ..core import AttackResult, Budget, Dataset, InputError
from ..core.parts import dense
from ..losses import Hinge, Problem
from .holding import hold


def check_attack(attack: Attack, scenario: Scenario | None = None) -> AttackResult:
    """Hold what an attack promises on a scenario that it can do.

    It runs three times: by itself, on two processes with a journal, and from that journal.

    Parameters
    ----------
    attack : Attack
    scenario : Scenario, optional
        Small: seconds are enough. By default two overlapping classes of 60 rows, the hinge loss, and no defence.

    Returns
    -------
    AttackResult
        Of the first run.

    Raises
    ------
    AssertionError
        In one sentence, for the first thing that is not so.

    Examples
    --------
    >>> from linpoison.attacks import RandomFlips
    >>> check_attack(RandomFlips()).name
    'random-flips'
    """
    scenario = _scenario() if scenario is None else scenario
    hold(type(attack).run is Attack.run, "Attack.run, which is final,", attack)
    twin = pickle.loads(pickle.dumps(attack))
    result = attack.run(scenario, seed=3)
    _poison(attack, scenario, result)
    _scores(attack, scenario, result)
    journal = _Memory()
    _same(result, twin.run(scenario, seed=3, n_jobs=2, journal=journal), "on two processes", attack)
    hold(bool(journal.steps), "finished steps in the journal", attack)
    kept = dict(journal.steps)
    _same(result, attack.run(scenario, seed=3, journal=journal), "from its journal", attack)
    hold(journal.steps.keys() == kept.keys(), "no step run again that is in the journal", attack)
    _refusals(attack, scenario)
    return result


def _scenario() -> Scenario:
    rng = np.random.default_rng(0)
    y = np.where(np.arange(120) % 2, 1.0, -1.0)
    train, test = (Dataset(rng.normal(size=(120, 3)) + 0.8 * y[:, None], y) for _ in range(2))
    return Scenario(train, Problem(Hinge(), 0.05), Budget(0.05), {}, Aim(test))


def _poison(attack: Attack, scenario: Scenario, result: AttackResult) -> None:
    for item in result.candidates:
        try:
            check_deployable(item.poison, scenario, "from a candidate")
        except InputError as error:
            hold(False, f"deployable candidates ({error})", attack)
        known = item.poison.n_classes == scenario.train.n_classes
        hold(known and bool(np.isin(item.poison.y, scenario.train.labels).all()), "labels of the rows", attack)
    hold(result.best is result.candidates[0], "the best candidate first", attack)
    hold(result.seed == 3 and result.name == attack.title, "seed and name in the result", attack)


def _scores(attack: Attack, scenario: Scenario, result: AttackResult) -> None:
    """Errors of the best poison are those of the defender, computed here once more."""
    error = scenario.defender.score(result.poison, {"rows": scenario.target}).error["rows"]
    told = result.best.test_error
    hold(told.keys() == error.keys(), f"errors behind {', '.join(error)}", attack)
    worst = max(abs(told[name] - error[name]) for name in error)
    hold(worst <= 1e-12, f"errors as the defender measures them (they differ by {worst:g})", attack)


def _refusals(attack: Attack, scenario: Scenario) -> None:
    one_class = replace(scenario, train=scenario.train.of_class(1))
    try:
        attack.run(one_class)
    except InputError as error:
        hold("\n" not in str(error), "one line for training rows of one class", attack)
    else:
        hold(False, "an InputError for training rows of one class", attack)


def _same(one: AttackResult, other: AttackResult, where: str, attack: Attack) -> None:
    for name in ("X", "y", "count"):
        first, second = (dense(getattr(result.poison, name)) for result in (one, other))
        hold(np.array_equal(first, second), f"the same poison for the same seed {where}", attack)


class _Memory:
    """A journal in memory."""

    def __init__(self) -> None:
        self.steps: dict[str, Mapping[str, np.ndarray]] = {}

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        stored = self.steps.get(key)
        return None if stored is None else dict(stored)

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.steps[key] = arrays
