"""Learning from scratch: certificates, seeds, modes, frozen layers, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, linear_pair, mlp, seeded, several  # noqa: E402

from deep import SGDTrainer, TorchRisk  # noqa: E402
from deep.adam_training import AdamTrainer  # noqa: E402
from deep.sgd import deterministic  # noqa: E402
from linpoison.core import CapabilityError, InputError, SolverFailed  # noqa: E402
from linpoison.losses import Logistic  # noqa: E402
from linpoison.risk import LBFGSTrainer, LinearRisk, Sample, accuracy, objective  # noqa: E402
from linpoison.risk.arrays import norm, to_numpy  # noqa: E402

nn = torch.nn


def test_a_convex_problem_is_solved_to_its_certificate_whatever_the_seed():
    risk, data = linear_pair("3")[1], several()
    first, second = (LBFGSTrainer(tol=1e-11).fit(risk, data, seed=s) for s in (1, 2))
    for found in (first, second):
        assert found.converged
        assert found.grad_norm <= 1e-11
        assert found.grad_norm == pytest.approx(norm(risk.grad(found.w, data.X, data.y)))
        assert found.loss == pytest.approx(objective(risk, found.w, data))
    assert norm(first.w - second.w) <= (first.grad_norm + second.grad_norm) / 0.1


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_scikit_learn_learns_the_same(kind):
    from sklearn.linear_model import LogisticRegression

    data, n = several(60), 60
    risk = linear_pair("3", penalize=False)[0 if kind == "numpy" else 1]
    found = LBFGSTrainer(tol=1e-11).fit(risk, data).w
    peer = LogisticRegression(C=1 / (0.1 * n), tol=1e-10, max_iter=5000).fit(data.X, data.y)
    theirs = np.concatenate([peer.coef_.ravel(), peer.intercept_ - peer.intercept_.mean()])
    ours = to_numpy(found)
    ours[12:] -= ours[12:].mean()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_three_steps_are_not_enough():
    found = LBFGSTrainer(maxiter=3, newton=0).fit(LinearRisk(Logistic()), binary())
    assert not found.converged


def test_newton_steps_finish_what_lbfgs_began():
    risk, data = linear_pair("3")[0], several()
    rough = LBFGSTrainer(tol=1e-12, maxiter=5, newton=0).fit(risk, data)
    fine = LBFGSTrainer(tol=1e-12, maxiter=5, newton=20).fit(risk, data)
    assert not rough.converged
    assert fine.converged


def drop():
    return seeded(
        lambda: nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    )


def test_sgd_learns_and_a_seed_gives_the_same_model_again():
    risk, data = TorchRisk(drop(), reg=1e-3), several(60)
    trainer = SGDTrainer(epochs=15, batch_size=10, step=0.1, momentum=0.9, schedule="cosine")
    state = torch.random.get_rng_state()
    first, again, other = (trainer.fit(risk, data, seed=s) for s in (3, 3, 4))
    assert torch.equal(first.w, again.w)
    seen = []
    trainer.fit(risk, data, seed=3, progress=lambda epoch, loss: seen.append((epoch, loss)))
    assert [epoch for epoch, _ in seen] == list(range(1, 16))
    assert seen[-1][1] < seen[0][1]
    assert not torch.equal(first.w, other.w)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert accuracy(first.risk, first.w, data) > 0.7
    fresh = objective(risk, risk.init(3), data)
    assert first.loss < fresh
    assert first.loss == pytest.approx(objective(first.risk, first.w, data))
    assert first.grad_norm == pytest.approx(norm(first.risk.grad(first.w, data.X, data.y)))


def test_training_mode_learns_statistics_and_leaves_the_given_module_alone():
    module = drop().eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    risk, data = TorchRisk(module), several(60)
    found = SGDTrainer(epochs=3, batch_size=20).fit(risk, data)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert not module.training
    assert int(found.risk.module[1].num_batches_tracked) == 9
    assert not found.risk.module.training
    plain = LBFGSTrainer(maxiter=2, newton=0).fit(risk, data)
    assert int(plain.risk.module[1].num_batches_tracked) == 0


def test_one_full_batch_step_is_the_formula():
    risk, data = TorchRisk(mlp(), reg=0.2), several()
    w = risk.init(5)
    found = SGDTrainer(epochs=1, batch_size=100, step=0.3).fit(risk, data, seed=5)
    torch.testing.assert_close(found.w, w - 0.3 * risk.grad(w, data.X, data.y), rtol=1e-12, atol=1e-13)


def test_copies_are_repeated_rows():
    risk, data = TorchRisk(mlp()), several(6)
    copies = Sample(data.X, data.y, [2, 0, 1, 1, 3, 1])
    index = np.repeat(np.arange(6), [2, 0, 1, 1, 3, 1])
    trainer = SGDTrainer(epochs=4, batch_size=3)
    first, second = (trainer.fit(risk, rows, seed=1).w for rows in (copies, Sample(data.X[index], data.y[index])))
    assert torch.equal(first, second)


def test_a_dataset_is_learned_from():
    from torch.utils.data import TensorDataset

    risk, data = TorchRisk(mlp()), several()
    rows = Sample(TensorDataset(torch.as_tensor(data.X), torch.as_tensor(data.y)))
    trainer = SGDTrainer(epochs=2, batch_size=7)
    assert torch.equal(trainer.fit(risk, rows).w, trainer.fit(risk, data).w)
    assert accuracy(risk, risk.current, rows) == accuracy(risk, risk.current, data)


def test_layers_that_are_not_learned_stay_what_they_are():
    module, data = drop(), several(60)
    with torch.no_grad():
        module[1].running_mean += 0.5
    risk = TorchRisk(module, params=["4.weight", "4.bias"])
    found = SGDTrainer(epochs=3, batch_size=20).fit(risk, data)
    own, before = found.risk.module.state_dict(), module.state_dict()
    for name, value in before.items():
        assert torch.equal(own[name], value) == (not name.startswith("4.")), name
    assert found.loss < objective(risk, risk.init(0), data)


@pytest.mark.parametrize("options", [{"bf16": True}, {"channels_last": True}])
def test_fast_options_train_an_ordinary_model(options):
    module = seeded(lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))).float()
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=60)
    X = 0.3 * rng.normal(size=(60, 1, 6, 6))
    X[np.arange(60), 0, 2 * y, 2 * y] += 3.0
    data, risk = Sample(X, y), TorchRisk(module)
    found = SGDTrainer(epochs=20, batch_size=20, step=0.1, **options).fit(risk, data)
    plain = SGDTrainer(epochs=20, batch_size=20, step=0.1).fit(risk, data)
    assert accuracy(found.risk, found.w, data) > 0.8
    assert {p.dtype for p in found.risk.module.parameters()} == {torch.float32}
    assert norm(found.w - plain.w) < 0.2 * norm(plain.w)
    assert not ("bf16" in options and torch.equal(found.w, plain.w))


def test_deterministic_settings_are_restored():
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.are_deterministic_algorithms_enabled() == before
    assert torch.utils.deterministic.fill_uninitialized_memory
    with deterministic(False):
        assert torch.are_deterministic_algorithms_enabled() == before


def test_fractions_are_for_the_other_trainer():
    risk, data = TorchRisk(mlp()), several(4)
    with pytest.raises(InputError, match="whole numbers of copies"):
        SGDTrainer(epochs=1).fit(risk, Sample(data.X, data.y, [0.5, 1, 1, 1]))


def test_a_diverging_run_says_so():
    with pytest.raises(SolverFailed, match="smaller step"):
        SGDTrainer(epochs=80, step=1e9).fit(TorchRisk(mlp(), reg=1.0), several())


def test_layers_that_cannot_start_anew_ask_for_help():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3, dtype=torch.float64))

        def forward(self, x):
            return x @ self.weight

    with pytest.raises(CapabilityError, match="reset_parameters"):
        TorchRisk(Own()).init(0)
    risk = TorchRisk(Own(), init=lambda module: nn.init.normal_(module.weight))
    assert not torch.equal(risk.init(0), risk.init(1))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SGDTrainer(epochs=0), "epochs"),
        (lambda: SGDTrainer(batch_size=0), "batch_size"),
        (lambda: SGDTrainer(step=0), "step"),
        (lambda: SGDTrainer(momentum=1.0), "momentum"),
        (lambda: SGDTrainer(schedule="linear"), "schedule"),
        (lambda: SGDTrainer(tol=-1), "tol"),
        (lambda: LBFGSTrainer(tol=-1), "tol"),
        (lambda: LBFGSTrainer(maxiter=0), "maxiter"),
        (lambda: LBFGSTrainer(newton=-1), "newton"),
    ],
)
def test_options_are_checked(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_a_step_of_maxup_is_that_of_the_worst_copy_of_each_row():
    risk, data = TorchRisk(mlp()), several(8)
    trainer = SGDTrainer(copies=3, noise=0.7)
    X, y = risk.rows(data.X), risk.targets(data.y, data.X)

    def loss(module):
        torch.manual_seed(0)
        return trainer._loss(risk, module, X, y)

    torch.manual_seed(0)
    clouds = [X + 0.7 * torch.randn_like(X) for _ in range(3)]
    losses = torch.stack([risk.loss(risk.current, cloud, data.y) for cloud in clouds])
    assert float(loss(risk.module).detach()) == pytest.approx(float(losses.amax(dim=0).mean()))
    assert (losses.argmax(dim=0).unique()).numel() > 1
    w, step = risk.current, 1e-6
    v = torch.randn(len(w), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slope = torch.autograd.grad(loss(risk.module), list(risk.module.parameters()))
    moved = [float(loss(risk.module_at(w + s * step * v)).detach()) for s in (1, -1)]
    along = float(torch.cat([part.reshape(-1) for part in slope]) @ v)
    assert along == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)


def test_maxup_learns_a_greater_margin_than_noise_alone():
    risk, data = TorchRisk(mlp(), reg=1e-3), several(60)
    cloud = data.X + 0.5 * np.random.default_rng(0).normal(size=(20, *data.X.shape))

    def worst(copies):
        found = SGDTrainer(epochs=30, batch_size=20, step=0.2, copies=copies, noise=0.5).fit(risk, data)
        return np.mean(np.max([to_numpy(risk.loss(found.w, part, data.y)) for part in cloud], axis=0))

    assert worst(6) < worst(1)


def test_copies_that_do_not_differ_and_noise_on_tokens_are_refused():
    with pytest.raises(InputError, match="noise"):
        SGDTrainer(copies=2)
    assert AdamTrainer(copies=2, mirror=True).copies == 2
    tokens = TorchRisk(seeded(lambda: nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 2))), check=False)
    rows = Sample(np.random.default_rng(0).integers(5, size=(6, 2)), np.arange(6) % 2)
    with pytest.raises(InputError, match="real numbers"):
        SGDTrainer(epochs=1, noise=0.1).fit(tokens, rows)
