import json
from dataclasses import replace
from itertools import product

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from ball_score import certify_ball_score
from poisoning import claim_of, poisoned, rows

from linpoison.certificates import Claim, certify_margin
from linpoison.certificates.certificate import Certificate, recompute
from linpoison.certificates.collective import Share
from linpoison.certificates.knapsack import Cuts
from linpoison.certificates.marks import Search
from linpoison.certificates.ridge.certify import certify_ridge
from linpoison.certificates.saddle.certify import certify_average_loss
from linpoison.certificates.test_error import certify_test_error, recompute_test_error, score_certifier
from linpoison.certificates.theory.thresholds import reachability_threshold  # noqa: F401  (fills the register of checks)
from linpoison.core import CertificateInvalid, Dataset, InputError, LinearModel, Poison
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared
from linpoison.sets import Ball, ByLabel

CASES = {
    "logistic": (Logistic(), certify_ball_score, {"reg": 2.0}),
    "smooth hinge, no intercept": (SmoothHinge(0.4), certify_ball_score, {"reg": 1.5, "fit_intercept": False}),
    "ridge": (Squared(), certify_ridge, {"reg": 0.1}),
    "ridge, free intercept": (Squared(), certify_ridge, {"reg": 0.1, "penalize_intercept": False}),
    "ridge, sum": (Squared(), certify_ridge, {"reg": 0.1, "scaling": "sum", "n_reference": 30.0}),
}


def case(name, epsilon=None):
    loss, certify, options = CASES[name]
    usual = 0.3 if "ridge" in name else 0.08
    return claim_of(loss, "balls", usual if epsilon is None else epsilon, **options), certify


def wrong(v, data):
    return float(np.average(data.y * (data.X @ v[:-1] + v[-1]) <= 0, weights=data.weight))


@pytest.mark.parametrize("name", CASES)
def test_no_poison_misclassifies_more(name):
    rng = np.random.default_rng(0)
    for epsilon in (0.02, 0.08, 0.3):
        claim, certify = case(name, epsilon)
        found = certify_test_error(claim, certify)
        for v in poisoned(claim, rng, tries=3):
            found.check_attack(wrong(v, claim.rows))
        assert found.bound <= found.info["pointwise"] + 1e-12
        assert found.verify() == found.bound


@pytest.mark.parametrize("name", CASES)
def test_without_budget_it_is_the_clean_error(name):
    claim, certify = case(name, 0.0)
    clean = make_learner(claim.problem).fit(claim.train)
    margins = clean.margins(claim.rows)
    assert np.abs(margins).min() > 1e-3
    found = certify_test_error(claim, certify)
    assert found.bound == pytest.approx(clean.error(claim.rows))
    assert 0 < found.bound < 1


@pytest.mark.parametrize("name", CASES)
def test_the_collective_bound_beats_the_sum_of_points(name):
    claim, certify = case(name)
    found = certify_test_error(claim, certify, rounds=6)
    assert found.info["collective"] < found.info["pointwise"] - 1e-3
    assert found.bound <= found.info["collective"] + 1e-9


def whole_program(claim, certificate):
    """The collective program over the ball of the score certificate, as a cone program."""
    rows, v0 = claim.rows, certificate.witness["low.v"]
    ones = float(claim.problem.fit_intercept)
    extended = np.column_stack([rows.X, np.full(rows.n, ones)]) * rows.y[:, None]
    low = certify_ball_score(claim).bound
    chosen = ~(low < 0)
    middle, lengths = extended @ v0, np.linalg.norm(extended, axis=1)
    radius = (low + middle)[0] / lengths[0]
    high = middle + radius * lengths
    v = cp.Variable(claim.train.d + 1)
    counted = [cp.minimum(1, 1 - extended[j] @ v / high[j]) if high[j] > 0 else 1 for j in np.flatnonzero(chosen)]
    problem = cp.Problem(cp.Maximize(sum(counted) / rows.n), [cp.norm2(v - v0) <= radius])
    return problem.solve(solver="CLARABEL")


@pytest.mark.parametrize("name", ["logistic", "smooth hinge, no intercept"])
@pytest.mark.parametrize("epsilon", [0.03, 0.1])
def test_collective_bound_is_at_most_that_of_the_relaxed_marks(name, epsilon):
    claim, certify = case(name, epsilon)
    found = certify_test_error(claim, certify)
    optimum = whole_program(claim, found)
    assert found.info["collective"] <= optimum + 2e-3
    # no less than what any model in the ball misclassifies
    rows, v0 = claim.rows, found.witness["low.v"]
    ones = float(claim.problem.fit_intercept)
    extended = np.column_stack([rows.X, np.full(rows.n, ones)]) * rows.y[:, None]
    radius = ((certify_ball_score(claim).bound + extended @ v0) / np.linalg.norm(extended, axis=1))[0]
    away = np.random.default_rng(0).normal(size=(3000, v0.size))
    models = v0 + radius * away / np.linalg.norm(away, axis=1, keepdims=True)
    assert ((extended @ models.T) <= 0).mean(axis=0).max() <= found.info["collective"] + 1e-9


@pytest.mark.parametrize("loss", ["hinge", "squared"])
def test_branch_and_bound_finds_the_most_rows_that_one_model_of_the_set_breaks(loss):
    """Against every set of marks in turn, and every poison tried breaks no more."""
    claim = (
        claim_of(Squared(), "balls", 0.2, reg=0.1) if loss == "squared" else claim_of(Hinge(), "balls", 0.1, reg=0.3)
    )
    rows = claim.rows.take(np.argsort(-score_certifier(claim.problem.loss).tight(claim).bound)[:4])
    claim = claim.about(rows)
    scores = score_certifier(claim.problem.loss)
    low = scores.tight(claim)
    most = scores.tight(claim.about(replace(rows, y=-rows.y))).bound
    joint = scores.programs[low.name](claim, low.witness)(rows, most)
    levels = {marks: joint.worst(np.array(marks, bool)).value for marks in product((0, 1), repeat=4) if any(marks)}
    assert not any(abs(value) < 1e-5 for value in levels.values())
    expected = max((sum(marks) for marks, value in levels.items() if value >= 0), default=0)
    learner = make_learner(claim.problem)
    share = np.full(4, 0.25)
    search = Search(joint, share, lambda poison: learner.fit(claim.train.mix(poison.as_dataset())).margins(rows), True)
    search.attack(learner.fit(claim.train).margins(rows))
    root = search.tree(200)
    assert search.reached - 1e-9 <= expected / 4
    assert max(leaf.value for leaf in root.leaves()) < (max(expected, round(4 * search.reached)) + 1) / 4
    assert joint.relaxed(np.full(4, -1), share).value >= expected / 4 - 1e-6
    found = certify_test_error(claim)
    assert found.bound == pytest.approx(expected / 4)
    assert found.verify() == found.bound
    assert found.info["attack"] <= found.bound


def test_a_search_begins_with_the_nearest_rows_where_none_errs_without_poison():
    rng = np.random.default_rng(0)
    y, labels = np.where(np.arange(40) % 2, -1.0, 1.0), np.where(np.arange(30) % 2, -1.0, 1.0)
    train = Dataset(0.3 * rng.normal(size=(40, 2)) + y[:, None] * np.array([1.0, 0.3]), y)
    balls = ByLabel({k: Ball(train.X[y == k].mean(axis=0), 1.5) for k in (1, -1)})
    rows = Dataset(0.3 * rng.normal(size=(30, 2)) + labels[:, None] * np.array([0.9, 0.3]), labels)
    claim = Claim(train, Problem(Squared(), 0.1), balls, 0.5, rows)
    assert not make_learner(claim.problem).fit(train).error(rows)
    found = certify_test_error(claim, nodes=1)
    poison = Poison(**found.info["poison"])
    assert poison.total == pytest.approx(20)
    error = make_learner(claim.problem).fit(train.mix(poison.as_dataset())).error(rows)
    assert 0.1 <= error == pytest.approx(found.info["attack"])
    assert error <= found.bound


def test_a_leaf_whose_multipliers_overflow_counts_in_full():
    """One of two rows can be marked: a tree that leaves out the parts of one mark each does not say that none can."""
    cuts = Cuts(np.full(2, 0.5), np.full((1, 2), 2.0), np.array([3.0]))
    tree = np.array([0, 1, -1, -1, 1, -1, -1])
    assert cuts.bound(tree, np.array([[1e3], [0.0], [0.0], [0.0]])) == pytest.approx(0.5)
    for number in (1, 2):
        dual = np.array([[1e3], [0.0], [0.0], [0.0]])
        dual[number] = 1e308
        assert cuts.bound(tree, dual) == 1.0


def test_rows_of_zeros_without_an_intercept_always_count():
    """Their score is zero. Multipliers of any size suit them, and made a combined row whose squares vanished."""
    train, rows = Dataset(np.zeros((4, 1)), [1, -1, 1, -1]), Dataset([[0.0], [0.0], [1.5]], [1, -1, 1])
    sets = ByLabel({k: Ball([k], 1.0) for k in (1, -1)})
    claim = Claim(train, Problem(Squared(), 20.0, fit_intercept=False), sets, 0.4, rows)
    assert certify_test_error(claim).verify() == 1.0
    share = Share.of(rows, np.ones(3, bool))
    assert share.combined(np.array([[1e120, 1.0, 1.0]]), False) is None
    combined = share.combined(np.array([[1e90, 1.0, 1e-9]]), False)
    assert combined.rows.X.tolist() == [[1.0]]
    assert combined.scale[0] == pytest.approx(1.5e-9, rel=1e-12)
    with pytest.raises(InputError, match="1e-100"):
        claim.about(Dataset([[1.0], [1e-170]], [1, -1]))


@pytest.mark.parametrize("loss", [Hinge(), Logistic()])
def test_no_witness_says_that_the_score_of_zeros_has_a_sign(loss):
    """Squares of 1e-170 vanish, and with them what the multipliers cost."""
    train = Dataset([[1.0, 0.5], [-1.0, 0.2]], [1, -1])
    sets = ByLabel({k: Ball([k, 0.0], 1.0) for k in (1, -1)})
    claim = Claim(train, Problem(loss, 0.5, fit_intercept=False), sets, 0.1, Dataset([[0.0, 0.0]], [1]))
    found = certify_margin(claim, method="conic")
    empty = {key: 0 * found.witness[key] for key in ("p", "r", "s", "b", "gam", "del")}
    forged = {**found.witness, **empty, "h": np.array([[1.2e-162, -8.6e-164, 0.0]]), "tau": np.array([2.7e-273])}
    assert (recompute("outer-set", claim, forged) >= 0).all()


def test_rounding_down_needs_equal_weights():
    claim, certify = case("ridge")
    plain = certify_test_error(claim, certify)
    least = min(plain.info["pointwise"], plain.info["collective"])
    assert plain.bound * claim.rows.n == pytest.approx(np.floor(least * claim.rows.n))
    assert plain.bound < least
    weight = np.linspace(1.0, 2.0, claim.rows.n)
    heavy = claim.about(Dataset(claim.rows.X, claim.rows.y, weight))
    found = certify_test_error(heavy, certify)
    assert found.bound == min(found.info["pointwise"], found.info["collective"])
    rng = np.random.default_rng(2)
    for v in poisoned(heavy, rng, tries=3):
        found.check_attack(wrong(v, heavy.rows))


def test_repeated_rows_weigh_as_often():
    claim, certify = case("ridge")
    index = np.repeat(np.arange(claim.rows.n), 2)
    twice = certify_test_error(claim.about(claim.rows.take(index)), certify)
    once = certify_test_error(claim, certify)
    assert twice.info["collective"] == pytest.approx(once.info["collective"], rel=0.1)
    assert twice.info["pointwise"] == pytest.approx(once.info["pointwise"])


def test_sparse_rows_are_certified_alike():
    claim, certify = case("ridge")
    sparse = claim.about(Dataset(sp.csr_array(claim.rows.X), claim.rows.y))
    expected = certify_test_error(claim, certify)
    assert certify_test_error(sparse, certify).info["collective"] == pytest.approx(
        expected.info["collective"], rel=1e-4
    )


def test_average_loss_bounds_the_error_on_the_training_rows_alone():
    claim, certify = case("logistic", 0.3)
    about_train = claim.about(claim.train)
    found = certify_test_error(about_train, certify)
    average = certify_average_loss(claim)
    assert found.info["average"] == pytest.approx(average.bound / np.log(2))
    assert found.info["average"] < found.info["collective"]
    assert found.bound <= found.info["average"]
    assert certify_test_error(claim, certify).info["average"] is None
    rng = np.random.default_rng(3)
    for v in poisoned(claim, rng, tries=4):
        found.check_attack(wrong(v, claim.train))
    moved = {**found.witness, "average.v": np.zeros(4)}
    assert recompute_test_error(about_train, moved) >= found.bound
    assert recompute_test_error(claim, {"average.v": average.witness["v"]}) == 1.0


@pytest.mark.parametrize("name", ["logistic", "ridge"])
def test_any_witness_proves_a_bound(name):
    claim, certify = case(name)
    found = certify_test_error(claim, certify)
    rng = np.random.default_rng(5)
    reached = max(wrong(v, claim.rows) for v in poisoned(claim, rng))
    shape = found.witness["cuts"].shape
    odd = (rng.normal(size=shape), np.full(shape, np.inf), np.full(shape, np.nan), np.zeros(2))
    changes = [{"cuts": value} for value in odd]
    dual, branch = found.witness["dual"], found.witness["branch"]
    changes += [{"dual": dual * rng.random(dual.shape) * scale} for scale in (0.5, 3.0)] + [{"dual": dual[:-1]}]
    changes += [{"branch": value} for value in (branch[:-1], np.array([-1]), branch * 0, branch + 0.5, branch + 99)]
    changes += [{"open": rng.random(claim.rows.n) < 0.5} for _ in range(3)]
    changes += [{"open": np.ones(claim.rows.n, dtype=bool)}, {"open": np.zeros(claim.rows.n, dtype=bool)}]
    changes += [{key: value + 0.1 * rng.normal(size=value.shape)} for key, value in found.witness.items() if "." in key]
    for change in changes:
        assert recompute_test_error(claim, {**found.witness, **change}) >= reached, change
    assert recompute_test_error(claim, {}) == 1.0


def test_it_travels_through_files_and_notices_changes(tmp_path):
    claim, certify = case("ridge")
    found = certify_test_error(claim, certify)
    found.save(tmp_path / "one")
    read = Certificate.load(tmp_path / "one", claim.train, claim.rows)
    assert read.verify() == found.bound
    assert json.loads((tmp_path / "one.json").read_text())["kind"] == "error"
    read.witness["dual"] = 0 * read.witness["dual"]
    with pytest.raises(CertificateInvalid):
        read.verify()
    lighter = Certificate(**{**vars(found), "bound": found.bound - 1 / claim.rows.n})
    with pytest.raises(CertificateInvalid):
        lighter.verify()


def test_bad_input_is_refused():
    claim, certify = case("ridge")
    with pytest.raises(InputError, match="kind 'score'"):
        certify_test_error(claim, certify_average_loss)
    with pytest.raises(InputError, match="rounds"):
        certify_test_error(claim, certify, rounds=0)
    with pytest.raises(InputError, match="rows to certify"):
        certify_test_error(claim.about(claim.rows.take([])), certify)


def test_ridge_is_the_default_for_the_squared_loss():
    claim, certify = case("ridge")
    assert certify_test_error(claim).bound == certify_test_error(claim, certify).bound


def test_one_sided_data_need_the_labels_of_both_kinds():
    """Rows whose slopes cancel in the intercept still get a combined row."""
    claim, certify = case("logistic")
    first = 0.2 * claim.train.X[:1]
    pair = Dataset(np.vstack([first, -first, first, -first]), [1, -1, 1, -1])
    found = certify_test_error(claim.about(pair), certify)
    assert found.info["collective"] is not None
    rng = np.random.default_rng(0)
    for v in poisoned(claim, rng, tries=2):
        found.check_attack(wrong(v, pair))


def test_clean_error_counts_like_the_model():
    data = rows(seed=4)
    model = LinearModel(np.ones(3))
    assert wrong(model.vector, data) == model.error(data)
