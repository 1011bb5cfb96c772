"""The refined attack: what it measures, how it moves, and that what it gains is real."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from kkt_cases import scenario_of

from linpoison.attacks import Scenario, refined
from linpoison.attacks.aim import Aim
from linpoison.attacks.decoys import LabelFlipDecoys
from linpoison.attacks.kkt import KKT
from linpoison.attacks.moves import Compass, Moves, Slots
from linpoison.attacks.refined import Refined, measured
from linpoison.attacks.soft_worst import SoftWorst, pressing
from linpoison.core import Budget, Dataset, Domain, InputError, Poison
from linpoison.defender import Defender
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, Box, ByLabel, Halfspace, intersect

SMALL = LabelFlipDecoys((0.2, 0.4), (1, 3))
START = KKT(decoys=SMALL, regrown=SMALL, generations=0, finalists=2)
QUICK = Refined(start=START, rounds=2, steps=12, chains=2)
ALL = ("l2", "slab", "loss", "svd", "knn")


@pytest.fixture(scope="module", params=["counts", "breast_cancer"])
def case(request):
    scenario = scenario_of(request.param, epsilon=0.1, defenses=ALL)
    return scenario, START.run(scenario, seed=1)


@pytest.mark.parametrize("goal", ["target", "population"])
def test_damage_grows_and_is_what_a_fresh_evaluator_measures_with_poison_that_may_be_planted(case, goal):
    scenario, begun = case
    scenario = replace(scenario, aim=Aim(scenario.target, goal))
    result = replace(QUICK, start=begun.poison, chains=1).run(scenario, seed=1)
    assert not result.poison.relaxed
    assert result.poison.total == begun.poison.total <= scenario.n_poison
    assert scenario.train.domain.violation(result.poison.X).max() == 0
    assert result.poison.X.shape[1] == scenario.train.d
    grown = result.info["damage_at_end"] > result.info["damage_at_start"]
    assert grown == (not result.info["start_kept"]) == (result.poison is not begun.poison)
    assert grown or goal == "target"
    outcome = Defender(scenario.train, scenario.problem, scenario.defenses).score(
        result.poison, {"target": scenario.target}
    )
    assert result.best.test_error == outcome.error["target"]
    if goal == "target":
        assert result.best.worst >= begun.best.worst
        assert result.info["measured_at_end"] == pytest.approx(result.best.worst, abs=0.02)
    assert result.info["cross_fitted"] == (goal == "population")


def test_rating_is_that_of_exact_retraining():
    scenario = scenario_of("breast_cancer", defenses=ALL)
    poison = START.run(scenario, seed=1).poison
    rating = measured(scenario, poison, folds=2, seed=0)
    outcome = Defender(scenario.train, scenario.problem, scenario.defenses).score(poison, {"target": scenario.target})
    for name, error in outcome.error["target"].items():
        assert rating.error[name] == pytest.approx(error, abs=2.5 / scenario.target.n)
    assert rating.value <= max(rating.error.values())


def test_cross_fitting_measures_each_row_by_a_model_that_has_not_seen_it():
    scenario = scenario_of("breast_cancer", defenses=())
    scenario = replace(scenario, aim=Aim(scenario.train, "population"))
    poison = Poison(scenario.train.X[:1], [1], [3])
    value = SoftWorst(scenario, folds=4, seed=5)
    margins = np.empty(scenario.train.n)
    for part in value._parts:
        rest = np.setdiff1d(np.arange(scenario.train.n), part)
        shrunk = replace(poison, count=poison.count * (rest.size / scenario.train.n))
        data = scenario.train.take(rest).mix(shrunk.as_dataset())
        margins[part] = make_learner(scenario.problem).fit(data).margins(scenario.train.take(part))
    assert value.at(poison).error["none"] == pytest.approx(np.mean(margins <= 0), abs=2.5 / scenario.train.n)
    joined = np.sort(np.concatenate(value._parts))
    np.testing.assert_array_equal(joined, np.arange(scenario.train.n))
    assert value.goal.n == scenario.train.n


def test_rows_of_the_target_that_are_not_training_rows_count_too():
    scenario = scenario_of("breast_cancer", defenses=())
    scenario = replace(scenario, aim=Aim(scenario.target, "population"))
    assert SoftWorst(scenario).goal.n == scenario.train.n + scenario.target.n


def test_pressing_defences_are_those_of_least_error():
    weights = pressing({"none": 0.30, "l2": 0.25, "slab": 0.251})
    assert set(weights) == {"l2", "slab"}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["l2"] > weights["slab"]


def slots_of(integral, rng):
    X = rng.integers(0, 4, size=(6, 30)).astype(float)
    return Slots.of(Poison(X, np.array([1, 1, 1, -1, -1, -1]), np.full(6, 5)), 2)


def test_slots_divide_copies_and_join_again():
    slots = slots_of(True, np.random.default_rng(0))
    assert slots.count.sum() == 30
    assert slots.count.max() == 2
    assert slots.poison.merged().n_distinct == 6
    assert slots.poison.merged().total == 30


@pytest.mark.parametrize("kind", ["words", "blend", "mend", "swap", "copy"])
@pytest.mark.parametrize("domain", [Domain.counts(np.full(30, 5)), Domain.box(0.0, 5.0, d=30)])
def test_moves_stay_in_the_domain_and_follow_the_slope(kind, domain):
    rng = np.random.default_rng(3)
    slots, slope = slots_of(domain.integral, rng), rng.standard_normal(30)
    sets = ByLabel({label: Box(np.zeros(30), np.full(30, 5.0)) for label in (1, -1)})
    best = {label: 5.0 * (label * slope > 0) for label in (1.0, -1.0)}
    moves = Moves(domain, rng, credit={kind: 1.0}, size={"words": 8.0, "blend": 0.2, "mend": 0.4})
    gains = []
    for _ in range(60):
        drawn, changed = moves.propose(slots, Compass(slope, best), sets)
        assert drawn == kind
        if changed is None:
            continue
        assert domain.violation(changed.X).max() < 1e-9
        np.testing.assert_array_equal(changed.count, slots.count)
        gain = (changed.y * changed.count) @ (changed.X @ slope) - (slots.y * slots.count) @ (slots.X @ slope)
        gains.append(gain)
    assert len(gains) > 10
    if kind != "copy":
        assert np.mean(np.array(gains) > 0) > 0.7


def test_success_makes_a_kind_likelier_and_its_steps_larger():
    moves = Moves(Domain.real(), np.random.default_rng(0))
    before = dict(moves.size), dict(moves.credit)
    moves.learn("words", True)
    moves.learn("mend", False)
    assert moves.size["words"] > before[0]["words"]
    assert moves.size["mend"] < before[0]["mend"]
    assert moves.credit["words"] > before[1]["words"]
    assert moves.credit["mend"] < before[1]["mend"]


def test_search_ends_where_nothing_is_gained():
    scenario = scenario_of("counts", epsilon=0.1, defenses=("l2",))
    result = replace(QUICK, rounds=5, steps=2, least_gain=10.0).run(scenario, seed=0)
    assert result.info["rounds"] <= 1


def test_rows_are_held_out_once_whatever_their_weight():
    scenario = scenario_of("breast_cancer", defenses=())
    scenario = replace(scenario, aim=Aim(scenario.target, "population"))
    n = scenario.train.n
    weight = np.where(np.arange(n) % 3 == 0, 2.5, 0.25)
    first, second = SoftWorst(replace(scenario, train=replace(scenario.train, weight=weight)), folds=2)._parts
    assert sorted([*first, *second]) == list(range(n))


@pytest.mark.parametrize("goal", ["target", "population"])
def test_a_score_of_zero_is_read_as_by_every_model(goal):
    data = Dataset([[0.0], [0.0], [0.0], [1.0], [-1.0]], [1, -1, -1, 1, -1])
    problem = Problem(Hinge(), 0.1, fit_intercept=False)
    value = SoftWorst(Scenario(data, problem, Budget(0.5), {}, Aim(data, goal)), folds=2)
    assert value.at(Poison([[2.0]], [1], [1])).error["none"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("poison", "words"),
    [
        (Poison(np.zeros((1, 25)), [1], [13]), "1 to 12"),
        (Poison(np.zeros((1, 25)), [1], [1.5]), "whole"),
        (Poison(np.zeros((0, 25)), [], []), "1 to 12"),
        (Poison(np.zeros((1, 24)), [1], [3]), "25 features"),
        (Poison(np.full((1, 25), 0.5), [1], [3]), "domain"),
        (Poison(np.full((1, 25), -1.0), [1], [3]), "domain"),
    ],
)
def test_a_start_that_cannot_be_planted_is_refused(poison, words):
    with pytest.raises(InputError, match=words):
        replace(QUICK, start=poison).run(scenario_of("counts", epsilon=0.1, defenses=("l2",)))


def test_one_row_and_no_defence_in_all_of_the_space():
    scenario = scenario_of("breast_cancer", epsilon=0.01, defenses=())
    scenario = replace(
        scenario, train=replace(scenario.train, domain=Domain.real()), budget=Budget(1.1 / scenario.train.n)
    )
    begun = Poison(scenario.train.X[:1], [-scenario.train.y[0]], [1])
    result = replace(QUICK, start=begun, rounds=1, steps=20, chains=1).run(scenario)
    assert result.poison.total == 1
    assert len(result.candidates) == 3  # the start, and an end that the search has moved to, as it rated and scored it
    assert result.info["start_kept"] == (result.poison is begun)


@pytest.mark.parametrize("part", [Ball([0.0, 0.0], 0.5), Halfspace([-1.0, 0.0], -1.0)], ids=repr)
def test_a_move_that_finds_no_feasible_row_changes_nothing(part):
    nowhere = intersect(Halfspace([1.0, 0.0], -1.0), part)
    moves = Moves(Domain.real(), np.random.default_rng(0), credit={"words": 1.0})
    slots = Slots.of(Poison([[0.0, 1.0]], [1], [2]), 2)
    drawn, changed = moves.propose(slots, Compass(np.ones(2), {}), ByLabel({1: nowhere, -1: nowhere}))
    assert (drawn, changed) == ("words", None)


@pytest.mark.parametrize("options", [{"start": "kkt"}, {"rounds": 0}, {"folds": 1}, {"least_gain": -1.0}])
def test_bad_options(options):
    with pytest.raises(InputError):
        Refined(**options)


@pytest.mark.parametrize("goal", ["target", "population"])
def test_what_is_told_is_of_the_poison_that_is_returned(monkeypatch, goal):
    """A search that raises the damage it measures, and whose end is worse behind the exact defences."""
    scenario = scenario_of("counts", epsilon=0.1, defenses=("l2",))
    scenario = replace(scenario, aim=Aim(scenario.target, goal))
    begun = START.run(scenario, seed=1).poison

    def worse(started, item_scenario, item):
        return [replace(item, test_error=dict.fromkeys(item.test_error, 0.0))], []

    monkeypatch.setattr(refined, "score_fully", worse)
    result = replace(QUICK, start=begun, rounds=1).run(scenario, seed=1)
    kept = goal == "target"
    assert result.info["start_kept"] == kept
    assert (result.poison is begun) == kept
    rating = measured(scenario, result.poison, QUICK.folds, 1)
    assert result.info["damage_at_end"] == rating.value
    assert result.info["measured_at_end"] == rating.worst
    assert result.info["rounds"] == (0 if kept else 1)
    assert result.candidates[0] is result.best


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_cross_fitting_keeps_the_regulariser_of_all_rows(loss):
    """Under "sum" it is fixed for all rows together; at their number both scalings state the same problem."""
    mean = scenario_of("breast_cancer", loss, defenses=("l2",))
    mean = replace(mean, aim=Aim(mean.train, "population"))
    poison = Poison(mean.train.X[:2], -mean.train.y[:2], [3, 4])
    kept = mean.train.n + 7
    total = replace(mean, problem=replace(mean.problem, scaling="sum", n_reference=float(kept)))
    values = [
        SoftWorst(each, folds=2)._margins(model, each.train.mix(poison.expanded()), np.arange(kept))
        for each in (mean, total)
        for model in [make_learner(each.problem).fit(each.train)]
    ]
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)


@pytest.mark.parametrize("kind", ["words", "blend", "mend", "swap", "copy"])
@pytest.mark.parametrize("domain", [Domain.counts(np.full(30, 5)), Domain.box(0.0, 5.0, d=30)])
def test_moves_of_sparse_rows_are_those_of_dense_ones_and_stay_sparse(kind, domain):
    X = slots_of(True, np.random.default_rng(0)).poison.merged().X
    X = X * (np.random.default_rng(1).random(X.shape) < 0.4)
    y, count, slope = np.repeat([1, -1], X.shape[0] // 2), np.full(X.shape[0], 5), np.linspace(-1, 1, 30)
    sets = ByLabel({label: Box(np.zeros(30), np.full(30, 5.0)) for label in (1, -1)})
    compass = Compass(slope, {label: 5.0 * (label * slope > 0) for label in (1.0, -1.0)})
    ends = []
    for rows in (X, sp.csr_array(X)):
        slots, moves = Slots.of(Poison(rows, y, count), 2), Moves(domain, np.random.default_rng(2), credit={kind: 1.0})
        for _ in range(20):
            changed = moves.propose(slots, compass, sets)[1]
            slots = slots if changed is None else changed
        ends.append(slots)
    assert sp.issparse(ends[1].X)
    np.testing.assert_array_equal(ends[1].X.toarray(), ends[0].X)
    np.testing.assert_array_equal(ends[1].y, ends[0].y)
    assert ends[0].same(ends[0].put(np.array([0]), [ends[0].row(0)]))
    assert ends[1].same(ends[1].put(np.array([0]), [ends[1].row(0)]))
    assert not ends[1].same(ends[1].put(np.array([0]), [ends[1].row(0) + 1]))


@pytest.mark.parametrize("kind", ["words", "blend", "mend", "swap", "copy"])
def test_moves_make_one_sparse_row_dense_at_a_time(monkeypatch, kind):
    rng, d = np.random.default_rng(0), 50_000
    X = sp.random_array((60, d), density=1e-4, format="csr", rng=rng)
    X.data = np.ceil(3 * X.data)
    tall, original = [0], sp.csr_array.toarray

    def watched(self, *args, **kwargs):
        tall[0] = max(tall[0], self.shape[0])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(sp.csr_array, "toarray", watched)
    slots = Slots.of(Poison(X, np.repeat([1, -1], 30), np.full(60, 4)), 2)
    slope = rng.normal(size=d)
    compass = Compass(slope, {label: np.where(label * slope > 3, 1.0, 0.0) for label in (1.0, -1.0)})
    sets = ByLabel({label: Box(np.zeros(d), np.full(d, 9.0)) for label in (1, -1)})
    changed = Moves(Domain.counts(np.full(d, 9)), rng, credit={kind: 1.0}).propose(slots, compass, sets)[1]
    assert changed is not None
    assert changed.poison.total == 240
    assert tall[0] <= 1


def test_words_of_a_range_of_counts_stay_between_its_bounds():
    domain = Domain.range(np.array([[1.0, 0.0, 2.0], [2.0, 1.0, 2.0]]), integral=True)
    moves, x = Moves(domain, np.random.default_rng(0)), np.array([1.0, 1.0, 2.0])
    for _ in range(20):
        moved = moves._exchange(x.copy(), np.array([-3.0, -2.0, -1.0]), 1)
        assert domain.violation(moved[None, :])[0] == 0
