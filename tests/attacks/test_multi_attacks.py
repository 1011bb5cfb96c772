"""The min-max program keeps to its bounds, and attacks raise the error behind the defences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from multi_cases import blobs, digits, scenario, scenario_of

from linpoison.attacks import KKT, RandomFlips, make_attacks
from linpoison.attacks.many import (
    FarPlan,
    MeasureInfluence,
    MinMaxProgram,
    MultiBreakdown,
    MultiInfluence,
    MultiLabelFlips,
    MultiMinMax,
    MultiPaperLoop,
    ball_regions,
    capped_regions,
    refitted_regions,
)
from linpoison.attacks.many.attack import removed, rounded
from linpoison.attacks.many.far import class_means, planted
from linpoison.attacks.many.influence import _Walk
from linpoison.attacks.many.paper_loop import _Walk as _PaperWalk
from linpoison.attacks.run import skipped
from linpoison.core import CapabilityError, Dataset, Domain, InfeasibleSet, InputError, MultiModel, Poison, SolverFailed
from linpoison.defender import Defender
from linpoison.defenses import LossDefense
from linpoison.learners import LibraryLearner, MultiReferenceLearner, NewtonLearner, make_learner, multi
from linpoison.losses import MultiProblem, Softmax
from linpoison.sets import Halfspace, Intersection
from linpoison.testing import check_attack

EPSILON = 0.2


@pytest.mark.parametrize("penalize", [True, False])
@pytest.mark.parametrize("loss", ["crammer_singer", "softmax"])
def test_the_attack_lies_between_the_bounds_of_its_program(loss, penalize):
    """Retraining by the conic solver: lower <= objective under the poison <= upper."""
    clean, problem = blobs(), MultiProblem(loss, 0.05, penalize)
    regions = ball_regions(clean, 0.9)
    found = MinMaxProgram().solve(clean, problem, regions, EPSILON)
    poisoned = clean.mix(replace(found.poison, weight=found.poison.weight * clean.n))
    learner = MultiReferenceLearner(problem)
    reached = (1 + EPSILON) * problem.value(learner.fit(poisoned), poisoned)
    assert found.lower - 1e-6 <= reached <= found.upper + 1e-6
    assert found.poison.total == pytest.approx(EPSILON, rel=1e-5)
    assert reached > problem.value(learner.fit(clean), clean)
    for label in range(3):
        assert regions[label].violation(found.poison.X[found.poison.y == label]).max(initial=0) < 1e-6
    if loss == "crammer_singer":
        assert found.gap <= 1e-3
        assert found.poison.n <= 6


def test_the_upper_bound_is_the_objective_at_its_model_and_holds_for_other_poisons():
    clean, problem = blobs(), MultiProblem("crammer_singer", 0.05)
    regions = ball_regions(clean, 0.9)
    found = MinMaxProgram().solve(clean, problem, regions, EPSILON)
    worst = 0.0
    for label, region in regions.items():
        for rival in {0, 1, 2} - {label}:
            step = found.model.coef[rival] - found.model.coef[label]
            shift = found.model.intercept[rival] - found.model.intercept[label]
            worst = max(worst, 1 + step @ region.support(step) + shift)
    objective = (1 + EPSILON) * problem.penalty(found.model) + problem.mean_loss(found.model, clean) + EPSILON * worst
    assert objective == pytest.approx(found.upper, rel=1e-6)
    learner = LibraryLearner(problem, tol=1e-7)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 3, 12)
        X = np.array([regions[label].project(3 * rng.standard_normal((1, 4)))[0] for label in y])
        other = clean.mix(clean.coded(X, y, np.full(12, 1.0), 3))
        assert (1 + EPSILON) * problem.value(learner.fit(other), other) <= found.upper


def test_the_papers_loop_plants_the_worst_rows_of_a_learner_that_moves():
    clean, problem = blobs(), MultiProblem("crammer_singer", 0.05)
    regions, start = ball_regions(clean, 0.9), LibraryLearner(problem).fit(clean)
    loop = MultiPaperLoop(burn_in=0.0, repeats=3)
    walk = _PaperWalk(loop, clean, problem, regions, EPSILON, start)
    row, label = walk.step()
    worst = max(
        1 + (step := start.coef[rival] - start.coef[own]) @ region.support(step)
        + start.intercept[rival] - start.intercept[own]
        for own, region in regions.items() for rival in {0, 1, 2} - {own}
    )  # fmt: skip
    losses = problem.loss.value(start.scores(row[None, :]), np.array([label]))
    assert losses[0] == pytest.approx(worst, abs=1e-6)
    found = loop.rows(clean, problem, regions, EPSILON, start, 20)
    assert found.total == pytest.approx(EPSILON)
    assert np.round(found.weight * 20 / EPSILON, 9).tolist() == [3.0] * 6 + [2.0]
    for own in range(3):
        assert regions[own].violation(found.X[found.y == own]).max(initial=0) < 1e-6
    poisoned = clean.mix(replace(found, weight=found.weight * clean.n))
    values = [problem.value(LibraryLearner(problem).fit(data), data) for data in (clean, poisoned)]
    program = MinMaxProgram().solve(clean, problem, regions, EPSILON)
    assert values[0] < (1 + EPSILON) * values[1] <= program.upper + 1e-6
    with pytest.raises(InputError, match="at least one poison row"):
        loop.rows(clean, problem, regions, EPSILON, start, 0)


def test_the_papers_loop_raises_the_error_behind_the_defences():
    setting = scenario(300, 0.1)
    loop = MultiPaperLoop(repeats=6)
    attack = MultiMinMax(method="paper", paper=loop, decoys=MultiLabelFlips((0.3,), (4,)), most=1)
    found = attack.run(setting)
    clean = Defender(setting.train, setting.problem, setting.defenses, setting.learner)
    assert found.best.worst > clean.score(None, {"target": setting.target}).worst("target") + 0.02
    assert found.poison.total == setting.n_poison
    with pytest.raises(InputError, match="'corrective' or 'paper'"):
        MultiMinMax(method="grid")


def test_lower_bounds_rise_and_upper_bounds_fall():
    steps = MinMaxProgram(tol=1e-5).solve(
        blobs(), MultiProblem("crammer_singer", 0.05), ball_regions(blobs(), 0.9), 0.1
    )
    lower, upper = np.array([step[1:] for step in steps.timeline]).T
    assert (np.diff(lower) >= 0).all()
    assert (np.diff(upper) <= 0).all()
    assert steps.gap <= 1e-5


def test_classes_without_a_feasible_row_are_left_out():
    clean, problem = blobs(), MultiProblem("crammer_singer", 0.05)
    regions = ball_regions(clean, 0.9)
    away = Halfspace(np.array([1.0, 0, 0, 0]), -99.0)
    some = {label: Intersection([part, away]) if label else part for label, part in regions.items()}
    assert set(MinMaxProgram().solve(clean, problem, some, 0.1).poison.y) == {0}
    with pytest.raises(InfeasibleSet):
        MinMaxProgram().solve(clean, problem, {1: some[1]}, 0.1)
    with pytest.raises(InputError, match="reg above 0"):
        MinMaxProgram().solve(clean, MultiProblem("crammer_singer"), regions, 0.1)


def test_decoys_are_a_front_and_cap_the_poison():
    case = scenario()
    front = MultiLabelFlips((0.2, 0.5), (2, 8)).generate(case.train, case.target, case.learner)
    errors, losses = [item.target_error for item in front], [item.clean_loss for item in front]
    assert errors == sorted(errors, reverse=True)
    assert losses == sorted(losses, reverse=True)
    assert max(errors) > case.learner.fit(case.train).error(case.target)
    capped = capped_regions(ball_regions(case.train, 0.9), front[0].model, np.full(10, 0.25))
    found = MinMaxProgram(max_iter=15).solve(case.train, MultiProblem("crammer_singer", 0.01), capped, 0.05)
    ranks = case.learner.problem.loss.rank(front[0].model.scores(found.poison.X), found.poison.codes)
    assert ranks.max() <= 0.25 + 1e-5
    with pytest.raises(InputError):
        MultiLabelFlips((), (1,))


def test_the_loss_defence_drops_what_the_model_fits_worst():
    train, test = digits(400)
    problem = MultiProblem("crammer_singer", 0.01)
    learner = make_learner(problem)
    defense = LossDefense(0.1, estimator=problem).fit(train.X, train.y)
    model = learner.fit(train)
    assert np.allclose(defense.decision_scores_, problem.loss.rank(model.scores(train.X), train.codes))
    again = LossDefense(0.1, estimator=problem).fit_from_model(train.X, train.y, model, problem.loss)
    assert (again.sample_indices_ == defense.sample_indices_).all()
    found = Defender(train, problem, {"loss": LossDefense(0.1, estimator=problem)}).score(None, {"test": test})
    assert found.error["test"]["loss"] == learner.fit(train.take(defense.sample_indices_)).error(test)
    for label in range(10):
        rows = train.X[train.y == label]
        inside = defense.feasible_set(label).contains(rows)
        assert inside.sum() == (defense.sample_indices_[:, None] == np.flatnonzero(train.y == label)).any(1).sum()
    with pytest.raises(CapabilityError, match="two classes for the loss"):
        LossDefense().fit(train.X, train.y)
    soft = LossDefense(estimator=MultiProblem("softmax", 0.01)).fit(train.X, train.y)
    with pytest.raises(CapabilityError, match="half-spaces"):
        soft.feasible_set(0)


def found_regions(case, poison):
    """The balls as a poison moves them."""
    return refitted_regions(case.train, poison, removed(case))


@pytest.mark.parametrize(
    "attack",
    [
        MultiMinMax(most=1, program=MinMaxProgram(tol=2e-2, max_iter=20), decoys=MultiLabelFlips((0.3,), (4,))),
        MultiInfluence(MeasureInfluence(MultiProblem(Softmax(1.0, 0.5), 5e-3), width=0.5, steps=15, share=0.13)),
    ],
    ids=lambda attack: attack.name,
)
def test_attacks_raise_the_error_behind_the_defences(attack):
    case, seen = scenario(), []
    clean = Defender(case.train, case.problem, case.defenses, case.learner).score(None, {"target": case.target})
    found = attack.run(case, progress=lambda *step: seen.append(step))
    assert found.best.worst >= clean.worst("target") + 0.01
    assert found.poison.total == case.n_poison == 30
    assert case.train.domain.violation(found.poison.X).max() < 1e-6
    moving = isinstance(attack, MultiInfluence)
    for poison in (found.best.relaxed.as_dataset(), found.poison.as_dataset()):
        regions = found_regions(case, poison) if moving else ball_regions(case.train, attack.quantile)
        worst = [regions[label].violation(poison.X[poison.y == label]).max(initial=0) for label in range(10)]
        assert max(worst) < 1e-5
    assert seen
    assert all(done <= total for done, total, _ in seen)
    check_attack(attack, small_scenario())


def test_rounding_spends_the_whole_budget():
    train, _ = digits(50)
    poison = rounded(replace(train.take([0, 1, 2]), weight=np.array([0.5, 0.3, 0.001])), 4)
    assert poison.count.tolist() in ([3.0, 1.0], [2.0, 2.0])


def test_bad_parameters_are_refused():
    wrong = [
        lambda: MultiMinMax(cap=-1.0),
        lambda: MultiMinMax(quantile=0.0),
        lambda: MeasureInfluence(share=0.0),
        lambda: MeasureInfluence(surrogate=MultiProblem("crammer_singer", 0.1)),
        lambda: MinMaxProgram(mix=2.0),
        lambda: MultiModel([[1.0]], [0.0, 1.0]),
    ]
    for build in wrong:
        with pytest.raises(InputError):
            build()


def small_scenario():
    clean = blobs(90, seed=1)
    return scenario_of(clean, blobs(60, seed=2), NewtonLearner(MultiProblem("softmax", 0.05)), 0.1, ("l2",))


@pytest.mark.parametrize("error", [InfeasibleSet("no row"), SolverFailed("no weights")])
def test_a_program_without_a_solution_is_passed_over_and_named(monkeypatch, error):
    calls, original = [], MinMaxProgram.solve

    def fails_after_one(self, *args, **options):
        calls.append(1)
        if len(calls) > 1:
            raise error
        return original(self, *args, **options)

    attack = MultiMinMax(most=2, program=MinMaxProgram(tol=0.1, max_iter=5), decoys=MultiLabelFlips((0.3,), (4,)))
    monkeypatch.setattr(MinMaxProgram, "solve", fails_after_one)
    result = attack.run(small_scenario())
    assert result.best.label == "basic"
    assert [solve.status for solve in result.solves] == [skipped(error)[1][0].status]
    with pytest.raises(SolverFailed, match=r"attack min-max, got none \(skipped: "):
        attack.run(small_scenario())


def test_the_influence_attack_keeps_what_it_found_where_no_row_is_left(monkeypatch):
    clean, original, calls = blobs(90, seed=1), _Walk._candidates, []
    attack = MeasureInfluence(MultiProblem(Softmax(1.0, 0.5), 5e-3), steps=12)

    def none_after(number):
        def candidates(self, s):
            calls.append(1)
            if len(calls) > number:
                raise InfeasibleSet("no class has a row")
            return original(self, s)

        return candidates

    for number, states in ((7, 2), (5, 1), (3, 1)):
        calls.clear()
        monkeypatch.setattr(_Walk, "_candidates", none_after(number))
        found = attack.run(clean, blobs(60, seed=2), 0.1)
        assert len(found) == states
        assert found[-1].total == pytest.approx(0.1)
    calls.clear()
    monkeypatch.setattr(_Walk, "_candidates", none_after(0))
    with pytest.raises(InfeasibleSet):
        attack.run(clean, blobs(60, seed=2), 0.1)


def test_random_flips_give_any_other_label():
    case = small_scenario()
    found = check_attack(RandomFlips(draws=3), case)
    rows = {tuple(row): code for row, code in zip(case.train.X, case.train.codes, strict=True)}
    old = np.array([rows[tuple(row)] for row in found.poison.X])
    assert (old != found.poison.y).all()
    assert {int(step) for step in (found.poison.y - old) % 3} == {1, 2}


def test_attacks_of_two_classes_are_refused_for_more():
    for name in ("kkt", "alfa", "refined"):
        with pytest.raises(CapabilityError, match="two classes, among random-flips, breakdown, influence, min-max"):
            make_attacks(["random-flips", name], many=True)
    assert isinstance(make_attacks(["min-max"], many=True)["min-max"], MultiMinMax)
    with pytest.raises(CapabilityError, match="rows for the attack kkt of two classes, got 3"):
        KKT().run(small_scenario())


def far_scenario():
    """Few rows of four classes, behind filters whose quota the budget overruns in two of them."""
    clean = blobs(160, d=5, k=4, seed=3)
    return scenario_of(clean, blobs(120, d=5, k=4, seed=4), make_learner(MultiProblem("crammer_singer", 0.05)), 0.1)


def test_far_rows_pass_filters_by_overrunning_their_quota():
    case = far_scenario()
    attack = MultiBreakdown(pairs=6, kept=3, joined=3)
    found = check_attack(attack, case)
    defender = Defender(case.train, case.problem, case.defenses, case.learner)
    clean = defender.score(None, {"t": case.target}).worst("t")
    assert found.best.worst > clean + 0.2
    assert found.poison.total == case.n_poison
    naive = [
        Poison(case.train.X[[row]] * 30, [(case.train.codes[row] + 1) % 4], [case.n_poison], 4) for row in range(8)
    ]
    assert found.best.worst >= max(defender.score(poison, {"t": case.target}).worst("t") for poison in naive)
    means = class_means(case.train)
    plan = FarPlan(((2, 0),), 2.0)
    rows = planted(case, plan, means, 1.5, np.random.default_rng(0)).X
    away = (means[0] - means[2]) / np.linalg.norm(means[0] - means[2])
    np.testing.assert_allclose(rows, (means[2] + 3.0 * away)[None])


def test_rows_in_one_place_do_no_more_than_the_local_search():
    """Between the classes and beyond all of them, where no pair of classes points to."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)[rng.permutation(60)]
    X = rng.normal(size=(60, 2)) + 1.5 * np.array([[1, 0], [-1, 0], [0, 1.5]])[y]
    train = Dataset.coded(X[:40], y[:40], domain=Domain.range(X[:40]))
    learner = make_learner(MultiProblem("crammer_singer", 0.01))
    case = scenario_of(train, Dataset.coded(X[40:], y[40:]), learner, 0.08, guards=("svd",))
    found = MultiBreakdown(kept=2, joined=2).run(case)
    assert "local search" in found.best.label
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    places = [radius * np.array([np.cos(a), np.sin(a)]) for radius in (5.0, 30.0) for a in angles]
    naive = [Poison(train.domain.clip(row[None]), [c], [3], 3) for row in places for c in range(3)]
    assert found.best.worst >= max(case.defender.score(one, {"t": case.target}).worst("t") for one in naive)
    onward = MultiBreakdown(only_on=True, steps=4)
    assert onward.needs_start
    onward = replace(onward, start=found.poison)
    assert not onward.needs_start
    assert onward.run(case).best.worst >= found.best.worst


def test_far_rows_keep_to_a_box_of_whole_numbers():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = sp.csr_array(rng.poisson(1.0 + 3.0 * np.eye(3, 6)[y]).astype(float))
    train = Dataset.coded(X, y, domain=Domain.counts(X.max(axis=0).toarray().ravel()))
    case = scenario_of(train, train, make_learner(MultiProblem("crammer_singer", 0.05)), 0.1)
    found = MultiBreakdown(pairs=4).run(case)
    assert found.poison.total == 9
    assert sp.issparse(found.poison.X)
    assert train.domain.violation(found.poison.X).max() == 0


def test_fits_that_do_not_converge_are_no_result(monkeypatch):
    case = far_scenario()
    monkeypatch.setattr(multi, "converged", lambda fit: (fit(), False)[1])
    with pytest.raises(SolverFailed, match="breakdown, got none .skipped: LearnerWarning"):
        MultiBreakdown(pairs=2).run(case)


def test_the_variant_of_the_paper_and_a_solver_are_not_passed_over():
    made = make_attacks(["min-max", "random-flips"], variant="paper", many=True)
    assert made["min-max"].method == "paper"
    with pytest.raises(InputError, match="variant 'paper', among random-flips, min-max, got 'influence'"):
        make_attacks(["influence"], variant="paper", many=True)
    with pytest.raises(InputError, match="takes a solver, among none, got min-max"):
        make_attacks(["min-max"], solver="CLARABEL", many=True)
