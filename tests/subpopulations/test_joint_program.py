"""Convex programs in the model and the poison at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from group_cases import blob_parts, clusters

from linpoison.attacks import Aim, joint_step
from linpoison.attacks.groups import CrossFittedAttack, Directed, JointAttack, LabelFlip, Stage, plant_jointly
from linpoison.attacks.groups import joint as joint_module
from linpoison.attacks.groups.joint import _Ascent
from linpoison.attacks.joint_step import Planted
from linpoison.attacks.run import Run
from linpoison.core import CapabilityError, Dataset, Domain, InputError, SolverFailed
from linpoison.influence import SoftError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared, SquaredHinge
from linpoison.sets import Ball, ByLabel
from linpoison.subpopulations import ProblemTrainer

DOMAIN = Domain.box(-8.0, 8.0, d=2)
LOGISTIC = Problem(Logistic(), 0.01)
PROBLEMS = {
    "logistic": LOGISTIC,
    "free intercept": Problem(Logistic(), 0.02, penalize_intercept=False),
    "no intercept": Problem(Logistic(), 0.02, fit_intercept=False),
    "sum": Problem(Logistic(), 0.02, scaling="sum", n_reference=50),
    "squared": Problem(Squared(), 0.05),
}
SETS = ByLabel({label: Ball(np.zeros(2), 8.0) for label in (1, -1)})
STAGES = (Stage(1.0, 0.05), Stage(0.5, 0.05))


@pytest.fixture(scope="module")
def case():
    parts = blob_parts(100)
    return parts, clusters().fit(parts.auxiliary).subpopulations()[0]


@pytest.fixture(scope="module")
def rows(case):
    """Training rows, and the aim."""
    parts, group = case
    return parts.train.dataset(DOMAIN), Aim.of_group(parts.auxiliary.dataset(DOMAIN), group.mask(parts.auxiliary))


@pytest.mark.parametrize("name", PROBLEMS)
def test_small_steps_are_what_is_learned(rows, name):
    train, aim = rows
    problem = PROBLEMS[name]
    learner = make_learner(problem)
    ascent = _Ascent(train, problem, SETS, aim, 30, learner)
    for _ in range(2):  # from the clean model, and from a poisoned one
        program = ascent.step(Stage(1.0, 0.05), 0.01)
        program.solve()
        poison, step = program.poison(), program.step.value
        assert 0 < poison.total <= 30 * (1 + 1e-6)
        assert (SETS.violation(poison.X, poison.y) < 1e-4).all()
        learned = learner.fit(train.mix(poison.as_dataset()))
        moved = learned.vector - ascent.planted.model.vector
        assert np.linalg.norm(step) > 1e-4
        assert np.linalg.norm(moved - step) < 0.05 * np.linalg.norm(step)
        ascent.planted = Planted(train, problem, learned, poison)


def test_the_trust_region_and_the_price_bind(rows):
    train, aim = rows
    ascent = _Ascent(train, LOGISTIC, SETS, aim, 30, make_learner(LOGISTIC))
    steps = {}
    for limit in (0.0, 0.5):
        program = ascent.step(Stage(2.0, limit), 0.05)
        program.solve()
        step = program.step.value
        assert step @ ascent.planted.hessian @ step <= 0.05**2 * (1 + 1e-5)
        steps[limit] = [
            float(SoftError(part, 2.0).gradient(ascent.planted.model) @ step) for part in (aim.target, aim.others)
        ]
    assert steps[0.5][0] > steps[0.0][0] > 0
    assert steps[0.5][1] > 1e-4
    assert steps[0.0][1] < 1e-6


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_outdoes_label_flips_of_the_target(rows, name):
    train, aim = rows
    problem = PROBLEMS[name]
    learner = make_learner(problem)
    plan = plant_jointly(train, problem, SETS, aim, aim.target.n, STAGES)[-1]
    flips = Dataset(aim.target.X, -aim.target.y)
    clean, flipped = (learner.fit(data) for data in (train, train.mix(flips)))
    assert plan.poison.total <= aim.target.n * (1 + 1e-9)
    assert plan.model.distance(learner.fit(train.mix(plan.poison.as_dataset()))) < 1e-4
    growth = {
        name: [
            SoftError(part, 0.5).value(model) - SoftError(part, 0.5).value(clean) for part in (aim.target, aim.others)
        ]
        for name, model in {"plan": plan.model, "flips": flipped}.items()
    }
    assert [plan.target_damage, plan.collateral] == pytest.approx(growth["plan"])
    assert plan.collateral <= 0.05 + 1e-3
    assert growth["plan"][0] > growth["flips"][0] + 0.02 or growth["flips"][1] > 0.05 + 1e-3
    assert growth["plan"][0] > 0.04


def test_the_hessian_is_factorised_once_for_each_model(rows, monkeypatch):
    programs, matrices, kept = [], [], []

    class Counted(joint_step.JointStep):
        def solve(self):
            programs.append(self.radius)
            return super().solve()

    matrix = joint_step.Hessian.matrix
    monkeypatch.setattr(joint_module, "JointStep", Counted)
    monkeypatch.setattr(joint_step.Hessian, "matrix", lambda self: matrices.append(0) or matrix(self))
    monkeypatch.setattr(_Ascent, "_merit", lambda self, model, stage: kept.pop(0))
    kept += [0.0, -1.0, -1.0, 1.0, 0.5]  # the first model, then two steps back, one taken, one back
    ascent = _Ascent(rows[0], LOGISTIC, SETS, rows[1], 30, make_learner(LOGISTIC))
    matrices.clear()
    ascent.run(Stage(1.0, 0.05, 4))
    assert len(programs) == 4
    assert programs[0] > programs[1] > programs[2] < programs[3]
    assert len(matrices) == 2


def test_a_tighter_limit_costs_damage(rows):
    train, aim = rows
    found = [plant_jointly(train, LOGISTIC, SETS, aim, 40, [Stage(0.5, limit)])[0] for limit in (0.01, 0.2)]
    assert found[0].collateral <= 0.01 + 1e-3 < found[1].collateral
    assert 0 < found[0].target_damage < found[1].target_damage


def test_stages_go_on_from_one_another(rows):
    train, aim = rows
    first, second = plant_jointly(train, LOGISTIC, SETS, aim, 40, [Stage(0.5, 0.05, 2), Stage(0.5, 0.05, 6)])
    alone = plant_jointly(train, LOGISTIC, SETS, aim, 40, [Stage(0.5, 0.05, 2)])[0]
    assert np.array_equal(first.poison.X, alone.poison.X)
    assert second.target_damage > first.target_damage > 0


def test_sparse_rows_give_the_same(rows):
    train, aim = rows
    thin = replace(train, X=sp.csr_array(train.X))
    dense, sparse = (plant_jointly(data, LOGISTIC, SETS, aim, 40, STAGES[:1])[0] for data in (train, thin))
    assert sparse.target_damage == pytest.approx(dense.target_damage, rel=1e-3)


def test_steep_losses_are_refused(rows):
    with pytest.raises(CapabilityError, match="second derivative"):
        plant_jointly(rows[0], Problem(Hinge(), 0.1), SETS, rows[1], 10, STAGES)
    assert plant_jointly(rows[0], Problem(SquaredHinge(), 0.1), SETS, rows[1], 10, STAGES[:1])[0].target_damage > 0
    with pytest.raises(InputError, match="at least one stage"):
        plant_jointly(rows[0], LOGISTIC, SETS, rows[1], 10, [])
    with pytest.raises(InputError):
        plant_jointly(rows[0], LOGISTIC, SETS, rows[1], 0, STAGES)


@pytest.mark.parametrize("options", [(0.0, 0.1), (1.0, 1.5), (1.0, -0.1), (1.0, 0.1, 0)])
def test_stages_out_of_range(options):
    with pytest.raises(InputError):
        Stage(*options)


def directed(attack, parts, collateral=0.1):
    return Directed(attack, LOGISTIC, parts.train, DOMAIN, collateral)


def test_each_stage_is_a_candidate_and_each_ascent_runs_once(case, monkeypatch):
    parts, group = case
    runs = []
    monkeypatch.setattr(joint_module, "plant_jointly", lambda *a, **o: runs.append(a) or plant_jointly(*a, **o))
    twice = (Stage(1.0, 0.05, 1), Stage(1.0, 0.05, 2))
    asked = directed(None, parts).scenario(parts.auxiliary, group, 30)
    found = JointAttack(twice, 2.0).run(asked)
    assert sorted(item.label for item in found.candidates) == ["1 0.05", "1 0.05 (1)"]
    assert len(runs) == 1
    attack = CrossFittedAttack(programs=("joint",), schedules=(twice,), reaches=(2.0,))
    fit = attack.fit(asked, 0)
    scores = attack.scores(asked, Run(0), fit, attack.ways_of(asked, fit))
    assert {"joint 0 2: 1 0.05", "joint 0 2: 1 0.05 (1)"} <= set(scores)
    assert len(runs) == 1 + attack.folds


def test_the_attack_chooses_it_over_label_flips(case):
    parts, group = case
    trainer = ProblemTrainer(LOGISTIC)
    clean, mask = trainer.fit(parts.train, 0), group.mask(parts.test)
    attack = directed(CrossFittedAttack(programs=("joint",), schedules=(STAGES,)), parts)
    damage = []
    for made in (attack, LabelFlip()):
        after = trainer.fit(parts.train.mix(made.poison(parts.auxiliary, group, group.size // 2, clean, 0)), 0)
        wrong = [(model.predict(parts.test.X) != parts.test.y)[mask].mean() for model in (after, clean)]
        damage.append(wrong[0] - wrong[1])
    assert damage[0] > damage[1]


def test_an_ascent_that_finds_nothing_is_no_candidate(case):
    parts, group = case
    flat = (Stage(1e-6, 0.0, 1),)  # no row is near enough to the boundary to pull
    asked = directed(None, parts).scenario(parts.auxiliary, group, 5)
    with pytest.raises(SolverFailed, match="the attack group-joint"):
        JointAttack(flat, 1.0).run(asked)
    attack = CrossFittedAttack(programs=("joint",), schedules=(flat,), reaches=(1.0,))
    assert attack.run(asked).best.label.startswith("flip")


def test_a_hessian_without_a_factor_is_told(rows, monkeypatch):
    # what rounding makes of columns of very different scales, or of dependent ones, with a small regulariser
    monkeypatch.setattr(joint_step.Hessian, "matrix", lambda _: np.diag([1.0, 1.0, -1e-9]))
    with pytest.raises(SolverFailed, match="Standardise the columns"):
        plant_jointly(rows[0], LOGISTIC, SETS, rows[1], 10, STAGES)
