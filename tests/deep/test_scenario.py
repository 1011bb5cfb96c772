"""Networks as learners of a scenario: every attack by derivatives through `Attack.run`, for linear models and torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

from deep_cases import seeded  # noqa: E402

from deep import NetworkLearner, SGDTrainer, TorchRisk  # noqa: E402
from linpoison.attacks import RandomFlips, Scenario  # noqa: E402
from linpoison.attacks.gradient import TGDA, Canceler, FixedModelAttack, Given, GradientMatching  # noqa: E402
from linpoison.core import AttackInvalid, Budget, CapabilityError, Dataset, Domain, InputError  # noqa: E402
from linpoison.core.journal import FolderJournal  # noqa: E402
from linpoison.core.parts import dense  # noqa: E402
from linpoison.defenses import make_defense  # noqa: E402
from linpoison.losses import Logistic, MultiProblem, Problem, Softmax  # noqa: E402
from linpoison.risk import LBFGS, Adam, Box, LBFGSTrainer, ProjectedGradient  # noqa: E402
from linpoison.testing import check_attack  # noqa: E402

nn = torch.nn
ATTACKS = [
    Canceler(Adam(steps=15), draws=2),
    TGDA(epochs=2, follower_steps=2, batch_size=None, leader_step=1.0),
    FixedModelAttack(optimiser=ProjectedGradient(steps=5)),
    GradientMatching(Adam(steps=5)),
    RandomFlips(draws=2),
]


def rows(n=60, d=4, k=3, seed=0, wide=1.0):
    """Coded rows between 0 and 1, in the box from 1 - wide to wide."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, d))
    y = ((X - 0.5) @ rng.normal(size=(d, k))).argmax(axis=1)
    y[:k] = np.arange(k)
    return Dataset.coded(X, y, n_classes=k, domain=Domain.box(1 - wide, wide, d))


def pair(k, wide=1.0):
    """The same learning problem of linear models, solved here and by torch: two scenarios."""
    train = rows(k=k, wide=wide)
    if k == 2:
        train = Dataset(train.X, np.where(train.y > 0, 1.0, -1.0), domain=train.domain)
    problem = Problem(Logistic(), 0.1) if k == 2 else MultiProblem(Softmax(), 0.1)
    module = seeded(lambda: nn.Linear(4, 1 if k == 2 else k))
    learner = NetworkLearner(TorchRisk(module, "logistic" if k == 2 else "cross_entropy", 0.1), LBFGSTrainer())
    return Scenario(train, problem, Budget(0.1), {}, train), learner.scenario(train, train, 0.1)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("optimiser", [Adam(steps=30), ProjectedGradient(steps=20), LBFGS(steps=10)], ids=repr)
def test_canceling_of_a_linear_model_is_the_same_in_numpy_and_in_torch(k, optimiser):
    w = np.random.default_rng(1).normal(scale=0.3, size=5 if k == 2 else 15)
    attack = Canceler(optimiser, targets=Given(w))
    scenarios = pair(k, wide=3.0)
    ours, theirs = (attack.run(scenario, seed=2) for scenario in scenarios)
    assert np.abs(ours.poison.X[:, None] - scenarios[0].train.X).max(axis=2).min() > 1e-3  # all rows have moved
    np.testing.assert_allclose(theirs.poison.X, ours.poison.X, atol=1e-12)
    assert np.array_equal(theirs.poison.y, ours.poison.y)
    assert np.array_equal(theirs.poison.count, ours.poison.count)
    assert theirs.best.residual == pytest.approx(ours.best.residual, abs=1e-12)
    assert theirs.best.test_error == ours.best.test_error


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("which", ["linear", "torch"])
def test_attacks_by_derivatives_keep_the_contract_on_any_learner(attack, which):
    scenario = pair(3)[which == "torch"]
    found = check_attack(attack, replace(scenario, defenses={"l2": make_defense("l2")}))
    assert found.poison.total == scenario.n_poison == 6
    assert scenario.train.domain.violation(found.poison.X).max() == 0


def network(journal=None, **options):
    """A small convolutional network with batch statistics, of pictures of two by two."""

    def build():
        return nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 3))

    risk = TorchRisk(seeded(build).float(), **options)
    return NetworkLearner(risk, SGDTrainer(epochs=3, batch_size=20), shape=(1, 2, 2), journal=journal)


@pytest.mark.parametrize("attack", ATTACKS[:4], ids=lambda attack: attack.name)
def test_a_network_in_single_precision_is_attacked_within_budget_and_domain(attack):
    train = rows()
    scenario = network().scenario(train, train, 0.1)
    result = attack.run(scenario, seed=1)
    start = scenario.train.X
    assert result.poison.total == 6
    assert train.domain.violation(result.poison.X).max() == 0
    assert not all((row == start).all(axis=1).any() for row in result.poison.X)
    model = scenario.learner.fit(train.mix(result.poison.expanded()))
    assert result.best.test_error["none"] == model.error(train)


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
def test_sparse_rows_are_attacked_as_dense_ones(shape):
    train, found = rows(), []
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    for data in (train, replace(train, X=sp.csr_matrix(train.X))):
        learner = NetworkLearner(TorchRisk(module), SGDTrainer(epochs=1), shape=shape)
        result = GradientMatching(Adam(steps=3)).run(learner.scenario(data, data, 0.1), seed=0)
        found.append((dense(result.poison.X), result.best.test_error["none"]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_a_poison_that_leaves_the_domain_is_no_result(monkeypatch):
    train = rows()
    monkeypatch.setattr(Domain, "clip", lambda self, X: X + 1.0)
    with pytest.raises(AttackInvalid, match="the attack canceling"):
        Canceler(Adam(steps=2)).run(network().scenario(train, train, 0.1))


def test_what_was_learned_and_where_a_descent_stood_is_read_back(tmp_path):
    train, journal = rows(), FolderJournal(tmp_path)
    attack = Canceler(Adam(steps=120))
    whole = attack.run(network().scenario(train, train, 0.1), seed=3)

    def stop(done, total, what):
        if total == 120 and done == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attack.run(network(journal).scenario(train, train, 0.1), seed=3, journal=journal, progress=stop)
    seen = []
    again = network(journal)
    again.trainer = None  # no model is learned before the poison is there
    with pytest.raises(AttributeError):
        attack.run(again.scenario(train, train, 0.1), seed=3, journal=journal, progress=lambda *a: seen.append(a))
    assert [done for done, total, _ in seen if total == 120] == list(range(51, 121))
    last = attack.run(network(journal).scenario(train, train, 0.1), seed=3, journal=journal)
    assert np.array_equal(last.poison.X, whole.poison.X)


def test_what_a_learner_of_networks_refuses():
    train = rows()
    with pytest.raises(CapabilityError, match="cross-entropy"):
        network(loss=lambda outputs, y: outputs.sum(dim=1))
    with pytest.raises(CapabilityError, match="no linear model, got loss"):
        network().scenario(train, train, 0.1, {"loss": make_defense("loss")})
    with pytest.raises(InputError, match="4 features, as the shape"):
        network().view(rows(d=5))
    with pytest.raises(InputError, match="each of 3 classes"):
        Canceler().run(network().scenario(train.take(train.y > 0), train, 0.1))


def test_a_projection_and_the_domain_both_hold():
    train = rows()
    attack = Canceler(Adam(steps=5), Box(0.25, 2.0))
    found = attack.run(network().scenario(train, train, 0.1)).poison.X
    assert found.min() >= 0.25
    assert found.max() <= 1
