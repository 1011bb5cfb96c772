"""Forged certificates: `verify` says no, or what it returns is a bound that attacks respect; nothing else is raised."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from test_tampering import CASES, CLOSED_FORM, made

from linpoison.certificates import Certificate, budget_poison, certify_ridge, recompute, ridge_attack
from linpoison.certificates.certificate import KINDS
from linpoison.certificates.ridge.model import RidgeSystem, comparator_bounds
from linpoison.certificates.saddle.certify import average_value
from linpoison.core import CertificateInvalid, Dataset, LinpoisonError, Poison
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Squared
from linpoison.sets import Ball, ByLabel, intersect

names = pytest.mark.parametrize("name", CASES)
STRIDE = {"radius": 16, "partition": 31, "exact": 31, "deletions": 12,
          "flips": 12, "outer-set": 9, "test-error": 9}  # fmt: skip
"""Where a check is dear, every so manieth forgery, others for each array."""


def forgeries(values, rng):
    """Other numbers, other kinds, other shapes."""
    v = np.asarray(values)
    for number in (np.nan, np.inf, -np.inf, 1e300, -1.7e308, 5e-324, 2**62, -1, 2**64 - 1):
        yield np.full(v.shape, number)
    yield from (10**400, None, "abc", {}, [1, [2, 3]], np.zeros(0), 1, np.array(True), np.zeros((3, 3, 3, 3)))
    yield from (np.full(v.shape, None, dtype=object), np.full(v.shape, 1j), np.full(v.shape, "x"))
    yield from (np.full(v.shape, np.datetime64("2020")), np.zeros(v.shape, dtype=[("a", float)]), v[None], v.T)
    yield from (np.full(v.shape, b"\xff"), np.ma.masked_all(v.shape), sp.csr_array(np.eye(2)))
    yield np.concatenate([np.ravel(v)] * 3)
    if v.dtype.kind == "f":
        yield from (v.astype(np.float16), v.astype(np.longdouble))
        yield from (v + size * rng.normal(size=v.shape) for size in (1e-3, 1.0, 1e6, 1e16, 1e30, 1e150))
    if v.dtype.kind in "iu":
        yield from (v + 1, v + 100)


@functools.cache
def attacked(name):
    """What poison of the whole budget does, and the clean model: ``(scores, losses, errors)`` of each model."""
    claim = made(name).claim
    data = [claim.train]
    for label in (1.0, -1.0):
        point = claim.sets[int(label)].support(-label * np.array([0.9, 0.5]))[None]
        poison = Poison(point, np.array([label]), np.array([claim.epsilon * claim.mass * (1 - 1e-9)]))
        data += [claim.train.mix(poison.as_dataset())] if poison.total and name != "ridge-flips" else []
    return [make_learner(claim.problem).fit(rows) for rows in data]


def respected(name, certificate, bound):
    """That attacks respect a bound."""
    claim, rows = certificate.claim, certificate.claim.rows
    if certificate.kind == "budget":
        return bound <= made(name).info["primal"] * (1 + 1e-6)
    if KINDS[certificate.kind][1] < 0:
        return (bound <= np.asarray(made(name).bound) + made(name).info.get("resolution", 0.0)).all()
    for model in attacked(name):
        done = {
            "score": -rows.y * model.decision_function(rows.X),
            "error": np.mean(rows.y * model.decision_function(rows.X) <= 0),
            "loss": average_value(claim, model.vector, plain=name == "average-loss"),
        }[certificate.kind]
        if (done > np.asarray(bound) + 1e-6).any():
            return False
    return True


@names
def test_witnesses(name):
    """With the bound of before, and with the one that follows from the forged witness."""
    certificate, rng = made(name), np.random.default_rng(0)
    stride = STRIDE.get(name, 1)
    for number, key in enumerate(certificate.witness):
        for other in list(forgeries(certificate.witness[key], rng))[number % stride :: stride]:
            forged = replace(certificate, witness={**certificate.witness, key: other})
            try:
                bound = recompute(name, certificate.claim, forged.witness)
                found = replace(forged, bound=bound).verify(claim=certificate.claim)
                assert respected(name, certificate, found)
            except LinpoisonError:
                continue
            if not np.array_equal(bound, certificate.bound):
                try:
                    kept = forged.verify()
                except CertificateInvalid:
                    continue
                np.testing.assert_allclose(kept, certificate.bound, rtol=1e-6)


@names
def test_parts(name):
    """Whatever stands in place of a part."""
    certificate = made(name)
    junk = (None, 1, 1j, "x", [], {}, (1,), np.nan, np.inf, 10**400, np.array(None), object())
    for part in ("name", "kind", "claim", "bound", "assumptions", "witness"):
        for value in junk:
            if part == "witness" and value == {} and name in CLOSED_FORM:
                continue
            with pytest.raises(LinpoisonError):
                replace(certificate, **{part: value}).verify()
    for value in junk[1:]:
        with pytest.raises(LinpoisonError):
            certificate.verify(claim=value)
        for part in ("train", "rows", "sets"):
            with pytest.raises(LinpoisonError):
                certificate.verify(**{part: value})


@names
def test_other_claims(name):
    """A claim of another learner, budget, sets or rows is refused where it is asked for."""
    certificate, claim = made(name), made(name).claim
    problem = claim.problem
    other = Logistic() if isinstance(problem.loss, Squared | Hinge) else Hinge()
    deep = claim.sets[1]
    for _ in range(60):
        deep = intersect(deep, Ball(np.zeros(2), 9.0))
    claims = [
        replace(claim, problem=replace(problem, reg=problem.reg * (1 + 1e-12))),
        replace(claim, problem=replace(problem, loss=other)),
        replace(claim, problem=replace(problem, penalize_intercept=False)),
        replace(claim, problem=replace(problem, scaling="sum", n_reference=16.0)),
        claim.at(claim.epsilon + 1e-12),
        replace(claim, sets=ByLabel({1: claim.sets[1], -1: Ball(claim.sets[-1].center, 1.6 + 1e-12)})),
        replace(claim, sets=ByLabel({1: deep, -1: claim.sets[-1]})),
        replace(claim, train=replace(claim.train, weight=claim.train.weight * (1 + 1e-12))),
        claim.about(Dataset(-np.ones((4, 2)), [1, -1, 1, -1])),
    ]
    for spoken in claims:
        with pytest.raises(CertificateInvalid):
            certificate.verify(claim=spoken)


@pytest.mark.parametrize("name", ["ridge", "average-loss", "average-objective", "naive", "steinhardt"])
def test_comparators_that_prove_less_than_none_are_refused(name):
    """What needs no witness is proved whatever the comparator: a weaker bound does not follow from it."""
    certificate, rng = made(name), np.random.default_rng(0)
    key = {"ridge": "comparator", "naive": "t", "steinhardt": "t"}.get(name, "v")
    for size in (1e3, 1e16, 1e150, np.nan, np.inf):
        value = certificate.witness[key] + size * rng.normal(size=certificate.witness[key].shape)
        forged = {**certificate.witness, key: value}
        for weaker in (certificate.bound + 1.0, np.full(np.shape(certificate.bound), np.inf)):
            with pytest.raises(CertificateInvalid, match="altered"):
                replace(certificate, witness=forged, bound=weaker).verify()
        if "ridge" in name:
            V = np.nan_to_num(value, posinf=1e300)
            lie = comparator_bounds(RidgeSystem.of(certificate.claim), V)
            with pytest.raises(CertificateInvalid, match="altered"):
                replace(certificate, witness=forged, bound=lie).verify()


def test_attacks_of_forged_witnesses():
    ridge, budget = made("ridge"), made("min-budget")
    for part in ("X", "y", "mass", "row"):
        for value in (np.zeros(0), np.zeros((2, 2, 2)), np.array(1.0), np.full(3, np.nan)):
            with pytest.raises(LinpoisonError):
                ridge_attack(replace(ridge, witness={**ridge.witness, f"attack_{part}": value}), 0)
    for part in ("y", "count"):
        with pytest.raises(LinpoisonError):
            budget_poison(replace(budget, witness={**budget.witness, f"poison_{part}": np.zeros(7)}))


def nested(depth):
    value = {"set": "Ball", "radius": 1.0}
    for _ in range(depth):
        value = {"set": "Intersection", "sets": [value]}
    return value


@pytest.mark.parametrize("name", ["ridge", "min-budget", "outer-set"])
def test_documents(name, tmp_path):
    """Junk in each field of a file, and sets in sets in sets."""
    certificate = made(name)
    certificate.save(tmp_path / "one")
    text = (tmp_path / "one.json").read_text()
    honest = json.loads(text)
    junk = (None, 1, -1, "x", [], {}, [[]], True, float("nan"), float("inf"), "1e400", [1, [2]], 10**400)

    def read(document):
        (tmp_path / "one.json").write_text(json.dumps(document))
        try:
            Certificate.load(tmp_path / "one", certificate.claim.train, certificate.claim.rows).verify()
        except LinpoisonError:
            return False
        return True

    assert read(honest)
    for key in ("format", "name", "kind", "epsilon", "assumptions", "problem", "sets", "digests"):
        assert not any(read({**honest, key: value}) for value in junk if value != honest[key]), key
    for part in ("problem", "digests", "sets"):
        for key in honest[part]:
            for value in junk if key != "n_reference" else ():  # of no effect under mean scaling
                if value != honest[part][key] and not (part == "digests" and value is None):
                    assert not read({**honest, part: {**honest[part], key: value}}), (part, key, value)
    for depth in (10, 400):
        assert not read({**honest, "sets": {**honest["sets"], "1": nested(depth)}})
    for opening in ('{"a":', "["):
        (tmp_path / "one.json").write_text(opening * 100_000)
        with pytest.raises(LinpoisonError):
            Certificate.load(tmp_path / "one", certificate.claim.train, certificate.claim.rows)


def test_the_clean_model_is_a_comparator_of_ridge():
    """It is never worse to have a witness, and without a budget none is needed."""
    claim = made("ridge").claim
    found = certify_ridge(claim)
    plain = recompute("ridge", claim, {})
    assert (found.bound <= plain).all()
    assert (found.bound < plain - 1e-4).any()
    at_zero = certify_ridge(claim.at(0.0))
    np.testing.assert_array_equal(recompute("ridge", claim.at(0.0), {}), at_zero.bound)
