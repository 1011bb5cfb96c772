import csv
import json
import runpy
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from poisoning import INTERCEPTS, LOSSES, SCALINGS, SETS, balls, claim_of, poisoned, rows

from linpoison.certificates.certificate import Certificate, recompute
from linpoison.certificates.claim import Claim
from linpoison.certificates.saddle import certify as saddle
from linpoison.certificates.saddle.certify import (
    average_value,
    certify_average_loss,
    recompute_average_loss,
    recompute_average_objective,
)
from linpoison.certificates.theory.inflation import inflate
from linpoison.core import CapabilityError, CertificateInvalid, Dataset, InputError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared
from linpoison.sets import Ball, Box, ByLabel, CountBall, Halfspace, Slab, intersect

ROOT = Path(__file__).parents[2]
IDS = {"ids": lambda value: getattr(value, "name", str(value))}


@pytest.mark.parametrize("loss", LOSSES, **IDS)
def test_worst_pull_is_the_supremum(loss):
    t = np.linspace(-60, 60, 240_001)
    for r in (-3.0, -0.4, 0.0, 0.7, 5.0):
        value, slope = loss.worst_pull(np.array(r))
        best = np.max(-loss.derivative(t - 1e-9) * (t + r))
        if isinstance(loss, Squared):
            best = best if r > -1 else 0.0  # the other branch is a piece of its own
        assert max(float(value), 0.0) == pytest.approx(best, abs=1e-4)
        ahead = loss.worst_pull(np.array(r + 1e-6))[0]
        assert float(slope) == pytest.approx(float(ahead - value) / 1e-6, abs=1e-4)


def reference(claim, plain):
    """The program in cvxpy, for balls and boxes, with the loss's own formula of the worst row."""
    loss, d = claim.problem.loss, claim.train.d
    theta, b = cp.Variable(d), cp.Variable()
    scores = cp.multiply(claim.train.y, claim.train.X @ theta + b)
    clean = claim.train.weight @ loss.expression(scores) / claim.mass
    penalty = cp.sum_squares(theta) + claim.mask[-1] * cp.square(b)
    worst, constraints = cp.Variable(nonneg=True), []
    for label, part in claim.sets.items():
        for side in (1, -1) if isinstance(loss, Squared) else (1,):
            w = -side * label * theta
            if isinstance(part, Ball):
                top = part.center @ w + part.radius * cp.norm2(w)
            else:
                middle, half = (part.upper + part.lower) / 2, (part.upper - part.lower) / 2
                top = middle @ w + half @ cp.abs(w)
            reach = cp.Variable()
            constraints += [reach >= top - side * label * b]
            constraints += [worst >= formula(loss, reach if side == 1 else reach - 2, plain)]
    if not claim.problem.fit_intercept:
        constraints.append(b == 0)
    strength = claim.reg / (4 if plain else 2)
    problem = cp.Problem(cp.Minimize(clean + strength * penalty + claim.epsilon * worst), constraints)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return problem.value


def formula(loss, r, plain):
    if isinstance(loss, Squared):
        return cp.square(cp.pos(1 + r)) / (4 if plain else 2)
    if plain and loss.name == "squared_hinge":
        return cp.square(cp.pos(1 + r)) / 4
    return loss.expression(-r)


AGREE = [(loss, plain) for loss in LOSSES for plain in (True, False) if not (plain and "smooth" in loss.name)]
AGREE = [(loss, plain) for loss, plain in AGREE if not (plain and loss.name == "logistic")]


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize(("loss", "plain"), AGREE, **IDS)
def test_agrees_with_a_conic_program(loss, plain, intercept):
    for sets, scaling in (("balls", "mean"), ("boxes", "sum")):
        claim = claim_of(loss, sets, **INTERCEPTS[intercept], **SCALINGS[scaling])
        found = certify_average_loss(claim, plain=plain, tol=1e-8, rounds=300)
        assert found.info["program"] == pytest.approx(reference(claim, plain), rel=1e-6)
        assert found.info["gap"] < 1e-6
        assert found.bound <= found.info["program"]
        if "a" not in found.witness:
            assert found.bound == found.info["program"]


@pytest.mark.parametrize("loss", LOSSES, **IDS)
@pytest.mark.parametrize("sets", SETS)
def test_no_comparator_proves_more(loss, sets):
    claim = claim_of(loss, sets)
    found = certify_average_loss(claim, tol=1e-6)
    assert found.info["gap"] <= 1e-6
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 1e-1, 1.0):
        near = found.witness["v"] + scale * rng.normal(size=claim.train.d + 1)
        value = recompute_average_loss(claim, {"v": near})
        assert found.info["lower"] <= found.info["program"] <= value * (1 + 1e-6)
        assert found.bound <= recompute_average_loss(claim, {**found.witness, "v": near}) * (1 + 1e-4)


@pytest.mark.parametrize(
    ("loss", "intercept", "scaling"),
    [
        (loss, intercept, list(SCALINGS)[(i + j) % 2])
        for i, loss in enumerate(LOSSES)
        for j, intercept in enumerate(INTERCEPTS)
    ],
    **IDS,
)
def test_no_poison_exceeds_the_bounds(loss, intercept, scaling):
    rng, noise, damage = np.random.default_rng(3), np.random.default_rng(0), []
    for sets, epsilon in (("balls", 0.05), ("boxes", 0.3), ("mixed", 0.15)):
        claim = claim_of(loss, sets, epsilon, **INTERCEPTS[intercept], **SCALINGS[scaling])
        sharp, whole = certify_average_loss(claim), certify_average_loss(claim, plain=False)
        assert sharp.bound <= whole.bound + 1e-9
        worst = 0.0
        for v in poisoned(claim, rng, tries=2, shares=(1.0, 1.0, 0.4)):
            loss_now = average_value(claim, v)
            sharp.check_attack(loss_now, tol=1e-5)
            whole.check_attack(average_value(claim, v, plain=False), tol=1e-5)
            assert recompute_average_loss(claim, {"v": v}) >= loss_now
            any_ball = {"v": v + noise.normal(size=v.size), "a": noise.random(claim.train.n)}
            assert recompute_average_loss(claim, any_ball) >= loss_now
            assert recompute_average_loss(claim, {**sharp.witness, "v": v}) >= loss_now - 1e-9
            worst = max(worst, loss_now)
        clean = average_value(claim, make_learner(claim.problem).fit(claim.train).vector)
        damage.append(worst - clean)
    assert max(damage) > 0.01


def test_bound_is_attained_without_poison_where_the_loss_is_linear():
    train = Dataset([[0.1], [-0.2], [0.15]], [1, -1, 1])
    claim = Claim(train, Problem(Hinge(), 0.5, fit_intercept=False), balls(train), 0.0)
    v = make_learner(claim.problem).fit(train).vector
    found = certify_average_loss(claim, tol=1e-9)
    assert found.bound == pytest.approx(average_value(claim, v), rel=1e-6)


def test_a_smaller_regulariser_would_be_caught(monkeypatch):
    train = Dataset([[0.1], [-0.2], [0.15]], [1, -1, 1])
    claim = Claim(train, Problem(Hinge(), 0.5, fit_intercept=False), balls(train), 0.0)
    v = make_learner(claim.problem).fit(train).vector
    monkeypatch.setattr(saddle, "_strength", lambda claim, plain: claim.reg / 4)
    assert certify_average_loss(claim).bound < average_value(claim, v) - 1e-3


@pytest.mark.parametrize("intercept", ["penalised", "none"])
@pytest.mark.parametrize("loss", [Hinge(), Logistic()], **IDS)
def test_the_ball_makes_the_bound_exact_without_poison(loss, intercept):
    for scaling in SCALINGS:
        claim = claim_of(loss, epsilon=0.0, **INTERCEPTS[intercept], **SCALINGS[scaling])
        clean = average_value(claim, make_learner(claim.problem, method="reference").fit(claim.train).vector)
        found = certify_average_loss(claim)
        assert clean <= found.bound + 1e-6
        assert found.bound == pytest.approx(clean, rel=1e-3)
        assert found.info["program"] > 1.05 * clean
        slight = certify_average_loss(claim.at(1e-3))
        assert found.bound < slight.bound < clean + 0.4 * (found.info["program"] - clean)


def test_less_poison_than_allowed_stays_inside_the_ball():
    """The regulariser of a large budget shrinks the center; models of little poison must still be covered."""
    rng = np.random.default_rng(4)
    for loss in (Hinge(), Logistic()):
        tiny = ByLabel({k: Ball(np.zeros(3), 0.05) for k in (1, -1)})
        claim = Claim(rows(), Problem(loss, 1.0, fit_intercept=False), tiny, 3.0)
        a = certify_average_loss(claim).witness["a"]
        center, radius = saddle._ball(claim, a)
        for v in poisoned(claim, rng, tries=4, shares=(1e-6, 0.01, 0.3, 1.0)):
            assert np.linalg.norm(v - center) <= radius


def test_bound_grows_with_the_budget():
    bounds = [certify_average_loss(claim_of(Logistic(), "mixed", e), tol=1e-6).bound for e in (0.0, 0.01, 0.1, 0.5)]
    assert np.all(np.diff(bounds) > 1e-4)


def test_sparse_rows_and_weights_change_nothing():
    claim = claim_of()
    train = claim.train
    expected = certify_average_loss(claim, tol=1e-8).bound
    sparse = Claim(Dataset(sp.csr_array(train.X), train.y), claim.problem, claim.sets, 0.1)
    assert certify_average_loss(sparse, tol=1e-8).bound == pytest.approx(expected, rel=1e-7)
    twice = Dataset(np.vstack([train.X, train.X]), np.tile(train.y, 2), np.repeat([0.25, 0.75], train.n))
    weighted = Claim(twice, claim.problem, claim.sets, 0.1)
    assert certify_average_loss(weighted, tol=1e-8).bound == pytest.approx(expected, rel=1e-6)


def test_unbounded_sets_leave_the_zero_model():
    train = rows()
    sets = ByLabel({k: Halfspace([1.0, 0.0, 0.0], 3.0) for k in (1, -1)})
    found = certify_average_loss(Claim(train, Problem(Hinge(), 0.1), sets, 0.25))
    assert found.bound == pytest.approx(1.25)
    assert not found.witness["v"].any()


@pytest.mark.parametrize("witness", [{}, {"v": [1.0, 2.0]}, {"v": [np.nan] * 4}, {"v": [np.inf] * 4}, {"v": [1e9] * 4}])
def test_bad_witnesses_prove_what_zero_does(witness):
    for recomputed in (recompute_average_loss, recompute_average_objective):
        assert recomputed(claim_of(), witness) == recomputed(claim_of(), {"v": np.zeros(4)}) < np.inf
    with pytest.raises(CertificateInvalid):
        recompute("average-loss", claim_of(), {"v": "x"})


@pytest.mark.parametrize("plain", [True, False])
def test_tampering_is_noticed(tmp_path, plain):
    claim = claim_of(Logistic(), "mixed")
    found = certify_average_loss(claim, plain=plain)
    found.save(tmp_path / "one")
    read = Certificate.load(tmp_path / "one", claim.train, claim.rows)
    assert read.verify() == pytest.approx(found.bound)
    for key, value in (("bound", found.bound * 0.99), ("epsilon", 0.05)):
        found.save(tmp_path / "two")
        document = json.loads((tmp_path / "two.json").read_text())
        document[key] = value
        (tmp_path / "two.json").write_text(json.dumps(document))
        with np.load(tmp_path / "two.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        if key == "bound":
            arrays["bound"] = np.array(value)
        np.savez(tmp_path / "two.npz", **arrays)
        with pytest.raises(CertificateInvalid):
            Certificate.load(tmp_path / "two", claim.train, claim.rows).verify()
    found.witness["v"] = found.witness["v"] * 1.1
    with pytest.raises(CertificateInvalid):
        found.verify()


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="tol"):
        certify_average_loss(claim_of(), tol=0)
    with pytest.raises(InputError, match="rounds"):
        certify_average_loss(claim_of(), rounds=0)


@pytest.mark.parametrize("unit", [False, True], ids=["paper", "reference"])
def test_inflated_sets_hold_what_a_poisoned_filter_keeps(unit):
    rng = np.random.default_rng(0)
    train = rows(n=40, d=2)
    mu = {k: train.X[train.y == k].mean(axis=0) for k in (1, -1)}
    w = mu[1] - mu[-1]
    normal = w / np.linalg.norm(w) if unit else w
    radius, width = {1: 1.3, -1: 0.9}, {1: 0.5, -1: 0.8}
    sets = ByLabel({k: intersect(Ball(mu[k], radius[k]), Slab(normal, normal @ mu[k], width[k])) for k in (1, -1)})
    epsilon, seen, outside = 0.5, 0, 0
    trusted = inflate(sets, train, epsilon)
    for _ in range(3000):
        part = rng.dirichlet([1, 1]) * epsilon * train.total
        X = {k: mu[k] + rng.normal(size=2) * 0.2 + rng.normal(size=(1, 2)) * radius[k] for k in mu}
        clean = {k: float(np.sum(train.y == k)) for k in mu}
        moved = {k: (clean[k] * mu[k] + e * X[k][0]) / (clean[k] + e) for k, e in zip(mu, part, strict=True)}
        turned = moved[1] - moved[-1]
        turned = turned / np.linalg.norm(turned) if unit else turned
        for k in mu:
            off = X[k][0] - moved[k]
            others = X[-k][0] - moved[-k]
            kept = np.linalg.norm(off) <= radius[k] and abs(off @ turned) <= width[k]
            if kept and np.linalg.norm(others) <= radius[-k]:
                seen += 1
                outside += not sets[k].contains(X[k])[0]
                assert trusted[k].contains(X[k], 1e-9)[0]
    assert seen > 200
    assert outside > 20


def test_inflated_radius_is_the_lemma():
    train = Dataset(
        [[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [-1.0, 2.0], [-1.0, 1.0]], [1, 1, -1, -1, -1], [1, 1, 2, 2, 2]
    )
    sets = ByLabel({1: Ball([2.0, 0.0], 1.0), -1: intersect(CountBall([-1.0, 1.0], 2.0, [4, 4]), Box([0, 0], [4, 4]))})
    grown = inflate(sets, train, 0.1)
    assert grown[1].radius == pytest.approx(1.0 * (1 + 0.1 / 0.25))
    assert grown[-1].sets[0].radius == pytest.approx(2.0 * (1 + 0.1 / 0.75))
    np.testing.assert_array_equal(grown[-1].sets[1].upper, [4, 4])


def test_inflation_refuses_what_it_cannot_bound():
    train = rows()
    good = balls(train)
    slab = Slab([1.0, 0.0, 0.0], float(good[1].center[0]), 1.0)
    for bad in (
        slab,
        Ball(good[1].center + 0.1, 1.0),
        intersect(good[1], slab),
        intersect(good[1], Halfspace([1, 0, 0], 9)),
    ):
        with pytest.raises(CapabilityError):
            inflate(ByLabel({1: bad, -1: good[-1]}), train, 0.1)


def test_the_experiment_on_a_small_set(tmp_path, capsys):
    script = runpy.run_path(str(ROOT / "experiments" / "theory" / "average_loss.py"), run_name="imported")
    assert script["main"](["--quick", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "average_loss.csv", newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["epsilon"] for row in table] == ["0", "0.003", "0.01", "0.03", "0.1"]
    columns = {name: np.array([float(row[name]) for row in table]) for name in table[0] if name != "data"}
    order = [columns[name] for name in ("clean loss", "attacked loss", "bound", "objective bound")]
    assert np.all(np.diff(order, axis=0) >= -1e-3)
    assert np.all(np.diff(columns["bound"]) > 0)
    assert columns["gap"].max() <= 1e-3
    assert capsys.readouterr().out.count("\n") == 5
