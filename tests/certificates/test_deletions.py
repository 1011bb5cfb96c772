from dataclasses import replace

import numpy as np
import pytest
from hinge_cases import CONVENTIONS, aims_of, brute_force, damage, random_poison, small_claim

from linpoison.certificates.certificate import Certificate, recompute
from linpoison.certificates.hinge.deletions import certify_deletions, certify_flips
from linpoison.certificates.hinge.dual import Multipliers, dual_bound
from linpoison.certificates.hinge.frame import frame
from linpoison.certificates.hinge.program import CaseProgram, reference_multipliers
from linpoison.certificates.theory.exact import certify_exact
from linpoison.core import CapabilityError, CertificateInvalid, InputError
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Problem, SmoothHinge

CERTIFY = {"deletions": certify_deletions, "flips": certify_flips}


def ball_of(claim, count, flips):
    reg = claim.reg
    if not flips and claim.problem.scaling == "mean":
        reg = claim.problem.reg * (1 + claim.epsilon - count / claim.mass)
    a0 = reference_multipliers(frame(claim, None, reg=reg))
    bare = frame(claim, a0, reg=reg, changed=count / claim.mass, flips=flips)
    return np.array([bare.direct(aim) for aim in bare.aims()])


@pytest.mark.parametrize(
    ("convention", "count", "name"),
    [
        ("penalised", 1, "deletions"),
        ("penalised", 2, "flips"),
        ("no intercept", 2, "deletions"),
        ("free", 1, "deletions"),
        ("free", 1, "flips"),
        ("sum", 2, "flips"),
    ],
)
def test_enumeration_never_exceeds_a_bound_that_is_much_below_the_ball(convention, name, count):
    claim = small_claim(convention, epsilon=0.0, reg=0.3)
    best = brute_force(claim, count, name == "flips")
    found = CERTIFY[name](claim, count)
    found.check_attack(best, what="enumeration", tol=1e-6)
    np.testing.assert_array_equal(found.verify(), found.bound)
    assert (found.info["attack"] <= best + 1e-5).all()
    clean, ball = damage(claim, claim.train), ball_of(claim, count, name == "flips")
    assert ((found.bound - clean) < 0.75 * (ball - clean)).all()
    assert ((found.bound - best) < 0.35 * (ball - best)).all()


@pytest.mark.parametrize("name", CERTIFY)
def test_sixteen_rows(name):
    claim = small_claim("sum", n=16, d=3, epsilon=0.0, reg=0.2, seed=7, rows=1)
    best = brute_force(claim, 2, name == "flips")
    found = CERTIFY[name](claim, 2)
    assert best[0] <= found.bound[0] + 1e-6
    assert found.bound[0] - best[0] < 0.4 * (ball_of(claim, 2, name == "flips")[0] - best[0])


@pytest.mark.parametrize(
    ("convention", "name"), [(convention, list(CERTIFY)[i % len(CERTIFY)]) for i, convention in enumerate(CONVENTIONS)]
)
def test_changed_rows_together_with_poison(convention, name):
    claim = small_claim(convention, epsilon=0.1, n=10, reg=0.3)
    found = CERTIFY[name](claim, 1, rounds=1)
    rng = np.random.default_rng(0)
    for row in range(claim.train.n):
        sign = np.where(np.arange(claim.train.n) == row, -1.0, 1.0)
        train = claim.train.take(sign > 0)
        if name == "flips":
            train = type(claim.train)(claim.train.X, claim.train.y * sign)
        for points in (1, 3):
            found.check_attack(damage(claim, train, random_poison(claim, rng, points)), what="both")
    found.check_attack(found.info["attack"])
    alone = CERTIFY[name](claim.at(0.0), 1, rounds=1)
    assert (found.bound > alone.bound).all()


@pytest.mark.parametrize("name", CERTIFY)
def test_without_changes_it_is_the_root_of_the_search(name):
    claim = small_claim()
    root = certify_exact(claim, max_nodes=1, rounds=1)
    np.testing.assert_allclose(CERTIFY[name](claim, 0, rounds=1).bound, root.bound, atol=1e-5)


@pytest.mark.parametrize("name", CERTIFY)
def test_more_changes_and_fewer_rounds_do_not_lower_the_bound(name):
    claim = small_claim(n=8, epsilon=0.0)
    certify = CERTIFY[name]
    by_count = [certify(claim, count, rounds=1).bound for count in (0, 1, 2)]
    assert (np.diff(by_count, axis=0) >= -1e-6).all()
    by_rounds = [certify(claim, 1, rounds=0).bound, by_count[1], certify(claim, 1, rounds=3).bound]
    assert (np.diff(by_rounds, axis=0) <= 1e-6).all()
    assert (by_rounds[2] < by_rounds[0] - 0.02).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("count", [0.02, 1, 2])
def test_the_dual_meets_the_program(convention, flips, count):
    claim = small_claim(convention, epsilon=0.003 if count < 1 else 0.05)
    pinned = replace(claim.problem, scaling="sum", n_reference=claim.mass)
    # under mean scaling the bound counts clean rows, or flipped ones, as poison too; the program does not know them
    claim = replace(claim, problem=pinned)
    a0 = reference_multipliers(frame(claim, None))
    bare = frame(claim, a0, changed=count / claim.mass, flips=flips)
    program = CaseProgram(bare, False)
    for aim in bare.aims():
        found = program.solve(aim, bare.states())
        assert found.bound == pytest.approx(program.problem.value, abs=5e-6)
        assert found.bound >= program.problem.value - 1e-7


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("convention", ["penalised", "free"])
def test_any_multipliers_prove_a_bound(convention, flips):
    claim = small_claim(convention, epsilon=0.0, seed=3)
    best = brute_force(claim, 1, flips)
    reg = claim.reg * (1 if flips else 1 - 1 / claim.mass)
    bare = frame(claim, reference_multipliers(frame(claim, None, reg=reg)), reg=reg, changed=0.1, flips=flips)
    program, rng = CaseProgram(bare, False), np.random.default_rng(1)
    for j, aim in enumerate(bare.aims()):
        good = program.solve(aim, bare.states()).point
        for _ in range(30):
            noise = rng.choice([0.003, 0.05, 1.0])
            point = Multipliers(
                good.p + noise * rng.normal(size=3),
                good.r + noise * rng.normal(size=3),
                max(good.sigma + noise * rng.normal(), 1e-3),
                good.mu + noise * rng.normal(),
                good.pieces + noise * rng.normal(size=good.pieces.shape),
            )
            bound = dual_bound(bare, bare.states(), point, aim)
            assert bound >= (best[j] if flips else deleted_exactly(claim, j)) - 1e-7


def deleted_exactly(claim, j):
    """The most that the deletion of exactly one row does to row j."""
    kept = [np.arange(claim.train.n) != row for row in range(claim.train.n)]
    return max(damage(claim, claim.train.take(rows))[j] for rows in kept)


def test_margins_of_changed_data_lie_within_the_bounds():
    claim = small_claim(epsilon=0.0, seed=8)
    for flips in (False, True):
        reg = claim.reg * (1 if flips else 1 - 1 / claim.mass)
        for a0 in (None, np.random.default_rng(0).random(10), reference_multipliers(frame(claim, None, reg=reg))):
            bare = frame(claim, a0, reg=reg, changed=0.1, flips=flips)
            for row in range(10):
                sign = np.where(np.arange(10) == row, -1.0, 1.0)
                changed = type(claim.train)(claim.train.X, claim.train.y * sign)
                model = make_learner(claim.problem).fit(changed if flips else claim.train.take(sign > 0))
                margins = model.margins(claim.train)
                assert (margins >= bare.lower - 1e-6).all()
                assert (margins <= bare.upper + 1e-6).all()
                assert (-aims_of(claim) @ model.vector <= [bare.direct(aim) + 1e-6 for aim in bare.aims()]).all()


@pytest.fixture(scope="module", params=CERTIFY)
def made(request):
    return CERTIFY[request.param](small_claim(n=10, epsilon=0.05, reg=0.3), 1, rounds=1)


@pytest.mark.parametrize("key", ["p", "sigma", "pieces", "a0", "removed"])
def test_a_tampered_witness_is_noticed(made, key):
    witness = made.witness | {key: 1.5 * made.witness[key] + 0.01}
    claimed = Certificate(made.name, "score", made.claim, made.bound, made.exact, made.assumptions, witness)
    with pytest.raises(CertificateInvalid):
        claimed.verify()
    assert (recompute(made.name, made.claim, witness) >= made.info["attack"] - 1e-7).all()


@pytest.mark.parametrize("removed", [np.nan, -1.0, 1e9, np.array([1.0, 2.0])])
def test_a_statement_that_makes_no_sense_proves_nothing(made, removed):
    assert np.isinf(recompute(made.name, made.claim, made.witness | {"removed": np.array(removed)})).all()
    assert np.isinf(recompute(made.name, made.claim, {})).all()


def test_a_missing_part_leaves_the_ball(made):
    flips = made.name == "flips"
    for change in ({"p": made.witness["p"][:-1]}, {"a0": np.zeros(3)}, {"sigma": np.zeros((2, 2))}):
        found = recompute(made.name, made.claim, made.witness | change)
        assert (found >= made.bound).all()
        assert np.isfinite(found).all()
    without = {"removed": made.witness["removed"], "a0": made.witness["a0"]}
    assert (recompute(made.name, made.claim, without) >= ball_of(made.claim, 1, flips) - 1e-6).all()


def test_round_trip(made, tmp_path):
    made.save(tmp_path / "one")
    read = Certificate.load(tmp_path / "one", made.claim.train, made.claim.rows)
    np.testing.assert_array_equal(read.verify(), made.bound)
    assert any("at most" in word for word in read.assumptions)


def test_words_say_what_may_change():
    claim = small_claim(epsilon=0.05)
    words = " ".join(certify_deletions(claim, 1, rounds=0).assumptions)
    assert "1 of the clean rows" in words
    assert "filter" in words
    assert "none of them is removed" not in words
    words = " ".join(certify_flips(claim.at(0.0), 2, rounds=0).assumptions)
    assert "labels of 2 clean rows" in words
    assert "no row is inserted" in words


def test_a_filter_that_is_fitted_again():
    """Rows that the l2 defence removes of clean rows and poison; only poison that it keeps need lie in the sets."""
    claim = small_claim(n=22, epsilon=0.05, reg=0.4, seed=1)
    count = 2  # rows that the defence removes at most, however the poison is split
    found = certify_deletions(claim, count, rounds=1)
    rng = np.random.default_rng(3)
    for _ in range(6):
        poison = random_poison(claim, rng, 1)
        mixed = claim.train.mix(type(poison)(poison.X, poison.y, [1.0]).as_dataset())
        defense = make_defense("l2", remove=0.05, problem=claim.problem)
        defense.fit(mixed.X, mixed.y)
        kept = mixed.take(defense.sample_indices_)
        assert claim.train.n - (defense.sample_indices_ < claim.train.n).sum() <= count
        found.check_attack(damage(claim, kept), what="refitted l2")


def test_what_it_cannot_do_is_refused():
    claim = small_claim()
    smooth = type(claim)(claim.train, Problem(SmoothHinge(0.1), 0.1), claim.sets, 0.1, claim.rows)
    with pytest.raises(CapabilityError, match="hinge"):
        certify_flips(smooth, 1)
    for certify in CERTIFY.values():
        with pytest.raises(InputError, match="whole number"):
            certify(claim, 1.5)
        with pytest.raises(InputError, match="rounds"):
            certify(claim, 1, rounds=-1)
        with pytest.raises(InputError, match="fewer rows"):
            certify(claim, 10)
    fractional = small_claim(weight=np.full(10, 0.5))
    with pytest.raises(InputError, match="whole copies"):
        certify_deletions(fractional, 1)
    assert np.isfinite(certify_flips(fractional, 1, rounds=0).bound).all()


def test_a_class_that_may_vanish_leaves_a_free_intercept_unbounded():
    claim = small_claim("free", n=4, epsilon=0.0)
    assert np.isinf(certify_deletions(claim, 2).bound).all()
    assert np.isfinite(certify_deletions(claim, 1).bound).all()
