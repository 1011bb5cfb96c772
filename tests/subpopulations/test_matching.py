"""Splits are disjoint; filters are what their definition says and look at auxiliary rows only."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from group_cases import blob_parts, blobs, clusters
from hypothesis import given
from hypothesis import strategies as st

from linpoison.core import Dataset, InputError
from linpoison.risk import Sample
from linpoison.subpopulations import ClusterMatch, FeatureMatch, Parts, three_parts


@given(st.integers(10, 60), st.integers(0, 100))
def test_three_parts_are_disjoint(n, seed):
    whole = Sample(np.arange(n)[:, None], np.zeros(n))
    parts = three_parts(whole, (0.4, 0.3, 0.3), seed)
    values = [set(part.X.ravel().tolist()) for part in (parts.train, parts.auxiliary, parts.test)]
    assert sum(map(len, values)) == len(set.union(*values))
    assert sum(map(len, values)) == n
    assert abs(len(values[0]) - 0.4 * n) <= 1


def test_three_parts_take_whole_numbers():
    parts = three_parts(blobs(), (100, 80, 60))
    assert (parts.train.n, parts.auxiliary.n, parts.test.n) == (100, 80, 60)
    assert parts.train.annotations["age"].shape == (100,)


@pytest.mark.parametrize("sizes", [(0.5, 0.5), (0.5, 0.4, 0.4), (200, 100, 0), (200, 100, 50)])
def test_three_parts_refuse(sizes):
    with pytest.raises(InputError):
        three_parts(blobs(), sizes)


def test_parts_that_share_a_row_are_refused():
    whole = blobs()
    index = np.array([0, 1]), np.array([1, 2]), np.array([3, 4])
    with pytest.raises(InputError, match="disjoint"):
        Parts(*(whole.take(i) for i in index), index)


def test_samples_keep_csr_and_refuse_ragged_annotations():
    rows = Sample(sp.csr_matrix(np.eye(3)), [1, 2, 3])
    both = rows.mix(Sample(np.zeros((1, 3)), [4]))
    assert sp.issparse(both.X)
    assert both.y.tolist() == [1, 2, 3, 4]
    with pytest.raises(InputError, match="age of shape"):
        Sample(np.eye(2), [1, 2], annotations={"age": [1]})
    with pytest.raises(InputError, match="annotations="):
        Sample(np.eye(2), [1, 2], {"age": [1, 2]})


def test_sample_of_a_dataset_and_parts_that_are_counted():
    data = Dataset([[1.0], [2.0]], [1, -1])
    assert Sample.of(data).dataset().digest() == data.digest()
    heavy = Sample.of(Dataset([[1.0], [2.0]], [1, -1], [2.0, 1.0]))
    assert heavy.take([True, False]).total == 2
    assert heavy.mix(Sample([[3.0]], [1])).dataset().weight.tolist() == [2, 1, 1]
    with pytest.raises(InputError, match="weight one"):
        Parts(heavy, heavy, heavy)


def test_feature_match_is_equality_of_annotations_and_ranges():
    rows = blobs()
    match = FeatureMatch(["group", "age"], bins={"age": (30, 60)}).fit(rows)
    assert len(match.names_) == 12
    for group in match.subpopulations():
        mask = group.mask(rows)
        assert mask.sum() == group.size
        place = np.digitize(rows.annotations["age"][mask], (30, 60))
        assert np.unique(place).size == 1
        assert np.unique(rows.annotations["group"][mask]).size == 1


def test_feature_match_keeps_sizes_in_range_and_knows_no_new_group():
    rows = Sample(np.array([[0], [0], [0], [1], [1], [2]]), np.zeros(6))
    match = FeatureMatch([0], least=2, most=2).fit(rows)
    assert match.names_ == ["x0=1"]
    assert match.assign(Sample(np.array([[0], [1], [7]]), np.zeros(3))).tolist() == [-1, 0, -1]


def test_feature_match_knows_the_columns_of_a_data_frame():
    X, y = np.array([[0, 5], [0, 6], [1, 5]]), np.zeros(3)
    rows = Sample(X, y, annotations={"age": [20, 30, 40]}, feature_names=("sex", "age"))
    match = FeatureMatch(["sex", "age"], bins={"age": (25,)}).fit(rows)  # the annotation, not the column, of that name
    assert match.names_ == ["sex=0, age<25", "sex=0, age>=25", "sex=1, age>=25"]
    with pytest.raises(InputError, match="a name that no other has, got 'sex'"):
        FeatureMatch(["sex"]).fit(Sample(X, y, feature_names=("sex", "sex")))
    with pytest.raises(InputError, match=r"or a column among \['sex', 'age'\], got 'size'"):
        FeatureMatch(["size"]).fit(rows)


@pytest.mark.parametrize(
    ("match", "text"),
    [
        (FeatureMatch([]), "at least one annotation"),
        (FeatureMatch(["height"]), "an annotation among"),
        (FeatureMatch([99]), "columns below"),
        (FeatureMatch(["group"], bins={"age": (3,)}), "bins of annotations"),
        (FeatureMatch(["group"], least=1000), "a group of 1000"),
        (ClusterMatch(n_clusters=10**6), "at most"),
    ],
)
def test_matchers_refuse(match, text):
    with pytest.raises(InputError, match=text):
        match.fit(blobs())


def test_cluster_match_finds_the_blobs_and_nearest_centroids():
    parts = blob_parts()
    match = clusters().fit(parts.auxiliary)
    codes = match.assign(parts.test)
    for code in range(4):
        assert np.unique(parts.test.annotations["group"][codes == code]).size == 1
    far = ((match.embed(parts.test)[:, None] - match.kmeans_.cluster_centers_) ** 2).sum(axis=2)
    assert np.array_equal(codes, far.argmin(axis=1))


def test_cluster_match_looks_at_nothing_but_auxiliary_rows():
    seen = []

    def representation(X):
        seen.append(X)
        return X

    parts = blob_parts()
    match = ClusterMatch(representation, n_components=2, n_clusters=4).fit(parts.auxiliary)
    assert len(seen) == 1
    assert seen[0] is parts.auxiliary.X
    assert np.allclose(match.pca_.mean_, parts.auxiliary.X.mean(axis=0))


def test_rows_that_differ_too_little_for_the_clusters_are_refused_without_a_warning(recwarn):
    equal = Sample(np.full((9, 3), 0.1), np.arange(9) % 2)
    with pytest.raises(InputError, match="rows that differ for 2 clusters, got such rows for 1"):
        ClusterMatch(n_clusters=2, n_components=2).fit(equal)
    assert ClusterMatch(n_clusters=1, n_components=2).fit(equal).sizes_.tolist() == [9]
    assert not recwarn.list


def test_cluster_match_on_sparse_rows_agrees_with_dense_ones():
    rows = blobs()
    dense = clusters().fit(rows).assign(rows)
    sparse = Sample(sp.csr_array(rows.X), rows.y)
    found = ClusterMatch(n_components=1, n_clusters=4).fit(sparse).assign(sparse)
    assert found.shape == dense.shape
    plain = ClusterMatch(n_components=None, n_clusters=4, standardize=True).fit(sparse).assign(sparse)
    assert {tuple(np.unique(plain[dense == code])) for code in range(4)} == {(c,) for c in np.unique(plain)}


def test_of_class_targets_one_class_only():
    rows = Sample(np.zeros((4, 1)), [0, 1, 0, 1], annotations={"g": [1, 1, 2, 2]})
    group = FeatureMatch(["g"]).fit(rows).subpopulations()[0]
    assert group.mask(rows).tolist() == [True, True, False, False]
    assert group.of_class(1).mask(rows).tolist() == [False, True, False, False]
