"""The min-max attacks from end to end: within budget, sets and bound; repeatable; stronger than nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kkt_cases import scenario_of

from linpoison.attacks import FeasibleRegion, LabelFlipDecoys, Scenario, SetPolicy
from linpoison.attacks.minmax import MinMax, MinMaxBasic, allot, bounds
from linpoison.attacks.minmax_paper import PaperLoop
from linpoison.attacks.run import Run
from linpoison.attacks.saddle import SaddleProgram
from linpoison.core import Budget, Dataset, InputError, Poison, SolveInfo, SolverFailed
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem

SMALL = LabelFlipDecoys((0.2, 0.4), (1, 3))
QUICK = MinMax(decoys=SMALL, regrown=SMALL, generations=1, reach=(1.1,), tries=3, draws=1, finalists=3)
EPSILON = 0.1


@pytest.fixture(scope="module")
def words():
    scenario = scenario_of("counts", epsilon=EPSILON, defenses=("l2", "slab", "loss", "knn"))
    return scenario, QUICK.run(scenario, seed=1)


@pytest.fixture(scope="module")
def basic():
    scenario = scenario_of("counts", epsilon=EPSILON, defenses=("l2", "slab", "loss"))
    return scenario, MinMaxBasic(draws=1).run(scenario, seed=1)


def dense(poison):
    return poison.X.toarray() if hasattr(poison.X, "toarray") else np.asarray(poison.X)


def training_objective(scenario, poison):
    mixed = scenario.train.mix(poison.as_dataset())
    return scenario.problem.value(make_learner(scenario.problem).fit(mixed), mixed)


def test_poison_spends_the_budget_on_whole_rows(words, basic):
    for scenario, result in (words, basic):
        assert result.poison.total == scenario.n_poison
        assert (result.poison.count == np.round(result.poison.count)).all()
        assert (dense(result.poison) == np.round(dense(result.poison))).all()
        assert (dense(result.poison) >= 0).all()


def test_poison_does_damage_behind_the_defences(words):
    scenario, result = words
    clean = make_learner(scenario.problem).fit(scenario.train).error(scenario.target)
    assert result.best.worst >= clean + 0.05
    assert set(result.best.test_error) == {"none", "l2", "slab", "loss", "knn"}


def test_training_objective_stays_below_the_attacks_own_bound(basic):
    scenario, result = basic
    first = next(item for item in result.candidates if item.label == "worst rows")
    sets = FeasibleRegion.fit(scenario, SetPolicy()).sets()
    assert sets.violation(first.relaxed.X, first.relaxed.y).max() <= 1e-6
    attained = training_objective(scenario, first.relaxed)
    assert attained <= result.info["upper"] * (1 + 1e-7)
    assert attained >= result.info["upper"] * (1 - 1.01 * result.info["gap"] - 1e-7)
    assert result.info["gap"] == first.gap <= 1e-4
    inside = sets.violation(first.poison.X, first.poison.y).max() <= 1e-9
    assert not inside or training_objective(scenario, first.poison) <= result.info["upper"] * (1 + 1e-7)


def test_basic_ignores_the_loss_defence_and_min_max_heeds_it(words):
    scenario, _ = words
    decoy = SMALL.generate(scenario.train, scenario.problem, scenario.target)[0].model
    values = {}
    for name, cap, model in (("none", None, None), ("fitted", None, decoy), ("fixed", 0.25, decoy)):
        sets = replace(FeasibleRegion.fit(scenario, SetPolicy()), cap=cap).sets(model)
        values[name] = SaddleProgram(tol=1e-3).solve(scenario.train, scenario.problem, sets, EPSILON)
    assert values["none"].upper > values["fitted"].upper * 1.01
    losses = scenario.problem.loss.value(decoy.margins(values["fixed"].poison.as_dataset()))
    assert losses.max() <= 0.25 + 1e-6
    assert scenario.problem.loss.value(decoy.margins(values["none"].poison.as_dataset())).max() > 0.3


def test_candidates_report_gap_and_decoy(words):
    _, result = words
    assert all(item.gap <= 0.05 for item in result.candidates)
    assert all(item.violation <= 1e-6 for item in result.candidates)
    assert result.info["decoys"] >= 1
    assert result.info["upper"] > 0
    assert any(item.label.startswith("decoy") for item in result.candidates)


def test_refits_are_further_candidates(basic):
    _, result = basic
    assert {item.label for item in result.candidates} == {"worst rows", "worst rows, refit 1"}


@pytest.mark.parametrize("cls", [MinMax, MinMaxBasic])
def test_paper_method_runs_under_the_same_promises(cls):
    scenario = scenario_of("counts", epsilon=EPSILON, defenses=("l2", "slab", "loss"))
    options = {"decoys": SMALL, "generations": 0, "tries": 2} if cls is MinMax else {"refits": 0}
    result = cls(method="paper", **options).run(scenario, seed=2)
    again = cls(method="paper", **options).run(scenario, seed=2)
    clean = make_learner(scenario.problem).fit(scenario.train).error(scenario.target)
    assert result.poison.total == scenario.n_poison
    assert result.best.worst > clean
    assert np.array_equal(dense(result.poison), dense(again.poison))
    assert "upper" not in result.info
    assert np.isnan(result.best.gap)


def test_paper_loop_raises_the_training_objective_towards_the_bound():
    scenario = scenario_of("breast_cancer", defenses=("l2", "slab"))
    sets = FeasibleRegion.fit(scenario, SetPolicy()).sets()
    train, problem, epsilon = scenario.train, scenario.problem, scenario.n_poison / scenario.train.total
    saddle = SaddleProgram(tol=1e-3).solve(train, problem, sets, epsilon)
    rng = np.random.default_rng(0)
    poison = PaperLoop(burn_in=0.3).rows(train, problem, sets, epsilon, scenario.n_poison, rng)
    clean = problem.value(make_learner(problem).fit(train), train)
    value = training_objective(scenario, poison)
    assert poison.total == scenario.n_poison
    assert value <= saddle.upper
    assert value >= clean + 0.5 * (saddle.upper - clean)


def test_real_features_and_the_logistic_loss():
    scenario = scenario_of("breast_cancer", loss="logistic", defenses=("l2", "slab", "loss"))
    result = replace(QUICK, generations=0).run(scenario, seed=0)
    clean = make_learner(scenario.problem).fit(scenario.train).error(scenario.target)
    assert result.poison.total == scenario.n_poison
    assert result.best.worst > clean


def test_copies_come_in_groups_and_add_up():
    weights = np.array([5.0, 3.1, 0.2, 1.7])
    for repeats in (1, 2, 3):
        poison = allot(Poison(np.eye(4), [1, 1, -1, -1], weights), 11, repeats)
        assert poison.count.sum() == 11
        assert ((poison.count % repeats == 0).sum()) >= poison.y.size - 1
    assert allot(Poison(np.eye(4), [1, 1, -1, -1], weights), 1, 3).count.tolist() == [1.0]


def test_bad_options_are_refused_and_hopeless_data_say_so(words):
    scenario, _ = words
    for options in ({"method": "other"}, {"repeats": ()}, {"refits": -1}, {"draws": 0}):
        with pytest.raises(InputError):
            MinMaxBasic(**options)
    for options in ({"tries": 0}, {"cap": -1.0}, {"reach": ()}, {"generations": -1}):
        with pytest.raises(InputError):
            MinMax(**options)
    with pytest.raises(InputError):
        PaperLoop(rate=0.0)
    unguarded = scenario_of("breast_cancer", defenses=())
    for attack in (replace(QUICK, generations=0), MinMaxBasic()):
        with pytest.raises(SolverFailed, match="none"):
            attack.run(unguarded)


def test_rows_that_cost_the_learner_nothing_are_no_poison():
    """Sets beyond the margin of every row: the program has a solution, and no row in it."""
    deep = np.random.default_rng(0).normal(size=(80, 2)) * 0.1
    deep[:40] += 5
    deep[40:] -= 5
    train = Dataset(np.vstack([deep, [[1, 1], [-1, -1]]]), np.append(np.repeat([1, -1], 40), [1, -1]))
    scenario = Scenario(train, Problem(Hinge(), 1e-3), Budget(0.1), {"l2": make_defense("l2", remove=0.05)}, train)
    for attack in (MinMaxBasic(), MinMax(generations=0, tries=2)):
        with pytest.raises(
            SolverFailed, match=r"got none \(skipped: SolverFailed: expected .*\)\. Allow a larger budget"
        ):
            attack.run(scenario)


def test_bounds_are_those_of_a_program_that_was_solved(words):
    scenario, result = words
    skip = SolveInfo("", "skipped: InputError", float("nan"), 0.0)
    run = Run(solves=[skip, *result.solves])
    assert bounds(run, result.candidates) == {"upper": result.solves[0].value, "gap": result.candidates[0].gap}
    assert bounds(Run(solves=[skip]), []) == {}


def test_sets_that_cannot_be_refitted_end_a_chain(monkeypatch, basic):
    scenario, _ = basic
    fit = FeasibleRegion.fit

    def refuses(scenario, policy, poison=None):
        if poison is not None:
            raise InputError("rows of both classes", "none")
        return fit(scenario, policy)

    monkeypatch.setattr(FeasibleRegion, "fit", refuses)
    result = MinMaxBasic(draws=1).run(scenario, seed=1)
    assert result.info["skipped"] == 1
    assert result.best.label == "worst rows"
