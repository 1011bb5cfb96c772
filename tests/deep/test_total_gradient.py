"""Derivatives through what is learned: against finite differences of retraining, and the attacks that follow them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, linear_pair, mlp, several, slope  # noqa: E402
from total_gradient import total_gradient  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison.attacks.gradient import FixedModelAttack, GradientMatching  # noqa: E402
from linpoison.core import InputError  # noqa: E402
from linpoison.risk import (  # noqa: E402
    CG,
    Adam,
    Align,
    Box,
    Dense,
    Identity,
    L2AroundSeed,
    LBFGSTrainer,
    Match,
    PoisonObjective,
    ProjectedGradient,
    Sample,
    objective,
)
from linpoison.risk.arrays import norm, to_numpy  # noqa: E402

EXACT = LBFGSTrainer(tol=1e-13)
SOLVER = CG(relative_damping=0, maxiter=300, tol=1e-14)


def split():
    train, poison, validation = binary(40, 4, 0), binary(5, 4, 1), binary(25, 4, 2)
    return train, Sample(poison.X, -poison.y, [1.0, 2.0, 3.0, 1.0, 1.0]), validation


def retrained(risk, train, poison, validation):
    w = EXACT.fit(risk, train.joined(poison, risk)).w
    return float(np.average(to_numpy(risk.loss(w, validation.X, validation.y)), weights=validation.mass))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_it_is_the_derivative_of_the_retrained_validation_loss(kind):
    risk = linear_pair("logistic", reg=0.1)[0 if kind == "numpy" else 1]
    train, poison, validation = split()
    both = train.joined(poison, risk)
    w = EXACT.fit(risk, both).w
    change, mass = np.random.default_rng(0).normal(size=poison.X.shape), np.random.default_rng(1).normal(size=5)
    by_rows = slope(
        lambda X: retrained(risk, train, Sample(X, poison.y, poison.weights), validation), poison.X, change, 1e-3
    )
    by_counts = slope(
        lambda c: retrained(risk, train, Sample(poison.X, poison.y, c), validation),
        np.asarray(poison.weights),
        mass,
        1e-3,
    )
    value = retrained(risk, train, poison, validation)
    for solver in (SOLVER, Dense()):
        found = total_gradient(risk, w, both, poison, validation, solver)
        assert float((to_numpy(found.rows) * change).sum()) == pytest.approx(by_rows, rel=1e-6), solver
        assert found.value == pytest.approx(value, rel=1e-9), solver
        assert float(found.counts @ mass) == pytest.approx(by_counts, rel=1e-6), solver
        assert found.solution.residual < 1e-9, solver


def test_a_step_along_it_raises_the_retrained_loss():
    risk = linear_pair("logistic", reg=0.1)[1]
    train, poison, validation = split()
    both = train.joined(poison, risk)
    found = total_gradient(risk, EXACT.fit(risk, both).w, both, poison, validation, SOLVER)
    step = 0.3 * to_numpy(found.rows) / np.abs(to_numpy(found.rows)).max()
    before = retrained(risk, train, poison, validation)
    assert retrained(risk, train, Sample(poison.X + step, poison.y, poison.weights), validation) > before + 1e-4
    assert retrained(risk, train, Sample(poison.X - step, poison.y, poison.weights), validation) < before - 1e-4


def test_a_network_s_is_that_of_its_retraining_too():
    risk = TorchRisk(mlp(4, 3, 3), reg=0.3)
    data, validation = several(20), several(15, seed=3)
    poison = data.take([0, 1])
    w = LBFGSTrainer(tol=1e-12).fit(risk, data, seed=1)
    assert w.grad_norm < 1e-10
    found = total_gradient(risk, w.w, data, poison, validation, Dense())

    def learned(X):
        rows = data.X.copy()
        rows[:2] = X
        again = LBFGSTrainer(tol=1e-12).fit(risk, Sample(rows, data.y), seed=1).w
        return float(risk.loss(again, validation.X, validation.y).mean())

    change = np.random.default_rng(0).normal(size=(2, 4))
    numeric = slope(learned, poison.X, change, 1e-4)
    assert float((to_numpy(found.rows) * change).sum()) == pytest.approx(numeric, rel=1e-4)


def attack(risk, labels, solver):
    train, target = several(40), several(8, seed=7)
    wanted = target.y if labels == "true" else (target.y + 1) % 3
    w = LBFGSTrainer(tol=1e-10).fit(risk, train).w
    seeds = several(6, seed=8)
    rule = FixedModelAttack(solver, ProjectedGradient(step=1e-3, steps=1), labels=labels)
    found = rule.craft(risk, w, train, seeds, Sample(target.X, wanted))
    return w, train, seeds, Sample(target.X, wanted), found


@pytest.mark.parametrize("labels", ["true", "adversary"])
def test_a_step_of_training_on_the_poison_moves_the_target_s_loss(labels):
    risk = linear_pair("3")[1]
    w, _, seeds, target, found = attack(risk, labels, Identity())
    sign = 1 if labels == "true" else -1

    def after(rows):
        w2 = w - 1e-3 * risk.data_grad(w, rows.X, rows.y, rows.weights)
        return float(risk.loss(w2, target.X, target.y).mean())

    assert sign * (after(found.poison) - after(seeds)) > 0
    assert found.history[-1] < found.history[0]
    np.testing.assert_array_equal(found.poison.y, seeds.y)


def test_gradient_optimisation_is_influence_with_the_identity():
    risk = linear_pair("3")[1]
    w, _, seeds, target, found = attack(risk, "true", Identity())
    u = risk.data_grad(w, target.X, target.y)
    mixed = risk.mixed_product(w, seeds.X, seeds.y, u) / 6
    assert found.solution is not None
    assert torch.equal(found.solution.x, u)
    torch.testing.assert_close(found.poison.X, risk.rows(seeds.X) - 1e-3 * mixed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("labels", ["true", "adversary"])
def test_influence_moves_the_target_s_loss_after_retraining(labels):
    risk = linear_pair("3", reg=0.1)[1]
    _, train, seeds, target, _ = attack(risk, labels, Identity())
    w = LBFGSTrainer(tol=1e-10).fit(risk, train).w
    rule = FixedModelAttack(SOLVER, ProjectedGradient(steps=20), L2AroundSeed(seeds.X, 0.5), labels)
    found = rule.craft(risk, w, train, seeds, target)

    def learned(rows):
        again = LBFGSTrainer(tol=1e-10).fit(risk, train.joined(rows, risk)).w
        return float(risk.loss(again, target.X, target.y).mean())

    gain = learned(found.poison) - learned(seeds)
    assert (gain if labels == "true" else -gain) > 1e-3
    assert found.solution.residual < 1e-10
    assert L2AroundSeed(seeds.X, 0.5).contains(found.poison.X).all()


@pytest.mark.parametrize("labels", ["true", "adversary"])
def test_matched_gradients_point_the_attacker_s_way(labels):
    risk, train, target, seeds = linear_pair("3")[1], several(40), several(8, seed=7), several(6, seed=8)
    w = LBFGSTrainer(tol=1e-10).fit(risk, train).w
    found = GradientMatching(Adam(steps=150), labels=labels).craft(risk, w, target, seeds, target)
    wanted = risk.data_grad(w, target.X, target.y) * (1 if labels == "adversary" else -1)
    p = risk.data_grad(w, found.poison.X, found.poison.y)
    cosine = float(p @ wanted) / (norm(p) * norm(wanted))
    assert cosine == pytest.approx(1 - found.history.min(), rel=1e-9)
    assert cosine > 0.9
    assert found.history[0] > 0.15
    assert found.solution is None


def test_fields_are_differentiated_rightly():
    risk, data = linear_pair("3")[1], several(6)
    w, change = risk.current, np.random.default_rng(1).normal(size=(6, 4))
    other = risk.data_grad(w, data.X[:2], data.y[:2])
    shares = np.random.default_rng(2).uniform(size=6)
    for field in (Align(other), Match(other)):
        held = risk.held(Sample(data.X, data.y, shares))
        f = PoisonObjective(risk, w, field, held.y, held.mass)
        found = float((to_numpy(f(torch.as_tensor(data.X))[1]) * change).sum())
        numeric = slope(lambda X, f=f: f(torch.as_tensor(X))[0], data.X, change)
        assert found == pytest.approx(numeric, rel=1e-7)


def test_a_box_bounds_the_attack_and_progress_is_told():
    risk, train = linear_pair("3")[1], several(20)
    seen = []
    rule = FixedModelAttack(projection=Box(-0.5, 0.5))
    found = rule.craft(risk, risk.current, train, several(5), several(4), progress=lambda t, v: seen.append(t))
    assert Box(-0.5, 0.5).contains(found.poison.X).all()
    assert seen == list(range(1, 51))


def test_labels_and_zero_gradients_are_checked():
    for rule in (FixedModelAttack, GradientMatching):
        with pytest.raises(InputError, match="'true' or 'adversary'"):
            rule(labels="none")
    with pytest.raises(InputError, match="not zero"):
        Match(np.zeros(3))(np.ones(3))


def test_the_objective_counts_copies():
    risk, data = linear_pair("3")[0], several(4)
    w = np.random.default_rng(0).normal(size=15)
    copies = Sample(data.X[[0, 0, 1, 2, 3]], data.y[[0, 0, 1, 2, 3]])
    assert objective(risk, w, Sample(data.X, data.y, [2, 1, 1, 1])) == pytest.approx(objective(risk, w, copies))
