"""Label flips, and flips that are moved: signs, labels, and agreement of the linear core with torch."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import blob_parts, clusters
from sklearn.linear_model import LogisticRegression

from linpoison.attacks.groups import LabelFlip, gradient_optimization, influence
from linpoison.core import CapabilityError, InputError
from linpoison.losses import Logistic, Problem
from linpoison.risk import Box, Dense, LBFGSTrainer, LinearRisk, Sample
from linpoison.subpopulations import (
    EstimatorTrainer,
    ProblemTrainer,
    RiskTrainer,
    correctness,
    poison_count,
)

RISK = LinearRisk(Logistic(), 0.05)
TRAINER = RiskTrainer(RISK, LBFGSTrainer())


@pytest.fixture(scope="module")
def case():
    parts = blob_parts()
    group = clusters().fit(parts.auxiliary).subpopulations()[0]
    return parts, group, TRAINER.fit(parts.auxiliary, 0)


def test_flips_are_rows_of_the_group_under_one_wrong_label(case):
    parts, group, surrogate = case
    poison = LabelFlip().poison(parts.auxiliary, group, 2 * group.size + 1, surrogate, 0)
    members = parts.auxiliary.take(group.mask(parts.auxiliary))
    assert set(map(tuple, poison.X)) <= set(map(tuple, members.X))
    _, uses = np.unique(poison.X, axis=0, return_counts=True)
    assert sorted(set(uses.tolist())) == [2, 3]
    assert np.unique(poison.y).size == 1
    assert poison.y[0] != np.sign(members.y.mean())


def test_every_kind_of_surrogate_chooses_the_label_of_most_loss(case):
    parts, group, surrogate = case
    aux = parts.auxiliary
    sure = EstimatorTrainer(LogisticRegression()).fit(aux, 0)
    linear = ProblemTrainer(Problem(Logistic(), 0.05)).fit(aux, 0)
    only = type("Only", (), {"predict": staticmethod(sure.predict)})()
    chosen = {LabelFlip().poison(aux, group, 3, model, 0).y[0] for model in (surrogate, sure, linear, only)}
    rare = LabelFlip("rarest").poison(aux, group, 3, None, 0).y[0]
    assert chosen == {rare}
    assert LabelFlip(1.0).poison(aux, group, 3, None, 0).y[0] == 1.0
    with pytest.raises(InputError, match="'loss', 'rarest' or a label"):
        LabelFlip(7).poison(aux, group, 3, None, 0)


def test_loss_label_of_three_classes_is_the_least_likely():
    rng = np.random.default_rng(0)
    X = np.repeat(np.array([[0.0], [5.0], [9.0]]), 30, axis=0) + 0.5 * rng.normal(size=(90, 1))
    rows = Sample(X, np.repeat(["a", "b", "c"], 30))
    group = clusters().set_params(n_components=1, n_clusters=3).fit(rows)
    of_a = next(each for each in group.subpopulations() if rows.y[each.mask(rows)][0] == "a")
    model = LogisticRegression().fit(X, rows.y)
    assert LabelFlip().poison(rows, of_a, 2, model, 0).y.tolist() == ["c", "c"]


def test_count_is_alpha_times_the_auxiliary_members(case):
    parts, group, _ = case
    members = group.mask(parts.auxiliary).sum()
    assert poison_count(0.5, group, parts.auxiliary) == round(0.5 * members)
    assert poison_count(1e-6, group, parts.auxiliary) == 1
    with pytest.raises(InputError, match="alpha"):
        poison_count(0, group, parts.auxiliary)


def target_loss(parts, group, poison):
    rows = parts.auxiliary.mix(poison)
    w = LBFGSTrainer().fit(RISK, Sample(rows.X, rows.y)).w
    target = parts.auxiliary.take(group.mask(parts.auxiliary))
    return float(RISK.loss(w, target.X, target.y).mean())


@pytest.mark.parametrize("make", [gradient_optimization, influence], ids=["go", "influence"])
def test_a_small_step_raises_the_retrained_target_loss(case, make):
    parts, group, surrogate = case
    aux = parts.auxiliary
    flip = LabelFlip().poison(aux, group, 10, surrogate, 0)
    moved = make(steps=1, step=1e-2).poison(aux, group, 10, surrogate, 0)
    assert np.array_equal(moved.y, flip.y)
    assert not np.array_equal(moved.X, flip.X)
    assert target_loss(parts, group, moved) > target_loss(parts, group, flip)


def test_moved_rows_stay_in_their_set(case):
    parts, group, surrogate = case
    box = Box(parts.auxiliary.X.min(axis=0), parts.auxiliary.X.max(axis=0))
    moved = influence(box, solver=Dense(), steps=20).poison(parts.auxiliary, group, 10, surrogate, 0)
    assert box.contains(moved.X).all()


def test_moving_needs_derivatives(case):
    parts, group, _ = case
    model = LogisticRegression().fit(parts.train.X, parts.train.y)
    with pytest.raises(CapabilityError, match="surrogate with derivatives"):
        gradient_optimization().poison(parts.auxiliary, group, 3, model, 0)


def test_torch_and_the_linear_core_move_rows_alike(case):
    torch = pytest.importorskip("torch")
    from deep import TorchRisk

    parts, group, surrogate = case
    module = torch.nn.Linear(2, 1).double()
    risk = TorchRisk(module, loss=Logistic(), reg=0.05)
    twin = type(surrogate)(risk, risk.vector(surrogate.w))
    attack = influence(solver=Dense(), steps=5, step=0.1)
    first, second = (attack.poison(parts.auxiliary, group, 6, model, 0) for model in (surrogate, twin))
    assert np.allclose(first.X, second.X, atol=1e-10)
    model = RiskTrainer(risk, LBFGSTrainer()).fit(parts.train, 0)
    other = TRAINER.fit(parts.train, 0)
    assert np.array_equal(*(correctness([each], parts.test) for each in (model, other)))
    assert model.representation(risk.rows(parts.test.X[:3])).shape == (3, 2)
