"""The defences of the linear core on torch networks, by one argument: planted poison is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import mlp, nn, seeded  # noqa: E402
from sklearn.base import clone  # noqa: E402

from deep import RiskLearner, RiskRows, SGDTrainer, TorchRisk, defending  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.defenses import (  # noqa: E402
    RONI,
    SEVER,
    TRIM,
    ActivationClustering,
    InfluenceDefense,
    MaxUp,
    SpectralSignatures,
)
from linpoison.defenses.refitting import GradientFrame  # noqa: E402
from linpoison.losses import Logistic  # noqa: E402
from linpoison.risk import MINRES, Dense, LBFGSTrainer, LinearRisk, Sample  # noqa: E402

NET = TorchRisk(seeded(lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))), reg=1e-3, chunk=50)
LEARNER = RiskLearner(NET, SGDTrainer(epochs=30, batch_size=32, step=0.1))
HEAD = RiskLearner(NET, LEARNER.trainer, parameters="head")


def planted(n=60, m=9, seed=0):
    """Three clouds with names, and `m` rows near one place, with the features of the first and a mark of their own."""
    rng = np.random.default_rng(seed)
    y = np.repeat(["a", "b", "c"], n)
    X = rng.normal(size=(3 * n, 6))
    X[np.arange(3 * n), np.repeat([0, 1, 2], n)] += 4.0
    poison = 0.1 * rng.normal(size=(m, 6)) + np.array([4.0, 0, 0, 6.0, 0, 0])
    return np.vstack([X, poison]), np.append(y, ["b"] * m), np.arange(3 * n, 3 * n + m)


def flipped(n=60, m=9, seed=0):
    """The same clouds, and `m` of their rows under another label."""
    X, y, _ = planted(n, 0, seed)
    rows = np.random.default_rng(seed).choice(3 * n, m, replace=False)
    wrong = np.array(["b", "c", "a"])[np.searchsorted(["a", "b", "c"], y[rows])]
    return np.vstack([X, X[rows]]), np.append(y, wrong), np.arange(3 * n, 3 * n + m)


CASES = {
    "TRIM": (TRIM(remove=9 / 189, learner=LEARNER), flipped),
    "SEVER": (SEVER(remove=0.1, learner=LEARNER), flipped),
    "SEVER, last layer": (SEVER(remove=0.1, learner=HEAD), flipped),
    "influence": (InfluenceDefense(remove=0.15, learner=HEAD), flipped),
    "influence, all": (InfluenceDefense(remove=0.15, learner=LEARNER), flipped),
    "influence on trusted rows": (InfluenceDefense(0.15, LEARNER, flipped(20, 0, seed=1)[:2]), flipped),
    "influence on trusted rows, last layer": (InfluenceDefense(0.15, HEAD, flipped(20, 0, seed=1)[:2]), flipped),
    "spectral signatures": (SpectralSignatures(remove=0.15, representation=LEARNER), planted),
    "activation clustering": (ActivationClustering(LEARNER, n_components=3, largest_share=0.35), planted),
}


@pytest.mark.parametrize("name", CASES)
def test_planted_poison_is_found_in_a_network(name):
    defense, data = CASES[name]
    X, y, poison = data()
    fitted = clone(defense).fit(X, y)
    dropped = np.setdiff1d(np.arange(len(y)), fitted.sample_indices_)
    assert np.isin(poison, dropped).mean() >= 0.75
    assert dropped.size <= 0.25 * len(y)
    assert fitted.decision_function(X[:5], y[:5]).shape == (5,)


def test_roni_rejects_flips_by_a_network():
    X, y, poison = flipped(25, 6)
    trusted = np.r_[0:10, 25:35, 50:60]
    judged = np.r_[10:25, 35:50, 60:75, poison]
    learner = RiskLearner(LinearRisk(3, 1e-2), LBFGSTrainer(tol=1e-4, newton=0))
    roni = RONI((X[trusted], y[trusted]), remove=0.12, learner=learner, draws=2).fit(X[judged], y[judged])
    assert roni.decision_scores_[-6:].mean() > 2 * np.abs(roni.decision_scores_[:-6]).mean()


def test_maxup_trains_a_network_of_three_classes():
    X, y, _ = planted(30, 0)
    model = MaxUp(LEARNER, copies=3, sigma=0.5, rounds=3).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.9
    assert model.objective_ <= MaxUp(LEARNER, copies=3, sigma=0.5, rounds=1).fit(X, y).objective_


def images():
    """Two kinds of pictures, and 5 of the second with a bright corner under the first label."""
    rng = np.random.default_rng(0)
    X = 0.2 * rng.uniform(size=(85, 1, 6, 6))
    X[:40, 0, :3] += 0.6
    X[40:, 0, 3:] += 0.6
    X[80:, 0, 0, 0] = 3.0
    return X, np.r_[np.zeros(40, int), np.ones(40, int), np.zeros(5, int)]


@pytest.mark.parametrize("kind", [np.asarray, lambda X: torch.as_tensor(X).float()], ids=["array", "tensor"])
def test_images_and_tensors_are_taken_as_they_are(kind):
    X, y = images()
    net = seeded(lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))).float()
    learner = RiskLearner(TorchRisk(net), SGDTrainer(epochs=20, batch_size=20))
    for defense in (SEVER(0.1, learner, rounds=1), SpectralSignatures(representation=learner), TRIM(5 / 85, learner)):
        rows, labels = defense.fit_resample(kind(X), y)
        assert tuple(rows.shape[1:]) == (1, 6, 6)
        assert type(rows) is type(kind(X))
        assert len(rows) == len(labels)
        assert np.isin(np.arange(80, 85), defense.sample_indices_).sum() <= 1


@pytest.mark.parametrize("learner", [LEARNER, HEAD], ids=["all", "head"])
def test_matrix_free_scores_are_those_of_numpy(learner):
    X, y, _ = planted(20, 3)
    model = learner.fit(X, y)
    gradients = model.gradients(X, y)
    centred = gradients - gradients.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    frame = GradientFrame.of(model, X, y)
    assert frame.size == pytest.approx(sizes[0], rel=1e-9)
    assert abs(frame.direction @ right[0]) == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(frame.scores(model, X, y), (left[:, 0] * sizes[0]) ** 2, atol=1e-6 * sizes[0] ** 2)
    assert gradients.shape[1] == (NET.size if learner is LEARNER else 51)
    assert model.parameters == ("all" if learner is LEARNER else "head")


def test_no_matrix_of_gradients_is_made(monkeypatch):
    X, y, _ = planted(20, 3)
    monkeypatch.setattr(defending.RiskRows, "gradients", None)
    monkeypatch.setattr(TorchRisk, "per_sample_grad", None)
    widest = []
    chunks = TorchRisk._losses
    monkeypatch.setattr(TorchRisk, "_losses", lambda self, p, x, y: widest.append(len(x)) or chunks(self, p, x, y))
    fitted = SEVER(remove=0.1, learner=LEARNER, rounds=1, per_class=False).fit(X, y)
    assert fitted.decision_scores_.shape == (63,)
    assert max(widest) <= 50


def test_single_precision_agrees_as_far_as_it_goes():
    X, y, _ = planted(20, 3)
    exact = LEARNER.fit(X, y)
    rough = RiskLearner(NET, LEARNER.trainer).fit(X, y)
    single = defending.RiskRows(NET.on(exact.risk.module_at(exact.w).float()), rough.w, rough.classes)
    assert single.single_precision
    assert not exact.single_precision
    ours, theirs = (GradientFrame.of(model, X, y).scores(model, X, y) for model in (single, exact))
    np.testing.assert_allclose(ours, theirs, atol=1e-3 * theirs.max())


def test_gradients_that_do_not_vary_have_no_direction():
    model = RiskLearner(LinearRisk(Logistic(), 0.1), LBFGSTrainer()).fit(np.eye(2), ["n", "y"])
    same = GradientFrame.of(model, np.ones((4, 2)), np.array(["y"] * 4))
    assert same.scores(model, np.ones((4, 2)), np.array(["y"] * 4)).max() < 1e-20
    assert GradientFrame.of(model, np.ones((1, 2)), np.array(["y"])).size == 0


def test_a_linear_model_by_either_room_gives_the_same_scores():
    from linpoison.losses import Problem

    X, y, _ = planted(30, 4)
    two = y != "c"
    X, y = X[two], y[two]
    ours = SEVER(remove=0.1, learner=Problem(Logistic(), 0.05, penalize_intercept=False), rounds=1).fit(X, y)
    risk = LinearRisk(Logistic(), 0.05, penalize_intercept=False)
    theirs = SEVER(remove=0.1, learner=RiskLearner(risk, LBFGSTrainer()), rounds=1).fit(X, y)
    np.testing.assert_allclose(ours.decision_scores_, theirs.decision_scores_, rtol=1e-5, atol=1e-8)
    risks = InfluenceDefense(learner=RiskLearner(risk, LBFGSTrainer(), damping=0.0)).fit(X, y)
    core = InfluenceDefense(learner=Problem(Logistic(), 0.05, penalize_intercept=False)).fit(X, y)
    np.testing.assert_allclose(risks.decision_scores_, core.decision_scores_, rtol=1e-5)


def test_mistakes_are_told(monkeypatch):
    X, y, _ = planted(10, 0)
    with pytest.raises(InputError, match="'all' or 'head'"):
        RiskLearner(NET, SGDTrainer(), parameters="tail")
    with pytest.raises(InputError, match="SGDTrainer"):
        RiskLearner(NET, 3)
    with pytest.raises(InputError, match="two classes"):
        RiskLearner(LinearRisk(Logistic(), 0.1), LBFGSTrainer()).fit(X, y)
    monkeypatch.setattr(defending, "LIMIT", 10)
    with pytest.raises(CapabilityError, match="head"):
        InfluenceDefense(learner=LEARNER).fit(X, y)


def test_self_influence_is_of_the_rows_that_are_given():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    rows = RiskRows(LinearRisk(2, 0.1), rng.normal(size=8), np.array([0, 1]))
    first, other = (rows.self_influence(X, y, (scale * X, y)) for scale in (1.0, 100.0))
    assert not np.allclose(first, other)
    np.testing.assert_allclose(rows.self_influence(X, y, (X, y)), first)


@pytest.mark.parametrize("learner", [LEARNER, HEAD], ids=["all", "head"])
def test_influence_on_trusted_rows_takes_one_solve_of_any_size(learner, monkeypatch):
    monkeypatch.setattr(defending, "LIMIT", 10)
    monkeypatch.setattr(TorchRisk, "per_sample_grad", None)
    (X, y, _), (held, labels, _) = planted(20, 3), planted(5, 0, seed=1)
    calls = []

    class Counted(Dense):
        def solve(self, hvp, b):
            calls.append(len(b))
            return super().solve(hvp, b)

    fitted = InfluenceDefense(0.1, replace(learner, solver=Counted(damping=0.1)), (held, labels)).fit(X, y)
    model = fitted.model_
    monkeypatch.undo()
    chosen = model._chosen
    rows, codes = model._rows(X), model._codes(y)
    H = np.array([np.asarray(NET.hvp(model.w, rows, codes, torch.as_tensor(unit))) for unit in np.eye(NET.size)])
    u = np.linalg.solve(H[chosen][:, chosen] + 0.1 * np.eye(calls[0]), model.gradients(held, labels).mean(axis=0))
    along = model.gradients(X, y) @ u
    np.testing.assert_allclose(fitted.decision_scores_, along.mean() - along, atol=1e-9)
    assert calls == [NET.size if learner is LEARNER else 51]


def test_influence_on_trusted_rows_is_that_of_the_linear_core():
    from linpoison.losses import Problem

    X, y, _ = planted(30, 4)
    two = y != "c"
    trusted, (X, y) = (X[two][:10], y[two][:10]), (X[two], y[two])
    risk = LinearRisk(Logistic(), 0.05, penalize_intercept=False)
    learner = RiskLearner(risk, LBFGSTrainer(), solver=MINRES(relative_damping=0.0))
    ours, theirs = (
        InfluenceDefense(learner=kind, trusted=trusted).fit(X, y).decision_scores_
        for kind in (learner, Problem(Logistic(), 0.05, penalize_intercept=False))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_labels_it_has_not_learned_are_refused():
    rows = RiskRows(LinearRisk(2, 0.1), np.zeros(8), np.array(["a", "c"]))
    with pytest.raises(InputError, match="labels among"):
        rows.losses(np.zeros((1, 3)), ["b"])


RISKS = {"numpy": lambda: LinearRisk(3, 0.1), "torch": lambda: TorchRisk(seeded(lambda: nn.Linear(6, 3)), reg=0.1)}


@pytest.mark.parametrize("kind", RISKS)
def test_codes_are_those_of_torch_though_a_class_is_missing(kind):
    X, names, _ = planted(20, 0)
    y = np.searchsorted(["a", "b", "c"], names)
    some = y != 1
    risk, trainer = RISKS[kind](), LBFGSTrainer()
    found = RiskLearner(risk, trainer, classes=range(3)).fit(X[some], y[some])
    w = trainer.fit(risk, Sample(risk.rows(X[some]), y[some])).w
    np.testing.assert_allclose(found.w, w, atol=1e-6)
    np.testing.assert_allclose(found.losses(X, y), risk.loss(w, risk.rows(X), y), atol=1e-5)
    assert set(found.predict(X[some])) == {0, 2}
    with pytest.raises(InputError, match="name all in `classes`"):
        RiskLearner(risk, trainer).fit(X[some], y[some]).losses(X, y)


def test_classes_may_come_in_any_order():
    X, y, _ = planted(20, 0)
    orders = list("abc"), list("cab")
    straight, turned = (RiskLearner(LinearRisk(3, 0.1), LBFGSTrainer(), classes=order).fit(X, y) for order in orders)
    np.testing.assert_allclose(turned.losses(X, y), straight.losses(X, y), atol=1e-5)
    assert np.array_equal(turned.predict(X), straight.predict(X))
    scores = (part.risk.scores(part.w, X) for part in (straight, turned))
    np.testing.assert_allclose(next(scores)[:, [2, 0, 1]], next(scores), atol=1e-4)


def test_a_margin_loss_learns_from_one_of_its_two_classes():
    model = RiskLearner(LinearRisk(Logistic(), 0.1), LBFGSTrainer(), classes=["n", "y"]).fit(np.eye(2), ["y", "y"])
    assert (model.losses(np.eye(2), ["y", "y"]) < model.losses(np.eye(2), ["n", "n"])).all()


@pytest.mark.parametrize("named", [None, ["a", "b", "c"]])
def test_roni_draws_trusted_rows_that_lack_a_class(named):
    X, y, poison = flipped(25, 6)
    trusted = np.r_[0:12, 25:37, 50:51]
    learner = RiskLearner(LinearRisk(3, 1e-2), LBFGSTrainer(tol=1e-4, newton=0), classes=named)
    judged = np.r_[12:20, 37:45, 52:60, poison]
    roni = RONI((X[trusted], y[trusted]), remove=0.12, learner=learner, draws=4).fit(X[judged], y[judged])
    drawn = [np.unique(labels).size for (_, labels), _, _ in roni._trials]
    assert min(drawn) == 2
    assert np.isfinite(roni.decision_scores_).all()


def test_a_defence_tells_a_learner_the_classes_of_its_rows_only_if_it_has_none():
    learner = RiskLearner(LinearRisk(3, 0.1), LBFGSTrainer())
    assert learner.of_classes(np.array([0, 2])).classes == (0, 2)
    own = RiskLearner(LinearRisk(3, 0.1), LBFGSTrainer(), classes=range(3))
    assert own.of_classes(np.array([0, 2])) is own
    X, names, _ = planted(20, 0)
    y = np.searchsorted(["a", "b", "c"], names)
    some = y > 0
    for defense in (TRIM(0.05, own), SEVER(0.05, own), SpectralSignatures(representation=own)):
        fitted = clone(defense).fit(X[some], y[some])
        assert fitted.model_.classes.tolist() == [0, 1, 2]
    assert clone(MaxUp(own, rounds=1)).fit(X[some], y[some]).model_.classes.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("classes", "words"), [([0, 0, 1], "each named once"), ([], "each named once"), ([0, 5], "among"), (3, "list")]
)
def test_classes_that_do_not_fit_are_told(classes, words):
    with pytest.raises(InputError, match=words):
        RiskLearner(LinearRisk(3, 0.1), LBFGSTrainer(), classes=classes).fit(np.eye(3), [0, 1, 2])


def test_a_network_that_knows_labels_by_name_goes_through_a_defence():
    risk = TorchRisk(mlp(2, 2), reg=0.05)
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.array(["a", "b"])[(X[:, 0] > 0).astype(int)]
    trainer = LBFGSTrainer(tol=1e-3, maxiter=20, newton=0)
    learned = trainer.fit(risk, Sample(X, y))
    kept = TRIM(remove=0.1, learner=RiskLearner(risk, trainer)).fit(X, y)
    assert kept.sample_indices_.size == 36
    assert set(learned.predict(X)) == {"a", "b"}
