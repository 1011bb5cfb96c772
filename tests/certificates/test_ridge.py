from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from ridge_cases import CONVENTIONS, random_poison, ridge_claim, ridge_problem, scores

from linpoison.certificates.certificate import Certificate
from linpoison.certificates.claim import Claim
from linpoison.certificates.ridge import model as ridge_model
from linpoison.certificates.ridge.certify import certify_ridge, recompute_ridge, ridge_attack
from linpoison.certificates.ridge.columns import ColumnDual
from linpoison.certificates.ridge.conic import RidgeProgram
from linpoison.certificates.ridge.model import GROUPS, RidgeSystem, comparator_bounds
from linpoison.core import CapabilityError, CertificateInvalid, CertificateViolated, Dataset, InputError
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, Box, ByLabel, Halfspace, Intersection

EVERY = list(product(range(len(CONVENTIONS)), ("mean", "sum"), ("ball", "slab")))
PAIRS = [case for case in EVERY if (case[0] + (case[1] == "sum") + (case[2] == "slab")) % 2 == 0]
"""Every pair of convention, scaling and set."""


@pytest.mark.parametrize(("convention", "scaling", "kind"), EVERY)
def test_no_poison_exceeds_the_bound(convention, scaling, kind):
    rng = np.random.default_rng(1)
    claim = ridge_claim(0.2, problem=ridge_problem(convention, scaling), kind=kind)
    found = certify_ridge(claim)
    for _ in range(60):
        found.check_attack(scores(claim, random_poison(claim, rng)), tol=1e-8)


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_less_mass_does_no_more(scaling):
    rng = np.random.default_rng(7)
    claim = ridge_claim(0.3, problem=ridge_problem(1, scaling))
    found = certify_ridge(claim)
    for share in np.repeat([0.1, 0.3, 0.6, 0.9], 10):
        less = claim.at(share * claim.epsilon)
        found.check_attack(scores(less, random_poison(less, rng)), tol=1e-8)
        row = int(rng.integers(claim.rows.n))
        found.check_attack(scores(less, ridge_attack(certify_ridge(less), row)), tol=1e-8)


@pytest.mark.parametrize(("seed", "scaling"), enumerate(["mean", "sum"] * 6))
def test_newton_and_cutting_planes_agree_on_odd_scales(seed, scaling):
    """Both minimise the price of the sets alone. Where that of the clean rows is greater (`Claim.filled`) neither
    minimises the bound and they need not agree: under mean scaling the balls hold the clean rows."""
    rng = np.random.default_rng(seed)
    d, reg, epsilon = int(rng.integers(1, 10)), 10.0 ** rng.uniform(-5, 1), 10.0 ** rng.uniform(-5, 1)
    scale = 10.0 ** rng.integers(-2, 3, size=d)
    claim = ridge_claim(epsilon, problem=ridge_problem(seed % 3, scaling, reg=reg), d=d, rows=4, seed=seed)
    train = replace(claim.train, X=claim.train.X * scale)
    size = 10.0 ** rng.uniform(-3, 1) * np.linalg.norm(scale)
    means = {label: train.X[train.y == label].mean(axis=0) for label in (1, -1)}
    far = max(np.linalg.norm(x - means[int(label)]) for x, label in zip(train.X, train.y, strict=True))
    size = max(size, 1.001 * far) if scaling == "mean" else size
    sets = ByLabel({label: Ball(mean, size) for label, mean in means.items()})
    claim = Claim(train, claim.problem, sets, epsilon, replace(claim.rows, X=claim.rows.X * scale))
    assert not claim.filled
    system = RidgeSystem.of(claim)
    newton = certify_ridge(claim, method="structured").bound
    columns = [ColumnDual(system).solve(row) for row in range(4)]
    planes = comparator_bounds(system, np.array([found[0] for found in columns]))
    np.testing.assert_allclose(newton, planes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("convention", "scaling", "kind"), EVERY)
def test_exact_bounds_are_reached_by_retraining(convention, scaling, kind):
    claim = ridge_claim(0.05, problem=ridge_problem(convention, scaling), kind=kind)
    found = certify_ridge(claim)
    exact = np.flatnonzero(found.exact)
    assert exact.size >= 4
    for row in exact:
        poison = ridge_attack(found, int(row))
        assert claim.sets.contains(poison, tol=1e-6).all()
        assert poison.total == pytest.approx(claim.epsilon * claim.mass)
        assert scores(claim, poison)[row] == pytest.approx(found.bound[row], abs=1e-6)


def test_the_reference_learner_agrees_with_an_exact_bound():
    claim = ridge_claim(0.1, problem=ridge_problem(1))
    found = certify_ridge(claim)
    row = int(np.flatnonzero(found.exact)[0])
    assert scores(claim, ridge_attack(found, row), "reference")[row] == pytest.approx(found.bound[row], abs=1e-6)


@pytest.mark.parametrize("convention", [0, 1, 2])
def test_brute_force_in_two_dimensions(convention):
    claim = ridge_claim(0.15, problem=ridge_problem(convention), d=2, rows=6, seed=3)
    found = certify_ridge(claim)
    system = RidgeSystem.of(claim)
    best = np.full(6, -np.inf)
    angles = np.linspace(0, 2 * np.pi, 361)
    for label in (1, -1):
        ball = claim.sets[label]
        for share in (0.0, 0.5, 1.0):
            X = ball.center + share * ball.radius * np.column_stack([np.cos(angles), np.sin(angles)])
            for x in system.extend(X):
                v = np.linalg.solve(
                    system.H + claim.epsilon * np.outer(x, x), system.rows.moment + claim.epsilon * label * x
                )
                best = np.maximum(best, system.directions @ v)
    assert (best <= found.bound + 1e-8).all()
    one_point = [row for row in np.flatnonzero(found.exact) if ridge_attack(found, int(row)).n_distinct == 1]
    assert len(one_point) >= 2
    np.testing.assert_allclose(best[one_point], found.bound[one_point], atol=1e-3)


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["ball", "slab"])
def test_without_budget_the_bound_is_the_clean_score(scaling, kind):
    claim = ridge_claim(0.0, problem=ridge_problem(1, scaling), kind=kind)
    found = certify_ridge(claim)
    np.testing.assert_allclose(found.bound, scores(claim), atol=1e-7)
    assert found.exact.all()
    assert ridge_attack(found, 0).n_distinct == 0


@pytest.mark.parametrize("method", ["structured", "conic"])
def test_a_single_point_gives_the_rank_one_update(method):
    """Under sum scaling: with mean scaling clean rows outside the sets count as poison, beside the point."""
    point = np.array([0.9, -0.4])
    claim = ridge_claim(0.3, problem=ridge_problem(2, "sum"), d=2, rows=40)
    claim = replace(claim, sets=ByLabel({1: Ball(point, 0.0), -1: Ball(-point, 0.0)}))
    n, X, y = claim.train.n, claim.train.X, claim.train.y
    inverse = np.linalg.inv(X.T @ X / n + claim.reg * np.eye(2))
    clean = inverse @ (X.T @ y) / n
    step = claim.epsilon * (1 - point @ clean) / (1 + claim.epsilon * point @ inverse @ point)
    v = clean + step * inverse @ point
    found = certify_ridge(claim, method=method)
    raised = -claim.rows.y * (claim.rows.X @ v)
    unmoved = -claim.rows.y * (claim.rows.X @ clean)
    hurt = raised > unmoved + 1e-3
    assert hurt.sum() >= 3
    np.testing.assert_allclose(found.bound[hurt], raised[hurt], atol=1e-6)
    assert (found.bound >= np.maximum(raised, unmoved) - 1e-8).all()


def test_without_sets_the_bound_is_the_ellipsoid():
    claim = ridge_claim(0.2, problem=ridge_problem(2))
    everywhere = Box(np.full(4, -np.inf), np.full(4, np.inf))
    claim = replace(claim, sets=ByLabel({1: everywhere, -1: everywhere}))
    system = RidgeSystem.of(claim)
    clean, directions = system.clean, system.directions
    spread = system.sizes * np.sqrt(clean @ system.H @ clean + claim.epsilon)
    expected = (directions @ clean + spread) / 2
    np.testing.assert_allclose(certify_ridge(claim, method="structured").bound, expected, rtol=1e-7)
    wide = replace(claim, sets=ByLabel({1: Ball(np.zeros(4), 1e5), -1: Ball(np.zeros(4), 1e5)}))
    np.testing.assert_allclose(certify_ridge(wide).bound, expected, atol=1e-3)


def test_a_row_of_zeros_has_no_score_without_an_intercept():
    """As a text of unknown words has, and two rows that cancel: it is never certified, nor does it end the others."""
    for kind in ("ball", "slab"):
        claim = ridge_claim(problem=ridge_problem(2), kind=kind, n=12, d=2, rows=2)
        alone = certify_ridge(claim.about(claim.rows.take([0])))
        certificate = certify_ridge(claim.about(Dataset(claim.rows.X * [[1.0], [0.0]], claim.rows.y)))
        assert 0 <= certificate.bound[1] < 1e-9
        assert certificate.verify()[0] == pytest.approx(alone.bound[0])


@pytest.mark.parametrize(("convention", "scaling", "kind"), PAIRS)
def test_the_conic_program_says_the_same(convention, scaling, kind):
    claim = ridge_claim(0.1, problem=ridge_problem(convention, scaling), kind=kind, rows=5, seed=2)
    program = RidgeProgram(RidgeSystem.of(claim))
    values = [program.solve(row).value for row in range(5)]
    structured = certify_ridge(claim, method="structured")
    np.testing.assert_allclose(structured.bound, values, atol=1e-6)
    conic = certify_ridge(claim, method="conic")
    np.testing.assert_allclose(conic.bound, structured.bound, atol=1e-5)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_is_needed(group, monkeypatch):
    label, sign = group
    claim = ridge_claim(0.02, problem=ridge_problem(2))
    clean = RidgeSystem.of(claim).clean
    along = clean / (clean @ clean)
    sets = {int(label): Ball((label - 4 * sign) * along, 0.2), -int(label): Ball(-label * along, 0.0)}
    claim = replace(claim, sets=ByLabel(sets))
    found = certify_ridge(claim)
    attacked = np.array([scores(claim, ridge_attack(found, row))[row] for row in range(claim.rows.n)])
    assert (attacked <= found.bound).all()
    monkeypatch.setattr(ridge_model, "GROUPS", tuple(other for other in GROUPS if other != group))
    mutilated = comparator_bounds(RidgeSystem.of(claim), found.witness["comparator"])
    assert (attacked > mutilated + 1e-3).any()


@pytest.mark.parametrize(
    "change",
    [
        lambda system, claim: replace(system, penalty=system.penalty - claim.epsilon * claim.problem.reg),
        lambda system, claim: replace(system, rows=replace(system.rows, share=2 * system.rows.share)),
        lambda system, claim: replace(system, rows=replace(system.rows, y=-system.rows.y)),
        lambda system, claim: replace(system, claim=claim.at(claim.epsilon / 2)),
        lambda system, claim: replace(system, rows=replace(system.rows, y=system.rows.y / 2)),
    ],
    ids=["1 + eps", "1/n", "sign", "half eps", "half moment"],
)
def test_a_wrong_constant_is_noticed(change):
    claim = ridge_claim(0.3, problem=ridge_problem(0, reg=0.5), rows=40, seed=4)
    found = certify_ridge(claim)
    bound = comparator_bounds(change(RidgeSystem.of(claim), claim), found.witness["comparator"])
    exact = np.flatnonzero(found.exact)
    attacked = np.array([scores(claim, ridge_attack(found, int(row)))[row] for row in exact])
    assert np.abs(bound[exact] - attacked).max() > 1e-3


@pytest.mark.parametrize("kind", ["ball", "slab"])
def test_every_comparator_proves_a_bound(kind):
    rng = np.random.default_rng(2)
    claim = ridge_claim(0.2, kind=kind)
    attacked = np.max([scores(claim, random_poison(claim, rng)) for _ in range(30)], axis=0)
    best = certify_ridge(claim)
    shape = best.witness["comparator"].shape
    for size in (0.0, 0.3, 3.0, 1e8):
        bound = recompute_ridge(claim, {"comparator": best.witness["comparator"] + size * rng.normal(size=shape)})
        assert (bound >= attacked).all()
        assert (bound >= best.bound - 1e-7).all()


def test_a_spoilt_witness_proves_what_the_clean_model_does():
    claim = ridge_claim(0.2)
    found, plain = certify_ridge(claim), recompute_ridge(claim, {})
    V = found.witness["comparator"].copy()
    V[0, 0], V[1, 1] = np.nan, np.inf
    bound = recompute_ridge(claim, {"comparator": V})
    np.testing.assert_array_equal(bound[:2], plain[:2])
    np.testing.assert_array_equal(bound[2:], found.bound[2:])
    assert (plain[:2] > found.bound[:2]).all()
    np.testing.assert_array_equal(recompute_ridge(claim, {"comparator": V[:, :2]}), plain)


def test_saved_and_tampered_certificates(tmp_path):
    claim = ridge_claim(0.2)
    made = certify_ridge(claim)
    made.save(tmp_path / "ridge")
    read = Certificate.load(tmp_path / "ridge", claim.train, claim.rows)
    np.testing.assert_array_equal(read.verify(), made.bound)
    np.testing.assert_array_equal(ridge_attack(read, 3).X, ridge_attack(made, 3).X)
    read.witness["comparator"][0] += 0.01
    with pytest.raises(CertificateInvalid):
        read.verify()
    with pytest.raises(CertificateViolated):
        made.check_attack(made.bound + 1e-3)


def test_shrinking_the_sets_or_the_budget_helps():
    """Under sum scaling: with mean scaling a set that leaves clean rows outside may cost more, see `Claim.filled`."""
    claim = ridge_claim(0.1, problem=ridge_problem(0, "sum"))
    whole = certify_ridge(claim).bound
    part = {k: Intersection([claim.sets[k], Halfspace([1.0, 0, 0, 0], claim.sets[k].center[0])]) for k in (1, -1)}
    assert (certify_ridge(replace(claim, sets=ByLabel(part))).bound <= whole + 1e-7).all()
    assert (certify_ridge(claim.at(0.05)).bound <= whole + 1e-9).all()


def test_sparse_and_weighted_rows():
    claim = ridge_claim(0.1)
    sparse = replace(
        claim,
        train=replace(claim.train, X=sp.csr_array(claim.train.X)),
        rows=replace(claim.rows, X=sp.csr_array(claim.rows.X)),
    )
    np.testing.assert_allclose(certify_ridge(sparse).bound, certify_ridge(claim).bound, atol=1e-8)
    half = np.full(claim.train.n, 0.5)
    twice = claim.train.mix(claim.train)
    doubled = replace(claim, train=replace(twice, weight=np.concatenate([half, half])))
    np.testing.assert_allclose(certify_ridge(doubled).bound, certify_ridge(claim).bound, atol=1e-8)


def test_refusals():
    claim = ridge_claim(0.1)
    with pytest.raises(CapabilityError, match="squared loss"):
        certify_ridge(replace(claim, problem=Problem(Hinge(), 0.1)))
    with pytest.raises(InputError, match="method"):
        certify_ridge(claim, method="quick")
    with pytest.raises(InputError, match="rows to certify"):
        certify_ridge(Claim(claim.train, claim.problem, claim.sets, 0.1))
    with pytest.raises(InputError, match="a row below"):
        ridge_attack(certify_ridge(claim), 12)
    with pytest.raises(CapabilityError, match="certify_ridge"):
        ridge_attack(replace(certify_ridge(claim), name="other"), 0)
    assert isinstance(claim.rows, Dataset)
