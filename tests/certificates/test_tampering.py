"""Every certificate of the library notices when its bound, witness, sets, data, hashes or words are altered."""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from linpoison.certificates import (
    Certificate,
    Claim,
    certify_average_loss,
    certify_ball,
    certify_deletions,
    certify_flips,
    certify_margin,
    certify_partition,
    certify_ridge,
    certify_test_error,
    deletions_ridge,
    deletions_smooth,
    flips_smooth,
    label_flips_ridge,
    min_budget,
    radius,
    recompute,
)
from linpoison.certificates.certificate import KINDS, registered
from linpoison.certificates.theory import certify_exact, certify_naive, certify_steinhardt
from linpoison.core import CertificateInvalid, Dataset, InputError, LinearModel
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared
from linpoison.sets import Ball, ByLabel


def claim_of(loss, epsilon=0.06, n=16, reg=0.3):
    """Clean rows inside their balls, and rows on both sides and near the border."""
    rng = np.random.default_rng(3)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = 0.35 * rng.normal(size=(n, 2)) + y[:, None] * np.array([0.9, 0.5])
    sets = ByLabel({k: Ball(k * np.array([0.9, 0.5]), 1.6) for k in (1, -1)})
    rows = Dataset([[0.9, 0.4], [-0.8, -0.6], [0.25, 0.1], [0.1, -0.3]], [1, -1, 1, -1])
    return Claim(Dataset(X, y), Problem(loss, reg), sets, epsilon, rows)


def budget_of_a_model():
    claim = claim_of(Hinge())
    return min_budget(claim.train, claim.problem, claim.sets, LinearModel([-0.3, 0.2], 0.1))


CASES = {
    "ball": lambda: certify_ball(claim_of(Hinge())),
    "naive": lambda: certify_naive(claim_of(Hinge())),
    "steinhardt": lambda: certify_steinhardt(claim_of(Hinge())),
    "steinhardt-convex": lambda: certify_steinhardt(claim_of(Hinge()), strong_convexity=True),
    "outer-set": lambda: certify_margin(claim_of(Hinge())),
    "ridge": lambda: certify_ridge(claim_of(Squared())),
    "ridge-flips": lambda: label_flips_ridge(claim_of(Squared()), 2),
    "ridge-deletions": lambda: deletions_ridge(claim_of(Squared()), 2),
    "exact": lambda: certify_exact(claim_of(Hinge()), max_nodes=10, rounds=1),
    "deletions": lambda: certify_deletions(claim_of(Hinge()), 1, rounds=1),
    "flips": lambda: certify_flips(claim_of(Hinge()), 1, rounds=1),
    "smooth-deletions": lambda: deletions_smooth(claim_of(Logistic()), 2),
    "smooth-flips": lambda: flips_smooth(claim_of(SmoothHinge(0.5), 0.0), 1),
    "partition": lambda: certify_partition(claim_of(Squared(), n=30), n_parts=3),
    "radius": lambda: radius(certify_ridge, claim_of(Squared(), 0.5), tol=1 / 16),
    "test-error": lambda: certify_test_error(claim_of(Squared(), 0.2)),
    "average-loss": lambda: certify_average_loss(claim_of(Hinge())),
    "average-objective": lambda: certify_average_loss(claim_of(Hinge()), plain=False),
    "min-budget": budget_of_a_model,
}
CLOSED_FORM = {"ridge-flips"}
"""Their bound does not rest on the witness."""


@functools.cache
def made(name) -> Certificate:
    return CASES[name]()


def test_every_certificate_has_a_case():
    made_by_tests = {name for name in registered() - set(CASES) if name.startswith(("test-", "test "))}
    assert registered() - made_by_tests == set(CASES)
    for name in CASES:
        assert made(name).name == name


names = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def stored(tmp_path):
    """Write a certificate, change what was written, read it again."""

    def again(certificate, change=None):
        certificate.save(tmp_path / "one")
        with np.load(tmp_path / "one.npz") as archive:
            arrays = {key: archive[key] for key in archive.files}
        document = json.loads((tmp_path / "one.json").read_text())
        if change is not None:
            change(document, arrays)
            (tmp_path / "one.json").write_text(json.dumps(document))
            np.savez(tmp_path / "one.npz", **arrays)
        return Certificate.load(tmp_path / "one", certificate.claim.train, certificate.claim.rows)

    return again


def stronger(certificate, by):
    """A bound that claims more, by a share of its size."""
    side = KINDS[certificate.kind][1]
    return np.asarray(certificate.bound - side * by * (0.1 + np.abs(certificate.bound)))


@names
def test_what_was_written_is_read_and_holds(name, stored):
    certificate = made(name)
    read = stored(certificate)
    np.testing.assert_array_equal(read.verify(certificate.claim.train, certificate.claim.rows), certificate.bound)
    assert read.summary() == certificate.summary()
    assert read.summary()["verified"]
    assert np.isfinite(certificate.bound).all()
    assert read.claim.problem == certificate.claim.problem


@names
@pytest.mark.parametrize("by", [1e-6, 1e-3, 1.0])
def test_bounds(name, by, stored):
    certificate = made(name)
    bad = stronger(certificate, by)

    def whole(document, arrays):
        arrays["bound"] = bad
        document["bound"] = bad.tolist()

    with pytest.raises(CertificateInvalid):
        stored(certificate, whole).verify()

    def one(document, arrays):
        arrays["bound"] = np.array(certificate.bound, dtype=float)
        arrays["bound"].flat[-1] = bad.flat[-1]

    with pytest.raises(CertificateInvalid):
        stored(certificate, one).verify()


@pytest.mark.parametrize("name", ["ridge", "outer-set", "radius", "average-loss"])
def test_what_the_tolerance_lets_through_is_not_believed(name, stored):
    """A sign may hang on it: after `verify` the bound is what the witness proves, in a file written then, too."""
    proved = recompute(name, made(name).claim, made(name).witness)

    def slightly(document, arrays):
        arrays["bound"] = np.asarray(proved - KINDS[made(name).kind][1] * 5e-14)
        document["bound"] = {"array": "bound"} if arrays["bound"].ndim else float(arrays["bound"])

    forged = stored(made(name), slightly)
    assert np.all(forged.bound != proved)
    forged.verify()
    np.testing.assert_array_equal(forged.bound, proved)
    np.testing.assert_array_equal(stored(stored(made(name), slightly)).bound, proved)


def perturbed(values, rng):
    """Ways to alter an array: noise, shrinking, growing, zeros, another order, other numbers, another shape."""
    if values.dtype.kind in "iu":
        yield from (values + 1, np.maximum(values - 1, 0), values[..., ::-1] if values.ndim else values * 0)
    elif values.dtype == bool:
        yield from (~values, np.zeros_like(values), np.ones_like(values))
    elif values.dtype.kind == "f":
        yield from (values + 0.05 * rng.normal(size=values.shape), values * 0.5, values * 2, -values)
        yield from (np.zeros_like(values), np.full_like(values, np.nan), np.full_like(values, np.inf))
        yield from (np.full_like(values, -np.inf), values * 1e12, values * 1e-12)
    yield from ([values[:-1], values[::-1], np.concatenate([values, values])] if values.ndim else [values[None]])


STRIDE = {"partition": 4}
"""Where a check is dear and arrays of one kind are many, every so manieth alteration, others for each array."""


@names
def test_witnesses(name):
    """Whatever is done to the witness: the old bound is refused, or it follows from the new witness all the same."""
    certificate, rng = made(name), np.random.default_rng(0)
    side, refused, stride = KINDS[certificate.kind][1], 0, STRIDE.get(name, 1)
    for number, (key, values) in enumerate(certificate.witness.items()):
        for other in itertools.islice(perturbed(np.asarray(values), rng), number % stride, None, stride):
            altered = replace(certificate, witness={**certificate.witness, key: other})
            try:
                kept = altered.verify()
            except CertificateInvalid:
                refused += 1
                continue
            found = np.asarray(recompute(name, certificate.claim, altered.witness))
            assert (side * (found - kept) <= 0).all()
            np.testing.assert_allclose(kept, certificate.bound, rtol=1e-6)
    assert refused or name in CLOSED_FORM


@names
def test_a_witness_that_is_gone(name):
    certificate = made(name)
    for key in certificate.witness:
        altered = replace(certificate, witness={k: v for k, v in certificate.witness.items() if k != key})
        try:
            np.testing.assert_allclose(altered.verify(), certificate.bound, rtol=1e-6)
        except CertificateInvalid:
            continue
    if name not in CLOSED_FORM:
        with pytest.raises(CertificateInvalid):
            replace(certificate, witness={}).verify()


@names
def test_sets(name, stored):
    certificate = made(name)

    def smaller(document, arrays):
        document["sets"]["1"]["radius"] *= 0.9

    def moved(document, arrays):
        arrays["sets.-1.center"] = arrays["sets.-1.center"] * 0.9

    for change in (smaller, moved):
        with pytest.raises(CertificateInvalid, match="sets of hash"):
            stored(certificate, change)


@names
def test_data(name, stored, tmp_path):
    certificate = made(name)
    claim = certificate.claim
    certificate.save(tmp_path / "two")
    X = np.array(claim.train.X)
    X[1, 0] += 1e-6
    changed = Dataset(X, claim.train.y)
    with pytest.raises(CertificateInvalid, match="hash"):
        Certificate.load(tmp_path / "two", changed, claim.rows)
    with pytest.raises(CertificateInvalid, match="others"):
        certificate.verify(changed)
    if claim.rows is not None:
        with pytest.raises(CertificateInvalid, match="hash"):
            Certificate.load(tmp_path / "two", claim.train, Dataset(claim.rows.X * 1.01, claim.rows.y))
        with pytest.raises(InputError, match="rows"):
            Certificate.load(tmp_path / "two", claim.train)
    for what in ("train", "rows"):
        for value in ("0" * 16, None):

            def other(document, arrays, what=what, value=value):
                document["digests"][what] = value

            if what == "rows" and claim.rows is None and value is None:
                continue
            with pytest.raises(CertificateInvalid if claim.rows is not None or what == "train" else InputError):
                stored(certificate, other)


@names
def test_statements(name, stored):
    """Kind, budget, learner and assumptions are part of what is claimed."""
    certificate = made(name)

    def fails(change):
        with pytest.raises((CertificateInvalid, InputError)):
            stored(certificate, change).verify()

    for kind in set(KINDS) - {certificate.kind} | {"nonsense"}:
        fails(lambda document, arrays, kind=kind: document.update(kind=kind))
    for number in range(len(certificate.assumptions)):
        fails(lambda document, arrays, number=number: document["assumptions"].pop(number))
    if name not in ("min-budget", "partition"):
        fails(lambda document, arrays: document.update(epsilon=document["epsilon"] * 1.5 + 0.01))
    fails(lambda document, arrays: document["problem"].update(reg=0.31))
    fails(lambda document, arrays: document["problem"].update(fit_intercept=False))
    fails(lambda document, arrays: document.update(name="magic"))
    for key in ("name", "kind", "problem", "sets", "digests", "assumptions"):
        fails(lambda document, arrays, key=key: document.pop(key))
    fails(lambda document, arrays: arrays.pop("bound"))


def test_one_row_fewer_deleted_is_another_statement():
    """The witness says how many rows may go: it cannot prove the words of another number."""
    two, one = (certify_deletions(claim_of(Hinge()), number, rounds=0) for number in (2, 1))
    with pytest.raises(CertificateInvalid, match="1 of the clean rows"):
        replace(two, witness=one.witness, bound=one.bound).verify()


def test_bounds_for_another_attacker_do_not_mix():
    """Where the rows are certified against deletions, what holds against insertions alone proves nothing more."""
    claim = claim_of(Hinge(), n=10).about(claim_of(Hinge(), n=10).train)
    whole = certify_test_error(claim, lambda part: certify_deletions(part, 1, rounds=0))
    assert whole.info["average"] is None
    assert whole.verify() == whole.bound
    alone = certify_test_error(claim, certify_ball)
    assert alone.info["average"] is not None
    for prefix in ("high", "sum"):
        own = {key: value for key, value in alone.witness.items() if key.startswith(prefix)}
        others = {key: alone.witness[key] for key in ("cuts", "branch", "dual", "open")}
        mixed = {**whole.witness, **own, **others}
        assert recompute("test-error", claim, mixed) >= recompute("test-error", claim, {**mixed, "cuts": np.zeros(0)})


@pytest.mark.parametrize("certify", [certify_ball, certify_average_loss, certify_ridge])
def test_rows_that_change_under_a_certificate_are_noticed(certify):
    X = np.array(claim_of(Hinge()).train.X)
    loss = Squared() if certify is certify_ridge else Hinge()
    claim = replace(claim_of(loss), train=Dataset(X, claim_of(loss).train.y))
    certificate = certify(claim)
    certificate.verify()
    X[0] += 0.5
    with pytest.raises(CertificateInvalid):
        certificate.verify()


def test_other_sets_are_told_apart():
    certificate = made("ball")
    assert np.isfinite(certificate.verify(sets=certificate.claim.sets)).all()
    wider = ByLabel({1: Ball([0.0, 0.0], 50.0), -1: Ball([0.0, 0.0], 50.0)})
    with pytest.raises(CertificateInvalid, match="feasible sets"):
        certificate.verify(sets=wider)


def test_a_bound_that_was_altered_in_either_file_is_noticed(tmp_path):
    certificate = made("test-error")
    certificate.save(tmp_path / "a")
    place = tmp_path / "a.json"
    document = json.loads(place.read_text(encoding="utf-8"))
    assert document["bound"] == certificate.bound
    place.write_text(json.dumps(document | {"bound": certificate.bound / 2}), encoding="utf-8")
    with pytest.raises(CertificateInvalid, match="one bound in both files"):
        Certificate.load(tmp_path / "a", certificate.claim.train, certificate.claim.rows)
