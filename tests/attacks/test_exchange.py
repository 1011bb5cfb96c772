"""The exchange attack against what one would try by hand in the same domain."""

import numpy as np
from raw_cases import people, people_pipeline

from linpoison.attacks import Exchange, RandomFlips, Scenario
from linpoison.auditing.inputs import prepare
from linpoison.auditing.options import LearnerOptions
from linpoison.core import Budget, Poison

TRAIN, TEST = people(400), people(400, seed=1)


def naive(scenario):
    """Whole budgets on clean rows of either label, and on corners of the domain."""
    train, domain = scenario.train, scenario.train.domain
    rng = np.random.default_rng(0)
    corners = domain.clip(100 * rng.choice([-1.0, 1.0], size=(6, train.d)))
    rows = np.vstack([train.X[rng.choice(train.n, 12, replace=False)], corners])
    return [Poison(row[None], [y], [scenario.n_poison]) for row in rows for y in (1.0, -1.0)]


def test_it_does_more_than_flips_single_rows_and_corners_in_a_raw_table():
    asked = LearnerOptions(
        label="rich", test=TEST, estimator=people_pipeline(TRAIN), frozen="race", domain="range", defenses="l2"
    )
    setting = prepare(TRAIN, asked)
    scenario = Scenario(setting.split.train, setting.problem, Budget(0.05), setting.defenses, setting.split.test)
    result = Exchange(ratings=100).run(scenario, seed=0)
    score = scenario.defender.score
    others = [score(poison, {"t": scenario.target}).worst("t") for poison in naive(scenario)]
    flips = RandomFlips(draws=5).run(scenario, seed=0)
    assert result.best.worst > max(*others, flips.best.worst) + 0.005
    assert scenario.train.domain.violation(result.poison.X).max() < 1e-9
    frame = setting.raw.frame(result.poison.X)
    assert set(frame["race"]) <= {"a", "b", "c"}
