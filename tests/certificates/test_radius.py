from dataclasses import replace

import numpy as np
import pytest
from ridge_cases import random_poison, ridge_claim, ridge_problem, scores

from linpoison.certificates.certificate import Certificate
from linpoison.certificates.outer.ball import certify_ball
from linpoison.certificates.radius import radius, recompute_radius
from linpoison.certificates.ridge.certify import certify_ridge, ridge_attack
from linpoison.certificates.ridge.flips import label_flips_ridge
from linpoison.core import CertificateInvalid, CertificateViolated, InputError
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, ByLabel


@pytest.fixture(scope="module", params=["mean", "sum"])
def found(request):
    return radius(certify_ridge, ridge_claim(0.32, problem=ridge_problem(0, request.param), rows=20), tol=1 / 32)


def test_certified_at_the_radius_and_not_one_step_above(found):
    step = 0.32 / 32
    assert len(np.unique(found.bound)) >= 4
    for row, epsilon in enumerate(found.bound):
        alone = found.claim.about(found.claim.rows.take([row]))
        if epsilon > 0:
            assert certify_ridge(alone.at(epsilon)).bound[0] < 0
        if epsilon < 0.32:
            assert certify_ridge(alone.at(epsilon + step + 1e-9)).bound[0] >= 0


def test_attacks_within_the_radius_fail(found):
    rng = np.random.default_rng(0)
    for row in np.flatnonzero(found.bound > 0):
        for share in (0.3, 1.0):
            claim = found.claim.at(share * found.bound[row])
            assert scores(claim, random_poison(claim, rng))[row] < 0


def test_an_exact_attack_above_the_radius_works(found):
    row = int(np.flatnonzero((found.bound > 0) & (found.bound < 0.32))[0])
    claim = found.claim.at(found.bound[row] + 0.011)
    attack = ridge_attack(certify_ridge(claim), row)
    assert scores(claim, attack)[row] >= -1e-4
    with pytest.raises(CertificateViolated):
        found.check_attack(np.where(np.arange(20) == row, found.bound - 0.01, np.inf))


def test_rows_that_are_wrong_already_get_zero():
    claim = ridge_claim(0.1, rows=20)
    wrong = replace(claim, rows=replace(claim.rows, y=-claim.rows.y))
    right = scores(claim.at(0.0)) < 0
    assert (radius(certify_ridge, wrong).bound[right] == 0).all()


def test_saved_and_tampered(found, tmp_path):
    found.save(tmp_path / "radius")
    read = Certificate.load(tmp_path / "radius", found.claim.train, found.claim.rows)
    np.testing.assert_array_equal(read.verify(), found.bound)
    raised = replace(read, bound=read.bound + 0.01)
    with pytest.raises(CertificateInvalid):
        raised.verify()
    read.witness["epsilon"][0] += 0.02
    with pytest.raises(CertificateInvalid):
        read.verify()


def test_no_witness_proves_too_much(found):
    claim, rows = found.claim, found.claim.rows.n
    assert (recompute_radius(claim, {}) == 0).all()
    for name, value in [
        ("epsilon", np.full(found.witness["epsilon"].size, np.nan)),
        ("epsilon", found.witness["epsilon"] + 1.0),
        ("0.name", np.array("ridge-flips")),
        ("0.rows", np.array([rows])),
        ("0.score.comparator", np.full_like(found.witness["0.score.comparator"], np.nan)),
    ]:
        changed = recompute_radius(claim, {**found.witness, name: value})
        assert (changed <= found.bound).all()
        assert (changed < found.bound).any()


def test_clean_rows_outside_the_sets_do_no_harm():
    claim = ridge_claim(0.1)
    small = ByLabel({1: Ball(np.full(4, 0.3), 0.3), -1: Ball(np.full(4, -0.3), 0.3)})
    outside = replace(claim, sets=small)
    assert outside.filled
    found = radius(certify_ridge, outside, tol=0.5)
    assert found.bound.max() > 0
    rng = np.random.default_rng(0)
    for row in np.flatnonzero(found.bound > 0):
        for mass in (0.0, found.bound[row] / 3, found.bound[row]):
            at = outside.at(mass)
            assert scores(at, random_poison(at, rng))[row] < 0


def test_other_certifiers_and_losses():
    claim = ridge_claim(0.02, problem=Problem(Hinge(), 0.5), rows=10)
    found = radius(certify_ball, claim, tol=1 / 8)
    assert (found.bound > 0).sum() > 0
    rng = np.random.default_rng(1)
    for row in np.flatnonzero(found.bound > 0):
        at = claim.at(found.bound[row])
        assert certify_ball(at).bound[row] < 0
        assert scores(at, random_poison(at, rng))[row] < 0
    np.testing.assert_array_equal(found.verify(), found.bound)


def test_refusals():
    claim = ridge_claim(0.1)
    with pytest.raises(InputError, match="tol"):
        radius(certify_ridge, claim, tol=0.0)
    with pytest.raises(InputError, match="a certifier among"):
        radius(lambda spoken: label_flips_ridge(spoken, 1), claim)
