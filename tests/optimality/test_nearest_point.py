"""The nearest-point solver against two conic solvers, a bound by support functions, and numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kkt_cases import EPSILON, decoy_and_sets, everywhere, residual_by_hand, scenario_of

from linpoison.attacks import KKTProgram, Stationarity, kkt_program
from linpoison.attacks.decoys import Decoy
from linpoison.attacks.kkt import KKT
from linpoison.attacks.planting import plant
from linpoison.core import InputError, SolverFailed
from linpoison.optimality.elimination import Gram
from linpoison.optimality.nearest_point import GAP, NearestPoint
from linpoison.optimality.set_cone import SetCone
from linpoison.sets import Ball, Box, CountBall, Halfspace, Oracle, Slab, intersect
from linpoison.sets.structure import structure_of

CASES = [("breast_cancer", 0.4), ("digits17", 0.2), ("digits17", 0.4), ("gaussians", 0.4), ("counts", 0.2)]
ALSO = [("counts", 0.4), ("counts", 0.3)]


def case(name, quantile, **options):
    scenario = scenario_of(name, **options)
    decoy, sets = decoy_and_sets(scenario, quantile)
    return scenario, decoy, sets


def nearest_of(scenario, decoy, sets, epsilon=EPSILON, **options):
    return NearestPoint(Stationarity(scenario.train, scenario.problem, decoy), sets, epsilon, **options)


def conic(scenario, decoy, sets, solver=None, **options):
    program = KKTProgram(method="conic", solver=solver)
    return program.solve(decoy, scenario.train, scenario.problem, sets, EPSILON, **options)


@pytest.mark.parametrize(("name", "quantile"), [*CASES, *ALSO])
def test_agrees_with_two_conic_solvers_and_proves_its_bound(name, quantile):
    scenario, decoy, sets = case(name, quantile)
    found = nearest_of(scenario, decoy, sets).solve()
    assert found.info.solver == "NEAREST"
    assert found.gap <= GAP
    for solver in ("CLARABEL", "ECOS"):
        best = conic(scenario, decoy, sets, solver).residual_norm
        assert (1 - 1e-6) * best <= found.residual_norm <= (1 + GAP) * best
        assert (1 - found.gap) * found.residual_norm <= best * (1 + 1e-6)


@pytest.mark.parametrize(("name", "quantile"), CASES)
def test_points_weights_and_residual_are_what_they_say(name, quantile):
    scenario, decoy, sets = case(name, quantile)
    found = nearest_of(scenario, decoy, sets).solve()
    poison = found.poison
    assert poison.total <= EPSILON * scenario.train.total * (1 + 1e-9)
    assert found.violation == sets.violation(poison.X, poison.y).max()
    assert found.violation < 1e-6
    assert (poison.y * decoy.decision_function(poison.X) <= 1 + 1e-6).all()
    assert (found.multipliers >= 0).all()
    assert (found.multipliers <= 1).all()
    by_hand = residual_by_hand(scenario.train, scenario.problem, decoy, poison, found.multipliers)
    np.testing.assert_allclose(found.residual, by_hand, atol=1e-9)


@pytest.mark.parametrize(("name", "quantile"), CASES)
def test_the_gap_is_no_less_than_that_of_frank_and_wolfe(name, quantile):
    """With exact support functions in place of their duals the bound can only improve, and here hardly does."""
    scenario, decoy, sets = case(name, quantile)
    condition = Stationarity(scenario.train, scenario.problem, decoy)
    found = nearest_of(scenario, decoy, sets).solve()
    r, c1 = found.residual, condition.penalty[1]
    lows, now = [], 0.0
    for y in (1.0, -1.0):
        reachable = intersect(sets[y], Halfspace(y * decoy.coef, 1 - y * decoy.intercept))
        lows.append(r @ (c1 - y * np.append(Oracle(reachable).support(y * r[:-1]), 1.0)))
    for x, y, count in zip(found.poison.X, found.poison.y, found.poison.count, strict=True):
        now += count / scenario.train.total * (r @ (c1 - y * np.append(x, 1.0)))
    pulled = condition.kink_matrix.T @ r
    worth = found.multipliers @ pulled - np.minimum(pulled, 0).sum()
    gap = (now + worth - EPSILON * min(0.0, *lows)) / (r @ r)
    assert gap <= found.gap + 2e-6  # a class below a millionth of the budget is left out of the points
    assert gap >= -1e-7


@pytest.mark.parametrize(("name", "quantile"), [("breast_cancer", 0.2), ("digits17", 0.2), ("counts", 0.2)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_fixed_splits(name, quantile, share):
    scenario, decoy, sets = case(name, quantile)
    found = nearest_of(scenario, decoy, sets).solve(share * EPSILON)
    best = conic(scenario, decoy, sets, split=share * EPSILON).residual_norm
    assert found.residual_norm == pytest.approx(best, rel=GAP)
    masses = [found.poison.count[found.poison.y == y].sum() / scenario.train.total for y in (1, -1)]
    np.testing.assert_allclose(masses, [share * EPSILON, (1 - share) * EPSILON], atol=1e-9)


@pytest.mark.parametrize("options", [{"free_multipliers": False}, {"intercept": "ignored"}])
def test_variants_of_the_program(options):
    scenario, decoy, sets = case("counts", 0.2)
    program = KKTProgram(method="nearest", **options)
    found = program.solve(decoy, scenario.train, scenario.problem, sets, EPSILON)
    reference = KKTProgram(method="conic", **options)
    best = reference.solve(decoy, scenario.train, scenario.problem, sets, EPSILON)
    assert found.info.solver == "NEAREST"
    kept = slice(None, -1) if "intercept" in options else slice(None)
    assert np.linalg.norm(found.residual[kept]) == pytest.approx(np.linalg.norm(best.residual[kept]), rel=1e-3)


@pytest.mark.parametrize(
    "convention",
    [{"fit_intercept": False}, {"scaling": "sum", "n_reference": 96}, {"penalize_intercept": True}],
)
def test_conventions_of_the_objective(convention):
    scenario, decoy, sets = case("counts", 0.2, **convention)
    found = nearest_of(scenario, decoy, sets).solve()
    assert found.residual_norm == pytest.approx(conic(scenario, decoy, sets).residual_norm, rel=GAP)


def test_two_runs_agree_to_the_last_bit():
    scenario, decoy, sets = case("counts", 0.2)
    first, second = (nearest_of(scenario, decoy, sets).solve() for _ in range(2))
    assert np.array_equal(first.residual, second.residual)
    assert np.array_equal(first.poison.X, second.poison.X)
    assert first.gap == second.gap


def test_automatic_choice_follows_the_number_of_features(monkeypatch):
    scenario, decoy, sets = case("counts", 0.2)

    def solver_of(**options):
        program = KKTProgram(**options)
        return program.solve(decoy, scenario.train, scenario.problem, sets, EPSILON).info.solver

    assert solver_of() == "CLARABEL"
    assert solver_of(method="nearest") == "NEAREST"
    monkeypatch.setattr(kkt_program, "LARGE", 25)
    assert solver_of() == "NEAREST"
    assert solver_of(solver="ECOS") == "ECOS"
    assert solver_of(method="conic") == "CLARABEL"
    with pytest.raises(InputError, match="method"):
        KKTProgram(method="fast")


def test_falls_back_to_the_conic_program_where_the_residual_vanishes():
    """With budget to spare the solver declines, and the program takes the least mass as ever."""
    scenario, decoy, sets = case("counts", 0.2)
    budget = 10 * EPSILON
    with pytest.raises(SolverFailed, match="above zero"):
        nearest_of(scenario, decoy, sets, budget).solve()
    program = KKTProgram(method="nearest")
    found = program.solve(decoy, scenario.train, scenario.problem, sets, budget)
    assert found.info.solver == "CLARABEL"
    assert np.isnan(found.gap)
    assert found.residual_norm < 1e-6


def test_does_not_apply_to_other_losses_or_to_sets_without_bounds():
    scenario, decoy, sets = case("counts", 0.2)
    assert nearest_of(scenario, decoy, sets).applies
    assert not nearest_of(scenario, decoy, everywhere(scenario.train.d)).applies
    with pytest.raises(SolverFailed, match="structured"):
        nearest_of(scenario, decoy, everywhere(scenario.train.d)).solve()
    other, decoy, sets = case("counts", 0.2, loss="logistic")
    assert not nearest_of(other, decoy, sets).applies
    found = KKTProgram(method="nearest").solve(decoy, other.train, other.problem, sets, EPSILON)
    assert found.info.solver != "NEAREST"


def test_no_point_within_reach_of_a_decoy_is_a_failure():
    scenario, decoy, sets = case("counts", 0.2)
    apart = sets.intersect({y: Halfspace(-y * decoy.coef, -2.0 + y * decoy.intercept) for y in (1, -1)})
    with pytest.raises(SolverFailed):
        nearest_of(scenario, decoy, apart).solve(EPSILON / 2)


def test_the_attack_reports_the_gap():
    scenario, model, sets = case("counts", 0.2)

    class Region:
        def sets(self, _):
            return sets

    class Planter(KKT):
        def solve(self, scenario, decoy, sets):
            return [nearest_of(scenario, decoy.model, sets).solve()]

    (found,), (info,) = plant(
        0.0, Planter(repeats=(2,), draws=1), scenario, Region(), Decoy(model, 0.2, 3, 0.0, 0.0), [0]
    )
    assert info.solver == "NEAREST"
    assert 0 <= found.gap <= GAP


# parts

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=6)
SETS = {
    "ball": intersect(Ball(RNG.normal(size=6), 2.0), Slab(NORMAL, 0.3, 0.5), Box(np.full(6, -0.5), np.full(6, np.inf))),
    "counts": intersect(CountBall(RNG.uniform(0, 2, 6), 3.0, [0, 1, 2, 4, 6, np.inf]), Halfspace(NORMAL, 0.9)),
    "box": intersect(Box(np.zeros(6), [1, 2, 0, 1, 3, 1]), Slab(NORMAL, 0.3, 0.5)),
}


@pytest.mark.parametrize("name", SETS)
def test_inequalities_hold_exactly_inside_the_set(name):
    cone = SetCone(structure_of(SETS[name]))
    origin = cone.structure.origin + cone.base
    inside = [SETS[name].project(2 * RNG.normal(size=(1, 6)))[0] for _ in range(10)]
    outside = [x + 0.3 * RNG.normal(size=6) for x in inside]
    kept = []
    for x in [*inside, *outside]:
        part = np.abs(x - np.rint(x))
        s = np.where(cone.several, x * x + part - part * part, 0.0)
        for e in (0.01, 1.0, 3.0):
            u = np.where(cone.free, e * (x - origin), 0.0)
            fixed = np.where(cone.free, x, origin)
            met = bool((cone.along(cone.rows(u, e), u, e * s, e) <= 1e-6 * e).all())
            assert met == bool(SETS[name].contains(fixed[None, :], tol=1e-6)[0])
            kept.append(met)
    assert 30 <= sum(kept) < len(kept)


@pytest.mark.parametrize("name", SETS)
def test_the_transposed_rows_match(name):
    cone = SetCone(structure_of(SETS[name]))
    u, s = (np.where(cone.free, RNG.normal(size=6), 0.0) for _ in range(2))
    s = np.where(cone.several, s, 0.0)
    rows, prices = cone.rows(RNG.normal(size=6), 0.7), RNG.normal(size=cone.size)
    back = cone.transposed(rows, prices)
    assert cone.along(rows, u, s, 1.3) @ prices == pytest.approx(u @ back[0] + s @ back[1] + 1.3 * back[2])


@pytest.mark.parametrize("name", SETS)
def test_any_prices_bound_the_support(name):
    cone = SetCone(structure_of(SETS[name]))
    slacks = []
    for _ in range(50):
        w, prices = RNG.normal(size=6), RNG.exponential(size=cone.size) * (RNG.random(cone.size) < 0.7)
        if cone.structure.radius is not None and not cone.structure.boxed:
            prices[cone.n_local] += 0.1
        most = w @ (SETS[name].support(w) - cone.structure.origin)
        slacks.append(cone.bound(w, prices) - most)
    assert min(slacks) >= -1e-8


def test_gram_of_heavy_and_light_rows():
    import scipy.sparse as sp

    dense = RNG.normal(size=(40, 30)) * (RNG.random((40, 30)) < np.linspace(0, 1, 40)[:, None])
    weight = RNG.uniform(size=40)
    np.testing.assert_allclose(Gram(sp.csc_array(dense))(weight), dense.T @ (weight[:, None] * dense), atol=1e-12)


@pytest.mark.parametrize("size", [1e-16, 1e-14, 1e-11, 1e-8])
def test_rounding_of_the_rows_does_not_stop_it(size):
    scenario, decoy, sets = case("breast_cancer", 0.4)
    rng, X = np.random.default_rng(0), scenario.train.X
    lengths = []
    for _ in range(4):
        moved = replace(scenario.train, X=X * (1 + size * rng.normal(size=X.shape)))
        found = nearest_of(replace(scenario, train=moved), decoy, sets).solve()
        assert found.gap <= GAP
        lengths.append(found.residual_norm)
    np.testing.assert_allclose(lengths, nearest_of(scenario, decoy, sets).solve().residual_norm, rtol=1e-5)
