"""pGAN: its weights, its steps against formulas, and what it may not do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import mlp, several  # noqa: E402

from deep import PGAN, NetworkLearner, SGDTrainer, TorchRisk  # noqa: E402
from deep.pgan import Game  # noqa: E402
from linpoison.attacks import Scenario  # noqa: E402
from linpoison.core import Budget, CapabilityError, Dataset, Domain, InputError, SolverFailed  # noqa: E402
from linpoison.losses import Logistic, Problem  # noqa: E402
from linpoison.risk import LBFGSTrainer, Sample  # noqa: E402

SMALL = PGAN(epochs=30, batch_size=30, step=2e-3, noise=4, width=16)


def scene(attack=SMALL):
    data = several(60)
    risk = TorchRisk(mlp())
    return Game(attack, risk, risk.held(data), risk.current, (-3.0, 3.0), 0), data


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_generator_s_step_is_along_the_weighted_slope(alpha):
    """By a learning rule without memory, against the plain gradient of alpha (-log D) - (1 - alpha) loss."""
    game, _ = scene(replace(SMALL, alpha=alpha))
    game.generator_rule = torch.optim.SGD(game.generator.parameters(), lr=1.0)
    y, rng = game.clean.y[:20], torch.Generator()
    before = torch.nn.utils.parameters_to_vector(game.generator.parameters()).detach().clone()
    made = game.rows(y, rng.manual_seed(1))
    module = game.risk.module_at(game.w)
    loss = torch.nn.functional.cross_entropy(module(made), y)
    value = alpha * torch.nn.functional.softplus(-game.logits(made, y)).mean() - (1 - alpha) * loss
    slope = torch.cat([s.reshape(-1) for s in torch.autograd.grad(value, list(game.generator.parameters()))])
    with game.risk.steady():
        with torch.enable_grad():
            made = game.rows(y, rng.manual_seed(1))
        found = game._generate(made, y, torch.full((20,), 1 / 20, dtype=made.dtype))
    after = torch.nn.utils.parameters_to_vector(game.generator.parameters()).detach()
    torch.testing.assert_close(after, before - slope, rtol=1e-9, atol=1e-12)
    assert float(found) == pytest.approx(float(loss.detach()), rel=1e-9)


def test_alpha_trades_damage_for_likeness():
    """Against a learner that stays what clean rows made it, so that its loss says how wrong the rows are."""
    data, risk = several(60), TorchRisk(mlp(), reg=0.05)
    held, w = risk.held(data), LBFGSTrainer(tol=1e-3).fit(risk, data).w
    center, found = held.X.mean(dim=0), {}
    for alpha in (0.0, 1.0):
        attack = replace(SMALL, alpha=alpha, batch_size=20, step=5e-3, epochs=60, follower_step=1e-9)
        game = attack.play(risk, w, data, (-3.0, 3.0))
        with torch.no_grad():
            X = game.rows(held.y, torch.Generator().manual_seed(0))
        found[alpha] = float(risk.loss(w, X, held.y).mean()), float((X.mean(dim=0) - center).norm())
    assert found[0.0][0] > 3 * found[1.0][0]
    assert found[1.0][1] + 1 < found[0.0][1]


@pytest.mark.parametrize("margin", [False, True])
def test_its_poison_is_within_the_domain_and_has_labels_of_clean_rows(margin):
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(60, 4))
    rows = Dataset.coded(X, (X[:, 0] > 0.5).astype(int), n_classes=2, domain=Domain.box(0.0, 1.0, 4))
    risk = TorchRisk(mlp(outputs=1 if margin else 2), "logistic" if margin else "cross_entropy")
    learner = NetworkLearner(risk, SGDTrainer(epochs=2, batch_size=30))
    result = replace(SMALL, epochs=3).run(learner.scenario(rows, rows, 0.1), seed=1)
    assert result.poison.total == 6
    assert rows.domain.violation(result.poison.X).max() == 0
    assert set(result.poison.y) <= {0.0, 1.0}
    assert 0 < result.best.facts["taken_for_clean"] < 1
    again = replace(SMALL, epochs=3).run(learner.scenario(rows, rows, 0.1), seed=1)
    assert np.array_equal(again.poison.X, result.poison.X)


def test_a_row_of_weight_two_is_two_rows():
    """In one turn of each, by learning rules without memory, with the same noise for both copies."""
    data, found = several(9), []
    doubled = np.r_[0:9, 0:4]
    for sample in (Sample(data.X, data.y, np.where(np.arange(9) < 4, 2.0, 1.0)), data.take(doubled)):
        risk = TorchRisk(mlp())
        game = Game(SMALL, risk, risk.held(sample), risk.current, (-3.0, 3.0), 0)
        nets, part = (game.generator, game.discriminator), torch.arange(sample.n)
        game.generator_rule, game.discriminator_rule = (torch.optim.SGD(net.parameters(), lr=0.5) for net in nets)
        rows = game.rows
        game.rows = lambda y, rng, rows=rows: rows(torch.as_tensor(data.y), rng)[doubled[: len(y)]]
        with game.risk.steady():
            loss = game.turn(part, torch.Generator().manual_seed(1))
        found.append([loss, game.w, *(torch.nn.utils.parameters_to_vector(net.parameters()) for net in nets)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_each_feature_has_a_range_of_its_own():
    """An untrained generator's rows are spread about the middle of each."""
    rng, ends = np.random.default_rng(0), (np.array([0.0, -200.0, 5.0, 0.0]), np.array([1.0, 0.0, 5.0, 1e6]))
    X = ends[0] + (ends[1] - ends[0]) * rng.uniform(size=(60, 4))
    rows = Dataset.coded(X, (X[:, 0] > 0.5).astype(int), domain=Domain.box(*ends))
    learner = NetworkLearner(TorchRisk(mlp()), SGDTrainer(epochs=1, step=1e-9))
    result = replace(SMALL, epochs=1, step=1e-9).run(learner.scenario(rows, rows, 0.5), seed=0)
    where = (result.poison.X - ends[0])[:, [0, 1, 3]] / (ends[1] - ends[0])[[0, 1, 3]]
    assert (abs(where.mean(axis=0) - 0.5) < 0.2).all()
    assert (where.std(axis=0) > 0).all()
    assert (result.poison.X[:, 2] == 5).all()


def test_what_it_cannot_do_is_refused():
    rows = Dataset(np.random.default_rng(0).normal(size=(30, 4)), np.repeat([-1.0, 1.0], 15))
    with pytest.raises(CapabilityError, match="a network as the learner"):
        SMALL.run(Scenario(rows, Problem(Logistic(), 0.1), Budget(0.1), {}, rows))
    learner = NetworkLearner(TorchRisk(mlp(outputs=1), "logistic"), SGDTrainer(epochs=1))
    counted = Dataset(np.round(abs(rows.X)), rows.y, domain=Domain.counts(np.inf, 4))
    for data, got in ((rows, "kind='real'"), (counted, "a bound of inf")):
        with pytest.raises(InputError, match=f"bounded domain.*{got}"):
            SMALL.run(learner.scenario(data, data, 0.1))
    bounded = replace(rows, domain=Domain.box(rows.X.min(), rows.X.max(), 4))
    single = NetworkLearner(TorchRisk(mlp(outputs=1).float(), "logistic"), SGDTrainer(epochs=1))
    with pytest.raises(SolverFailed, match="the game diverges"):  # in its last step, after which no loss is looked at
        replace(SMALL, epochs=1, step=1e30).run(single.scenario(bounded, bounded, 0.1))
    risk = TorchRisk(mlp(), reg=1.0)
    with pytest.raises(SolverFailed, match="the game diverges"):
        replace(SMALL, follower_step=1e30).play(risk, risk.current, several(60), (-3.0, 3.0))
    for options in ({"alpha": 1.5}, {"share": 0.0}, {"epochs": 0}, {"step": 0.0}):
        with pytest.raises(InputError):
            PGAN(**options)
