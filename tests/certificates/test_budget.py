"""The least budget against closed forms, dense grids, other bounds, attacks and retraining."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from budget_cases import (
    CONVENTIONS,
    DISCS,
    LOSSES,
    PLANAR,
    TRAIN,
    everywhere,
    grid_budget,
    is_learned,
    problem_of,
    random_models,
    relearn,
)

from linpoison.attacks import KKTProgram
from linpoison.certificates.budget.dual import numerator, pull_cap, recompute_min_budget
from linpoison.certificates.budget.least import budget_poison, min_budget
from linpoison.certificates.budget.target import BudgetTarget
from linpoison.certificates.certificate import Certificate
from linpoison.certificates.theory import reachability_threshold
from linpoison.core import (
    CapabilityError,
    CertificateInvalid,
    Dataset,
    InputError,
    LinearModel,
    Poison,
    SolverFailed,
)
from linpoison.learners import make_learner
from linpoison.losses import Hinge, MarginLoss, Problem
from linpoison.optimality.stationarity import VANISHING
from linpoison.sets import Ball, Box, ByLabel, CountBall, Halfspace, Slab, intersect

SETTINGS = [
    (loss, ("mean", "sum")[(i + j) % 2], convention)
    for i, loss in enumerate(LOSSES)
    for j, convention in enumerate(CONVENTIONS)
]
"""Every pair of loss, scaling and convention."""


def learned(found):
    """Whether the certificate's poison plants its target."""
    claim = found.claim
    target = LinearModel.from_vector(found.witness["model"])
    return is_learned(claim.problem, target, claim.train.mix(budget_poison(found).as_dataset()))


@pytest.mark.parametrize(("loss", "scaling", "convention"), SETTINGS)
def test_without_sets_it_is_the_closed_form(loss, scaling, convention):
    problem, agreed = problem_of(loss, scaling, convention), 0
    for model in random_models(problem, 12, seed=0):
        threshold = reachability_threshold(problem, model, TRAIN).epsilon
        if agreed == 2:
            break
        if not 1e-3 < threshold < 50:
            continue
        found = min_budget(TRAIN, problem, everywhere(), model)
        assert found.info["primal"] == pytest.approx(threshold, rel=1e-6)
        assert found.bound == pytest.approx(threshold, rel=1e-6)
        assert found.exact
        assert learned(found)
        agreed += 1
    assert agreed == 2


@pytest.mark.parametrize(("loss", "scaling", "convention"), SETTINGS)
def test_under_a_ball_it_is_the_dense_linear_program(loss, scaling, convention):
    problem = problem_of(loss, scaling, convention, 0.05, PLANAR)
    agreed = 0
    for model in random_models(problem, 12, 5, PLANAR, sizes=(0.3, 0.7, 1.0)):
        found = min_budget(PLANAR, problem, DISCS, model)
        if not 1e-3 < found.info["primal"] < 20:
            continue
        agreed += 1
        dense = grid_budget(PLANAR, problem, DISCS, model, budget_poison(found))
        assert dense == pytest.approx(found.info["primal"], rel=1e-4)
        assert found.bound <= found.info["primal"] * (1 + 1e-6)
        assert found.bound == pytest.approx(found.info["primal"], rel=1e-6)
        assert budget_poison(found).y.size <= (3 if problem.loss.kink else 4 if loss == "squared" else 2)
        if found.exact:
            assert learned(found)
        break
    assert agreed == 1


def test_most_budgets_under_a_ball_are_exact():
    exact = []
    for loss, scaling, convention in SETTINGS[1::2]:
        problem = problem_of(loss, scaling, convention, 0.05, PLANAR)
        for model in random_models(problem, 2, 7, PLANAR, sizes=(0.3, 0.7)):
            found = min_budget(PLANAR, problem, DISCS, model)
            if np.isfinite(found.info["primal"]) and found.info["primal"] > 0:
                exact.append(found.exact)
                assert not found.exact or learned(found)
    assert len(exact) > 8
    assert np.mean(exact) > 0.8


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_witness_proves_more_than_the_budget(loss, scaling):
    problem = problem_of(loss, scaling, "penalised", 0.05, PLANAR)
    (model,) = random_models(problem, 1, 2, PLANAR, sizes=(0.5,))
    found = min_budget(PLANAR, problem, DISCS, model)
    assert 0 < found.info["primal"] < np.inf
    rng = np.random.default_rng(0)
    proved = []
    for _ in range(120):
        near = rng.random() < 0.5
        v = found.witness["v"] + rng.normal(size=3) * 10 ** rng.uniform(-6, 0) if near else rng.normal(size=3)
        slopes = np.abs(found.witness["slopes"] * (1 + rng.normal() * near) + (not near) * rng.normal())
        proved.append(recompute_min_budget(found.claim, {**found.witness, "v": v, "slopes": slopes}))
    assert max(proved) <= found.info["primal"] * (1 + 1e-6)
    assert max(proved) > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_witness_that_is_not_finite_proves_nothing(value):
    problem = problem_of("hinge", train=PLANAR)
    found = min_budget(PLANAR, problem, DISCS, LinearModel([-0.5, 0.2]))
    for name in ("v", "model"):
        broken = {**found.witness, name: np.array([value, 0.0, 0.0])}
        assert recompute_min_budget(found.claim, broken) == 0
    broken = {**found.witness, "slopes": np.array([value, value])}
    assert recompute_min_budget(found.claim, broken) <= found.bound


@pytest.mark.parametrize("loss", LOSSES)
def test_the_cap_on_the_pull_is_that_of_a_dense_grid(loss):
    """``S >= |phi'(m)| s`` on a segment of (m, s), and attained at the best slope."""
    chosen = LOSSES[loss]
    margins = np.linspace(-3, 5, 20_001)
    for side in (1.0, -1.0) if loss == "squared" else (1.0,):
        for tilt, lift in ((0.7, 1.0), (-0.4, 2.0), (1.5, 0.3)):
            s = lift + tilt * margins
            pull = side * -chosen.derivative(margins) if chosen.kink is None else (margins <= 1).astype(float)
            true = float((np.maximum(pull, 0) * s).max())
            slopes = np.concatenate([[0.0], np.geomspace(1e-4, 1e3, 4000)])
            caps = [pull_cap(chosen, side, float((s - side * q * margins).max()), q) for q in slopes]
            assert min(caps) >= max(true, 0.0) * (1 - 1e-9)
            if true > 0:
                assert min(caps) == pytest.approx(true, rel=1e-2)


def test_smaller_sets_never_cost_less():
    problem = problem_of("logistic", train=PLANAR, reg=0.05)
    for model in random_models(problem, 1, 11, PLANAR, sizes=(0.5,)):
        prices = []
        for radius in (4.0, 2.0, 1.3):
            discs = ByLabel({1: Ball([1.0, 0.3], radius), -1: Ball([-1.0, 0.0], radius)})
            prices.append(min_budget(PLANAR, problem, discs, model).bound)
        cut = intersect(DISCS[1], Slab([0.0, 1.0], 0.0, 0.3))
        prices.append(min_budget(PLANAR, problem, ByLabel({1: intersect(discs[1], cut), -1: discs[-1]}), model).bound)
        assert all(a <= b * (1 + 1e-7) for a, b in zip(prices, prices[1:], strict=False))
        assert prices[0] < prices[-2]


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_a_poison_planted_costs_no_more_than_the_poison(loss, scaling):
    problem = problem_of(loss, scaling, "penalised", 0.05, PLANAR)
    rng = np.random.default_rng(3)
    for _ in range(3):
        y = rng.choice([-1.0, 1.0], size=6)
        X = DISCS[1].project(rng.normal(size=(6, 2)) * 3)
        X[y < 0] = DISCS[-1].project(rng.normal(size=(6, 2)) * 3)[y < 0]
        poison = Poison(X, y, rng.uniform(0.5, 3.0, size=6))
        model = relearn(problem, PLANAR.mix(poison.as_dataset()))
        found = min_budget(PLANAR, problem, DISCS, model, kink_tolerance=1e-6)
        assert found.bound <= poison.total / PLANAR.total * (1 + 1e-4)
        found.check_attack(poison.total / PLANAR.total, tol=1e-4)


def test_a_decoy_with_support_vectors_needs_their_multipliers():
    problem = problem_of("hinge", train=PLANAR, reg=0.01)
    poison = Dataset([[0.0, 1.5], [0.4, -0.5]], [1, -1], [6.0, 5.0])
    decoy = relearn(problem, PLANAR.mix(poison))
    assert (np.abs(decoy.margins(PLANAR) - 1) < 1e-6).sum() >= 1
    free = min_budget(PLANAR, problem, DISCS, decoy, kink_tolerance=1e-6)
    assert free.bound <= 11 / PLANAR.total * (1 + 1e-6)
    assert free.exact
    assert learned(free)
    loose = LinearModel.from_vector(decoy.vector * (1 + 1e-5))
    kept, lost = (min_budget(PLANAR, problem, DISCS, loose, kink_tolerance=t) for t in (1e-3, 1e-7))
    assert kept.bound == pytest.approx(free.bound, rel=1e-2)
    assert lost.bound > 1.01 * kept.bound


def counted():
    """Counts with an envelope, a slab and a cap on the loss for each class."""
    rng = np.random.default_rng(5)
    n, d = 80, 12
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = rng.poisson(1.0 + 0.7 * (y[:, None] > 0) * (np.arange(d) < 5), size=(n, d)).astype(float)
    train = Dataset(X, y)
    sets = {}
    for label in (1, -1):
        mean = X[y == label].mean(axis=0)
        axis = X[y > 0].mean(axis=0) - X[y < 0].mean(axis=0)
        sets[label] = intersect(CountBall(mean, 4.5, X.max(axis=0)), Slab(axis, float(axis @ mean), 4.0))
    return train, ByLabel(sets)


@pytest.mark.parametrize("scaling", ["mean", "sum"])
def test_the_structured_method_agrees_with_the_conic_program(scaling):
    train, sets = counted()
    problem = Problem(Hinge(), 0.05, scaling=scaling, n_reference=train.n)
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(3):
        flips = Dataset(train.X[:20], -train.y[:20], rng.uniform(0.2, 2.0) * np.ones(20))
        decoy = relearn(problem, train.mix(flips))
        own = sets.intersect({y: Halfspace(-y * decoy.coef, 1.5 + y * decoy.intercept) for y in (1, -1)})
        conic = min_budget(train, problem, own, decoy, method="conic")
        if not np.isfinite(conic.info["primal"]):
            continue
        fast = min_budget(train, problem, own, decoy, method="structured")
        compared += 1
        assert fast.info["method"] == "structured"
        assert conic.bound == pytest.approx(conic.info["primal"], rel=1e-3)
        assert fast.bound <= conic.info["primal"] * (1 + 1e-6)
        assert fast.bound == pytest.approx(conic.info["primal"], rel=2e-3)
        assert fast.verify() == fast.bound
        assert conic.verify() == conic.bound
    assert compared >= 2


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_the_attack_succeeds_exactly_where_the_budget_says(loss):
    problem = problem_of(loss, train=PLANAR, reg=0.05)
    for model in random_models(problem, 3, 13, PLANAR, sizes=(0.5,)):
        found = min_budget(PLANAR, problem, DISCS, model)
        residuals = [
            KKTProgram().solve(model, PLANAR, problem, DISCS, factor * found.bound).residual_norm
            for factor in (0.9, 0.99, 1.01)
        ]
        size = np.linalg.norm(problem.gradient(model, PLANAR))
        assert min(residuals[:2]) > 20 * VANISHING * size
        assert residuals[2] < VANISHING * 10 * size


def test_a_model_that_no_poison_buys_costs_infinitely_much():
    problem = problem_of("hinge", train=PLANAR, reg=0.05)
    tight = ByLabel({1: Ball([1.0, 0.3], 0.1), -1: Ball([-1.0, 0.0], 0.1)})
    found = min_budget(PLANAR, problem, tight, LinearModel([-0.5, 0.8], 0.3))
    assert found.bound == found.info["primal"] == np.inf
    assert not found.exact
    assert budget_poison(found) is None
    assert found.verify() == np.inf
    assert grid_budget(PLANAR, problem, tight, LinearModel([-0.5, 0.8], 0.3)) == np.inf


@pytest.mark.parametrize("scaling", ["mean", "sum"])
@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared_hinge", "smooth_hinge"])
def test_infinite_bounds_are_where_the_grid_finds_no_poison(loss, scaling):
    problem = problem_of(loss, scaling, "free", 0.05, PLANAR)
    small = ByLabel({1: Ball([1.0, 0.3], 0.6), -1: Ball([-1.0, 0.0], 0.5)})
    infinite = 0
    for model in random_models(problem, 3, 17, PLANAR, sizes=(0.5, 1.0)):
        found = min_budget(PLANAR, problem, small, model)
        infinite += np.isinf(found.bound)
        if found.exact or np.isinf(found.bound):
            assert np.isinf(found.bound) == np.isinf(grid_budget(PLANAR, problem, small, model, budget_poison(found)))
    assert infinite >= 1


def test_the_learned_model_is_free():
    for loss in LOSSES:
        problem = problem_of(loss, train=PLANAR)
        found = min_budget(PLANAR, problem, DISCS, relearn(problem, PLANAR))
        assert found.bound < 1e-5
        assert found.info["primal"] < 1e-5


def test_a_certificate_travels_and_tampering_shows(tmp_path):
    problem = problem_of("logistic", train=PLANAR)
    found = min_budget(PLANAR, problem, DISCS, LinearModel([-0.5, 0.3], 0.1))
    found.save(tmp_path / "budget")
    read = Certificate.load(tmp_path / "budget", PLANAR)
    assert read.verify() == found.bound
    np.testing.assert_array_equal(budget_poison(read).X, budget_poison(found).X)
    assert read.info == json.loads(json.dumps(found.info))
    for name in ("v", "slopes", "model"):
        changed = {**found.witness, name: found.witness[name] * np.linspace(0.9, 1.1, found.witness[name].size)}
        with pytest.raises(CertificateInvalid):
            Certificate(found.name, found.kind, found.claim, found.bound, True, found.assumptions, changed).verify()


class Odd(MarginLoss):
    """A loss whose pull has no convex reciprocal that the library knows."""

    name = "odd"
    lipschitz = smoothness = 1.0

    def value(self, m):
        return -m

    derivative = second_derivative = expression = margin_at_loss = value


def test_bad_input_is_one_clear_error():
    model, problem = LinearModel(np.ones(2)), problem_of("hinge", train=PLANAR)
    with pytest.raises(InputError, match="a model of 2 features, got 3"):
        min_budget(PLANAR, problem, DISCS, LinearModel(np.ones(3)))
    with pytest.raises(InputError, match="sets of 2 features, got 4"):
        min_budget(PLANAR, problem, everywhere(4), model)
    with pytest.raises(InputError, match="without intercept"):
        min_budget(PLANAR, problem_of("hinge", convention="none"), DISCS, LinearModel(np.ones(2), 0.5))
    with pytest.raises(InputError, match="kink_tolerance"):
        min_budget(PLANAR, problem, DISCS, model, kink_tolerance=-1.0)
    with pytest.raises(InputError, match="kink_tolerance"):
        min_budget(PLANAR, problem, DISCS, model, kink_tolerance=float("nan"))
    with pytest.raises(InputError, match="method"):
        min_budget(PLANAR, problem, DISCS, model, method="simplex")
    with pytest.raises(InputError, match="structured sets"):
        min_budget(PLANAR, problem, DISCS, model, method="structured")
    with pytest.raises(InputError, match="finite coef"):
        min_budget(PLANAR, problem, DISCS, LinearModel([np.nan, 1.0]))
    with pytest.raises(CapabilityError, match="states `pull_constraints`"):
        min_budget(PLANAR, Problem(Odd(), 0.1), DISCS, model)
    with pytest.raises(InputError, match="installed solver"):
        min_budget(PLANAR, problem, DISCS, LinearModel([-0.3, 0.2]), solver="nonesuch")
    inner = Ball([0.0, 0.0], 1.0, relation="inner")
    with pytest.raises(InputError, match="hold every row"):
        min_budget(PLANAR, problem, ByLabel({1: inner, -1: inner}), model)
    found = min_budget(PLANAR, problem, DISCS, LinearModel([-0.3, 0.2]))
    with pytest.raises(InputError, match="certificate of min_budget"):
        budget_poison(Certificate("other", "budget", found.claim, 0.0, False, (), {}))


def test_a_solver_that_gives_up_is_an_error(monkeypatch):
    def fail(*args, **options):
        raise SolverFailed("gave up")

    monkeypatch.setattr("linpoison.certificates.budget.program.solve", fail)
    with pytest.raises(SolverFailed, match="gave up"):
        min_budget(PLANAR, problem_of("hinge", train=PLANAR), DISCS, LinearModel([-0.3, 0.2], 0.1))


def test_slack_is_padded_with_rows_that_do_not_pull():
    """No row of these sets pulls at the target; mass alone shrinks the model: 0.4 (1 + e) 0.5 = 3.2 / 3."""
    train = Dataset([[1.0], [1.2], [-1.0]], [1, 1, -1])
    problem = Problem(Hinge(), 0.4, fit_intercept=False)
    found = min_budget(train, problem, ByLabel({1: Box([2.5], [3.0]), -1: Box([-3.0], [-2.5])}), LinearModel([0.5]))
    assert found.bound == pytest.approx(3.2 / 3 / 0.2 - 1, rel=1e-6)
    assert found.info["slack"] == pytest.approx(found.bound, rel=1e-6)
    assert found.exact
    assert learned(found)


def test_slack_that_no_row_can_pad_is_told():
    train = Dataset([[1.0], [1.2], [-1.0]], [1, 1, -1])
    problem = Problem(LOSSES["logistic"], 0.4, fit_intercept=False)
    found = min_budget(train, problem, ByLabel({1: Box([2.5], [3.0]), -1: Box([-3.0], [-2.5])}), LinearModel([0.5]))
    assert found.bound > 0
    assert found.info["slack"] > 0
    assert not found.exact


def test_the_words_hold_the_kink_tolerance_and_what_the_model_misses():
    problem = problem_of("hinge", train=PLANAR)
    model = LinearModel([0.3, -0.2], 0.1)
    found = min_budget(PLANAR, problem, DISCS, model, kink_tolerance=0.02)
    said = " ".join(found.assumptions)
    assert "within 2.0e-02 of 1" in said
    missed = float(found.witness["missed"])
    assert f"misses optimality by {missed:.1e}" in said
    assert missed > 1e-3
    found.verify()
    for lie in ({"kink_tolerance": np.array(1e-6)}, {"missed": np.array(0.0)}, {"missed": np.array(np.nan)}):
        with pytest.raises(CertificateInvalid):
            replace(found, witness={**found.witness, **lie}).verify()
    smooth = min_budget(PLANAR, problem_of("logistic", train=PLANAR), DISCS, model)
    assert "may pull with any share" not in " ".join(smooth.assumptions)


@pytest.mark.parametrize("loss", ["hinge", "squared", "squared_hinge"])
def test_rounding_far_from_the_origin_is_charged(loss):
    """The numerator of the bound is no more than in rational numbers, for models whose gradient nearly vanishes."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(12) % 2, 1.0, -1.0)
    for offset in (0.0, 1e4, 1e8):
        X = rng.normal(size=(12, 2)) + 0.6 * y[:, None] + np.array([offset, 0.0])
        problem, train = Problem(LOSSES[loss], 0.1), Dataset(X, y)
        sets = ByLabel({k: Ball(X[y == k].mean(axis=0), 2.0) for k in (1, -1)})
        target = BudgetTarget.of(train, problem, sets, make_learner(problem).fit(train), 1e-6)
        for v in rng.normal(size=(20, 3)):
            assert Fraction(numerator(target, v)) <= exact_numerator(target, v)


def exact_numerator(target, v):
    """``min_a <v, g + A a + c0>`` in rational numbers, with every row free whose margin is near the kink."""
    train, loss = target.condition.train, target.problem.loss
    v0, v = (list(map(Fraction, map(float, w))) for w in (target.vector, v))
    total = Fraction(target.problem.reg) * sum(a * b for a, b in zip(v, v0, strict=True))
    for x, k in zip(train.X, train.y, strict=True):
        row = [*map(Fraction, map(float, x)), Fraction(1)]
        margin = int(k) * sum(a * b for a, b in zip(row, v0, strict=True))
        along = -int(k) * sum(a * b for a, b in zip(row, v, strict=True)) / train.n
        if loss.kink is not None:
            near = abs(margin - 1) <= Fraction(1e-6)
            total += min(along, 0) if near else along * (margin < 1)
        else:
            total += along * ((1 - margin) if loss.name == "squared" else max(1 - margin, 0))
    return total


@pytest.mark.parametrize("model", [LinearModel([1.0] * 4, 1e300), LinearModel([1e200] * 4)])
def test_a_target_whose_scores_leave_the_precision_is_refused_before_any_program(model):
    with pytest.raises(InputError, match="scores of the clean rows are at most 1e\\+15"):
        min_budget(TRAIN, problem_of("squared", convention="free"), everywhere(), model)
