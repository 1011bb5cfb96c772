import numpy as np
import pytest
from hinge_cases import CONVENTIONS, SHAPES, aims_of, damage, random_poison, small_claim
from hypothesis import given, settings
from hypothesis import strategies as st

from linpoison.certificates.certificate import Certificate, recompute
from linpoison.certificates.hinge.dual import Multipliers, dual_bound
from linpoison.certificates.hinge.frame import frame
from linpoison.certificates.hinge.program import CaseProgram, reference_multipliers
from linpoison.certificates.theory.branching import covers
from linpoison.certificates.theory.exact import certify_exact, recompute_exact
from linpoison.core import CapabilityError, CertificateInvalid, Dataset, InputError, LinearModel, Poison
from linpoison.learners import make_learner
from linpoison.losses import Logistic, Problem
from linpoison.sets import Box, ByLabel

TOL = 1e-3


def framed(claim, **change):
    return frame(claim, reference_multipliers(frame(claim, None)), **change)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_gap_closes(convention):
    claim = small_claim(convention, epsilon=0.05)
    found = certify_exact(claim, tol=TOL)
    assert found.exact.all()
    assert (found.bound - found.info["attack"] <= TOL + 1e-6).all()
    assert (found.bound >= found.info["attack"] - 1e-7).all()
    np.testing.assert_array_equal(found.verify(), found.bound)
    for row, value, stored in zip(range(2), found.info["attack"], found.info["poison"], strict=True):
        assert stored is not None
        poison = Poison(**stored)
        assert poison.total <= claim.epsilon * claim.mass * (1 + 1e-9)
        assert claim.sets.violation(poison).max() < 1e-8
        assert damage(claim, claim.train, poison)[row] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("seed", [1])
def test_dense_sampling_in_the_plane_comes_near_and_never_above(seed):
    claim = small_claim(seed=seed, n=10, epsilon=0.2, rows=1)
    found = certify_exact(claim, tol=TOL)
    best = -np.inf
    for label in (1.0, -1.0):
        ball = claim.sets[int(label)]
        for share in (1.0, 0.8, 0.5, 0.2):
            for angle in np.linspace(0, 2 * np.pi, 30, endpoint=False):
                x = ball.center + share * ball.radius * np.array([np.cos(angle), np.sin(angle)])
                best = max(best, damage(claim, claim.train, Poison([x], [label], [0.2 * claim.mass]))[0])
    assert best <= found.bound[0] + 1e-7
    assert best >= found.bound[0] - 0.02


@pytest.mark.parametrize(("convention", "shape"), [*zip(CONVENTIONS, SHAPES * 2, strict=False), ("free", "box")])
def test_random_poisons_never_exceed_the_bound(convention, shape):
    claim = small_claim(convention, shape=shape, seed=4)
    found = certify_exact(claim, tol=0.05, max_nodes=15, rounds=1)
    rng = np.random.default_rng(0)
    for points in (1, 2, 4) * 5:
        found.check_attack(damage(claim, claim.train, random_poison(claim, rng, points)), what="random points")


def test_weights_stand_for_copies():
    once = small_claim(n=8)
    copies = np.array([2, 1, 1, 1, 3, 1, 1, 1])
    index = np.repeat(np.arange(8), copies)
    weighted = small_claim(n=8, weight=copies.astype(float))
    expanded = type(once)(once.train.take(index), once.problem, once.sets, once.epsilon, once.rows)
    bounds = [certify_exact(claim, tol=TOL).bound for claim in (weighted, expanded)]
    np.testing.assert_allclose(*bounds, atol=2 * TOL)


def test_without_budget_it_is_the_clean_score():
    claim = small_claim(epsilon=0.0)
    found = certify_exact(claim, tol=1e-4)
    np.testing.assert_allclose(found.bound, damage(claim, claim.train), atol=2e-4)
    assert found.info["poison"] == [None, None]


def test_a_greater_budget_does_not_lower_the_bound():
    bounds = [certify_exact(small_claim(epsilon=eps, n=8, rows=1), tol=TOL).bound[0] for eps in (0.02, 0.1, 0.3)]
    assert bounds[0] <= bounds[1] + 2 * TOL
    assert bounds[1] <= bounds[2] + 2 * TOL


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("floored", [False, True])
@pytest.mark.parametrize("epsilon", [0.004, 0.1])
def test_the_dual_meets_the_program(convention, floored, epsilon):
    claim = small_claim(convention, epsilon=epsilon)
    bare = framed(claim)
    program = CaseProgram(bare, floored)
    near = np.abs(make_learner(claim.problem).fit(claim.train).margins(claim.train) - 1)
    for state in (None, np.where(np.arange(10) == np.argmin(near), 2, -1)):
        rows = bare.states(state)
        for aim in bare.aims():
            found = program.solve(aim, rows)
            assert program.problem.status == "optimal"
            assert found.bound == pytest.approx(program.problem.value, abs=3e-6)
            assert found.bound >= program.problem.value - 1e-7


def test_a_case_that_no_model_meets_is_proved_to_end_below_the_floor():
    claim = small_claim(reg=0.05)
    bare = framed(claim)
    state = np.zeros(10, dtype=int)  # every row has margin 1 and pulls nothing
    found = CaseProgram(bare, True).solve(bare.aims()[0], bare.states(state), floor=-0.7)
    assert found.v is None
    assert found.bound <= -0.7 + 1e-6


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_any_multipliers_prove_a_bound(convention):
    claim = small_claim(convention, seed=3)
    bare, rng = framed(claim), np.random.default_rng(1)
    attacks = np.array([damage(claim, claim.train, random_poison(claim, rng)) for _ in range(10)]).max(axis=0)
    program = CaseProgram(bare, False)
    for j, aim in enumerate(bare.aims()):
        good = program.solve(aim, bare.states()).point
        for _ in range(40):
            noise = rng.choice([0.003, 0.05, 1.0])
            point = Multipliers(
                good.p + noise * rng.normal(size=3),
                good.r + noise * rng.normal(size=3),
                max(good.sigma + noise * rng.normal(), 1e-3),
                noise * rng.normal(),
                good.pieces + noise * rng.normal(size=good.pieces.shape),
            )
            assert dual_bound(bare, bare.states(), point, aim) >= attacks[j] - 1e-7


@pytest.mark.parametrize("change", ["nan", "negative sigma", "infinite"])
def test_useless_multipliers_prove_nothing(change):
    bare = framed(small_claim())
    width, pieces = 3, np.zeros((4, 1, 10))
    p, sigma = np.zeros(width), 1.0
    if change == "nan":
        p = p + np.nan
    elif change == "infinite":
        pieces = pieces + np.inf
    else:
        sigma = -1.0
    assert (
        dual_bound(bare, bare.states(), Multipliers(p, np.zeros(width), sigma, 0.0, pieces), bare.aims()[0]) == np.inf
    )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_margins_lie_within_their_bounds_whatever_the_witness(convention):
    claim, rng = small_claim(convention, seed=5), np.random.default_rng(2)
    for a0 in (None, rng.random(10), framed(claim).lower < 1):
        bare = frame(claim, a0)
        for _ in range(8):
            model = make_learner(claim.problem).fit(claim.train.mix(random_poison(claim, rng).as_dataset()))
            margins = model.margins(claim.train)
            assert (margins >= bare.lower - 1e-6).all()
            assert (margins <= bare.upper + 1e-6).all()
            assert (-aims_of(claim) @ model.vector <= [bare.direct(aim) + 1e-6 for aim in bare.aims()]).all()


@pytest.fixture(scope="module")
def made():
    claim = small_claim(n=8)
    return certify_exact(claim, tol=TOL, rounds=1)


def altered(made, **change):
    return Certificate("exact", "score", made.claim, made.bound, made.exact, made.assumptions, made.witness | change)


def test_a_missing_leaf_is_noticed(made):
    leaves = np.flatnonzero(made.witness["row"] == 0)
    assert leaves.size > 2
    for leaf in leaves.tolist():
        keys = ("row", "state", "p", "r", "sigma", "mu", "pieces")
        with pytest.raises(CertificateInvalid):
            altered(made, **{key: np.delete(made.witness[key], leaf, axis=0) for key in keys}).verify()


@pytest.mark.parametrize("key", ["p", "r", "sigma", "pieces", "state", "row", "a0", "margin_p"])
def test_a_tampered_witness_is_noticed(made, key):
    value = made.witness[key]
    change = np.where(value == -1, 0, value) if key == "state" else 1.5 * value + 0.01
    certificate = altered(made, **{key: change})
    with pytest.raises(CertificateInvalid):
        certificate.verify()
    rng = np.random.default_rng(0)
    weaker = recompute_exact(made.claim, certificate.witness)
    assert (weaker >= made.info["attack"] - 1e-7).all()
    assert (weaker >= damage(made.claim, made.claim.train, random_poison(made.claim, rng)) - 1e-7).all()


def test_a_lower_bound_is_noticed(made):
    with pytest.raises(CertificateInvalid, match="altered"):
        Certificate("exact", "score", made.claim, made.bound - 0.01, made.exact, (), made.witness).verify()


def test_an_empty_witness_leaves_the_ball(made):
    bounds = recompute("exact", made.claim, {})
    bare = frame(made.claim, None)
    np.testing.assert_array_equal(bounds, [bare.direct(aim) for aim in bare.aims()])


def test_round_trip(made, tmp_path):
    made.save(tmp_path / "one")
    read = Certificate.load(tmp_path / "one", made.claim.train, made.claim.rows)
    np.testing.assert_array_equal(read.verify(), made.bound)
    assert read.summary()["verified"] is True


def test_an_interrupt_keeps_what_is_proved():
    claim = small_claim(n=10, seed=2)
    calls = []

    def stop(done, total, what):
        calls.append((done, total, what))
        if done == 8:
            raise KeyboardInterrupt

    found = certify_exact(claim, tol=1e-5, max_nodes=50, progress=stop, rounds=0)
    assert calls[0] == (1, 50, "nodes")
    assert found.info["interrupted"] is True
    assert not found.exact[1]
    np.testing.assert_array_equal(found.verify(), found.bound)
    root = certify_exact(claim, tol=1e-5, max_nodes=1, rounds=0)
    ball = np.array([framed(claim).direct(aim) for aim in framed(claim).aims()])
    assert found.bound[0] <= root.bound[0] + 1e-9
    assert found.bound[1] == pytest.approx(ball[1])
    found.check_attack(damage(claim, claim.train))


def test_more_nodes_and_rounds_tighten():
    claim = small_claim(n=8, seed=6)
    bounds = [certify_exact(claim, tol=1e-5, max_nodes=nodes, rounds=0).bound for nodes in (1, 12, 60)]
    assert (bounds[0] >= bounds[1] - 1e-7).all()
    assert (bounds[1] >= bounds[2] - 1e-7).all()
    assert bounds[0][0] > bounds[2][0] + 1e-3
    assert (certify_exact(claim, max_nodes=1, rounds=2).bound <= bounds[0] + 1e-7).all()
    limited = certify_exact(claim, tol=1e-5, max_nodes=2, rounds=0)
    assert limited.info["nodes"] <= 2 * (2 + 2)


def test_what_it_cannot_do_is_refused():
    claim = small_claim()
    other = type(claim)(claim.train, Problem(Logistic(), 0.1), claim.sets, 0.1, claim.rows)
    with pytest.raises(CapabilityError, match="hinge"):
        certify_exact(other)
    with pytest.raises(InputError, match="tol"):
        certify_exact(claim, tol=0.0)
    with pytest.raises(InputError, match="max_nodes"):
        certify_exact(claim, max_nodes=0)
    with pytest.raises(InputError, match="rows"):
        certify_exact(type(claim)(claim.train, claim.problem, claim.sets, 0.1))
    y = np.where(np.arange(2500) % 2 == 0, 1.0, -1.0)
    many = type(claim)(Dataset(y[:, None] * np.ones((1, 2)), y), claim.problem, claim.sets, 0.1, claim.rows)
    with pytest.raises(CapabilityError, match="2500"):
        certify_exact(many)


@pytest.mark.parametrize("convention", ["penalised", "free"])
def test_unbounded_sets_leave_the_norm_or_nothing(convention):
    claim = small_claim(convention)
    nowhere = Box(np.full(2, -np.inf), np.full(2, np.inf))
    loose = type(claim)(claim.train, claim.problem, ByLabel({1: nowhere, -1: nowhere}), 0.1, claim.rows)
    found = certify_exact(loose, max_nodes=4, rounds=0)
    if convention == "free":
        assert np.isinf(found.bound).all()
    else:
        assert np.isfinite(found.bound).all()
        assert (found.bound >= np.abs(LinearModel(np.zeros(2)).decision_function(claim.rows.X))).all()


@st.composite
def trees(draw):
    """Cases of a random tree over four rows."""
    cases = [[-1] * 4]
    for _ in range(draw(st.integers(0, 6))):
        chosen = draw(st.integers(0, len(cases) - 1))
        open_rows = [row for row, value in enumerate(cases[chosen]) if value == -1]
        if open_rows:
            row = draw(st.sampled_from(open_rows))
            case = cases.pop(chosen)
            cases += [[*case[:row], kind, *case[row + 1 :]] for kind in (0, 1, 2)]
    return np.array(cases)


@given(trees(), st.data())
@settings(max_examples=40)
def test_a_tree_covers_everything_and_no_part_of_it_does(cases, data):
    assert covers(cases)
    assert covers(np.vstack([cases, cases[:1]]))
    dropped = data.draw(st.integers(0, len(cases) - 1))
    assert not covers(np.delete(cases, dropped, axis=0))
