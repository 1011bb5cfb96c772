"""Poison that SEVER does not see: the singular vector, the slope by differences, and a game that pays for it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import linear_pair, mlp, several  # noqa: E402
from host_sync import counted  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison.attacks.gradient import TGDA, SpectralCap  # noqa: E402
from linpoison.core import InputError  # noqa: E402
from linpoison.risk import MINRES, Box, DirectRows, LBFGSTrainer, Sample  # noqa: E402
from linpoison.risk.arrays import to_numpy  # noqa: E402

RISKS = {"numpy": lambda: linear_pair("3")[0], "torch": lambda: linear_pair("3")[1], "mlp": lambda: TorchRisk(mlp())}


def case(kind, m=9):
    """A risk, parameters, clean rows, and poison rows far away."""
    risk, clean = RISKS[kind](), several(45)
    w = risk.vector(np.random.default_rng(1).normal(size=len(to_numpy(risk.init(0, 4)))))
    X = clean.X[:m] + 2 * np.random.default_rng(2).normal(size=(m, 4))
    return risk, w, risk.held(clean), risk.held(Sample(X, clean.y[:m]))


@pytest.mark.parametrize("kind", RISKS)
def test_a_frame_is_the_singular_vector_of_the_gradients_of_a_class(kind):
    risk, w, clean, poison = case(kind)
    cap = SpectralCap(remove=0.2, iterations=60)
    for frame in cap.frames(risk, w, clean, poison):
        parts = [to_numpy(held.X)[to_numpy(held.y) == frame.label] for held in (clean, poison)]
        both, n = np.concatenate(parts), len(parts[0])
        g = to_numpy(risk.per_sample_grad(w, risk.rows(both), risk.targets(np.full(len(both), int(frame.label)), both)))
        centred = g - g.mean(axis=0)
        along = centred @ to_numpy(frame.direction)
        assert np.linalg.norm(along) == pytest.approx(np.linalg.svd(centred)[1][0], rel=1e-3)
        assert np.linalg.norm(to_numpy(frame.direction)) == pytest.approx(1.0)
        assert float(frame.limit) == pytest.approx(np.quantile(along[:n] ** 2, 0.8), rel=1e-9)


@pytest.mark.parametrize("kind", RISKS)
def test_the_slope_is_that_of_differences(kind):
    risk, w, clean, poison = case(kind)
    cap = SpectralCap(weight=0.7, remove=0.3)
    frames = cap.frames(risk, w, clean, poison)
    y = to_numpy(poison.y)

    def paid(X):
        g = to_numpy(risk.per_sample_grad(w, risk.rows(X), poison.y))
        total = 0.0
        for frame in frames:
            s = (g[y == frame.label] @ to_numpy(frame.direction) - float(frame.centre)) ** 2
            total += 0.7 * np.maximum(s / float(frame.limit) - 1, 0).sum()
        return total

    X, step = to_numpy(poison.X), 1e-6
    slope = to_numpy(cap.slope(risk, w, poison.X, poison.y, frames))
    free = (slope == 0).all(axis=1)
    assert 0 < free.sum() < len(X)
    for v in np.random.default_rng(3).normal(size=(3, *X.shape)):
        apart = (paid(X + step * v) - paid(X - step * v)) / (2 * step)
        assert apart == pytest.approx((slope * v).sum(), rel=1e-5)


def test_a_game_that_pays_for_it_is_seen_less():
    risk = RISKS["numpy"]()
    train, held = several(90).held_out(0.3, seed=0)
    w, seeds = LBFGSTrainer(tol=1e-6, maxiter=60, newton=0).fit(risk, train).w, train.drawn(6, seed=1)
    phi = seeds.X.ravel()
    rule = {"epochs": 12, "leader_step": 0.3, "rule": "adam", "batch_size": None, "follower_steps": 2}
    seen = {}
    for cap in (None, SpectralCap(weight=10.0, remove=0.1)):
        game = TGDA(**rule, cap=cap).play(risk, w, train, held, DirectRows((6, 4), Box(-4.0, 4.0)), phi, seeds)
        judge, poison = SpectralCap(remove=0.1), risk.held(game.poison)
        clean = risk.held(train)
        over = []
        for frame in judge.frames(risk, game.w, clean, poison):
            mine = to_numpy(poison.y) == frame.label
            along = to_numpy(risk.loss_jvp(game.w, poison.X, poison.y, frame.direction))[mine]
            over += list((along - float(frame.centre)) ** 2 / float(frame.limit))
        seen[cap is None] = np.mean(over), game.history["validation_loss"][-1]
    assert seen[False][0] < 0.5 * seen[True][0]
    assert seen[False][0] < 1.5


def test_an_update_that_pays_waits_for_nothing():
    risk = TorchRisk(mlp())

    def waits(rows=40):
        train, held = several(rows).held_out(0.25, seed=0)
        seeds = train.drawn(6, seed=0)
        rule = TGDA(epochs=1, follower_steps=2, batch_size=10, solver=MINRES(maxiter=8, every=16), cap=SpectralCap())
        risk.held(train)
        with counted() as seen:
            phi = torch.as_tensor(seeds.X.ravel())
            rule.play(risk, risk.current, train, held, DirectRows((6, 4)), phi, seeds)
        return seen

    waits()  # the module is looked at
    few, many = waits(), waits(120)  # 3 and 9 updates
    assert sum(few.waits.values()) == sum(many.waits.values())


@pytest.mark.parametrize("wrong", [{"weight": 0.0}, {"remove": 1.0}, {"iterations": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SpectralCap(**wrong)
