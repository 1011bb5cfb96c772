"""Majority over parts: the hash, the votes, the certificate and the attacks that try to break it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from linpoison.certificates.certificate import Certificate, check
from linpoison.certificates.claim import Claim
from linpoison.certificates.partition.bases import base_claim, fit_base, proven_levels
from linpoison.certificates.partition.classifier import (
    PartitionClassifier,
    certify_partition,
    parts_of,
    recompute_partition,
)
from linpoison.certificates.partition.hashing import split_rows
from linpoison.certificates.partition.votes import certified_insertions, flips_needed, search_levels
from linpoison.core import Dataset
from linpoison.core.errors import CapabilityError, CertificateInvalid, InputError
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared, SquaredHinge
from linpoison.sets import Ball, ByLabel

K = 3


# --- a base certifier in closed form: |v^ - v| <= (|gradient at v| + eps R sup |phi'|) / reg ---


def ball(claim):
    problem = replace(claim.problem, reg=claim.reg, scaling="mean", n_reference=None)
    model = make_learner(problem).fit(claim.train)
    witness = {"v": model.vector}
    return Certificate("test ball", "score", claim, recompute_ball(claim, witness), False, (), witness)


@check("test ball", scores=True)
def recompute_ball(claim, witness):
    v, data, rows = witness["v"], claim.train, claim.rows
    X, Z = (np.column_stack([part.X, np.ones(part.n)]) for part in (data, rows))
    pull = claim.problem.loss.derivative(data.y * (X @ v)) * data.y * data.weight / claim.mass
    slope = np.linalg.norm(claim.reg * v + X.T @ pull)
    reach = max(np.hypot(np.linalg.norm(part.center) + part.radius, 1.0) for part in claim.sets.values())
    radius = (slope + claim.epsilon * reach) / claim.reg
    return -rows.y * (Z @ v) + np.linalg.norm(Z, axis=1) * radius


# --- hash ---


def test_a_part_depends_on_the_features_alone():
    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32).astype(np.float64)
    X[X < -0.3] = 0.0
    parts, order = parts_of(X, 5), np.random.default_rng(1).permutation(60)
    assert (parts_of(X[order], 5) == parts[order]).all()
    assert (np.concatenate([parts_of(row[None], 5) for row in X]) == parts).all()
    assert (parts_of(np.asfortranarray(X).astype(np.float32), 5) == parts).all()
    assert (parts_of(np.where(X == 0, -0.0, X), 5) == parts).all()
    padded = sp.csr_array((X.ravel(), np.tile(np.arange(4), 60), np.arange(0, 241, 4)), shape=X.shape)
    assert padded.nnz == 240, "zeros are stored"
    assert (parts_of(padded, 5) == parts).all()
    assert (parts_of(sp.csc_array(X), 5) == parts).all()


def test_parts_are_filled_evenly_and_the_seed_matters():
    X = np.random.default_rng(0).normal(size=(3000, 2))
    counts = np.bincount(parts_of(X, 6), minlength=6)
    assert counts.size == 6
    assert np.abs(counts - 500).max() < 100
    agree = np.mean(parts_of(X, 6) == parts_of(X, 6, seed=1))
    assert agree == pytest.approx(1 / 6, abs=0.04)
    assert (parts_of(X, 1) == 0).all()


def test_positions_and_values_both_count():
    X = np.vstack([np.eye(40), 2 * np.eye(40)])
    assert np.unique(parts_of(X, 1000)).size > 70


@pytest.mark.parametrize(("n_parts", "seed"), [(0, 0), (2.0, 0), (True, 0), (2, -1), ("2", 0)])
def test_a_wrong_number_of_parts_or_seed_is_refused(n_parts, seed):
    with pytest.raises(InputError, match="whole number"):
        parts_of([[1.0]], n_parts, seed)


def test_rows_outside_their_set_or_without_weight_belong_to_no_part():
    sets = ByLabel({1: Ball([1.0], 1.0), -1: Ball([-1.0], 1.0)})
    train = Dataset([[1.0], [2.5], [1.0], [-1.0], [-1.5]], [1, 1, -1, -1, -1], [1, 1, 1, 1, 0])
    parts, bases = split_rows(train, sets, 4)
    assert ((parts >= 0) == [True, False, False, True, False]).all()
    assert sum(base.n for base in bases) == 2


# --- votes ---


def majority(votes_for_first, n_parts):
    """Prediction of DPA for two classes: the class of most votes, the lower index on a tie."""
    return -1 if votes_for_first >= n_parts - votes_for_first else 1


@pytest.mark.parametrize("n_parts", [1, 2, 3, 4, 7, 8])
def test_without_base_budgets_it_is_deep_partition_aggregation(n_parts):
    for first in range(n_parts + 1):
        counts, c = {0: first, 1: n_parts - first}, int(majority(first, n_parts) > 0)
        published = (counts[c] - (counts[1 - c] + (1 - c < c))) // 2
        label = 2 * c - 1
        levels = np.array([[0] * counts[c] + [-1] * counts[1 - c]])
        assert certified_insertions(levels, [label]) == published
        flips = next(f for f in range(n_parts + 1) if majority(first + label * f, n_parts) != label)
        assert flips_needed([counts[c]], n_parts, [label]) == flips == published + 1
        assert certified_insertions(np.where(levels == 0, -1, 0), [-label]) == -1


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=6), st.sampled_from([1, -1]), st.integers(0, 2))
def test_the_cheapest_way_to_turn_the_majority(levels, label, deletions):
    """Every set of bases the attacker may turn, paying for all but the dearest `deletions` of them."""
    levels, sides = np.array(levels), np.where(np.array(levels) >= 0, label, -label)
    costs = [np.inf]
    for chosen in product([False, True], repeat=levels.size):
        chosen = np.array(chosen) & (sides == label)
        turned = np.where(chosen, -label, sides)
        if majority((turned == -1).sum(), levels.size) != label:
            costs.append(np.sort(levels[chosen] + 1)[: max(chosen.sum() - deletions, 0)].sum())
    assert certified_insertions(levels[None], [label], deletions)[0] == max(min(costs) - 1, -1)


@given(st.data())
def test_the_search_finds_all_that_counts(data):
    n, k, deletions = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)), data.draw(st.integers(0, 1))
    draw = st.lists(st.lists(st.integers(-1, 20), min_size=k, max_size=k), min_size=n, max_size=n)
    truth, tops = np.array(data.draw(draw)), np.array(data.draw(st.lists(st.integers(0, 25), min_size=k, max_size=k)))
    label = np.array(data.draw(st.lists(st.sampled_from([1, -1]), min_size=n, max_size=n)))
    tries = []

    def attempt(base, m, rows):
        assert 0 <= m <= tops[base]
        assert rows.size
        tries.extend((base, m, row) for row in rows)
        return truth[rows, base] >= m

    coarse = search_levels(attempt, np.ones((n, k)), tops, label, deletions, precision=0.3)
    tries.clear()
    found = search_levels(attempt, np.ones((n, k)), tops, label, deletions)
    full = np.minimum(truth, tops)
    assert (coarse <= full).all()
    assert ((coarse >= 0) == (found >= 0)).all()
    assert (found <= full).all()
    assert (certified_insertions(found, label, deletions) == certified_insertions(full, label, deletions)).all()
    assert len(tries) == len(set(tries)) <= 12 * n * k


def test_a_coarse_search_stops_early_and_below():
    truth, tries = np.array([[70, 83, 91]]), {}
    for precision in (0.0, 0.2):
        tries[precision] = []

        def attempt(base, m, rows, log=tries[precision]):
            log.append((base, m))
            return truth[rows, base] >= m

        found = search_levels(attempt, np.ones((1, 3)), [200] * 3, [1.0], precision=precision)
        exact = certified_insertions(truth, [1.0])
        assert 0.8 * exact <= certified_insertions(found, [1.0]) <= exact
    assert len(tries[0.2]) < 0.8 * len(tries[0.0])


def test_the_search_looks_only_where_asked_and_stops_when_nothing_counts():
    truth, tries = np.full((1, 3), 100), []

    def attempt(base, m, rows):
        tries.append((base, m))
        return truth[rows, base] >= m

    assert (search_levels(attempt, [[True, False, False]], [5, 5, 5], [1.0]) == -1).all()
    assert not tries
    truth = np.array([[0, 100, 100]])
    levels = search_levels(attempt, np.ones((1, 3)), [200] * 3, [1.0])
    assert certified_insertions(levels, [1.0]) == 0 + 1 + 101 - 1
    tries.clear()
    levels = search_levels(attempt, [[True, True, False]], [200] * 3, [1.0])
    assert certified_insertions(levels, [1.0]) == 0
    assert levels[0, 1] < 5, "one flip is enough: base 1 does not count"


# --- the certificate against attacks, two features, three parts ---


@cache
def world(loss=Logistic, reg=0.5, scaling="mean", n=45):
    rng = np.random.default_rng(3)
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X = rng.normal(scale=0.5, size=(n, 2)) + np.outer(y, [1.0, 0.5])
    X[:2] *= 4  # outside of the sets: dropped
    sets = ByLabel({1: Ball([1.0, 0.5], 1.5), -1: Ball([-1.0, -0.5], 1.5)})
    Z = rng.normal(size=(120, 2)) * 1.5
    problem = Problem(loss(), reg, scaling=scaling, n_reference=20 if scaling == "sum" else None)
    claim = Claim(Dataset(X, y), problem, sets, 0.0, Dataset(Z, np.ones(120)))
    models = [fit_base(problem, part) for part in split_rows(claim.train, sets, K)[1]]
    votes = np.stack([model.predict(Z) for model in models])
    return claim.about(Dataset(Z, np.where(votes.sum(axis=0) > 0, 1.0, -1.0)))


def candidates(sets):
    """Points of both sets, near their border and inside, labelled."""
    for count, share in ((8, 0.999999), (2, 0.4)):
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        for label, part in sets.items():
            for x in part.center + share * part.radius * np.column_stack([np.cos(angles), np.sin(angles)]):
                yield x, float(label)


def moved_to(x, part, tries=200):
    """A point within 1e-9 of x that the hash puts into a part."""
    shifted = x - 1e-9 * np.linspace(0, 1, tries)[:, None] * np.sign(x)
    return shifted[np.flatnonzero(parts_of(shifted, K) == part)[0]]


def breaking_points(claim, most):
    """For each base, the fewest copies of one point (at most `most`) that turn each row, and those points."""
    cost, planted = np.full((K, claim.rows.n), np.inf), {}
    for j, part in enumerate(split_rows(claim.train, claim.sets, K)[1]):
        for (x, label), m in product(list(candidates(claim.sets)), range(1, most + 1)):
            inserted = Dataset(moved_to(x, j)[None], [label], [m])
            wrong = make_learner(claim.problem).fit(part.mix(inserted)).predict(claim.rows.X) != claim.rows.y
            better = wrong & (cost[j] > m)
            cost[j, better] = m
            planted |= {(j, int(row)): (inserted.X[0], label, m) for row in np.flatnonzero(better)}
    return cost, planted


def attacked(claim, most=5):
    """The fewest insertions found that change each prediction, and the labelled rows that do."""
    clean = np.stack(
        [fit_base(claim.problem, p).predict(claim.rows.X) for p in split_rows(claim.train, claim.sets, K)[1]]
    )
    cost, planted = breaking_points(claim, most)
    spent, rows = np.full(claim.rows.n, np.inf), {}
    for i, label in enumerate(claim.rows.y):
        for chosen in (c for size in range(1, K + 1) for c in combinations(range(K), size)):
            chosen = [j for j in chosen if clean[j, i] == label]
            held = (clean[:, i] == label).sum() - len(chosen)
            total = cost[chosen, i].sum()
            if 2 * held < K and total < spent[i]:
                spent[i], rows[i] = total, [planted[j, i] for j in chosen]
    return spent, rows


CASES = [
    (Logistic, 0.5, "mean", ball),
    (Logistic, 0.5, "sum", ball),
    (Squared, 0.3, "mean", "auto"),
    (Squared, 0.3, "sum", "auto"),
    (Hinge, 0.5, "mean", "auto"),
]


@cache
def case(number):
    loss, reg, scaling, base = CASES[number]
    claim = world(loss, reg, scaling)
    if base == "auto":
        claim = claim.about(claim.rows.take(np.arange(40 if loss is Squared else 4)))
    return claim, certify_partition(claim, n_parts=K, base=base), attacked(claim)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_no_insertion_found_is_within_the_certificate(number):
    claim, certificate, (spent, rows) = case(number)
    bound = certificate.bound
    assert certificate.kind == "insertions"
    assert bound.shape == (claim.rows.n,)
    assert (bound < spent).all()
    plain = certify_partition(claim, n_parts=K, base=CASES[number][-1], most=0).bound
    assert (plain <= bound).all()
    assert (plain < bound).mean() > 0.2, "base budgets add something"
    assert (plain >= 0).mean() > 0.8
    broken = np.flatnonzero(np.isfinite(spent))
    assert broken.size > 0.1 * claim.rows.n, "the attack is a real one"
    classifier = _classifier(claim)
    for i in broken[:8]:
        inserted = [(x, label) for x, label, m in rows[i] for _ in range(m)]
        assert _predicted(classifier, claim, i, inserted) != claim.rows.y[i]
        assert _predicted(classifier, claim, i, inserted[: int(bound[i])]) == claim.rows.y[i]


def _classifier(claim):
    problem = claim.problem
    pinned = problem.reg if problem.scaling == "mean" else None
    return problem if pinned is None else PartitionClassifier(K, problem.loss, pinned, sets=claim.sets)


def _predicted(classifier, claim, i, inserted):
    X = np.vstack([claim.train.X, *[x[None] for x, _ in inserted]])
    y = np.append(claim.train.y, [label for _, label in inserted])
    if isinstance(classifier, PartitionClassifier):
        return classifier.fit(X, y).predict(claim.rows.X[i : i + 1])[0]
    parts = split_rows(Dataset(X, y), claim.sets, K)[1]
    votes = sum(fit_base(classifier, part).predict(claim.rows.X[i : i + 1])[0] for part in parts)
    return 1.0 if votes > 0 else -1.0


def test_no_witness_proves_what_an_attack_refutes():
    claim, certificate, (spent, _) = case(0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        moved = {
            name: value + rng.choice([0.01, 0.3, np.nan]) * rng.normal(size=value.shape) if ".with." in name else value
            for name, value in certificate.witness.items()
        }
        assert (recompute_partition(claim, moved) < spent).all()


def test_rows_outside_the_sets_change_nothing():
    claim = world()
    classifier = _classifier(claim)
    inserted = [(np.array([50.0, 50.0]) + i, -1.0) for i in range(40)]
    before = PartitionClassifier(K, Logistic(), 0.5, sets=claim.sets).fit(claim.train.X, claim.train.y)
    _predicted(classifier, claim, 0, inserted)
    assert np.array_equal(before.coef_, classifier.coef_)
    assert (classifier.parts_[-40:] == -1).all()
    free = PartitionClassifier(K, Logistic(), 0.5)
    _predicted(free, claim, 0, inserted)
    assert not np.allclose(free.coef_, before.coef_, atol=0.05)


def test_deletions_and_changed_labels():
    """Every one row deleted, or relabelled: certified predictions stay, and some other one changes."""
    claim = world(n=24)
    bound = certify_partition(claim, n_parts=K, base=ball, deletions=1).bound
    alone = certify_partition(claim, n_parts=K, base=ball).bound
    assert (bound <= alone).all()
    assert (bound >= 0).any()
    assert (bound == -1).any()
    everywhere = np.zeros(claim.rows.n, dtype=bool)
    for i, relabel in product(range(claim.train.n), (False, True)):
        keep = np.arange(claim.train.n) != i
        y = np.where(keep, claim.train.y, -claim.train.y)
        kept = slice(None) if relabel else keep
        model = PartitionClassifier(K, Logistic(), 0.5, sets=claim.sets).fit(claim.train.X[kept], y[kept])
        everywhere |= model.predict(claim.rows.X) != claim.rows.y
    assert not everywhere[bound >= 0].any()
    assert everywhere.any(), "a deletion or a label does matter somewhere"


# --- the estimator ---


@parametrize_with_checks([PartitionClassifier(), PartitionClassifier(n_parts=3, loss="hinge", seed=1)])
def test_it_is_a_scikit_learn_classifier(estimator, check):
    check(estimator)


def test_votes_predictions_and_ties():
    claim = world()
    model = PartitionClassifier(4, Logistic(), 0.5).fit(claim.train.X, np.where(claim.train.y > 0, "b", "a"))
    votes = model.votes(claim.rows.X)
    assert (votes.sum(axis=1) == 4).all()
    hand = (claim.rows.X @ model.coef_.T + model.intercept_ > 0).sum(axis=1)
    assert (votes[:, 1] == hand).all()
    assert (model.predict(claim.rows.X) == np.where(hand > 2, "b", "a")).all()
    assert (hand == 2).any(), "a tie is among them"
    for part in range(4):
        inside = model.parts_ == part
        alone = make_learner(Problem(Logistic(), 0.5)).fit(Dataset(claim.train.X[inside], claim.train.y[inside]))
        assert model.coef_[part] == pytest.approx(alone.coef, abs=1e-6)


def test_without_sets_it_counts_votes():
    claim = world()
    model = PartitionClassifier(4, Logistic(), 0.5).fit(claim.train.X, claim.train.y)
    votes, predicted = model.votes(claim.rows.X), model.predict(claim.rows.X)
    most, least = votes.max(axis=1), votes.min(axis=1)
    published = (most - least - (predicted > 0)) // 2
    assert (model.certify(claim.rows.X, base=ball) == published).all()
    assert np.unique(published).size > 1
    certificate = model.certificate(claim.rows.X, -predicted, base=ball)
    assert (certificate.bound == -1).all()
    assert certificate.verify() is certificate.bound


def test_parts_of_one_class_or_of_none_vote_as_documented():
    X, y = np.array([[-1.0], [1.0], [1.5]]), ["a", "b", "b"]
    model = PartitionClassifier(40, Logistic(), 0.5).fit(X, y)
    assert (model.coef_ == 0).all()
    assert np.unique(model.parts_).size == 3
    assert sorted(model.intercept_)[-2:] == [1.0, 1.0]
    assert (model.intercept_ == -1.0).sum() == 38
    assert (model.votes([[1.0]]) == [[38, 2]]).all()
    assert model.certify([[1.0]], base=ball) == [18]
    assert (model.certify([[1.0], [0.0]], base=ball, deletions=19) == -1).all()


def test_sparse_rows_give_the_same():
    claim = world()
    models = [PartitionClassifier(K, "squared", 0.3, sets=claim.sets) for _ in range(2)]
    dense = models[0].fit(claim.train.X, claim.train.y)
    sparse = models[1].fit(sp.csr_array(claim.train.X), claim.train.y)
    assert (dense.parts_ == sparse.parts_).all()
    assert dense.coef_ == pytest.approx(sparse.coef_, abs=1e-7)


def test_input_that_is_refused():
    claim = world()
    model = PartitionClassifier(K, Logistic(), 0.5).fit(claim.train.X, claim.train.y)
    with pytest.raises(InputError, match="labels among"):
        model.certificate(claim.rows.X, np.zeros(claim.rows.n), base=ball)
    with pytest.raises(InputError, match="'auto'"):
        certify_partition(claim, n_parts=K, base="best")
    with pytest.raises(InputError, match="rows to certify"):
        certify_partition(replace(claim, rows=None), n_parts=K, base=ball)
    with pytest.raises(InputError, match="120 scores"):
        certify_partition(claim, n_parts=K, base=lambda claim: replace(ball(claim), bound=-1.0))
    with pytest.raises(CapabilityError, match="squared_hinge"):
        certify_partition(replace(claim, problem=Problem(SquaredHinge(), 0.1)), n_parts=K)
    with pytest.raises(InputError, match="deletions"):
        certify_partition(claim, n_parts=K, base=ball, deletions=-1)


# --- the certificate as an object ---


def test_it_round_trips_and_verifies(tmp_path):
    claim, certificate, _ = case(0)
    certificate.save(tmp_path / "majority")
    read = Certificate.load(tmp_path / "majority", claim.train, claim.rows)
    assert np.array_equal(read.verify(), certificate.bound)
    words = " ".join(read.assumptions)
    assert "3 parts" in words
    assert "inserts any rows" in words
    assert "mass at most" not in words


def tampered(witness):
    """Names and witnesses with one thing changed."""
    vectors = [name for name in witness if name.endswith(".with.v")]
    yield "nan", {**witness, vectors[0]: np.full(3, np.nan)}
    yield "flipped", {name: -value if name in vectors else value for name, value in witness.items()}
    yield "shape", {**witness, vectors[0]: np.ones(7)}
    yield "seed", {**witness, "seed": np.array(1)}
    yield "parts", {**witness, "n_parts": np.array(K + 1)}
    yield "deletions", {**witness, "deletions": np.array(1)}
    yield "missing", {name: value for name, value in witness.items() if name != vectors[0]}
    yield "rows", {name: value[:0] if name.endswith(".rows") else value for name, value in witness.items()}
    yield "far rows", {name: value + 1000 if name.endswith(".rows") else value for name, value in witness.items()}
    renamed = {f"{int(head) + K}.{rest}" if rest else head: value
               for head, _, rest, value in ((*name.partition("."), value) for name, value in witness.items())
               if rest} | {name: witness[name] for name in ("n_parts", "seed", "deletions")}  # fmt: skip
    yield "bases", renamed
    claimed = {}
    for name, value in witness.items():
        base, _, rest = name.partition(".")
        m, _, rest = rest.partition(".")
        claimed[f"{base}.{int(m) + 3}.{rest}" if rest else name] = value
    yield "levels", claimed


def test_tampering_is_noticed():
    _, certificate, _ = case(0)
    seen = set()
    for what, witness in tampered(certificate.witness):
        with pytest.raises(CertificateInvalid):
            replace(certificate, witness=witness).verify()
        seen.add(what)
    assert len(seen) == 11
    with pytest.raises(CertificateInvalid):
        replace(certificate, bound=certificate.bound + (certificate.bound == certificate.bound.max())).verify()
    with pytest.raises(InputError, match="n_parts"):
        recompute_partition(certificate.claim, {})


def test_only_negative_bounds_prove_a_vote():
    claim = world()
    parts, rows = split_rows(claim.train, claim.sets, K)[1], np.arange(claim.rows.n)
    close = 0
    for m in range(6):
        found = ball(base_claim(claim, parts[0], m, rows))
        head = f"0.{m}.0"
        witness = {f"{head}.rows": rows, f"{head}.check": np.array("test ball"), f"{head}.with.v": found.witness["v"]}
        levels = proven_levels(claim, parts, witness)
        assert np.array_equal(levels[:, 0], np.where(found.bound < 0, m, -1))
        assert (levels[:, 1:] == -1).all()
        close += int(((found.bound >= 0) & (found.bound < 0.1)).sum())
    assert close > 0


@check("test rows", scores=True)
def recompute_rows(claim, witness):
    if witness["V"].shape != (claim.rows.n, 4) or witness["alike"].shape != (claim.rows.n, 2):
        raise InputError("one row of V for each row", f"{witness['V'].shape}")
    return recompute_ball(claim, {"v": witness["V"][0, :3]}) + 0 * witness["alike"].sum()


def test_a_witness_is_cut_to_what_proves():
    claim = world()

    def by_row(claim):
        certificate, n = ball(claim), claim.rows.n
        V = np.column_stack([np.tile(certificate.witness["v"], (n, 1)), np.arange(n)])
        witness = {"V": V, "alike": np.ones((n, 2)), "unused": np.ones(999), "unused too": np.eye(n)}
        return replace(certificate, name="test rows", witness=witness)

    certificate = certify_partition(claim, n_parts=K, base=by_row)
    assert np.array_equal(certificate.bound, certify_partition(claim, n_parts=K, base=ball).bound)
    assert not any("unused" in name for name in certificate.witness)
    proofs = [name.removesuffix(".rows") for name in certificate.witness if name.endswith(".rows")]
    assert len(proofs) > K
    pairs = []
    for proof in proofs:
        rows = certificate.witness[f"{proof}.rows"]
        pairs += [(proof[0], row) for row in rows]
        if rows.size > 1:
            assert certificate.witness[f"{proof}.with.V"].shape == (rows.size, 4)
        assert certificate.witness[f"{proof}.each.alike"].shape == (1, 2)
    assert len(pairs) == len(set(pairs)), "one proof for each base and row"
    assert np.array_equal(certificate.verify(), certificate.bound)
