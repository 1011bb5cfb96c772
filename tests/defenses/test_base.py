"""What all defences share: removal, containers, labels, parameters, sets."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.svm import LinearSVC

from linpoison.core import CapabilityError, InputError
from linpoison.defenses import DEFAULTS, DEFENSES, KNNDefense, L2Defense, LossDefense, SlabDefense, make_defense
from linpoison.losses import Hinge, Problem
from linpoison.sets import Ball, Halfspace, Slab, SubspaceTube

PROBLEM = Problem(Hinge(), 0.05)
VARIANTS = ("paper", "reference")


def rows(seed=0, n=70):
    rng = np.random.default_rng(seed)
    d = 6
    y = np.where(np.arange(n) % 3 == 0, 1, -1)
    return rng.poisson(1.5, (n, d)) + (y[:, None] > 0) * np.arange(d) / 3.0, y


@pytest.fixture(params=[(name, variant) for name in DEFAULTS for variant in VARIANTS], ids="-".join)
def defense(request):
    name, variant = request.param
    return make_defense(name, variant=variant, problem=PROBLEM)


def test_registry():
    learned = ["trim", "sever", "self-influence", "spectral", "clusters"]
    assert list(DEFENSES) == [*DEFAULTS, "duplicates", *learned]
    assert DEFAULTS == ("l2", "slab", "loss", "svd", "knn")
    made = make_defense("loss", remove=0.1, variant="reference", problem=PROBLEM)
    assert made.get_params() == {"remove": 0.1, "variant": "reference", "estimator": PROBLEM}
    assert type(make_defense("knn")) is KNNDefense
    with pytest.raises(InputError, match="l2, slab, .* clusters, or of an entry point .*, got 'pca'"):
        make_defense("pca")


def test_what_each_says_of_itself():
    """By name: the figures of Koh et al.'s program for thresholds, and what searches, reports and programs ask."""
    facts = ("cheap", "costly_fit", "caps_loss", "drops_share", "measures_distance", "many_classes", "has_convex_set")
    said = {name: {fact for fact in facts if getattr(make_defense(name), fact)} for name in DEFENSES}
    share = {"drops_share"}
    assert said == {
        "l2": share | {"cheap", "measures_distance", "many_classes", "has_convex_set"},
        "slab": share | {"cheap", "has_convex_set"},
        "loss": share | {"cheap", "caps_loss", "has_convex_set"},
        "svd": share | {"costly_fit", "measures_distance", "many_classes", "has_convex_set"},
        "knn": share | {"measures_distance", "many_classes"},
        "duplicates": {"many_classes"},
        "trim": set(),
        "sever": set(),
        "self-influence": share,
        "spectral": share | {"many_classes", "has_convex_set"},
        "clusters": {"many_classes"},
    }
    other = {
        name: (one.threshold_factor, one.copies_to_pass, one.set_entries(50, 20))
        for name, one in ((name, make_defense(name)) for name in DEFENSES)
    }
    assert other == dict.fromkeys(DEFENSES, (1.0, 1, 0)) | {
        "l2": (0.985, 1, 0), "slab": (0.96, 1, 0), "svd": (1.0, 1, 400), "knn": (1.0, 6, 0)
    }  # fmt: skip


@pytest.mark.parametrize("remove", [0.0, 0.05, 0.2, 0.5])
def test_exact_fraction_of_each_class_goes(defense, remove):
    X, y = rows()
    defense.set_params(remove=remove).fit(X, y)
    kept = defense.sample_indices_
    assert (np.diff(kept) > 0).all()
    for label in (-1, 1):
        n = (y == label).sum()
        scores, passed = defense.decision_scores_[y == label], defense.decision_scores_[kept[y[kept] == label]]
        assert passed.size == round((1 - remove) * n)
        np.testing.assert_array_equal(np.sort(passed), np.sort(scores)[: passed.size])
        assert defense.thresholds_[label] == passed.max()


def test_ties_keep_earlier_rows():
    X = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert L2Defense(remove=0.5).fit(X, [0] * 4).sample_indices_.tolist() == [0, 1]


def test_storage_does_not_matter(defense):
    X, y = rows()
    dense = clone(defense).fit(X, y).decision_scores_
    for container in (sp.csr_array, sp.csc_matrix, pd.DataFrame, np.ndarray.tolist):
        np.testing.assert_allclose(clone(defense).fit(container(X), y).decision_scores_, dense, atol=1e-4)


def test_neighbours_have_no_set():
    with pytest.raises(CapabilityError, match="concentration"):
        KNNDefense().fit(*rows()).feasible_set(1)


@pytest.mark.parametrize(
    ("made", "value", "sizes"),
    [(SlabDefense(), 0.1, (7, 9)), (SlabDefense(), 0.0, (8, 8)), (LossDefense(estimator=PROBLEM), 0.0, (8, 8))],
)
def test_a_filter_that_cannot_tell_rows_apart_lets_all_of_space_pass(made, value, sizes):
    fitted = made.fit(np.full((16, 3), value), np.repeat([-1, 1], sizes))
    for label in (-1, 1):
        assert fitted.feasible_set(label).contains([[1e9, -1e9, 0.0]]).all()
        assert (fitted.decision_function([[1e9, -1e9, 0.0]], [label]) <= fitted.thresholds_[label]).all()


def test_kinds_of_sets():
    X, y = rows()
    kinds = {"l2": Ball, "slab": Slab, "loss": Halfspace, "svd": SubspaceTube}
    for name, kind in kinds.items():
        assert isinstance(make_defense(name, problem=PROBLEM).fit(X, y).feasible_set(1), kind)


def test_containers_come_back(defense):
    X, y = rows()
    labels = np.where(y > 0, "spam", "ham")
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(70) + 100)
    series = pd.Series(labels, index=frame.index)
    kept_frame, kept_series = clone(defense).fit_resample(frame, series)
    indices = clone(defense).fit(frame, series).sample_indices_
    pd.testing.assert_frame_equal(kept_frame, frame.iloc[indices])
    pd.testing.assert_series_equal(kept_series, series.iloc[indices])
    sparse, kept = clone(defense).fit_resample(sp.csr_array(X), labels)
    assert sp.issparse(sparse)
    assert sparse.shape[0] == kept.shape[0] == indices.size


def test_frames_are_remembered():
    X, y = rows()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    defense = L2Defense().fit(frame, y)
    assert defense.feature_names_in_.tolist() == list("abcdef")
    assert defense.n_features_in_ == 6
    with pytest.raises(ValueError, match="feature names"):
        defense.decision_function(frame[list("fedcba")], y)


def test_in_a_pipeline(defense):
    X, y = rows()
    labels = np.where(y > 0, "spam", "ham")
    pipeline = make_pipeline(defense, LinearSVC(random_state=0)).fit(X, labels)
    kept = clone(defense).fit(X, labels).sample_indices_
    alone = LinearSVC(random_state=0).fit(X[kept], labels[kept])
    np.testing.assert_allclose(pipeline.decision_function(X), alone.decision_function(X))
    assert pipeline.score(X, labels) > 0.7


@settings(max_examples=30)
@given(st.integers(2, 40), st.floats(0, 0.9), st.integers(0, 1000))
def test_counts_for_any_fraction(n, remove, seed):
    X = np.random.default_rng(seed).normal(size=(n, 2))
    left = round((1 - remove) * n)
    if left == 0:
        with pytest.raises(InputError, match="at least one row kept"):
            L2Defense(remove).fit(X, [7] * n)
    else:
        assert L2Defense(remove).fit(X, [7] * n).sample_indices_.size == left


@pytest.mark.parametrize("remove", [-0.1, 1.0, float("nan"), "5%"])
def test_bad_fraction(remove):
    with pytest.raises(InputError, match="remove as a number"):
        L2Defense(remove=remove).fit(*rows())


def test_bad_input():
    X, y = rows()
    with pytest.raises(InputError, match="variant among paper, reference"):
        L2Defense(variant="mine").fit(X, y)
    with pytest.raises(InputError, match="finite X"):
        L2Defense().fit(np.where(X > 3, np.nan, X), y)
    with pytest.raises(InputError, match=r"labels of shape \(70,\)"):
        L2Defense().fit(X, y[:-1])
    with pytest.raises(InputError, match="24 missing labels"):
        L2Defense().fit(X, np.where(y > 0, np.nan, 1.0))
    with pytest.raises(InputError, match="labels of one type"):
        L2Defense().fit(X[:2], np.array([1, "a"], dtype=object))
    with pytest.raises(InputError, match="'a' of 1|class 'a'"):
        L2Defense(remove=0.6).fit(X[:3], ["a", "b", "b"])


@pytest.mark.parametrize("name", ["slab", "loss"])
def test_one_class_only(name):
    with pytest.raises(InputError, match="rows of both classes"):
        make_defense(name, problem=PROBLEM).fit(rows()[0], np.ones(70))


def test_bad_queries():
    X, y = rows()
    defense = L2Defense().fit(X, y)
    with pytest.raises(InputError, match="rows of 6 features"):
        defense.decision_function(X[:, :4], y)
    with pytest.raises(InputError, match="labels among"):
        defense.decision_function(X, np.full(70, 3))
    with pytest.raises(InputError, match="70 labels"):
        defense.decision_function(X, y[:3])
    with pytest.raises(InputError, match="labels among"):
        defense.feasible_set(3)
    with pytest.raises(InputError, match="threshold"):
        defense.feasible_set(1, float("inf"))
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        L2Defense().decision_function(X, y)


def test_sparse_rows_that_cannot_be_indexed_come_back_as_csr():
    X, y = rows()
    want = L2Defense(0.1).fit(X, y).sample_indices_
    for name in ("coo", "bsr", "dia", "dok", "csr", "csc"):
        kept, labels = L2Defense(0.1).fit_resample(sp.csr_array(X).asformat(name), y)
        assert kept.format == ("csc" if name == "csc" else "csr")
        np.testing.assert_array_equal(kept.toarray(), X[want])
        np.testing.assert_array_equal(labels, y[want])


def test_targets_that_are_no_classes_are_refused():
    X, _ = rows()
    with pytest.raises(InputError, match="Unknown label type: continuous"):
        L2Defense().fit(X, np.linspace(0, 1, 70))
    with pytest.raises(InputError, match="70 different labels for 70 rows"):
        L2Defense().fit(X, [f"row {number}" for number in range(70)])
    with pytest.raises(InputError, match="35 missing labels. Drop those rows first"):
        L2Defense().fit(X, np.array(["a", None] * 35, dtype=object))


def test_ragged_labels_are_refused():
    defense = make_defense("l2")
    with pytest.raises(InputError, match="labels of shape .*got a ragged sequence"):
        defense.fit([[0.0], [1.0]], [1, [2]])
    defense.fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    with pytest.raises(InputError, match="a ragged sequence"):
        defense.decision_function([[0.0], [1.0]], [1, [2]])
