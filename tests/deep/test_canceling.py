"""Gradient canceling and its targets: invariances, optimisers, budgets, seeds and bad input."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, conv, images, linear_pair, mlp, several, vectors  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison import sets as linear  # noqa: E402
from linpoison.attacks.gradient import Canceler, Given, GradPC  # noqa: E402
from linpoison.attacks.gradient_canceling import DecoyCanceler  # noqa: E402
from linpoison.core import CapabilityError, Dataset, InputError, LinearModel, SolverFailed  # noqa: E402
from linpoison.core.validation import LABELS  # noqa: E402
from linpoison.losses import Logistic, Problem, make_loss  # noqa: E402
from linpoison.risk import (  # noqa: E402
    LBFGS,
    Accelerated,
    Adam,
    Alone,
    Box,
    Everywhere,
    L2Ball,
    LBFGSTrainer,
    LinearRisk,
    LinfAroundSeed,
    ProjectedGradient,
    Sample,
    objective,
)
from linpoison.risk.arrays import norm, to_numpy  # noqa: E402

OPTIMISERS = [Adam(steps=40), ProjectedGradient(steps=40), ProjectedGradient(step=5.0, steps=40), LBFGS(steps=40)]
every = pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: f"{type(o).__name__}{getattr(o, 'step', None)}")


def network():
    risk, data = TorchRisk(mlp(), reg=0.01), several()
    return risk, GradPC(radius=0.5).target(risk, risk.current, data), data


@every
def test_the_residual_falls_and_is_the_learner_s_gradient(optimiser):
    risk, w, data = network()
    found = Canceler(optimiser).cancel(risk, w, data, 0.3)
    assert found.residual < 0.9 * found.history[0]
    assert found.history.min() == pytest.approx(found.residual, rel=1e-9)
    both = data.joined(found.poison, risk)
    assert norm(risk.grad(w, both.X, both.y, both.weights)) * 1.3 == pytest.approx(found.residual, rel=1e-9)
    assert found.clean_residual == pytest.approx(norm(risk.grad(w, data.X, data.y)))
    assert found.poison.n == 9
    np.testing.assert_allclose(found.poison.mass, 1.0)
    assert found.residual >= found.lower_bound
    assert found.seconds > 0
    assert found.memory > 1


@every
def test_a_seed_gives_the_same_poison_again(optimiser):
    risk, w, data = network()
    first, again, other = (Canceler(optimiser).cancel(risk, w, data, 0.3, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.poison.X, again.poison.X)
    assert not torch.equal(first.poison.X, other.poison.X)


SCALED = [Adam(steps=25), LBFGS(steps=25), ProjectedGradient(steps=25)]


@pytest.mark.parametrize("optimiser", SCALED, ids=lambda o: type(o).__name__)
def test_a_multiple_of_the_objective_gives_the_same_iterates(optimiser):
    risk, w, data = network()
    mean, total = (Canceler(optimiser, reduction=r).cancel(risk, w, data, 0.3) for r in ("mean", "sum"))
    np.testing.assert_allclose(mean.history, total.history, rtol=1e-8)
    torch.testing.assert_close(mean.poison.X, total.poison.X, rtol=1e-7, atol=1e-8)


def test_sums_and_means_are_the_same_with_matched_steps():
    risk, w, data = network()
    mean = Canceler(ProjectedGradient(step=0.5 * data.n**2, steps=20)).cancel(risk, w, data, 0.3)
    total = Canceler(ProjectedGradient(step=0.5, steps=20), reduction="sum").cancel(risk, w, data, 0.3)
    torch.testing.assert_close(mean.poison.X, total.poison.X, rtol=1e-10, atol=1e-10)
    assert mean.residual == pytest.approx(total.residual, rel=1e-10)
    assert mean.residual < mean.history[0]


def test_a_step_is_the_formula():
    ours, _, data = linear_pair("logistic", reg=0.0)
    w, start = vectors(5)[0], data.take([0, 1])
    eta, share = 0.3, 0.1
    r = ours.grad(w, data.X, data.y) + share * ours.data_grad(w, start.X, start.y)
    expected = start.X - eta * (share / 2) * ours.mixed_product(w, start.X, start.y, r)
    found = Canceler(ProjectedGradient(step=eta, steps=1)).cancel(ours, w, data, share, start=start)
    np.testing.assert_allclose(found.poison.X, expected, rtol=1e-12)


def test_numpy_and_torch_take_the_same_path():
    ours, theirs, data = linear_pair("10")
    w = vectors(theirs.size)[0]
    for optimiser in (Adam(steps=15), ProjectedGradient(steps=15)):
        first, second = (Canceler(optimiser).cancel(r, r.vector(w), data, 0.2) for r in (ours, theirs))
        np.testing.assert_allclose(to_numpy(second.poison.X), first.poison.X, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(second.history, first.history, rtol=1e-8)


def test_copies_and_weights_are_one():
    risk, w, data = network()
    copies = np.where(np.arange(data.n) < 4, 3, 1)
    index = np.repeat(np.arange(data.n), copies)
    start = data.take([7, 8])
    twice = Sample(start.X[[0, 0, 1]], start.y[[0, 0, 1]])
    weighted = Sample(start.X, start.y, [2.0, 1.0])
    step = Canceler(ProjectedGradient(step=1e-9, steps=1))
    first = step.cancel(risk, w, Sample(data.X, data.y, copies), 0.2, start=weighted)
    second = step.cancel(risk, w, Sample(data.X[index], data.y[index]), 0.2, start=twice)
    assert first.residual == pytest.approx(second.residual, rel=1e-9)
    assert first.poison.total == pytest.approx(second.poison.total)


@pytest.mark.parametrize("chunk", [1, 4])
def test_chunks_change_nothing(chunk):
    whole, w, data = network()
    parts = TorchRisk(whole.module, reg=0.01, chunk=chunk)
    first, second = (Canceler(Adam(steps=10)).cancel(r, w, data, 0.4) for r in (whole, parts))
    torch.testing.assert_close(first.poison.X, second.poison.X, rtol=1e-8, atol=1e-9)


def test_the_box_is_kept():
    risk, data = TorchRisk(conv()), images()
    w = GradPC(radius=0.5).target(risk, risk.current, data)
    box = Box.pixels()
    for optimiser in (Adam(steps=15), ProjectedGradient(steps=15), LBFGS(steps=15)):
        found = Canceler(optimiser, box).cancel(risk, w, data, 1.0)
        free = Canceler(optimiser).cancel(risk, w, data, 1.0)
        assert box.contains(found.poison.X).all()
        assert not box.contains(free.poison.X).all()
        assert found.residual < found.history[0]


def test_other_sets_are_kept_by_the_optimisers_that_can():
    risk, w, data = network()
    start = data.take(range(6))
    near = LinfAroundSeed(start.X, 0.05)
    for part in (near, L2Ball(1.0)):
        found = Canceler(Adam(steps=10), part).cancel(risk, w, data, 0.2, start=start)
        assert part.contains(found.poison.X).all()
        assert not torch.equal(found.poison.X, risk.rows(start.X))
        with pytest.raises(CapabilityError, match="Box"):
            Canceler(LBFGS(), part).cancel(risk, w, data, 0.2, start=start)


def test_it_stops_at_the_tolerance_and_tells_of_its_steps():
    risk, w, data = network()
    seen = []
    long = Canceler(Adam(steps=60)).cancel(risk, w, data, 0.3, progress=lambda t, v: seen.append((t, v)))
    assert [t for t, _ in seen] == list(range(1, 61))
    np.testing.assert_allclose((2 * np.array([v for _, v in seen])) ** 0.5, long.history[1:])
    tol = 1.0001 * float(np.sort(long.history)[30])
    for optimiser in (Adam(steps=60), ProjectedGradient(steps=2000), LBFGS()):
        short = Canceler(optimiser, tol=tol).cancel(risk, w, data, 0.3)
        assert short.residual <= tol
        assert (short.history[:-1] > tol).all()
        assert len(short.history) > 1


def test_budgets():
    risk, w, data = network()
    rule = Adam(steps=1)
    assert Canceler(rule).cancel(risk, w, data, 0.11).epsilon == pytest.approx(3 / 30)
    few = Canceler(rule, rows=4).cancel(risk, w, data, 0.11)
    assert few.poison.n == 4
    assert few.epsilon == 0.11
    np.testing.assert_allclose(few.poison.mass, 0.11 * 30 / 4)
    assert Canceler(rule).cancel(risk, w, data, 1.5).poison.n == 45
    with pytest.raises(InputError, match="at least one row"):
        Canceler(rule).cancel(risk, w, data, 0.01)


def test_labels_stay_and_seeds_are_clean_rows():
    risk, w, data = network()
    found = Canceler(ProjectedGradient(step=1e-12, steps=1)).cancel(risk, w, data, 0.3, seed=4)
    for row, label in zip(to_numpy(found.poison.X), found.poison.y, strict=True):
        where = np.flatnonzero(np.abs(data.X - row).max(axis=1) < 1e-9)
        assert where.size == 1
        assert data.y[where[0]] == label


def test_all_parameters_are_cancelled_unless_some_are_chosen():
    module, data = mlp(), several()
    whole, first = TorchRisk(module), TorchRisk(module, params=["0.weight"])
    assert whole.size == 43
    assert first.size == 20
    part = Canceler(Adam(steps=60)).cancel(first, first.current, data, 0.3)
    both = data.joined(part.poison, whole)
    r = 1.3 * whole.grad(whole.current, both.X, both.y, both.weights)
    assert norm(r[:20]) == pytest.approx(part.residual, rel=1e-9)
    assert norm(r) > 1.3 * part.residual


def test_gradpc_climbs_within_its_ball():
    for risk, data in ((TorchRisk(mlp()), several()), (LinearRisk(Logistic(), 0.1), binary())):
        clean = LBFGSTrainer(maxiter=200, newton=0).fit(risk, data).w
        for target, radius in (
            (GradPC(radius=0.5), 0.5),
            (GradPC(relative_radius=0.25), 0.25 * norm(clean)),
            (GradPC(radius=0.5, steps=30, batch_size=7), 0.5),
        ):
            w = target.target(risk, clean, data)
            assert norm(w - clean) == pytest.approx(radius, rel=1e-9)
            assert risk.loss(w, data.X, data.y).mean() > risk.loss(clean, data.X, data.y).mean()
        small = GradPC(radius=0.5, step=1e-3, steps=10).target(risk, clean, data)
        assert 0 < norm(small - clean) < 0.011


def test_gradpc_on_a_linear_loss_is_the_steepest_direction():
    data = binary()
    risk = LinearRisk(Logistic(), fit_intercept=False)
    w = GradPC(radius=1e-6).target(risk, np.ones(4), data) - 1
    g = risk.data_grad(np.ones(4), data.X, data.y)
    np.testing.assert_allclose(w / 1e-6, g / norm(g), atol=1e-5)


def test_gradpc_batches_follow_the_seed():
    risk, data = TorchRisk(mlp()), several()
    first, again, other = (GradPC(radius=1.0, batch_size=4, seed=s).target(risk, risk.current, data) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_given_parameters_are_themselves():
    risk, data = TorchRisk(mlp()), several()
    w = vectors(risk.size)[0]
    np.testing.assert_array_equal(to_numpy(Given(w).target(risk, risk.current, data)), w)


def test_canceling_at_what_was_learned_needs_nothing():
    risk, data = LinearRisk(3, 0.1), several()
    w = LBFGSTrainer(tol=1e-12).fit(risk, data).w
    found = Canceler(Adam(steps=5), rows=2).cancel(risk, w, data, 1e-9)
    assert found.residual < 1e-8
    assert found.reachability.threshold == pytest.approx(0.0, abs=1e-8)
    assert objective(risk, w, data) > 0


def test_alone_is_one_process():
    assert (Alone().size, Alone().max(2.0)) == (1, 2.0)
    np.testing.assert_array_equal(Alone().shard(3), [0, 1, 2])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Canceler(rows=0), "rows"),
        (lambda: Canceler(reduction="median"), "reduction"),
        (lambda: Canceler(tol=-1), "tol"),
        (lambda: Adam(step=0), "step"),
        (lambda: Adam(steps=0), "steps"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: ProjectedGradient(step=-1), "step"),
        (lambda: ProjectedGradient(steps=0), "steps"),
        (lambda: LBFGS(steps=0), "steps"),
        (lambda: LBFGS(memory=0), "memory"),
        (lambda: GradPC(), "got neither"),
        (lambda: GradPC(radius=1.0, relative_radius=1.0), "got both"),
        (lambda: GradPC(radius=-1.0), "radius"),
        (lambda: GradPC(radius=1.0, steps=0), "steps"),
        (lambda: GradPC(radius=1.0, step=0), "step"),
        (lambda: GradPC(radius=1.0, batch_size=0), "batch_size"),
        (lambda: GradPC(radius=1.0, seed=-1), "seed"),
        (lambda: run(epsilon=0), "epsilon"),
        (lambda: run(epsilon=float("nan")), "epsilon"),
        (lambda: run(seed=-1), "seed"),
        (lambda: GradPC(relative_radius=1.0).target(LinearRisk(Logistic()), np.zeros(5), binary()), "not zero"),
    ],
)
def test_options_are_checked(call, words):
    with pytest.raises(InputError, match=words):
        call()


def run(epsilon=0.2, seed=0):
    risk, w, data = network()
    return Canceler(Adam(steps=1)).cancel(risk, w, data, epsilon, seed=seed)


def test_a_stationary_start_has_no_way_up():
    data = Sample([[1.0], [1.0]], [1.0, -1.0])
    with pytest.raises(SolverFailed, match="vanishes"):
        GradPC(radius=1.0).target(LinearRisk(Logistic(), fit_intercept=False), np.zeros(1), data)


@pytest.mark.parametrize("where", ["anywhere", "box", "ball"])
@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
def test_a_decoy_of_the_audit_and_a_module_are_canceled_by_one_code(loss, where):
    _, risk, data = linear_pair(loss)
    train, epsilon, d = Dataset(data.X, data.y), 0.4, data.X.shape[1]
    place, sets = {
        "anywhere": (Everywhere(), linear.Box(np.full(d, -np.inf), np.full(d, np.inf))),
        "box": (Box(-1.5, 2.0), linear.Box(np.full(d, -1.5), np.full(d, 2.0))),
        "ball": (L2Ball(1.2), linear.Ball(np.zeros(d), 1.2)),
    }[where]
    w = 0.5 * vectors(d + 1, 1)[0]
    rule = DecoyCanceler(steps=20, rows=4, free_weights=False, method="projected", tol=0.0)
    problem, both = Problem(make_loss(loss), 0.1), linear.ByLabel(dict.fromkeys((-1.0, 1.0), sets))
    ours = rule.solve(LinearModel(w[:-1], w[-1]), train, problem, both, epsilon, np.random.default_rng(3))
    begin = Sample(data.X[np.random.default_rng(3).choice(train.n, size=4)], np.repeat(LABELS, 2))
    theirs = Canceler(Accelerated(20), place).cancel(risk, risk.vector(w), data, epsilon, start=begin)
    assert ours.residual < 0.95 * ours.history[0]
    np.testing.assert_allclose(ours.poison.X, to_numpy(theirs.poison.X), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.history, theirs.history, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.poison.count, theirs.poison.mass, rtol=1e-12)
    assert ours.reachability.threshold == pytest.approx(theirs.reachability.threshold, rel=1e-12)
