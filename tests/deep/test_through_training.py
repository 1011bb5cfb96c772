"""Attacks through training and by worst rows: derivatives, bounds, and what they do to what is learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import linear_pair, mlp, seeded, several  # noqa: E402

from deep import NetworkLearner, Recoloring, SGDTrainer, TorchRisk  # noqa: E402
from deep.recolor import Recolored  # noqa: E402
from linpoison.attacks import RandomFlips, Scenario  # noqa: E402
from linpoison.attacks.gradient import AlternatingMinMax, BackGradient, Given, MetaPoison, Pixels, Relabeled  # noqa: E402
from linpoison.attacks.minmax_paper import AdaGradLoop  # noqa: E402
from linpoison.core import Budget, CapabilityError, Dataset, Domain, InputError, SolverFailed  # noqa: E402
from linpoison.losses import Logistic, MultiProblem, Problem, Softmax  # noqa: E402
from linpoison.risk import Adam, Box, DirectRows, LBFGSTrainer, LinearRisk, Sample  # noqa: E402
from linpoison.risk.arrays import to_numpy  # noqa: E402
from linpoison.risk.unrolled import Unrolled, loss_on  # noqa: E402

nn = torch.nn


def test_the_derivative_through_training_of_a_network_agrees_with_differences():
    risk, data = TorchRisk(mlp(), reg=0.01), several(24)
    clean, poison = risk.held(data), risk.held(data.drawn(4, seed=1))
    unrolled = Unrolled(risk, clean, poison.y, poison.mass, poison.total, 0.5)
    batches = [*unrolled.batches(8, 6, np.random.default_rng(0))]
    outer = loss_on(risk, clean, -1.0)
    _, slope, _ = unrolled.after(risk.current, poison.X, batches, outer)
    change, h = torch.as_tensor(np.random.default_rng(2).normal(size=(4, 4))), 1e-5
    values = [float(unrolled.after(risk.current, poison.X + s * h * change, batches, outer)[0]) for s in (1, -1)]
    assert float((slope * change).sum()) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("attack", [
    BackGradient(12, optimiser=Adam(0.1, steps=5)),
    MetaPoison(3, epochs=2, batch_size=12, optimiser=Adam(0.1, steps=3, signed=True), draws=1),
], ids=lambda attack: attack.name)  # fmt: skip
def test_numpy_and_torch_find_the_same_poison(attack):
    found = []
    for risk in linear_pair("3")[:2]:
        train, judges = several(60).held_out(0.3, seed=0)
        seeds = train.drawn(5, seed=1)
        phi = seeds.X.ravel() if not hasattr(risk, "module") else torch.as_tensor(seeds.X.ravel())
        risk.init = lambda seed, d, risk=risk: risk.vector(np.random.default_rng(seed).normal(size=15))
        made = attack.craft(risk, risk.init(0, 4), train, judges, DirectRows((5, 4), Box(-3.0, 3.0)), phi, seeds)
        found.append(made)
        assert attack.name == "metapoison" or made.history[-1] < made.history[0]
        assert np.abs(to_numpy(made.poison.X) - seeds.X).max() > 0.05
    np.testing.assert_allclose(to_numpy(found[1].poison.X), found[0].poison.X, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found[1].history, found[0].history, rtol=1e-9)


def rows(n=60, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, d))
    y = ((X - 0.5) @ rng.normal(size=(d, k)) + 0.1 * rng.normal(size=(n, k))).argmax(axis=1)
    y[:k] = np.arange(k)
    return Dataset.coded(X, y, n_classes=k, domain=Domain.box(0.0, 1.0, d))


def network(width=8):
    build = lambda: nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))  # noqa: E731
    return NetworkLearner(TorchRisk(seeded(build)), SGDTrainer(epochs=20, batch_size=20, step=0.5))


@pytest.mark.parametrize("labels", ["true", "adversary"])
def test_back_gradient_does_more_than_flips_to_what_is_learned(labels):
    both = rows(500)
    train, test = both.take(np.arange(120)), both.take(np.arange(120, 500))
    scenario = Scenario(train, MultiProblem(Softmax(), 0.001), Budget(0.1), {}, test)
    attack = BackGradient(40, 4.0, optimiser=Adam(0.1, steps=20))
    if labels == "adversary":
        attack = replace(attack, labels=labels, validation=None)
    error = attack.run(scenario, seed=0).best.test_error["none"]
    clean = scenario.defender.learner.fit(train).error(test)
    flips = RandomFlips(draws=1).run(scenario, seed=0).best.test_error["none"]
    assert error > flips + 0.02
    assert error > clean + 0.05


def test_metapoison_keeps_within_its_bound_and_returns_the_last_rows():
    learner, train = network(), rows()
    attack = MetaPoison(4, epochs=3, batch_size=20, optimiser=Adam(0.05, steps=4), source=Pixels(near=0.1))
    result = attack.run(learner.scenario(train, train, 0.1), seed=3)
    first = Sample(train.X, train.codes).drawn(6, 3)
    moved = np.abs(result.best.relaxed.X - first.X).max(axis=1)
    assert 0.05 < moved.max() <= 0.1 + 1e-6
    assert (moved > 0).all()
    assert np.array_equal(result.best.relaxed.y, first.y)


def test_metapoison_against_a_row_makes_its_label_the_wanted_one():
    learner, train = network(), rows(90)
    right = np.flatnonzero(learner.fit(train).predict(train.X) == train.y)
    target = train.take(right[:1])
    attack = MetaPoison(3, epochs=4, batch_size=30, optimiser=Adam(0.1, steps=25), labels="adversary", validation=None)
    scenario = learner.scenario(train, target, 0.3)
    result = attack.run(scenario, seed=0)
    assert learner.fit(train).error(target) == 0
    wanted = learner.risk.scores(learner.fit(train).flat, target.X)[0].argsort()[-2]
    before, after = (
        float(learner.risk.loss(learner.fit(data).flat, target.X, np.array([int(wanted)]))[0])
        for data in (train, train.mix(result.poison.expanded()))
    )
    assert after < before / 2


def test_the_worst_row_of_a_linear_model_is_the_corner_of_the_box_that_it_has_in_closed_form():
    rng = np.random.default_rng(0)
    data, w = Sample(rng.uniform(size=(20, 4)), rng.choice([-1.0, 1.0], 20)), rng.normal(size=5)
    risk = LinearRisk(Logistic(), 0.1)
    attack = AlternatingMinMax(AdaGradLoop(rate=1e-9, repeats=1), projection=Box(0.0, 1.0), ascent=12)
    found = attack.craft(risk, w, data, 3)
    losses = {y: float(risk.loss(w, (y * w[:4] < 0).astype(float)[None], [y])[0]) for y in (-1.0, 1.0)}
    worst = max(losses, key=lambda y: losses[y])
    np.testing.assert_allclose(found.X, np.tile((worst * w[:4] < 0).astype(float), (3, 1)), atol=1e-12)
    assert found.y.tolist() == [worst] * 3


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_planted_rows_look_right_to_the_decoy(kind):
    risk, data = linear_pair("3")[kind == "torch"], several(60)
    w = LBFGSTrainer(tol=1e-8).fit(risk, data).w
    decoy = Relabeled(0.3, copies=6, steps=60, step=0.5)
    target = decoy.target(risk, w, data)
    attack = AlternatingMinMax(decoy=Given(to_numpy(target)), most_loss=0.8, projection=Box(-2.0, 2.0), ascent=8)
    found = attack.craft(risk, w, data, 6, seed=1)
    free = replace(attack, decoy=None).craft(risk, w, data, 6, seed=1)
    under, beyond = (to_numpy(risk.loss(target, part.X, part.y)) for part in (found, free))
    assert under.max() <= 0.8 + 1e-9
    assert beyond.max() > 0.8
    assert to_numpy(risk.loss(w, found.X, found.y)).mean() > to_numpy(risk.loss(w, data.X, data.y)).mean()


def test_fixed_labels_stay_those_of_the_rows_and_the_model_is_pulled():
    learner, train = network(), rows()
    attack = AlternatingMinMax(labels="fixed", tries=4, ascent=2, step=0.01, batch_size=20)
    result = attack.run(learner.scenario(train, train, 0.1), seed=0)
    for row, label in zip(result.poison.X, result.poison.y, strict=True):
        assert label in train.y[np.abs(train.X - row).max(axis=1) <= 0.02 + 1e-6]
    assert result.best.facts["clean_model_loss"] > 0


@pytest.mark.parametrize("labels", ["chosen", "fixed"])
def test_planted_labels_are_those_of_the_user(labels):
    """Of classes whose numbers are others than their places, too."""
    data, attack = rows(), AlternatingMinMax(labels=labels, tries=4, ascent=2)
    module, found = seeded(lambda: nn.Linear(4, 3)), []
    for names in (np.arange(3), np.array([2, 0, 1]), np.array(["a", "b", "c"])):
        risk = TorchRisk(module, classes=names.tolist())
        found.append(attack.craft(risk, risk.current, Sample(data.X, names[data.codes]), 6))
        np.testing.assert_array_equal(found[-1].y, names[found[0].y])
        torch.testing.assert_close(found[-1].X, found[0].X)


def test_a_model_that_diverges_plants_nothing():
    deep = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    attack = AlternatingMinMax(AdaGradLoop(1e30), tries=4, ascent=2)
    risk, data = TorchRisk(deep), Sample(rows().X, rows().codes)
    with pytest.raises(SolverFailed, match="the model diverges"):
        attack.craft(risk, risk.current, data, 6)


def test_recoloured_pictures_keep_both_bounds_and_their_derivative_agrees_with_differences():
    for channels in (1, 3):
        seeds = torch.as_tensor(np.random.default_rng(0).uniform(0.2, 0.8, size=(2, channels, 3, 3)))
        made = Recolored(seeds, (0.0, 1.0), Recoloring(0.05, 0.1, grid=3))
        torch.testing.assert_close(made.points(made.first), seeds)
        phi = made.restrict(torch.as_tensor(np.random.default_rng(1).normal(scale=0.05, size=made.first.shape)))
        rows_, pull = made.vjp(phi)
        cotangent = torch.as_tensor(np.random.default_rng(2).normal(size=seeds.shape))
        change = torch.as_tensor(np.random.default_rng(3).normal(size=phi.shape))
        around = [float((made.points(phi + s * 1e-6 * change) * cotangent).sum()) for s in (1, -1)]
        assert float(pull(cotangent) @ change) == pytest.approx((around[0] - around[1]) / 2e-6, rel=1e-6)
        most = made.points(made.restrict(made.first + 9.0))
        torch.testing.assert_close(most, seeds + 0.15)
        torch.testing.assert_close(made.points(phi, torch.tensor([1])), rows_[1:])
        cut = seeds.numel()
        colours = torch.cat([0.0 * phi[:cut], made.restrict(made.first + 9.0)[cut:]])
        torch.testing.assert_close(made.points(colours), seeds + 0.1)


def test_each_channel_is_recoloured_within_its_own_range():
    seeds = torch.as_tensor(np.random.default_rng(0).uniform(size=(2, 3, 2, 2)))
    low, span = torch.tensor([0.0, -2.0, 5.0]), torch.tensor([1.0, 10.0, 0.0])
    shape = (3, 1, 1)
    seeds = low.reshape(shape) + span.reshape(shape) * seeds
    ends = [end.double().repeat_interleave(4) for end in (low, low + span)]
    made = Recolored(seeds, (ends[0].numpy(), ends[1].numpy()), Recoloring(0.05, 0.1, grid=3))
    most = made.points(made.restrict(made.first + 9.0))
    torch.testing.assert_close(most, torch.minimum(seeds + 0.15 * span.reshape(shape), (low + span).reshape(shape)))


def test_pictures_of_other_channels_are_not_recoloured():
    with pytest.raises(CapabilityError, match="one or three channels"):
        Recolored(torch.zeros(2, 2, 3, 3), (0.0, 1.0), Recoloring())
    for domain in (Domain.real(), Domain.counts(np.inf, 4)):
        with pytest.raises(InputError, match="bounded domain"):
            Recoloring().begin(None, domain, None, None, 0, None)
    with pytest.raises(InputError, match="pixels of a range"):
        Recoloring().begin(None, Domain.box(0.5, 0.5, 4), None, None, 0, None)


@pytest.mark.parametrize(("build", "words"), [
    (lambda: BackGradient(0), "training_steps"),
    (lambda: BackGradient(start="warm"), "start"),
    (lambda: BackGradient(labels="adversary"), "validation=None"),
    (lambda: MetaPoison(models=0), "models"),
    (lambda: MetaPoison(validation=1.0), "fraction validation"),
    (lambda: Pixels(near=0.0), "near"),
    (lambda: AlternatingMinMax(labels="true"), "labels"),
    (lambda: AlternatingMinMax(tries=0), "tries"),
    (lambda: Relabeled(0.0), "share"),
])  # fmt: skip
def test_settings_are_checked(build, words):
    with pytest.raises(InputError, match=words):
        build()


@pytest.mark.parametrize("attack", [
    BackGradient(8, optimiser=Adam(0.1, steps=3)),
    MetaPoison(2, epochs=2, batch_size=20, optimiser=Adam(0.1, steps=2)),
    AlternatingMinMax(tries=4, ascent=3),
], ids=lambda attack: attack.name)  # fmt: skip
def test_they_run_on_a_linear_learner_of_two_classes(attack):
    train = rows(k=2)
    train = Dataset(train.X, np.where(train.y > 0, 1.0, -1.0), domain=train.domain)
    result = attack.run(Scenario(train, Problem(Logistic(), 0.1), Budget(0.1), {}, train), seed=0)
    assert result.poison.total == 6
    assert set(result.poison.y) <= {-1.0, 1.0}
