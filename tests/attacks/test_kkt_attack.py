"""The attack from end to end: stronger than nothing, within its budget, repeatable, and honest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kkt_cases import residual_by_hand, scenario_of
from memory_journal import Memory

from linpoison.attacks import (
    ATTACKS,
    KKT,
    FeasibleRegion,
    KKTGrid,
    KKTProgram,
    LabelFlipDecoys,
    kkt,
    make_attack,
    ranking,
    run,
)
from linpoison.attacks.aim import Aim
from linpoison.core import Budget, Dataset, InfeasibleSet, InputError, Poison, SolverFailed
from linpoison.datasets import gaussians
from linpoison.defender import Defender
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem
from linpoison.sets import Box, ByLabel

SMALL = LabelFlipDecoys((0.2, 0.4), (1, 3))
QUICK = KKT(decoys=SMALL, regrown=SMALL, generations=1, reach=(1.0, 1.2), refits=2, finalists=3)


@pytest.fixture(scope="module")
def cancer():
    scenario = scenario_of("breast_cancer", defenses=("l2", "slab", "loss", "svd", "knn"))
    return scenario, QUICK.run(scenario, seed=3)


@pytest.fixture(scope="module")
def words():
    scenario = scenario_of("counts", epsilon=0.1, defenses=("l2", "slab", "loss"))
    return scenario, QUICK.run(scenario, seed=1)


def clean_error(scenario):
    return make_learner(scenario.problem).fit(scenario.train).error(scenario.target)


def test_poison_past_all_defences_beats_the_clean_error(cancer):
    scenario, result = cancer
    assert set(result.best.test_error) == {"none", *scenario.defenses}
    assert result.best.worst > clean_error(scenario) + 0.01
    assert result.best.test_error["none"] > 2 * clean_error(scenario)


def test_reported_errors_are_those_of_the_evaluator(cancer):
    scenario, result = cancer
    defender = Defender(scenario.train, scenario.problem, scenario.defenses)
    outcome = defender.score(result.poison, {"target": scenario.target})
    assert outcome.error["target"] == result.best.test_error
    assert result.best.worst == min(outcome.error["target"][name] for name in scenario.defenses)


def test_budget_is_kept_exactly(cancer):
    scenario, result = cancer
    assert scenario.n_poison == round(0.06 * 398) == 24
    for candidate in result.candidates:
        assert 0 < candidate.poison.total <= 24
        assert not candidate.poison.relaxed
        assert candidate.poison.n_distinct <= 2
        assert candidate.relaxed.total <= 0.06 * scenario.train.n * (1 + 1e-6)
    assert max(candidate.poison.total for candidate in result.candidates) == 24


def test_candidates_are_ranked_and_carry_what_was_measured(cancer):
    scenario, result = cancer
    finals = result.candidates[: QUICK.finalists]
    assert result.best is result.candidates[0]
    assert [item.worst for item in finals] == sorted((item.worst for item in finals), reverse=True)
    for candidate in finals:
        mixed = scenario.train.mix(candidate.relaxed.as_dataset())
        learned = make_learner(scenario.problem, method="reference").fit(mixed)
        assert candidate.distance == pytest.approx(learned.distance(candidate.decoy), rel=1e-2, abs=1e-3)
        assert candidate.violation < 1e-5
    assert result.info["solves"] == len(result.solves)
    assert result.info["skipped"] == sum(solve.status.startswith("skipped") for solve in result.solves)
    assert result.info["candidates"] >= len(result.candidates) - QUICK.finalists


def test_residual_of_a_candidate_by_hand():
    scenario = scenario_of("breast_cancer", "logistic")
    result = replace(QUICK, generations=0).run(scenario)
    for candidate in result.candidates:
        by_hand = residual_by_hand(scenario.train, scenario.problem, candidate.decoy, candidate.relaxed, np.zeros(0))
        assert candidate.residual == pytest.approx(np.linalg.norm(by_hand), abs=1e-9)
        sets = FeasibleRegion.fit(scenario, QUICK.policy).sets(candidate.decoy)
        assert candidate.violation == pytest.approx(sets.violation(candidate.relaxed).max())
        assert candidate.residual >= 0.01 * candidate.distance * scenario.problem.reg  # strong convexity


def same(first, second):
    assert first.seed == second.seed
    assert first.info == second.info
    assert len(first.candidates) == len(second.candidates)
    for one, other in zip(first.candidates, second.candidates, strict=True):
        assert one.test_error == other.test_error
        assert one.label == other.label
        for name in ("poison", "relaxed"):
            left, right = getattr(one, name).as_dataset(), getattr(other, name).as_dataset()
            assert left.is_sparse == right.is_sparse
            assert left.digest() == right.digest()
        np.testing.assert_array_equal(one.decoy.vector, other.decoy.vector)
        assert (one.residual, one.violation, one.distance) == (other.residual, other.violation, other.distance)


def test_another_seed_rounds_otherwise(words):
    scenario, result = words
    other = QUICK.run(scenario, seed=2)
    assert other.seed == 2
    assert other.poison.as_dataset().digest() != result.poison.as_dataset().digest()


def test_resumed_run_repeats_no_step_and_ends_the_same(words, monkeypatch):
    scenario, result = words
    calls = []
    original = run.as_finished
    monkeypatch.setattr(
        run, "as_finished", lambda step, numbered, jobs: calls.extend(numbered) or original(step, numbered, jobs)
    )
    journal = Memory()
    same(result, QUICK.run(scenario, seed=1, journal=journal))
    assert len(calls) == len(journal) >= 5
    calls.clear()
    resumed = QUICK.run(scenario, seed=1, journal=journal)
    assert not calls
    same(result, resumed)
    assert resumed.seconds >= max(item.seconds for item in resumed.candidates)
    dropped = sorted(journal)[:3]
    for key in dropped:
        del journal[key]
    same(result, QUICK.run(scenario, seed=1, journal=journal))
    assert len(calls) == 3


def test_the_clock_of_a_resumed_attack_goes_on(cancer):
    journal = Memory()
    QUICK.run(cancer[0], seed=1, journal=journal)
    for arrays in journal.values():
        arrays["candidate-0-numbers"] = arrays["candidate-0-numbers"] + [0, 0, 0, 1000, 0]  # seconds before the gap
    journal = Memory({key: step for key, step in journal.items() if not key.startswith("finalists")})
    resumed = QUICK.run(cancer[0], seed=1, journal=journal)
    assert min(item.seconds for item in resumed.candidates[: QUICK.finalists]) > 1000
    assert resumed.seconds > 1000


def test_progress_runs_from_none_to_all(words):
    scenario, _ = words
    seen = []
    replace(QUICK, generations=0).run(scenario, progress=lambda *call: seen.append(call))
    assert seen[0] == (0, 1, "training decoys")
    for what in {what for _, _, what in seen[1:]}:
        steps = [(done, total) for done, total, name in seen if name == what]
        assert [done for done, _ in steps] == list(range(steps[0][1] + 1))
        assert len({total for _, total in steps}) == 1


def test_counts_give_whole_rows_within_their_limits(words):
    scenario, result = words
    assert result.best.worst > clean_error(scenario)
    for candidate in result.candidates:
        X = candidate.poison.X.toarray()
        assert scenario.train.domain.violation(X).max() == 0
        assert (np.round(X) == X).all()
        assert candidate.poison.total <= scenario.n_poison
        assert candidate.relaxed.n_distinct <= 2
    assert max(candidate.poison.n_distinct for candidate in result.candidates) > 2


def test_generations_add_candidates_that_follow_the_planted_model(cancer):
    scenario, result = cancer
    alone = replace(QUICK, generations=0).run(scenario, seed=3)
    assert not any("refit" in item.label for item in alone.candidates)
    assert any("refit" in item.label for item in result.candidates)
    assert result.best.worst >= alone.best.worst


def test_grid_attack_runs_with_one_solve_for_each_split():
    scenario = scenario_of("digits17")
    grid = KKTGrid(decoys=LabelFlipDecoys((0.3,), (2,)), splits=3)
    result = grid.run(scenario)
    assert result.name == "kkt-grid"
    assert 1 <= len(result.solves) <= 3
    joint = replace(QUICK, decoys=grid.decoys, generations=0).run(scenario)
    assert len(joint.solves) == 1
    assert joint.best.residual <= min(item.residual for item in result.candidates) * (1 + 1e-6)


def test_flips_take_the_place_of_decoys_that_cannot_be_planted(monkeypatch):
    def fails(*_):
        raise SolverFailed("no")

    monkeypatch.setattr(KKT, "solve", fails)
    scenario = scenario_of("breast_cancer")
    result = QUICK.run(scenario, seed=1)
    assert result.best.label == "label flips"
    assert result.info["skipped"] == len(result.solves) > 0
    assert all(solve.status == "skipped: SolverFailed: no" for solve in result.solves)
    totals = [item.poison.total for item in result.candidates]
    assert totals == [scenario.n_poison] * 2
    assert sorted(item.poison.n_distinct for item in result.candidates) == [1, min(scenario.n_poison, 171)]
    clean = make_learner(scenario.problem).fit(scenario.train)
    margins = clean.margins(scenario.target)
    worst = scenario.target.take([int(np.argmin(margins))])
    single = min(result.candidates, key=lambda item: item.poison.n_distinct).poison
    np.testing.assert_array_equal(single.X, worst.X)
    np.testing.assert_array_equal(single.y, -worst.y)


def test_a_solver_that_is_not_there_is_an_error_and_not_a_skip():
    with pytest.raises(InputError, match="installed solver"):
        replace(QUICK, program=KKTProgram(solver="NOSUCH")).run(scenario_of("breast_cancer"))


def test_flips_keep_to_the_domain_of_the_training_rows(monkeypatch):
    monkeypatch.setattr(kkt, "plant", lambda *_: ([], []))
    scenario = scenario_of("counts", epsilon=0.1)
    far = scenario.target.X.toarray()
    far[::2, 0] = scenario.train.domain.upper[0] + 5
    far[1, 1] = 0.5
    target = Dataset(far, scenario.target.y)
    result = replace(QUICK, generations=0).run(replace(scenario, aim=target))
    assert result.best.label == "label flips"
    assert max(scenario.train.domain.violation(item.poison.X).max() for item in result.candidates) == 0
    nowhere = Dataset(far[::2], scenario.target.y[::2])
    with pytest.raises(SolverFailed, match=r"kkt, got none \(skipped: InputError: expected .*, got .*\)\. Allow a"):
        replace(QUICK, generations=0).run(replace(scenario, aim=nowhere))


def test_sets_that_cannot_be_refitted_end_a_chain_and_not_the_attack(monkeypatch):
    scenario, fit = scenario_of("breast_cancer"), FeasibleRegion.fit

    def refuses(scenario, policy, poison=None):
        if poison is not None:
            raise InfeasibleSet("no row passes")
        return fit(scenario, policy)

    monkeypatch.setattr(FeasibleRegion, "fit", refuses)
    for attack in (QUICK, replace(QUICK, generations=0, chains=1)):
        result = attack.run(scenario, seed=1)
        assert result.best.label.startswith("decoy")
        assert (
            result.info["skipped"]
            == sum(solve.status.startswith("skipped: InfeasibleSet: ") for solve in result.solves)
            >= 1
        )


@pytest.mark.parametrize("name", ["kkt", "kkt-iterative", "min-max", "model-targeted", "gradient-canceling"])
def test_one_target_row_is_flipped_as_a_decoy(name):
    scenario = scenario_of("breast_cancer", epsilon=0.1, defenses=("l2",))
    clean = make_learner(scenario.problem).fit(scenario.train)
    row = scenario.target.take([int(np.argmax(clean.margins(scenario.target)))])
    result = make_attack(name).run(replace(scenario, aim=row))
    assert result.info["decoys"] >= 1
    assert "decoy q=1.00" in result.best.label


def test_target_of_one_class_and_no_defence_in_a_box():
    scenario = scenario_of("digits17", defenses=())
    scenario = replace(scenario, aim=scenario.target.of_class(1))
    result = replace(QUICK, generations=0).run(scenario)
    assert set(result.best.test_error) == {"none"}
    assert result.best.worst > clean_error(scenario)


def test_training_rows_of_one_class_are_refused():
    scenario = scenario_of("breast_cancer")
    with pytest.raises(InputError, match="both classes"):
        QUICK.run(replace(scenario, train=scenario.train.of_class(1)))


def test_no_defence_and_unbounded_features_leave_all_of_the_space():
    scenario = replace(scenario_of("breast_cancer"), defenses={})
    result = QUICK.run(scenario)
    assert set(result.best.test_error) == {"none"}
    assert result.best.worst > clean_error(scenario)


def test_attack_on_logistic_regression_in_every_convention():
    split = gaussians(n=80, d=3, seed=9)
    guards = {"l2": make_defense("l2", remove=0.05)}
    for convention in ({"penalize_intercept": False}, {"fit_intercept": False}, {"scaling": "sum", "n_reference": 80}):
        problem = Problem(Logistic(), 0.02, **convention)
        scenario = replace(
            scenario_of("breast_cancer"), train=split.train, aim=Aim(split.test), problem=problem, defenses=guards,
            budget=Budget(0.2),
        )  # fmt: skip
        result = replace(QUICK, decoys=LabelFlipDecoys((0.2, 0.5), (2, 5))).run(scenario)
        assert result.best.worst > clean_error(scenario)


@pytest.mark.parametrize(
    "options",
    [
        {"generations": -1},
        {"refits": 0},
        {"finalists": 0},
        {"draws": 0},
        {"repeats": ()},
        {"repeats": (0,)},
        {"reach": ()},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(InputError):
        KKT(**options)


def test_attacks_by_name():
    assert set(ATTACKS) >= {"kkt", "kkt-grid"}
    assert make_attack("kkt", refits=3) == KKT(refits=3)
    assert make_attack("kkt-grid", splits=5).splits == 5
    with pytest.raises(InputError, match="kkt-grid"):
        make_attack("nosuch")
    with pytest.raises(InputError, match="splits"):
        KKTGrid(splits=1)


def test_quick_defences_are_scored_in_every_step(monkeypatch):
    monkeypatch.setattr(ranking, "SMALL", 0)
    scenario = scenario_of("breast_cancer", defenses=("l2", "knn"))
    result = replace(QUICK, generations=0, finalists=1).run(scenario)
    assert set(result.best.test_error) == {"none", "l2", "knn"}
    assert all(set(item.test_error) == {"none", "l2"} for item in result.candidates[1:])


def test_every_defence_is_quick_on_small_data():
    result = replace(QUICK, generations=0, finalists=1).run(scenario_of("breast_cancer", defenses=("l2", "knn")))
    assert all(set(item.test_error) == {"none", "l2", "knn"} for item in result.candidates)


def test_what_the_program_leaves_of_the_budget_may_be_spent():
    scenario = scenario_of("breast_cancer")
    relaxed = Poison(scenario.train.X[:2], [1, -1], [2.0, 1.0])
    sets = ByLabel({label: Box(np.full(scenario.train.d, -9.0), np.full(scenario.train.d, 9.0)) for label in (1, -1)})
    given = ranking.roundings(scenario, relaxed, sets, np.random.default_rng(0))
    assert [poison.total for poison in given] == [3, scenario.n_poison]


def test_where_the_budget_is_large_copies_pass_the_nearest_neighbours(monkeypatch):
    scenario = scenario_of("counts", defenses=("l2", "knn"))
    relaxed = Poison(np.full((1, scenario.train.d), 0.5), [1], [30.0])
    few = next(ranking.roundings(scenario, relaxed, None, np.random.default_rng(0), repeats=(2,)))
    assert few.n_distinct > 1
    monkeypatch.setattr(ranking, "MANY", 1)
    scenario = replace(scenario, budget=Budget(0.3))
    given = list(ranking.roundings(scenario, relaxed, None, np.random.default_rng(0), repeats=(2, 3)))
    assert len(given) == 1
    assert given[0].count.min() >= 6
