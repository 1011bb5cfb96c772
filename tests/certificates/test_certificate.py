import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from linpoison.certificates.certificate import Certificate, check
from linpoison.certificates.claim import Claim
from linpoison.core import CertificateInvalid, CertificateViolated, Dataset, InputError
from linpoison.losses import Hinge, Problem, SmoothHinge
from linpoison.sets import (
    Ball,
    Box,
    ByLabel,
    CountBall,
    Halfspace,
    Slab,
    SubspaceTube,
    intersect,
    pack_sets,
    sets_digest,
    unpack_sets,
)  # fmt: skip


@check("test-lipschitz")
def recompute_lipschitz(claim, witness):
    """A made-up bound: the price times the radius."""
    return float(np.abs(witness["price"]).sum() * claim.sets[1].support([1.0, 0.0])[0])


def claim(radius=2.0, **changes):
    train = Dataset([[1.0, 0.0], [-1.0, 0.5], [0.8, 0.1]], [1, -1, 1])
    sets = ByLabel({1: Ball([0.0, 0.0], radius), -1: Ball([0.0, 0.0], 1.0)})
    values = {"problem": Problem(SmoothHinge(0.3), 0.1), "rows": Dataset([[2.0, 2.0]], [1]), **changes}
    return Claim(train, values["problem"], sets, 0.1, values["rows"])


def certificate(**changes):
    spoken = claim(**changes)
    witness = {"price": np.array([1.0, 0.5])}
    bound = recompute_lipschitz(spoken, witness)
    return Certificate(
        "test-lipschitz", "score", spoken, bound, False, spoken.assumptions(), witness, 0.1, {"steps": 3}
    )


def test_round_trip_keeps_everything(tmp_path):
    made = certificate()
    made.save(tmp_path / "deep" / "one.json")
    read = Certificate.load(tmp_path / "deep" / "one", made.claim.train, made.claim.rows)
    assert read.verify(made.claim.train, made.claim.rows) == made.bound == 3.0
    assert read.summary() == made.summary()
    assert read.claim.problem == made.claim.problem
    assert read.info == {"steps": 3}


def edit(path, change):
    document = json.loads(path.with_suffix(".json").read_text())
    with np.load(path.with_suffix(".npz")) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(document, arrays)
    path.with_suffix(".json").write_text(json.dumps(document))
    np.savez(path.with_suffix(".npz"), **arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda document, arrays: arrays.update({"witness.price": np.array([1.0, 0.4])}),
        lambda document, arrays: arrays.update({"bound": np.array(2.9)}),
        lambda document, arrays: arrays.update({"sets.1.center": np.array([0.1, 0.0])}),
        lambda document, arrays: document["sets"]["1"].update(radius=1.9),
        lambda document, arrays: arrays.update({"witness.price": np.array([np.nan, 0.4])}),
    ],
    ids=["witness", "bound", "center", "radius", "nan"],
)
def test_tampering_is_noticed(tmp_path, change):
    made = certificate()
    made.save(tmp_path / "one")
    edit(tmp_path / "one", change)
    with pytest.raises(CertificateInvalid):
        Certificate.load(tmp_path / "one", made.claim.train, made.claim.rows).verify()


def test_other_data_are_noticed(tmp_path):
    made = certificate()
    made.save(tmp_path / "one")
    other = Dataset(made.claim.train.X + 1e-9, made.claim.train.y)
    with pytest.raises(CertificateInvalid, match="hash"):
        Certificate.load(tmp_path / "one", other, made.claim.rows)
    with pytest.raises(CertificateInvalid, match="others"):
        made.verify(other)
    with pytest.raises(InputError, match="rows"):
        Certificate.load(tmp_path / "one", made.claim.train)
    with pytest.raises(InputError, match="a certificate"):
        Certificate.load(tmp_path / "none", made.claim.train)


def test_another_problem_or_budget_is_noticed():
    made, own = certificate(), claim()
    assert made.verify(claim=own) == 3.0
    for other, what in (
        (own.at(0.2), "budget 0.2"),
        (claim(problem=Problem(SmoothHinge(0.3), 0.2)), "reg 0.2"),
        (claim(problem=Problem(SmoothHinge(0.4), 0.1)), "loss"),
        (claim(problem=Problem(SmoothHinge(0.3), 0.1, penalize_intercept=False)), "penalize_intercept False"),
        (claim(problem=Problem(SmoothHinge(0.3), 0.1, fit_intercept=False)), "fit_intercept False"),
        (claim(problem=Problem(SmoothHinge(0.3), 0.1, scaling="sum", n_reference=3)), "scaling 'sum'"),
        (claim(radius=3.0), "sets"),
        (claim(rows=Dataset([[2.0, 2.1]], [1])), "rows"),
        (claim(rows=None), "rows"),
        (Claim(Dataset(own.train.X + 1e-9, own.train.y), own.problem, own.sets, 0.1, own.rows), "training rows"),
    ):
        with pytest.raises(CertificateInvalid, match=what):
            made.verify(claim=other)


def test_hashes_are_whole():
    own = claim()
    assert len(own.train.digest()) == len(sets_digest(own.sets)) == 64


def test_whether_a_bound_is_attained_is_said_to_be_unverified():
    made = certificate()
    assert made.summary()["exact_verified"] is False
    claimed = replace(made, exact=True)
    assert claimed.verify() == 3.0  # no word of `exact` is believed, nor stated as verified
    assert claimed.summary()["exact_verified"] is False


def nested(depth):
    inner = {"set": "Ball", "relation": "exact", "center": {"array": "sets.1.center"}, "radius": 2.0}
    for _ in range(depth):
        inner = {"set": "Intersection", "sets": [inner]}
    return inner


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda document, arrays: arrays.update({"witness.price": np.zeros(2_000_000)}),
            "A claim about these rows needs no more",
        ),
        (lambda document, arrays: arrays.update({"bound": np.zeros(2)}), "for each of 1 rows"),
        (lambda document, arrays: arrays.update({"exact": np.zeros((1, 1))}), "for each of 1 rows"),
        (lambda document, arrays: document["sets"].update({"1": nested(300)}), "4 deep"),
        (
            lambda document, arrays: document["sets"].update({"1": {**nested(1), "sets": nested(1)["sets"] * 65}}),
            "64 sets",
        ),
        (lambda document, arrays: document.update(format=1), "Make it again"),
    ],
    ids=["array", "bound", "exact", "depth", "sets", "format"],
)
def test_sizes_are_held_against_the_claim_before_memory_is_taken(tmp_path, change, words):
    made = certificate()
    made.save(tmp_path / "one")
    edit(tmp_path / "one", change)
    with pytest.raises(InputError, match=words):
        Certificate.load(tmp_path / "one", made.claim.train, made.claim.rows)


def test_an_archive_that_promises_more_than_it_holds_is_not_unpacked(tmp_path):
    made = certificate()
    made.save(tmp_path / "one")
    header = np.lib.format.magic(1, 0)
    words = "{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000,), }"
    with zipfile.ZipFile(tmp_path / "one.npz", "a") as archive:
        padded = words.ljust(117) + "\n"
        archive.writestr("witness.huge.npy", header + len(padded).to_bytes(2, "little") + padded.encode())
    with pytest.raises(InputError, match="witness.huge"):
        Certificate.load(tmp_path / "one", made.claim.train, made.claim.rows)
    (tmp_path / "one.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested too deep|a certificate in"):
        Certificate.load(tmp_path / "one", made.claim.train, made.claim.rows)


def test_an_attack_beyond_the_bound_raises():
    made = certificate()
    made.check_attack(3.0)
    with pytest.raises(CertificateViolated, match="refined"):
        made.check_attack(3.1, what="refined")


def test_inner_sets_are_refused():
    sets = ByLabel({1: Ball([0.0], 1.0, relation="inner"), -1: Ball([0.0], 1.0)})
    with pytest.raises(InputError, match="hold every row"):
        Claim(Dataset([[1.0], [-1.0]], [1, -1]), Problem(Hinge(), 0.1), sets, 0.1)


def test_regulariser_follows_the_scaling():
    mean = claim().reg
    total = claim(problem=Problem(Hinge(), 0.1, scaling="sum", n_reference=6)).reg
    assert mean == pytest.approx(0.11)
    assert total == pytest.approx(0.2)


def test_every_set_is_packed():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(3, 2)))[0]
    first = intersect(
        Ball(rng.normal(size=3), 2.0),
        Slab([1.0, 0.0, 0.0], 0.1, 0.5),
        Halfspace([0.0, 1.0, 1.0], 0.7),
        Box([-1.0, -np.inf, 0.0], [1.0, np.inf, 3.0]),
        SubspaceTube(basis, 1.5),
    )
    sets = ByLabel({1: first, -1: CountBall([1.0, 0.5, 0.2], 2.0, [3, 2, 1])})
    again = unpack_sets(*pack_sets(sets))
    X = rng.normal(size=(20, 3))
    for label in (1, -1):
        np.testing.assert_array_equal(sets[label].violation(X), again[label].violation(X))
    assert sets_digest(sets) == sets_digest(again)
    assert sets_digest(sets) != sets_digest(ByLabel({1: sets[-1], -1: sets[1]}))


@pytest.mark.parametrize(("kind", "least"), [("budget", 3.0), ("insertions", 4.0)])
def test_success_needs_the_budget_or_one_more_insertion(kind, least):
    made = certificate()
    proof = Certificate("test-lipschitz", kind, made.claim, 3.0, False, (), made.witness)
    proof.check_attack(least)
    with pytest.raises(CertificateViolated):
        proof.check_attack(least - 0.1)


def test_the_words_tell_regularisers_apart_that_share_six_digits():
    for reg in ("0.1234561", "0.1234562", "0.1"):
        assert f"reg {reg}," in claim(problem=Problem(Hinge(), float(reg))).assumptions()[3]
