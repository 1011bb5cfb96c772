"""Hot loops never wait for the device: counted on the CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import conv, images, linear_pair, mlp, several  # noqa: E402
from host_sync import counted  # noqa: E402

from deep import LeaderNetwork, RiskRows, TorchRisk  # noqa: E402
from deep.models import DenseLeader  # noqa: E402
from linpoison.attacks.gradient import TGDA, Canceler  # noqa: E402
from linpoison.risk import (  # noqa: E402
    CG,
    MINRES,
    Adam,
    Box,
    DirectRows,
    GaussNewton,
    LBFGSTrainer,
    NormalCG,
    Sample,
    hessian,
    objective,
)  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.sum().item(), lambda t: bool((t > 0).all()), lambda t: float(t[0]), lambda t: t.tolist(),
        lambda t: t.cpu(), lambda t: t.numpy(), lambda t: np.asarray(t), lambda t: t[t > 0],
        lambda t: torch.equal(t, t),
    ],
)  # fmt: skip
def test_what_waits_is_counted(call):
    with counted() as seen:
        call(torch.ones(3))
    assert sum(seen.waits.values()) >= 1
    with pytest.raises(AssertionError, match="waits for the device"), counted(forbidden=True):
        call(torch.ones(3))


def test_what_does_not_wait_and_what_is_sent():
    with counted() as seen:
        t = torch.ones(3)
        (t @ t).where(t.sum() > 0, 1.0) + t[torch.arange(2)].sum()
        torch.as_tensor(np.ones(2)), t.new_tensor(np.ones(2))
    assert not seen.waits
    assert sum(seen.uploads.values()) == 2


def guarded(solver):
    """The same solver, which may not wait and looks as seldom as on another device."""

    @dataclass(frozen=True)
    class Guarded(type(solver)):
        def solve(self, hvp, b):
            with counted(forbidden=True):
                return super().solve(hvp, b)

    return Guarded(maxiter=solver.maxiter, every=16)


def game(kind, solver, *, rows=40, **options):
    """Waits and uploads of one epoch of a game with batches of ten training rows."""
    data = images(rows) if kind == "conv" else several(rows)
    risk = linear_pair("3")[1] if kind == "linear" else TorchRisk(conv() if kind == "conv" else mlp())
    train, held = data.held_out(0.25, seed=0)
    seeds = train.drawn(6, seed=0)
    maker = LeaderNetwork(DenseLeader(seeds.X.shape[1:], 3, -3.0, 3.0).double(), seeds)
    generator, phi = (maker, maker.current) if kind != "linear" else (
        DirectRows(seeds.X.shape, Box(-3.0, 3.0)), torch.as_tensor(seeds.X.ravel()))  # fmt: skip
    rule = TGDA(epochs=1, follower_steps=3, batch_size=10, solver=solver, **options)
    risk.held(train)
    with counted() as seen:
        found = rule.play(risk, risk.current, train, held, generator, phi, seeds)
    assert np.isfinite(found.history["residual"]).all()
    return sum(seen.waits.values()), sum(seen.uploads.values()), seen


@pytest.mark.parametrize("solver", [CG(maxiter=8), MINRES(maxiter=8), GaussNewton(maxiter=8), NormalCG(maxiter=4)])
@pytest.mark.parametrize("kind", ["linear", "mlp", "conv"])
def test_an_update_waits_for_nothing(kind, solver):
    guard = guarded(solver)
    options = {"rule": "adam"} if kind == "mlp" else {}
    few, many = (game(kind, guard, rows=rows, **options) for rows in (40, 120))  # 3 and 9 updates
    assert many[0] - few[0] == 0, many[2].waits
    assert many[1] - few[1] == 0, many[2].uploads


def test_a_step_of_canceling_looks_at_its_value_alone():
    risk, data = TorchRisk(mlp()), several(20)

    def waits(steps):
        with counted() as seen:
            Canceler(Adam(steps=steps), Box(-3.0, 3.0)).cancel(risk, risk.current, data, 0.3)
        return seen

    waits(1)  # the module is looked at
    few, many = waits(2), waits(6)
    assert sum(many.waits.values()) - sum(few.waits.values()) <= 4
    assert many.uploads == few.uploads


def test_a_solve_on_many_chunks_waits_for_nothing_either():
    risk, data = TorchRisk(mlp(), chunk=7), several(30)
    held, b = risk.held(data), risk.current
    rows = Sample(held.X, data.y)
    exact = MINRES(maxiter=6).solve(hessian(risk, risk.current, rows), b)
    with risk.steady():
        part = risk.curvature(risk.current, held.X, held.y, held.mass / held.total)
        found = guarded(MINRES(maxiter=6)).solve(part, b)
    torch.testing.assert_close(found.x, exact.x)
    assert replace(exact, x=0).iterations == found.iterations


def test_the_solve_of_influence_waits_for_nothing():
    risk, data = TorchRisk(mlp()), several(30)
    model = RiskRows(risk, risk.current, np.arange(3), solver=guarded(GaussNewton(maxiter=16)))
    found = model.influence_vector((data.X[:5], data.y[:5]), (data.X, data.y))
    plain = replace(model, solver=GaussNewton(maxiter=16)).influence_vector((data.X[:5], data.y[:5]), (data.X, data.y))
    np.testing.assert_allclose(found, plain, rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_learning_by_lbfgs_waits_once_in_sixteen_steps(kind):
    risk = linear_pair("3")[1] if kind == "linear" else TorchRisk(mlp(), reg=0.05)
    data, start, rule = several(60), risk.current, LBFGSTrainer(maxiter=160, tol=1e-7, newton=0)
    exact = LBFGSTrainer(maxiter=400, tol=1e-9, newton=0)._rough(risk, data, start)
    with counted() as seen:
        risk.held(data)
    checks = sum(seen.waits.values())
    with counted() as seen:
        found = rule._there(risk, data, start, every=16)
    assert sum(seen.waits.values()) <= checks + 10
    slope = risk.grad(found, data.X, data.y)
    assert float(slope.norm()) < 1e-6
    if kind == "linear":
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    else:
        assert objective(risk, found, data) < objective(risk, start, data) - 0.2
