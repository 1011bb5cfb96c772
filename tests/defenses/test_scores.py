"""Each score against its formula, written out by hand or in plain numpy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from linpoison.core import CapabilityError, Dataset, InputError
from linpoison.defenses import KNNDefense, L2Defense, LossDefense, SlabDefense, SVDDefense
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, Squared

STORAGE = {"dense": np.asarray, "csr": sp.csr_array}


def cloud(seed=0, n=60, d=8, classes=2):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.poisson(1.0, (n, d)) + np.outer(y, rng.poisson(1.0, d))
    return X.astype(float), y


@pytest.fixture(params=STORAGE)
def stored(request):
    return STORAGE[request.param]


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_l2_by_hand(stored, variant):
    X = stored([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0], [5.0, 5.0]])
    defense = L2Defense(remove=0.3, variant=variant).fit(X, ["a", "a", "a", "b"])
    np.testing.assert_allclose(defense.means_, [[1, 1], [5, 5]])
    np.testing.assert_allclose(defense.decision_scores_, [np.sqrt(2), np.sqrt(2), 2, 0])
    assert defense.sample_indices_.tolist() == [0, 1, 3]
    assert defense.thresholds_ == {"a": pytest.approx(np.sqrt(2)), "b": 0.0}


def test_slab_by_hand(stored):
    X = stored([[0.0, 1.0], [2.0, -1.0], [4.0, 0.0], [10.0, 8.0]])
    y = [-1, -1, 1, 1]  # means (1, 0) and (7, 4), difference (6, 4)
    paper = SlabDefense(remove=0.5).fit(X, y)
    np.testing.assert_allclose(paper.decision_scores_, [2, 2, 34, 34])
    reference = SlabDefense(remove=0.5, variant="reference").fit(X, y)
    np.testing.assert_allclose(reference.decision_scores_, paper.decision_scores_ / np.sqrt(52))
    assert reference.sample_indices_.tolist() == paper.sample_indices_.tolist() == [0, 2]


def test_slab_orders_alike_in_both_variants(stored):
    X, y = cloud(1)
    kept = [SlabDefense(0.2, variant).fit(stored(X), y).sample_indices_.tolist() for variant in ("paper", "reference")]
    assert kept[0] == kept[1]


def test_slab_needs_a_direction():
    X, y = [[1.0], [3.0], [3.0], [1.0]], [0, 0, 1, 1]
    assert SlabDefense().fit(X, y).decision_scores_.tolist() == [0, 0, 0, 0]
    with pytest.raises(InputError, match="class means that differ"):
        SlabDefense(variant="reference").fit(X, y)


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), Squared()])
def test_loss_is_that_of_the_model_on_all_rows(stored, loss):
    X, y = cloud(2)
    problem = Problem(loss, reg=0.1)
    signs = 2.0 * y - 1
    margins = make_learner(problem).fit(Dataset(stored(X), signs)).margins(Dataset(X, signs))
    paper = LossDefense(estimator=problem).fit(stored(X), y)
    np.testing.assert_allclose(paper.decision_scores_, loss.value(margins), atol=1e-12)
    reference = LossDefense(estimator=problem, variant="reference").fit(stored(X), y)
    np.testing.assert_allclose(reference.decision_scores_, 1 - margins, atol=1e-12)


def test_loss_by_hand():
    # no intercept by symmetry; every margin is below 1, so w^2 / 2 + mean hinge is least at w = mean |x| = 0.4
    X, y = [[0.2], [0.6], [-0.2], [-0.6]], ["yes", "yes", "no", "no"]
    defense = LossDefense(0.5, estimator=Problem(Hinge(), 1.0)).fit(X, y)
    np.testing.assert_allclose(defense.decision_scores_, [0.92, 0.76, 0.92, 0.76], atol=1e-5)
    assert defense.sample_indices_.tolist() == [1, 3]


def test_loss_variants_differ_where_the_hinge_is_clipped():
    X, y = [[-9.0], [-5.0], [-5.0], [5.0], [5.0], [9.0]], [0, 0, 0, 1, 1, 1]
    problem = Problem(Hinge(), 0.001)
    assert LossDefense(0.3, "paper", problem).fit(X, y).sample_indices_.tolist() == [0, 1, 3, 4]  # ties: earlier first
    assert 5 in LossDefense(0.3, "reference", problem).fit(X, y).sample_indices_


def test_loss_takes_scikit_learn_classifiers():
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    X, y = cloud(3)
    names = np.array(["ham", "spam"])[y]
    for machine, loss in (
        (LinearSVC(loss="hinge", C=0.01, random_state=0), Hinge()),
        (LogisticRegression(), Logistic()),
    ):
        margins = (2.0 * y - 1) * machine.fit(X, names).decision_function(X)
        scores = LossDefense(estimator=machine).fit(X, names).decision_scores_
        np.testing.assert_allclose(scores, loss.value(margins), atol=1e-9)


def test_loss_default_is_the_hinge_classifier():
    X, y = cloud(4)
    assert LossDefense().fit(X, y).loss_ == Hinge()


def test_loss_refuses_what_is_not_linear_in_the_features():
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    X, y = cloud(4)
    with pytest.raises(CapabilityError, match="in front of the defence"):
        LossDefense(estimator=make_pipeline(StandardScaler(), LinearSVC())).fit(X, y)
    with pytest.raises(CapabilityError, match="GaussianNB"):
        LossDefense(estimator=GaussianNB()).fit(X, y)


def test_fit_from_model_is_fit_with_that_model():
    X, y = cloud(5)
    problem = Problem(Hinge(), 0.1)
    trained = LossDefense(estimator=problem).fit(X, y)
    given = LossDefense().fit_from_model(X, y, trained.model_, Hinge())
    np.testing.assert_array_equal(given.decision_scores_, trained.decision_scores_)
    assert given.thresholds_ == trained.thresholds_


def full_svd(X, energy=0.95):
    _, values, rows = np.linalg.svd(X, full_matrices=False)
    k = int(np.argmax(np.cumsum(values**2) > energy * np.sum(values**2))) + 1
    return rows[:k]


def test_svd_paper(stored):
    X, y = cloud(6, n=80, d=12)
    B = full_svd(X).T
    defense = SVDDefense().fit(stored(X), y)
    assert defense.rank_ == B.shape[1]
    np.testing.assert_allclose(defense.decision_scores_, np.linalg.norm(X - X @ B @ B.T, axis=1), atol=1e-8)


def test_svd_reference(stored):
    X, y = cloud(6, n=80, d=12)
    means = np.array([X[y == code].mean(axis=0) for code in (0, 1)])
    Q = np.linalg.qr(np.vstack([full_svd(X)[:-1], means]).T)[0]
    centred = X - means[y]
    defense = SVDDefense(variant="reference").fit(stored(X), y)
    assert defense.rank_ == full_svd(X).shape[0] - 1
    np.testing.assert_allclose(defense.decision_scores_, np.linalg.norm(centred - centred @ Q @ Q.T, axis=1), atol=1e-8)
    np.testing.assert_allclose(defense.basis_.T @ defense.basis_, np.eye(Q.shape[1]), atol=1e-10)


def test_svd_by_hand(stored):
    X = stored([[10.0, 0.0, 0.0], [0.0, 9.0, 0.0], [10.0, 0.0, 0.5], [0.0, 9.0, 0.0]])
    defense = SVDDefense(remove=0.5).fit(X, [0, 1, 0, 1])
    assert defense.rank_ == 2
    np.testing.assert_allclose(defense.decision_scores_, [0.25, 0, 0.25, 0], atol=2e-3)


def test_svd_of_rank_one_and_of_zero(stored):
    X = stored(np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 0.0]))
    for variant in ("paper", "reference"):
        np.testing.assert_allclose(SVDDefense(variant=variant).fit(X, [0, 0, 1, 1]).decision_scores_, 0, atol=1e-12)
        assert not SVDDefense(variant=variant).fit(0 * X, [0, 0, 1, 1]).decision_scores_.any()


def test_svd_energy_and_hint():
    X, y = cloud(7, n=80, d=12)
    ranks = [SVDDefense(energy=energy).fit(X, y).rank_ for energy in (0.5, 0.8, 0.99)]
    assert ranks == [full_svd(X, energy).shape[0] for energy in (0.5, 0.8, 0.99)]
    plain, hinted = SVDDefense().fit(X, y), SVDDefense(rank_hint=3).fit(X, y)
    np.testing.assert_allclose(plain.decision_scores_, hinted.decision_scores_, atol=1e-9)
    with pytest.raises(InputError, match="energy"):
        SVDDefense(energy=1.0).fit(X, y)
    with pytest.raises(InputError, match="rank_hint"):
        SVDDefense(rank_hint=-1).fit(X, y)


@pytest.mark.parametrize("k", [1, 5])
def test_knn_against_all_distances(stored, k):
    X, y = cloud(8)  # counts: some rows are equal
    others = np.sort(cdist(X, X) + np.diag(np.full(len(X), np.inf)), axis=1)
    paper = KNNDefense(k=k).fit(stored(X), y)
    np.testing.assert_allclose(paper.decision_scores_, others[:, k - 1], atol=1e-12)
    reference = KNNDefense(k=k, variant="reference").fit(stored(X), y)
    np.testing.assert_allclose(reference.decision_scores_, others[:, : k - 1].sum(axis=1), atol=1e-12)


def test_knn_of_copies_is_exactly_zero(stored):
    rng = np.random.default_rng(9)
    X = np.vstack([rng.normal(size=(30, 40)) * 50, np.repeat(rng.normal(size=(1, 40)) * 1e3, 6, axis=0)])
    y = np.arange(36) % 2
    for variant, copies in (("paper", 6), ("reference", 5)):
        rows = np.r_[:30, 30 : 30 + copies]
        scores = KNNDefense(variant=variant).fit(stored(X[rows]), y[rows]).decision_scores_
        assert (scores[30:] == 0).all()
        assert (scores[:30] > 0).all()
        fewer = KNNDefense(variant=variant).fit(stored(X[rows[:-1]]), y[rows[:-1]]).decision_scores_
        assert (fewer > 0).all()


def test_knn_counts_both_classes_and_scores_newcomers(stored):
    X = stored([[0.0], [1.0], [3.0], [7.0]])
    defense = KNNDefense(k=2).fit(X, [0, 1, 0, 1])
    assert defense.decision_scores_.tolist() == [3, 2, 3, 6]
    assert defense.decision_function(stored([[0.0], [7.0]]), [0, 0]).tolist() == [1, 4]
    reference = KNNDefense(k=2, variant="reference").fit(X, [0, 1, 0, 1])
    assert reference.decision_function(stored([[2.0]]), [0]).tolist() == [1]


def test_knn_parameters():
    X, y = cloud(1, n=5)
    with pytest.raises(InputError, match="more than k=5 rows"):
        KNNDefense().fit(X, y)
    with pytest.raises(InputError, match="k as a whole number"):
        KNNDefense(k=0).fit(X, y)


def test_multi_class():
    X, y = cloud(3, n=90, classes=3)
    for defense in (L2Defense(), SVDDefense(), SVDDefense(variant="reference"), KNNDefense()):
        kept = defense.fit(X, y).sample_indices_
        assert np.bincount(y[kept]).tolist() == [28, 28, 28]
    for defense in (SlabDefense(), LossDefense(estimator=Problem(Hinge(), 0.1))):
        with pytest.raises(CapabilityError, match=r"two classes.*3 classes"):
            defense.fit(X, y)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_scores_follow_a_permutation_and_a_swap_of_labels(seed):
    X, y = cloud(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    problem = Problem(Logistic(), 0.1)
    defenses = [
        make(variant=variant)
        for make in (L2Defense, SlabDefense, SVDDefense, KNNDefense)
        for variant in ("paper", "reference")
    ]
    for defense in [*defenses, LossDefense(estimator=problem)]:
        scores = defense.fit(X, y).decision_scores_
        np.testing.assert_allclose(defense.fit(X[order], y[order]).decision_scores_, scores[order], atol=1e-5)
        np.testing.assert_allclose(defense.fit(X, 1 - y).decision_scores_, scores, atol=1e-5)
