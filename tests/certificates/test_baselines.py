from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from outer_cases import CASES, INTERCEPTS, LOSSES, advised_mixtures, make_claim, random_mixtures, retrained

from linpoison.certificates.certificate import Certificate
from linpoison.certificates.clean.anchor import clean_vector
from linpoison.certificates.outer.ball import certify_ball, recompute_ball
from linpoison.certificates.outer.margin import certify_margin
from linpoison.certificates.theory import sublevel as baselines
from linpoison.certificates.theory.sublevel import (
    best_comparator,
    certify_naive,
    certify_steinhardt,
    comparator_bound,
    recompute_naive,
)
from linpoison.core import CertificateInvalid, SolverFailed
from linpoison.core.errors import CapabilityError
from linpoison.learners import make_learner
from linpoison.losses import Problem, SquaredHinge
from linpoison.sets import Ball, ByLabel, Halfspace


def convex(claim):
    return certify_steinhardt(claim, strong_convexity=True)


@pytest.mark.parametrize(("loss", "intercept", "scaling"), CASES)
def test_the_outer_set_is_inside_all_others(loss, intercept, scaling):
    """P_eps <= Steinhardt with strong convexity <= Steinhardt <= naive, on every row; no attack is beyond the least."""
    epsilon = 0.1 if scaling == "mean" else 0.01
    claim = make_claim(loss, intercept, scaling, epsilon=epsilon, slabs=intercept != "penalised")
    outer = certify_margin(claim, method="conic", cap=False, rounds=3).bound
    chain = [outer, convex(claim).bound, certify_steinhardt(claim).bound, certify_naive(claim).bound]
    for smaller, greater in zip(chain, chain[1:], strict=False):
        assert (smaller <= greater + 1e-4).all()
    assert np.isfinite(chain).all()
    tight = certify_margin(claim, method="conic", rounds=3).bound
    assert (tight <= np.minimum(outer, certify_ball(claim).bound) + 1e-4).all()
    mixtures = [*random_mixtures(claim, np.random.default_rng(4), 4), *advised_mixtures(claim, tighten=False)]
    assert (np.max([retrained(claim, data) for data in mixtures], axis=0) <= tight + 1e-6).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_strong_convexity_and_a_better_comparator_gain(loss):
    claim = make_claim(loss, epsilon=0.2, reg=0.05)
    naive, steinhardt, strong = (
        made.bound for made in (certify_naive(claim), certify_steinhardt(claim), convex(claim))
    )
    assert steinhardt.mean() < naive.mean() - 1e-3
    assert strong.mean() < steinhardt.mean() - 1e-2


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_model_is_above_the_level(loss, intercept):
    claim = make_claim(loss, intercept, epsilon=0.1)
    t = best_comparator(claim)
    assert comparator_bound(claim, t) <= comparator_bound(claim, clean_vector(claim))
    share = claim.train.weight / claim.mass
    for data in random_mixtures(claim, np.random.default_rng(6), 8):
        v = make_learner(claim.problem).fit(data).vector
        clean = share @ claim.problem.loss.value(claim.train.y * (claim.train.X @ v[:-1] + v[-1]))
        move = 0.5 * claim.reg * claim.mask @ (v - t) ** 2
        assert 0.5 * claim.reg * claim.mask @ v**2 + clean + move <= comparator_bound(claim, t) + 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_the_ball_by_its_formula(loss):
    claim = make_claim(loss, epsilon=0.1)
    v = clean_vector(claim)
    far = max(np.hypot(np.linalg.norm(part.center) + part.radius, 1.0) for part in claim.sets.values())
    z = np.column_stack([claim.rows.X, np.ones(claim.rows.n)])
    expected = -claim.rows.y * (z @ v) + np.linalg.norm(z, axis=1) * 0.1 * far / claim.reg
    assert certify_ball(claim).bound == pytest.approx(expected, abs=1e-5)
    assert np.isinf(certify_ball(make_claim(loss, "free")).bound).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("certify", [certify_naive, certify_steinhardt, convex])
def test_without_budget_the_clean_score_remains(certify, loss):
    claim = make_claim(loss, epsilon=0.0)
    excess = certify(claim).bound - retrained(claim, claim.train)
    assert (excess > -1e-7).all()
    assert (
        excess < 2e-2
    ).all()  # a sublevel set is as wide as the square root of what its level exceeds the minimum by


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("certify", [certify_naive, certify_steinhardt, convex])
def test_every_witness_gives_a_bound_and_verifies(certify, loss, tmp_path):
    claim = make_claim(loss, epsilon=0.1)
    made = certify(claim)
    made.save(tmp_path / "one")
    read = Certificate.load(tmp_path / "one", claim.train, claim.rows)
    assert (read.verify() == made.bound).all()
    rng = np.random.default_rng(7)
    worst = np.max([retrained(claim, data) for data in random_mixtures(claim, rng, 8)], axis=0)
    for _ in range(10):
        noisy = {key: value * (1 + 0.3 * rng.normal(size=value.shape)) for key, value in made.witness.items()}
        with pytest.raises(CertificateInvalid):
            replace(made, witness=noisy).verify()
        other = baselines._evaluate(claim, noisy, certify is convex)
        assert (other >= worst - 1e-6).all()


def test_a_witness_of_nothing_proves_nothing():
    claim = make_claim()
    made = certify_naive(claim).witness
    for key in made:
        spoiled = recompute_naive(claim, {**made, key: np.full_like(made[key], np.nan)})
        missing = recompute_naive(claim, {name: value for name, value in made.items() if name != key})
        assert np.isinf([spoiled, missing]).all() == (key != "t")  # zero is a comparator that needs no witness
        assert (np.array([spoiled, missing]) >= recompute_naive(claim, made)).all()
    assert np.isinf(recompute_naive(claim, {**made, "s": -made["s"]})).all()
    one_bad = made["s"].copy()
    one_bad[2] = np.nan
    found = recompute_naive(claim, {**made, "s": one_bad})
    assert np.isinf(found).tolist() == [False, False, True, False, False, False]
    assert np.isinf(recompute_ball(claim, {})).all()


@pytest.mark.parametrize("intercept", ["penalised", "free"])
def test_a_failing_solver_leaves_the_closed_form(intercept, monkeypatch):
    def refuse(*_args, **_options):
        raise SolverFailed("expected a solution, got none.")

    claim = make_claim("logistic", intercept, epsilon=0.05)
    solved = certify_naive(claim)
    monkeypatch.setattr(baselines, "solve", refuse)
    closed = certify_naive(claim)
    assert closed.info["failed"] == claim.rows.n
    assert solved.info["failed"] == 0
    assert (closed.bound >= solved.bound - 1e-6).all()
    if intercept == "penalised":
        assert np.isfinite(closed.bound).all()


def test_sparse_rows_give_the_same():
    claim = make_claim("logistic", epsilon=0.05)
    sparse = replace(
        claim,
        train=replace(claim.train, X=sp.csr_array(claim.train.X)),
        rows=replace(claim.rows, X=sp.csr_array(claim.rows.X)),
    )
    for certify in (certify_naive, certify_ball):
        assert certify(sparse).bound == pytest.approx(certify(claim).bound, abs=1e-5)


def test_unbounded_sets_and_other_losses():
    claim = make_claim()
    half = ByLabel({k: Halfspace([1.0, 0.0, 0.0], 5.0) for k in (1, -1)})
    assert np.isinf(certify_ball(replace(claim, sets=half)).bound).all()
    assert np.isinf(certify_naive(replace(claim, sets=half)).bound).all()
    for certify in (certify_ball, certify_naive, certify_steinhardt):
        with pytest.raises(CapabilityError, match="squared_hinge"):
            certify(replace(claim, problem=Problem(SquaredHinge(), 0.1)))


def test_a_smaller_set_gives_a_smaller_bound():
    claim = make_claim(epsilon=0.1)
    small = replace(claim, sets=ByLabel({k: Ball(part.center, 1.0) for k, part in claim.sets.items()}))
    for certify in (certify_ball, certify_naive, certify_steinhardt, convex):
        assert (certify(small).bound < certify(claim).bound).all()
