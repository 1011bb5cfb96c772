"""The influence attacks from end to end: damage past the defences, budgets, sets, seeds, journals, options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from kkt_cases import scenario_of
from memory_journal import Memory

from linpoison.attacks import FeasibleRegion, SetPolicy
from linpoison.attacks.ascent import Ascent
from linpoison.attacks.influence import Influence, InfluenceBasic, climb
from linpoison.attacks.ranking import candidate
from linpoison.core import Dataset, InfeasibleSet, InputError, SolverFailed
from linpoison.defender import Defender
from linpoison.defenses import known
from linpoison.learners import make_learner
from linpoison.sets import Intersection

QUICK = Influence(starts=2, steps=9, check=3, draws=1, finalists=3)
BASIC = InfluenceBasic(steps=4, check=2)
ALL = ("l2", "slab", "loss", "svd", "knn")


@pytest.fixture(scope="module")
def cancer():
    scenario = scenario_of("breast_cancer", defenses=ALL)
    return scenario, QUICK.run(scenario, seed=1)


@pytest.fixture(scope="module")
def words():
    scenario = scenario_of("counts", epsilon=0.1)
    return scenario, QUICK.run(scenario, seed=1)


def clean_error(scenario):
    return make_learner(scenario.problem).fit(scenario.train).error(scenario.target)


def digest(item):
    return item.relaxed.as_dataset().digest()


def digests_of_first_start(result):
    return {digest(item) for item in result.candidates if item.label.startswith("start 1,")}


def same(first, second):
    assert (first.seed, first.info, len(first.candidates)) == (second.seed, second.info, len(second.candidates))
    for one, other in zip(first.candidates, second.candidates, strict=True):
        assert (one.test_error, one.label) == (other.test_error, other.label)
        assert one.poison.as_dataset().digest() == other.poison.as_dataset().digest()
        assert one.relaxed.as_dataset().digest() == other.relaxed.as_dataset().digest()


@pytest.mark.parametrize("name", ["cancer", "words"])
def test_poison_past_all_defences_beats_the_clean_error_within_the_budget(name, request):
    scenario, result = request.getfixturevalue(name)
    assert result.name == "influence"
    assert set(result.best.test_error) == {"none", *scenario.defenses}
    assert result.best.worst > clean_error(scenario) + 0.03
    measured = Defender(scenario.train, scenario.problem, scenario.defenses).score(
        result.poison, {"target": scenario.target}
    )
    assert measured.error["target"] == result.best.test_error
    for item in result.candidates:
        assert item.poison.total == scenario.n_poison
        assert item.relaxed.total == pytest.approx(scenario.n_poison)
        assert not item.poison.relaxed
        assert item.relaxed.n_distinct <= 2
        assert item.violation < 1e-6
        assert scenario.train.domain.violation(item.poison.X).max() == 0


def test_rounded_counts_are_several_rows_in_the_storage_of_the_data(words):
    scenario, result = words
    assert scenario.train.is_sparse
    assert sp.issparse(result.poison.X)
    assert max(item.poison.n_distinct for item in result.candidates) > 2


def test_ascent_raises_what_was_measured_at_the_start(cancer):
    """The points of one gradient step do less than those of nine."""
    scenario, result = cancer
    first = replace(QUICK, steps=1, check=1).run(scenario, seed=1)
    assert result.best.worst > first.best.worst


def test_another_seed_starts_elsewhere(cancer):
    scenario, result = cancer
    other = QUICK.run(scenario, seed=2)
    assert other.seed == 2
    assert other.poison.as_dataset().digest() != result.poison.as_dataset().digest()


def test_resumed_run_repeats_no_start(cancer, monkeypatch):
    scenario, result = cancer
    journal, said = Memory(), []
    same(result, QUICK.run(scenario, seed=1, journal=journal, progress=lambda *call: said.append(call)))
    assert sorted(key for key in journal if key.startswith("starts")) == ["starts-0", "starts-1"]
    assert [call for call in said if call[2] == "starts"] == [(done, 2, "starts") for done in range(3)]
    monkeypatch.setattr("linpoison.attacks.influence.climb", None)
    same(result, QUICK.run(scenario, seed=1, journal=journal))


def test_sets_are_those_of_the_defences_read_with_the_poison(cancer, monkeypatch):
    scenario, _ = cancer
    seen, capped = [], []
    original = FeasibleRegion.fit.__func__

    def fit(cls, scene, policy, poison=None):
        seen.append(poison)
        return original(cls, scene, policy, poison)

    monkeypatch.setattr(FeasibleRegion, "fit", classmethod(fit))
    climb(0.0, replace(QUICK, patience=9), scenario, [1, 0])
    assert seen[0] is None
    assert len(seen) == 4
    assert all(poison is not None and poison.total == scenario.n_poison for poison in seen[1:])
    seen.clear()
    climb(0.0, replace(QUICK, refit=False), scenario, [1, 0])
    assert seen == [None]
    monkeypatch.setattr(FeasibleRegion, "_loss_set", lambda self, *_: capped.append(1) or None)
    climb(0.0, QUICK, scenario, [1, 0])
    assert not capped
    climb(0.0, replace(QUICK, loss_cap=True), scenario, [1, 0])
    assert capped


def test_cap_on_the_loss_keeps_more_of_the_poison_behind_the_loss_defence(cancer):
    scenario, _ = cancer
    defender = Defender(scenario.train, scenario.problem, scenario.defenses)

    def kept(attack):
        poison = attack.run(scenario, seed=1).poison
        return defender.score(poison, {"target": scenario.target}, ["loss"]).kept_fraction["loss"]

    assert kept(replace(QUICK, loss_cap=True)) >= kept(replace(QUICK, behind=False))


@pytest.mark.parametrize("option", [{"behind": False}, {"adapt_split": False}, {"split": 0.2}, {"loss_cap": True}])
def test_every_option_changes_the_poison(cancer, option):
    scenario, result = cancer
    found, _ = climb(0.0, replace(QUICK, **option), scenario, [1, 0])
    assert {digest(item) for item in found} != digests_of_first_start(result)


def test_split_of_the_copies(cancer):
    scenario, result = cancer
    still = replace(QUICK, adapt_split=False)
    total, negative = scenario.n_poison, float((scenario.train.y < 0).mean())
    for attack, share in ((still, negative), (replace(still, split=0.25), 0.25), (replace(still, split=1.0), 1.0)):
        for item in climb(0.0, replace(attack, steps=1), scenario, [1, 0])[0]:
            np.testing.assert_array_equal(item.relaxed.count, [round(share * total), total - round(share * total)])
    moved = {tuple(item.relaxed.count) for item in result.candidates}
    assert any(count[0] != round(negative * total) for count in moved)


@pytest.mark.parametrize("option", [{"objective": "loss"}, {"temperature": 1.0}, {"softness": 1.0}, {"width": 1.0}])
def test_ascent_options_change_the_path(cancer, option):
    scenario, result = cancer
    found, _ = climb(0.0, replace(QUICK, ascent=Ascent(**option)), scenario, [1, 0])
    assert {digest(item) for item in found} != digests_of_first_start(result)


def test_patience_ends_a_start(cancer, monkeypatch):
    scenario, _ = cancer
    from linpoison.attacks import influence

    turns = []
    original = influence._Start._aim
    monkeypatch.setattr(influence._Start, "_aim", lambda self, share: (turns.append(share), original(self, share)))
    monkeypatch.setattr(influence._Start, "_reached", lambda self: 2.0)
    climb(0.0, replace(QUICK, steps=40, check=4, patience=2), scenario, [0, 0])
    assert len(turns) == 2


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("convention", [{"penalize_intercept": False}, {"fit_intercept": False}])
def test_other_losses_and_intercepts(loss, convention):
    scenario = scenario_of("breast_cancer", loss, defenses=("l2", "slab", "loss"), **convention)
    result = replace(QUICK, starts=1).run(scenario, seed=0)
    assert result.best.worst > clean_error(scenario)


def test_sets_that_become_empty_end_a_start_and_are_told(cancer, monkeypatch):
    scenario, _ = cancer

    def empty(self, X):
        raise InfeasibleSet("empty")

    monkeypatch.setattr(Intersection, "_project", empty)
    with pytest.raises(SolverFailed, match="influence"):
        QUICK.run(scenario)
    found, solves = climb(0.0, QUICK, scenario, [0, 0])
    assert not found
    assert [solve.status for solve in solves] == ["skipped: InfeasibleSet: empty"]


@pytest.mark.parametrize("name", ["cancer", "words"])
def test_basic_attack_moves_separate_points_one_copy_each(name, request):
    scenario, _ = request.getfixturevalue(name)
    result = BASIC.run(scenario, seed=0)
    assert result.name == "influence-basic"
    assert result.best.relaxed.y.size == scenario.n_poison
    assert (result.best.relaxed.count == 1).all()
    assert result.poison.total == scenario.n_poison
    assert result.best.test_error["none"] > clean_error(scenario)
    assert scenario.train.domain.violation(result.poison.X).max() == 0
    same(result, BASIC.run(scenario, seed=0))


def test_basic_attack_begins_with_flipped_rows_inside_the_sets():
    scenario = scenario_of("counts", epsilon=0.1, defenses=("l2",))
    region = FeasibleRegion.fit(BASIC.assumed(scenario), SetPolicy(assumed_removal=0.2))
    sets = region.sets(make_learner(scenario.problem).fit(scenario.train))
    points = BASIC.points(scenario, sets, np.random.default_rng(0))
    assert sets.violation(points).max() <= 1e-9
    rows = {(tuple(row), -label) for row, label in zip(scenario.train.X.toarray(), scenario.train.y, strict=True)}
    assert all((tuple(row), label) in rows for row, label in zip(points.X.toarray(), points.y, strict=True))


def test_starts_without_a_feasible_row_take_the_nearest(cancer):
    scenario, _ = cancer
    train = scenario.train
    region = FeasibleRegion.fit(scenario, SetPolicy(assumed_removal=0.999))
    sets = region.sets(make_learner(scenario.problem).fit(train))
    assert sets[1].violation(train.of_class(-1.0).X).min() > 0
    points = QUICK.points(scenario, sets, np.random.default_rng(0))
    nearest = np.sort(sets[1].violation(train.of_class(-1.0).X))[:10]
    assert np.abs(sets[1].violation(points.X[:1]) - nearest).min() < 1e-9


def test_bad_arguments_are_refused():
    for option in ({"starts": 0}, {"steps": 0}, {"check": 0}, {"draws": 0}, {"repeats": ()}, {"split": 1.5}):
        with pytest.raises(InputError):
            Influence(**option)
    with pytest.raises(InputError, match="steps"):
        InfluenceBasic(steps=0)
    for option in ({"objective": "margin"}, {"width": 0.0}, {"growth": 0.5}, {"temperature": -1.0}):
        with pytest.raises(InputError):
            Ascent(**option)
    one = scenario_of("breast_cancer")
    with pytest.raises(InputError, match="both classes"):
        QUICK.run(replace(one, train=Dataset(one.train.X, np.ones(one.train.n))))


def test_neighbours_of_the_clean_rows_are_found_once_in_a_start(monkeypatch):
    scenario, made, original = (
        scenario_of("breast_cancer", epsilon=0.1, defenses=("l2", "knn")),
        [],
        known.Neighbors,
    )
    monkeypatch.setattr(known, "Neighbors", lambda *args: made.append(1) or original(*args))
    candidates, _ = climb(0.0, Influence(starts=1, steps=4, check=2), scenario, [0, 0])
    assert len(made) == 1
    for item in candidates:  # scored as by any attack, not by the rough models of the climb
        assert item.test_error == candidate(0.0, scenario, item.poison, label="", behind=["l2", "knn"]).test_error
