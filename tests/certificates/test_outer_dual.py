"""The fast dual method: gradients, descent, a second solver, attacks, and what stopping early costs."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp

from linpoison.certificates.claim import Claim
from linpoison.certificates.clean.anchor import anchor
from linpoison.certificates.clean.losses import SoftHinge
from linpoison.certificates.clean.rows import extended, signed_rows
from linpoison.certificates.clean.screen import screen
from linpoison.certificates.outer.dual import _Batch, _Search, minimise_bound
from linpoison.certificates.outer.lbfgs import BatchLBFGS
from linpoison.certificates.outer.smooth import Cap, CleanSide, OuterDual, PoisonSide
from linpoison.certificates.outer.witness import witness_bound
from linpoison.core import CapabilityError, Dataset, InputError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared
from linpoison.sets import Ball, Box, ByLabel, Intersection, Slab

INTERCEPTS = {
    "penalised": {},
    "free": {"penalize_intercept": False},
    "none": {"fit_intercept": False},
}


def rows_of(n, d, seed, gap=0.6):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = rng.normal(size=(n, d)) * 0.35
    X[:, 0] += gap * y
    return Dataset(X, y)


def balls(train, radius=0.8):
    means = {y: np.asarray(train.X[np.flatnonzero(train.y == y)].mean(axis=0)).ravel() for y in (1, -1)}
    return ByLabel({y: Ball(mean, radius) for y, mean in means.items()})


def made(loss, epsilon=0.05, intercept="penalised", scaling="mean", *, n=24, d=3, rows=5, seed=0, reg=0.3):
    train = rows_of(n, d, seed)
    more = {"scaling": "sum", "n_reference": 24.0} if scaling == "sum" else {}
    problem = Problem(loss, reg, **INTERCEPTS[intercept], **more)
    return Claim(train, problem, balls(train), epsilon, rows_of(rows, d, seed + 100))


def sparse(claim):
    train, rows = (Dataset(sp.csr_array(part.X), part.y) for part in (claim.train, claim.rows))
    return Claim(train, claim.problem, claim.sets, claim.epsilon, rows)


def solved(claim, **options):
    options = {"stop_when_decided": False, "iterations": 120, "tol": 1e-5, **options}
    return witness_bound(claim, minimise_bound(claim, **options))


@pytest.mark.parametrize("loss", [SoftHinge(1.0, 0.0), SoftHinge(0.0, 1.0), SoftHinge(1.0, 0.4)])
@pytest.mark.parametrize(("capped", "free"), [(True, False), (False, False), (False, True)])
def test_gradient_is_that_of_finite_differences(loss, capped, free):
    rng = np.random.default_rng(1)
    m, D, B = 7, 4, 3
    sharp = float(loss.sharp)
    sides = [rng.uniform(0, 2, m) * sharp for _ in range(2)]
    clean = CleanSide(rng.normal(size=(m, D)), rng.uniform(0.05, 0.2, m), rng.normal(size=D) * sharp, *sides)
    sets = ByLabel({1: Ball(rng.normal(size=D - 1), 1.0), -1: Ball(rng.normal(size=D - 1), 0.7)})
    mask = np.append(np.ones(D - 1), 1.0 - free)
    cap = Cap(rng.normal(size=D), 0.01) if capped else None
    poison = PoisonSide(sets, None, 1.0, {1: 2.0, -1: 3.0})
    dual = OuterDual(clean, poison, 0.3, 0.2, mask, loss, cap, width=0.2, spare=0.1, least=0.05)
    x, kz = rng.normal(size=(B, 2 * D + 1)), rng.normal(size=(B, D))
    rest = (kz, rng.uniform(0.1, 0.5, B), rng.normal(size=B))
    gradient, step = dual.value_and_gradient(x, *rest)[1], 1e-6
    for j in range(2 * D + 1):
        move = step * (np.arange(2 * D + 1) == j)
        ends = [dual.value_and_gradient(x + side * move, *rest)[0] for side in (1, -1)]
        np.testing.assert_allclose(gradient[:, j], (ends[0] - ends[1]) / (2 * step), atol=1e-6)


@pytest.mark.parametrize("loss", [Hinge(), Logistic()])
def test_every_step_decreases_every_function(loss):
    search = _Search(made(loss), None, 20, 1e-4, False)
    batch, stage = _Batch(search, np.arange(5)), search.stages[0]
    floor = batch._unit(np.arange(5))
    x = batch._start(0.3)
    x[:, -1] = np.log(x[:, -1])

    def evaluate(points):
        return stage.value_and_gradient(points, batch.kz, floor, np.zeros(len(points)))

    solver = BatchLBFGS(evaluate, x, stage.metric(x, batch.kz, floor, search.spectrum))
    first = last = solver.value
    for _ in range(30):
        solver.step()
        assert (solver.value <= last).all()
        last = solver.value
    assert (last < first - 1e-3).all()


def test_a_function_without_descent_stalls_and_the_others_go_on():
    def evaluate(x):
        return 0.5 * (x**2).sum(axis=1), x * [[-1.0], [1.0]]

    solver = BatchLBFGS(evaluate, np.ones((2, 3)), np.ones((2, 3)))
    for _ in range(15):
        solver.step()
    assert solver.stalled.tolist() == [True, False]
    assert solver.x[0].tolist() == [1.0, 1.0, 1.0]
    assert np.abs(solver.x[1]).max() < 1e-6


def two_loops(gradient, pairs, metric):
    """The textbook's recursion over the pairs, the newest last."""
    q, weights = gradient.copy(), []
    for s, y in pairs[::-1]:
        weights.append(s @ q / (s @ y))
        q -= weights[-1] * y
    s, y = pairs[-1] if pairs else (metric, metric)
    q *= metric * ((s @ y) / (y @ (metric * y)) if pairs else 1.0)
    for (s, y), weight in zip(pairs, weights[::-1], strict=True):
        q += (weight - y @ q / (s @ y)) * s
    return -q


def test_directions_are_those_of_the_two_loops_over_the_last_pairs():
    rng = np.random.default_rng(2)
    bends = [m @ m.T + 0.1 * np.eye(6) for m in rng.normal(size=(3, 6, 6))]

    def evaluate(x):
        gradient = np.array([bend @ point + 4 * point**3 for bend, point in zip(bends, x, strict=True)])
        return np.array([0.5 * p @ b @ p + (p**4).sum() for b, p in zip(bends, x, strict=True)]), gradient

    metric = rng.uniform(0.05, 0.2, size=(3, 6))
    solver = BatchLBFGS(evaluate, rng.normal(size=(3, 6)), metric)
    pairs, moves = [[], [], []], np.zeros(3, dtype=int)
    for _ in range(40):
        x, gradient = solver.x, solver.gradient
        for j, found in enumerate(solver._direction()):
            np.testing.assert_allclose(found, two_loops(gradient[j], pairs[j][-solver.memory :], metric[j]), rtol=1e-6)
        solver.step()
        for j in np.flatnonzero((solver.x != x).any(axis=1)):
            pairs[j].append((solver.x[j] - x[j], solver.gradient[j] - gradient[j]))
            moves[j] += 1
    assert (moves > solver.memory).all()
    assert np.abs(solver.gradient).max() < 1e-6


def primal(claim, goal):
    """The greatest ``-goal . v`` over the outer set, by a generic conic solver."""
    found = screen(claim, anchor(claim))
    rows = signed_rows(claim)
    rows = rows.toarray() if sp.issparse(rows) else rows
    share, lam, one = claim.train.weight / claim.mass, claim.reg, float(claim.problem.fit_intercept)
    v, a = cp.Variable(claim.train.d + 1), cp.Variable(claim.train.n)
    u, w, e = (
        {y: cp.Variable(size, nonneg=sign) for y in (1, -1)}
        for size, sign in ((claim.train.d, False), ((), True), ((), True))
    )
    rules = [a >= 0, a <= 1, e[1] + e[-1] <= claim.epsilon]
    for y in (1, -1):
        rules += claim.sets[y].constraints(u[y], w[y])
    moved = cp.hstack([u[1] - u[-1], one * (w[1] - w[-1])])
    mask = claim.mask if one else np.ones(claim.train.d + 1)
    rules.append(lam * cp.multiply(mask, v) == rows.T @ cp.multiply(share, a) + moved)
    square, margins = lam * cp.sum_squares(cp.multiply(mask, v)), rows @ v
    if isinstance(claim.problem.loss, Hinge):
        xi = cp.Variable(claim.train.n, nonneg=True)
        rules += [xi >= 1 - margins, w[1] <= e[1], w[-1] <= e[-1], square + share @ xi - share @ a <= w[1] + w[-1]]
        ones, none = found.upper < 1, found.lower > 1
        open_ = ~(ones | none)
        rules += [a[ones] == 1] if ones.any() else []
        rules += [a[none] == 0] if none.any() else []
        if found.capped and open_.any():
            low, high = found.lower[open_], found.upper[open_]
            rules.append(xi[open_] <= cp.multiply(1 - low, a[open_]))
            rules.append(xi[open_] <= 1 - margins[open_] + cp.multiply(high - 1, 1 - a[open_]))
    else:
        price = sum(cp.rel_entr(w[y], e[y] - w[y]) for y in (1, -1))
        rules.append(square + share @ cp.logistic(-margins) - share @ (cp.entr(a) + cp.entr(1 - a)) + price <= 0)
    if found.capped:
        most = sum(found.reach[y] * w[y] for y in (1, -1)) / (2 * lam) + found.slack
        rules += [cp.norm(v - found.center - moved / (2 * lam)) <= most, cp.norm(v - found.center) <= found.radius]
    problem = cp.Problem(cp.Maximize(-goal @ v), rules)
    return float(problem.solve(solver="CLARABEL"))


@pytest.mark.parametrize(
    ("loss", "intercept", "scaling"),
    [
        (loss, intercept, ("mean", "sum")[(i + j) % 2])
        for i, loss in enumerate((Hinge(), Logistic()))
        for j, intercept in enumerate(INTERCEPTS)
    ],
)
def test_agrees_with_a_conic_solver(loss, intercept, scaling):
    claim = made(loss, 0.1, intercept, scaling, rows=3)
    bound = solved(claim, iterations=300, tol=1e-7)
    exact = np.array([primal(claim, goal) for goal in extended(claim, claim.rows.X, claim.rows.y)])
    assert (bound <= exact + 3e-3).all()
    if isinstance(loss, Hinge) or intercept == "free":  # a smooth loss is tightened further by bounds on margins
        assert (bound >= exact - 1e-6).all()


@pytest.mark.parametrize("loss", [Hinge(), Logistic()])
def test_sparse_rows_give_the_same_and_stay_sparse_where_they_are_many(loss, monkeypatch):
    claim = made(loss, 0.1, rows=3)
    bound = solved(claim)
    np.testing.assert_allclose(solved(sparse(claim)), bound, atol=3e-3)  # other sums, other last steps
    monkeypatch.setattr("linpoison.certificates.outer.dual._LARGE", 10)
    search = _Search(sparse(claim), None, 20, 1e-4, False)
    assert sp.issparse(search.stages[0].clean.rows)
    assert search.stages[0].clean.rows.dtype == np.float32
    # without the basis and in single precision the search is coarser; what it finds still bounds
    found = solved(sparse(claim))
    np.testing.assert_allclose(found, bound, atol=2e-2)
    goals = extended(claim, claim.rows.X, claim.rows.y)
    for v in retrained(claim, np.random.default_rng(2)):
        assert (-goals @ v <= found + 1e-5).all()


def retrained(claim, rng, count=3, trials=6):
    """Models learned with random poison of the whole budget, some of it aimed at a row."""
    for trial in range(trials):
        X, y = [], []
        for _ in range(count):
            label = int(rng.choice([1, -1]))
            goal = claim.rows.X[rng.integers(claim.rows.n)] * (1 if trial % 2 else -1)
            direction = goal if trial < trials - 2 else rng.normal(size=claim.train.d)
            X.append(claim.sets[label].support(direction))
            y.append(label)
        weight = np.full(count, claim.epsilon * claim.mass / count)
        whole = Dataset(
            np.vstack([claim.train.X, X]), np.append(claim.train.y, y), weight=np.append(claim.train.weight, weight)
        )
        yield make_learner(claim.problem, method="reference").fit(whole).vector


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), SmoothHinge(0.3)])
@pytest.mark.parametrize("intercept", list(INTERCEPTS))
def test_no_attack_exceeds_it(loss, intercept):
    rng = np.random.default_rng(4)
    for scaling, epsilon in (("mean", 0.02), ("sum", 0.15)):
        claim = made(loss, epsilon, intercept, scaling, seed=int(100 * epsilon))
        bound = solved(claim, iterations=60)
        goals = extended(claim, claim.rows.X, claim.rows.y)
        closest = np.inf
        for v in retrained(claim, rng):
            assert (-goals @ v <= bound + 1e-5).all()
            closest = min(closest, float((bound + goals @ v).min()))
        assert closest < 1.5


def test_any_witness_gives_a_bound():
    rng = np.random.default_rng(5)
    claim = made(Hinge(), 0.1)
    witness = minimise_bound(claim, stop_when_decided=False)
    goals = extended(claim, claim.rows.X, claim.rows.y)
    worst = np.max([-goals @ v for v in retrained(claim, rng)], axis=0)
    for _ in range(20):
        other = {
            name: values + rng.normal(size=values.shape) * rng.choice([0.01, 1.0]) for name, values in witness.items()
        }
        assert (worst <= witness_bound(claim, other) + 1e-5).all()
    for value in (np.nan, np.inf, -np.inf):
        for name in ("p", "e", "s"):
            spoilt = {**witness, name: np.full_like(witness[name], value)}
            assert (worst <= witness_bound(claim, spoilt) + 1e-5).all()


@pytest.mark.parametrize("loss", [Hinge(), Logistic()])
def test_rows_left_early_are_decided_as_if_solved(loss):
    claim = made(loss, 0.05, n=40, d=4, rows=24, seed=3, reg=0.1)
    full = solved(claim, iterations=60)
    early = witness_bound(claim, minimise_bound(claim))
    assert 0.1 < (full < 0).mean() < 0.95
    clear = np.abs(full) > 5e-3
    assert ((early < 0) == (full < 0))[clear].all()
    assert (full <= early + 5e-3).all()
    assert (early > full + 0.01).any()


def test_never_looser_than_the_ball():
    for epsilon in (0.0, 1e-5, 0.01, 0.3):
        claim = made(Hinge(), epsilon)
        found = screen(claim, anchor(claim))
        goals = extended(claim, claim.rows.X, claim.rows.y)
        ball = -goals @ found.center + found.radius * np.linalg.norm(goals, axis=1)
        assert (solved(claim, iterations=40) <= ball + 1e-6).all()


def test_a_smaller_set_gives_a_smaller_bound():
    claim = made(Hinge(), 0.1, n=12, rows=2)
    thin = {y: Intersection([part, Slab([1.0, 0.0, 0.0], 0.6 * y, 0.05)]) for y, part in claim.sets.items()}
    slim = Claim(claim.train, claim.problem, ByLabel(thin), claim.epsilon, claim.rows)
    small, large = solved(slim, iterations=20, tol=1e-2), solved(claim, iterations=40)
    assert (small <= large + 5e-3).all()
    assert (small < large - 0.01).any()


def test_unbounded_sets_prove_nothing_and_do_not_fail():
    claim = made(Hinge(), 0.1, "free")
    whole = Box(np.full(3, -np.inf), np.full(3, np.inf))
    open_ended = Claim(claim.train, claim.problem, ByLabel({1: whole, -1: whole}), 0.1, claim.rows)
    assert np.isinf(solved(open_ended)).all()


def test_threads_subsets_and_progress():
    claim = made(Hinge(), 0.05, rows=9)
    seen = []
    whole = minimise_bound(claim, n_jobs=2, stop_when_decided=False, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (9, 9)
    assert len(seen) > 1
    some = minimise_bound(claim, [7, 2], stop_when_decided=False)
    bound = witness_bound(claim.about(claim.rows.take([7, 2])), some)
    np.testing.assert_allclose(bound, witness_bound(claim, whole)[[7, 2]], atol=1e-3)


def test_more_steps_and_a_smaller_tolerance_give_smaller_bounds():
    claim = made(Hinge(), 0.1)
    coarse, fine = solved(claim, iterations=20), solved(claim)
    assert (fine <= coarse + 1e-4).all()
    assert (fine < coarse - 1e-4).any()
    loose = solved(claim, tol=0.1)
    assert (fine <= loose + 1e-4).all()
    assert (fine < loose - 1e-4).any()


def test_what_cannot_be_certified():
    claim = made(Squared())
    with pytest.raises(CapabilityError):
        minimise_bound(claim)
    with pytest.raises(InputError):
        minimise_bound(Claim(claim.train, Problem(Hinge(), 0.1), claim.sets, 0.1))
