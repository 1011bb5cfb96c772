"""TGDA: its steps against formulas, what it does to what is learned, and what may not happen in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import linear_pair, mlp, several, slope  # noqa: E402
from total_gradient import total_gradient  # noqa: E402

from deep import LeaderNetwork, TorchRisk, pretrain  # noqa: E402
from deep.models import DenseLeader  # noqa: E402
from linpoison.attacks.gradient import TGDA  # noqa: E402
from linpoison.attacks.gradient.tgda import COLUMNS  # noqa: E402
from linpoison.attacks.gradient.tgda_parts import Table  # noqa: E402
from linpoison.core import InputError, SolverFailed  # noqa: E402
from linpoison.core.journal import FolderJournal  # noqa: E402
from linpoison.risk import CG, Alone, Box, DirectRows, Identity, LBFGSTrainer, Sample, accuracy  # noqa: E402
from linpoison.risk.arrays import norm, to_numpy  # noqa: E402

SOLVER = CG(relative_damping=0, maxiter=200, tol=1e-13)
M = 5


def case(kind="numpy", reg=0.1):
    risk = linear_pair("3", reg=reg)[0 if kind == "numpy" else 1]
    train, validation = several(60).held_out(0.3, seed=0)
    w = LBFGSTrainer(tol=1e-12).fit(risk, train).w
    seeds = train.drawn(M, seed=1)
    return risk, w, train, validation, seeds


def play(kind="numpy", given=None, sets=None, seed=0, journal=None, progress=None, **options):
    risk, w, train, validation, seeds = given or case(kind)
    rows = DirectRows((M, 4), sets) if sets else DirectRows((M, 4))
    phi = flat(kind, seeds)
    extra = {"progress": progress} if progress else {}
    settings = {"epochs": 1, "batch_size": None, "solver": SOLVER, **options}
    return TGDA(**settings).play(risk, w, train, validation, rows, phi, seeds, seed=seed, journal=journal, **extra)


def flat(kind, seeds):
    return seeds.X.ravel() if kind == "numpy" else torch.as_tensor(seeds.X.ravel())


def order_free(rows):
    """Rows in an order of their own: batches shuffle them."""
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_leader_step_is_along_the_total_gradient(kind):
    risk, w, train, validation, seeds = given = case(kind)
    game = play(kind, given, leader_step=0.5, follower_steps=0)
    both = train.joined(seeds, risk)
    D = to_numpy(total_gradient(risk, w, both, seeds, validation, SOLVER).rows)
    np.testing.assert_allclose(to_numpy(game.poison.X), seeds.X + 0.5 * D, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(to_numpy(game.w), to_numpy(w))
    assert game.history["leader_norm"][0] == pytest.approx(np.linalg.norm(D), rel=1e-9)
    assert 0 < game.history["residual"][0] < 1e-8


def test_numpy_and_torch_play_the_same_game():
    games = [play(kind, epochs=4, leader_step=20.0, follower_steps=3, batch_size=11) for kind in ("numpy", "torch")]
    np.testing.assert_allclose(to_numpy(games[1].poison.X), games[0].poison.X, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(to_numpy(games[1].w), games[0].w, rtol=1e-8, atol=1e-9)
    assert np.abs(games[0].poison.X - case()[4].X).max() > 0.01


def test_the_attacker_moves_first_or_the_defender():
    risk, w, train, _, seeds = given = case()
    joined = train.joined(seeds, risk)
    attacker = play(given=given, leader_step=0.5, follower_steps=1)
    moved = train.joined(attacker.poison, risk)
    np.testing.assert_allclose(attacker.w, w - 0.1 * risk.grad(w, moved.X, moved.y), rtol=1e-9, atol=1e-12)
    defender = play(given=given, leader_step=0.5, follower_steps=1, order="defender")
    first = w - 0.1 * risk.grad(w, joined.X, joined.y)
    np.testing.assert_allclose(defender.w, first, rtol=1e-9, atol=1e-12)
    D = total_gradient(risk, first, joined, seeds, given[3], SOLVER).rows
    np.testing.assert_allclose(defender.poison.X, seeds.X + 0.5 * D, rtol=1e-9, atol=1e-11)


def test_a_cold_start_begins_each_turn_at_the_given_parameters():
    risk, w, train, _, _ = given = case()
    cold = play(given=given, epochs=6, leader_step=20.0, follower_steps=1, start="cold")
    both = train.joined(cold.poison, risk)
    np.testing.assert_allclose(cold.w, w - 0.1 * risk.grad(w, both.X, both.y), rtol=1e-9, atol=1e-12)
    warm = play(given=given, epochs=6, leader_step=20.0, follower_steps=1)
    assert norm(warm.w - w) > 1.5 * norm(cold.w - w)


def test_m_leader_steps_are_one_step_m_times():
    given = case()
    many = play(given=given, leader_steps=3, leader_step=5.0, follower_steps=0)
    once = play(given=given, epochs=3, leader_step=5.0, follower_steps=0)
    np.testing.assert_allclose(many.poison.X, once.poison.X, rtol=1e-9)
    assert len(once.history["residual"]) == 3


def test_the_zero_sum_game_raises_the_follower_s_own_objective():
    risk, _, train, validation, seeds = case()
    both = train.joined(seeds, risk)
    w = LBFGSTrainer(tol=1e-13).fit(risk, both).w
    game = play(given=(risk, w, train, validation, seeds), leader_step=1.0, follower_steps=0, game="zero-sum")
    D = game.poison.X - seeds.X
    change = np.random.default_rng(0).normal(size=D.shape)

    def value(X):
        rows = train.joined(Sample(X, seeds.y), risk)
        return LBFGSTrainer(tol=1e-12).fit(risk, rows).loss

    assert float((D * change).sum()) == pytest.approx(slope(value, seeds.X, change, 1e-3), rel=1e-6)


def retrained(risk, train, poison, validation):
    w = LBFGSTrainer(tol=1e-11).fit(risk, train.joined(poison, risk)).w
    return float(to_numpy(risk.loss(w, validation.X, validation.y)).mean()), w


@pytest.mark.parametrize("options", [{"leader_step": 30.0}, {"leader_step": 0.1, "rule": "adam"}])
def test_what_is_learned_from_its_poison_is_worse(options):
    risk, w, train, validation, seeds = given = case()
    game = play(given=given, epochs=40, follower_steps=20, sets=Box(-3.0, 3.0), **options)
    clean = float(to_numpy(risk.loss(w, validation.X, validation.y)).mean())
    before, _ = retrained(risk, train, seeds, validation)
    after, _ = retrained(risk, train, game.poison, validation)
    assert after > before + 0.02
    assert after > clean + 0.02
    assert Box(-3.0, 3.0).contains(game.poison.X).all()
    np.testing.assert_array_equal(game.poison.y, seeds.y)


def leader(seeds, classes=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LeaderNetwork(DenseLeader((4,), classes, -4.0, 4.0).double(), seeds)


def network_game(**options):
    risk = TorchRisk(mlp(), reg=0.05)
    train, validation = several(60).held_out(0.3, seed=0)
    w = LBFGSTrainer(maxiter=300, newton=0).fit(risk, train).w
    seeds = train.drawn(M, seed=1)
    maker = leader(seeds)
    phi = pretrain(maker, train, epochs=30, batch_size=10, step=1e-2)
    settings = {"epochs": 6, "leader_step": 0.02, "rule": "adam", "batch_size": 20, **options}
    game = TGDA(**settings).play(risk, w, train, validation, maker, phi, seeds)
    return game, maker, phi, (risk, w, train, validation, seeds)


def test_the_network_s_poison_is_made_once_and_labels_stay():
    game, maker, phi, (risk, w, train, validation, seeds) = network_game()
    assert torch.equal(game.poison.X, maker.points(game.phi))
    again = LeaderNetwork(maker.module, Sample(to_numpy(game.poison.X), seeds.y)).points(game.phi)
    assert float((again - game.poison.X).abs().max()) > 1e-3
    np.testing.assert_array_equal(game.poison.y, seeds.y)
    assert not torch.equal(game.phi, phi)
    assert game.history["validation_loss"][-1] > float(risk.loss(w, validation.X, validation.y).mean())
    assert game.poison.n == M


def test_the_history_tells_of_the_linear_systems():
    game = network_game(solver=CG(relative_damping=0, maxiter=3))[0]
    assert tuple(game.history) == COLUMNS
    assert game.solver == "cg"
    for column in game.history.values():
        assert column.shape == (6,)
    assert (game.history["iterations"] <= 3).all()
    assert (game.history["residual"] > 1e-3).all()
    assert ((game.history["negative_curvature"] >= 0) & (game.history["negative_curvature"] <= 1)).all()
    assert np.isnan(network_game(epochs=1, solver=Identity())[0].history["residual"]).all()


def test_a_network_s_pull_is_the_slope_of_its_rows():
    seeds = several(7)
    maker = leader(seeds)
    phi, rows = maker.current, torch.as_tensor(np.random.default_rng(0).normal(size=(7, 4)))
    change = torch.as_tensor(np.random.default_rng(1).normal(size=len(phi)))
    numeric = slope(lambda p: float((maker.points(p) * rows).sum()), phi, change)
    made, pull = maker.vjp(phi)
    assert torch.equal(made, maker.points(phi))
    assert float(pull(rows) @ change) == pytest.approx(numeric, rel=1e-8)
    index = np.array([4, 1])
    torch.testing.assert_close(maker.points(phi, index), maker.points(phi)[index])
    some = torch.zeros_like(rows)
    some[index] = rows[index]
    torch.testing.assert_close(maker.vjp(phi, index)[1](rows[index]), maker.vjp(phi)[1](some))
    made, pulled = LeaderNetwork(maker.module, seeds, chunk=2).vjp(phi)
    torch.testing.assert_close(made, maker.points(phi))
    torch.testing.assert_close(pulled(rows), maker.vjp(phi)[1](rows), rtol=1e-12, atol=1e-13)
    assert torch.equal(maker.restrict(phi), phi)


def test_the_label_is_an_input_unless_it_is_not():
    seeds = several(6)
    other = Sample(seeds.X, (seeds.y + 1) % 3)
    assert not torch.equal(leader(seeds).points(leader(seeds).current), leader(other).points(leader(seeds).current))
    module = torch.nn.Linear(4, 4).double()
    plain = LeaderNetwork(module, seeds, label_input=False)
    torch.testing.assert_close(plain.points(plain.current), module(torch.as_tensor(seeds.X)).detach())


def test_direct_rows_pull_some_of_themselves():
    rows = DirectRows((3, 2))
    made, pull = rows.vjp(np.arange(6.0), np.array([1]))
    np.testing.assert_array_equal(made, [[2, 3]])
    np.testing.assert_array_equal(pull(np.ones((1, 2))), [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(rows.points(np.arange(6.0), [2]), [[4, 5]])
    np.testing.assert_array_equal(DirectRows((1, 2), Box(0, 1)).restrict(np.array([-3.0, 0.5])), [0, 0.5])


def test_pretraining_returns_the_rows_and_follows_its_seed():
    data, seen = several(60), []
    maker = leader(data)
    before = {k: v.clone() for k, v in maker.module.state_dict().items()}
    phi = pretrain(maker, data, epochs=40, batch_size=10, step=1e-2, progress=lambda e, loss: seen.append((e, loss)))
    gap = float(((maker.points(phi) - torch.as_tensor(data.X)) ** 2).mean())
    assert gap < 0.1 * float((torch.as_tensor(data.X) ** 2).mean())
    assert [e for e, _ in seen] == list(range(1, 41))
    assert seen[-1][1] < 0.2 * seen[0][1]
    assert all(torch.equal(before[k], v) for k, v in maker.module.state_dict().items())
    first, again, other = (pretrain(maker, data, epochs=1, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_game_that_stopped_goes_on_where_it_stood(tmp_path):
    given, options = case(), {"leader_step": 0.05, "rule": "adam", "follower_steps": 3, "batch_size": 11}
    whole = play(given=given, epochs=5, **options)
    journal, seen = FolderJournal(tmp_path / "sub"), []
    play(given=given, epochs=2, journal=journal, **options)
    resumed = play(given=given, epochs=5, journal=journal, progress=lambda e, loss: seen.append(e), **options)
    assert seen == [3, 4, 5]
    np.testing.assert_array_equal(resumed.phi, whole.phi)
    np.testing.assert_array_equal(resumed.w, whole.w)
    for name, column in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], column)
    assert len(list((tmp_path / "sub").iterdir())) == 1


@pytest.mark.parametrize("change", ["step", "seed", "fewer epochs", "damage", "data"])
def test_a_checkpoint_of_something_else_is_not_read(tmp_path, change):
    given, journal, seen = case(), FolderJournal(tmp_path), []
    options = {"leader_step": 0.05, "epochs": 3}
    play(given=given, journal=journal, **options)
    seed = 1 if change == "seed" else 0
    if change == "step":
        options["leader_step"] = 0.06
    elif change == "fewer epochs":
        options["epochs"] = 2
    elif change == "damage":
        (path,) = tmp_path.iterdir()
        path.write_bytes(path.read_bytes()[:200])
    elif change == "data":
        moved = Sample(given[2].X + 1e-9, given[2].y)
        given = (*given[:2], moved, *given[3:])
    play(given=given, journal=journal, seed=seed, progress=lambda e, loss: seen.append(e), **options)
    assert seen == list(range(1, options["epochs"] + 1))


def test_a_seed_gives_the_same_game_again():
    first, again, other = (play(epochs=2, leader_step=20.0, batch_size=11, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.phi, again.phi)
    assert not np.array_equal(first.phi, other.phi)


def test_an_epoch_shows_every_row_once():
    risk, _, train, validation, seeds = case()
    table = Table.of(risk, train, validation, seeds, DirectRows((M, 4)), Alone())
    batches = list(table.batches(11, np.random.default_rng(0)))
    assert len(batches) == 4
    np.testing.assert_array_equal(order_free(np.concatenate([b.train.X for b in batches])), order_free(train.X))
    np.testing.assert_array_equal(
        order_free(np.concatenate([b.validation.X for b in batches])), order_free(validation.X)
    )
    assert sorted(np.concatenate([b.poison.X for b in batches])) == list(range(M))


def test_batches_without_poison_are_only_learned_from():
    game = play(epochs=1, batch_size=4, leader_step=1.0)
    assert np.isfinite(game.history["residual"]).all()


def test_held_out_rows_are_no_training_rows():
    data = several(50)
    train, held = data.held_out(0.3, seed=4)
    assert (train.n, held.n) == (35, 15)
    rows = [{tuple(row) for row in part.X} for part in (train, held)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == {tuple(row) for row in data.X}
    np.testing.assert_array_equal(data.held_out(0.3, seed=4)[1].X, held.X)


def test_validation_rows_that_are_trained_on_are_refused():
    risk, w, train, _, seeds = case()
    with pytest.raises(InputError, match="42 of 42 rows"):
        play(given=(risk, w, train, train, seeds))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_game_that_diverges_says_so():
    with pytest.raises(SolverFailed, match="smaller steps"):
        play(epochs=400, follower_step=1e6, leader_step=1.0)


def test_copies_are_repeated_rows():
    risk, w, train, validation, seeds = case()
    twice = Sample(np.repeat(seeds.X, 2, axis=0), np.repeat(seeds.y, 2))
    settings = TGDA(epochs=1, batch_size=None, solver=SOLVER, leader_step=0.5, follower_steps=2)
    weighted = Sample(seeds.X, seeds.y, np.full(M, 2.0))
    first = replace(settings, leader_step=0.25).play(
        risk, w, train, validation, DirectRows((M, 4)), seeds.X.ravel(), weighted
    )
    second = settings.play(risk, w, train, validation, DirectRows((2 * M, 4)), twice.X.ravel(), twice)
    np.testing.assert_allclose(first.w, second.w, rtol=1e-9)
    np.testing.assert_allclose(np.repeat(first.poison.X, 2, axis=0), second.poison.X, rtol=1e-9)
    assert first.poison.total == second.poison.total == 2 * M


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TGDA(epochs=0), "epochs"),
        (lambda: TGDA(leader_steps=0), "leader_steps"),
        (lambda: TGDA(follower_steps=-1), "follower_steps"),
        (lambda: TGDA(leader_step=0), "leader_step"),
        (lambda: TGDA(follower_step=-1), "follower_step"),
        (lambda: TGDA(batch_size=0), "batch_size"),
        (lambda: TGDA(rule="momentum"), "rule"),
        (lambda: TGDA(order="nobody"), "order"),
        (lambda: TGDA(start="hot"), "start"),
        (lambda: TGDA(game="chess"), "game"),
        (lambda: play(seed=-1), "seed"),
        (lambda: several().held_out(0.0, seed=0), "fraction"),
        (lambda: several(3).held_out(0.1, seed=0), "at least one row in each part"),
        (lambda: LeaderNetwork("net", several()), "torch.nn.Module"),
        (lambda: LeaderNetwork(torch.nn.Linear(4, 3).double(), several(), label_input=False), "rows of shape"),
        (lambda: leader(several()).vjp(torch.zeros(3)), "flat vector"),
        (lambda: pretrain(leader(several()), several(), epochs=0), "epochs"),
        (lambda: pretrain(leader(several()), several(), batch_size=0), "batch_size"),
        (lambda: pretrain(leader(several()), several(), step=0), "step"),
    ],
)
def test_options_are_checked(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_accuracy_falls_with_poison_of_a_third():
    risk, w, train, validation, _ = case(reg=0.01)
    seeds = train.drawn(14, seed=1)
    rule = TGDA(epochs=40, leader_step=0.2, rule="adam", batch_size=None, solver=SOLVER)
    rows = DirectRows((14, 4), Box(-4.0, 4.0))
    game = rule.play(risk, w, train, validation, rows, seeds.X.ravel(), seeds)
    _, learned = retrained(risk, train, game.poison, validation)
    assert accuracy(risk, learned, validation) < accuracy(risk, w, validation) - 0.05
