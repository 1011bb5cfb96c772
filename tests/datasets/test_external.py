"""The real files, where LINPOISON_DATA names a folder that holds them: sizes and known facts."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import savemat

from linpoison.core import InputError
from linpoison.datasets import convert, external, load, load_adult_table, names, sources

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("LINPOISON_DATA"), reason="LINPOISON_DATA is not set"),
]
SIZES = {info.name: info for info in names()}


@pytest.mark.parametrize("name", ["enron1", "imdb", "mnist17", "adult"])
def test_sizes_as_listed(name):
    split, info = load(name), SIZES[name]
    assert (split.train.n, split.test.n, split.train.d) == (info.n_train, info.n_test, info.n_features)
    assert split.train.domain.kind == info.domain
    assert split.name == name
    assert info.available


def test_enron():
    split = load("enron1")
    assert (split.train.y > 0).sum() == 1209
    assert (split.test.y > 0).sum() == 291
    assert split.train.X.nnz == 179037
    assert split.train.X.nnz + split.test.X.nnz == 221312
    assert split.train.is_sparse
    assert split.train.X.max() == 701 or split.test.X.max() == 701
    present = np.diff(sp.csc_array(split.train.X).indptr)
    assert present[4484] == 4137
    assert present.min() >= 5
    np.testing.assert_array_equal(split.train.domain.upper, split.train.X.max(axis=0).toarray().ravel())


def test_enron_clean_error():
    from sklearn.svm import LinearSVC

    split = load("enron1")
    svm = LinearSVC(loss="hinge", C=1 / (0.09 * 4137), tol=1e-8, max_iter=200000).fit(split.train.X, split.train.y)
    assert round((svm.predict(split.test.X) != split.test.y).sum()) == 30


def test_enron_converted_from_its_source_format(tmp_path, monkeypatch):
    split = load("enron1")
    arrays = {
        f"{key}_{part}": value
        for part, data in (("train", split.train), ("test", split.test))
        for key, value in (("X", sp.csc_matrix(data.X)), ("y", data.y[:, None]))
    }
    savemat(tmp_path / "enron_data.mat", arrays)
    convert.enron_from_mat(tmp_path / "enron_data.mat", tmp_path / "enron1.npz")
    again = load(tmp_path / "enron1.npz", domain="counts")
    assert again.train.digest() == split.train.digest()
    assert again.test.digest() == split.test.digest()


def test_imdb():
    split = load("imdb")
    assert split.train.X.nnz + split.test.X.nnz == 6796759
    assert split.train.y.sum() == split.test.y.sum() == 0
    assert split.train.feature_names is not None
    assert split.train.feature_names[0] == "the"
    assert max(split.train.X.max(), split.test.X.max()) == 282


def test_mnist17():
    split = load("mnist17")
    assert (split.train.y > 0).sum() == 6742
    assert (split.test.y > 0).sum() == 1135
    assert split.train.X.min() == 0
    assert split.train.X.max() == 1
    assert split.train.image_shape == (28, 28)
    # a one lights fewer pixels than a seven
    assert split.train.X[split.train.y > 0].mean() < split.train.X[split.train.y < 0].mean()


def test_adult():
    split = load("adult")
    assert (split.train.y > 0).sum() == 7841
    assert (split.test.y > 0).sum() == 3846
    np.testing.assert_allclose(split.train.X.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(split.train.X.std(axis=0), 1)


def test_adult_as_a_table():
    whole, train, test = (load_adult_table(part) for part in ("all", "train", "test"))
    assert (len(whole), len(train), len(test)) == (48842, 32561, 16281)
    assert list(whole.columns) == [name for name in external.ADULT_COLUMNS if name != "fnlwgt"]
    assert whole.iloc[32561].to_dict() == test.iloc[0].to_dict()
    assert set(whole["sex"]) == {"Male", "Female"}
    assert np.array_equal(np.where(train["income"].str.startswith(">50K"), 1, -1), load("adult").train.y)
    with pytest.raises(InputError, match="'all', 'train' or 'test'"):
        load_adult_table("half")


def test_adult_clean_error():
    from sklearn.linear_model import LogisticRegression

    split = load("adult")
    model = LogisticRegression(C=1.0, max_iter=1000).fit(split.train.X, split.train.y)
    assert abs((model.predict(split.test.X) != split.test.y).mean() - 0.1481) < 2e-4


@pytest.mark.parametrize("part", ["data", "test"])
def test_adult_source_checksum_is_that_of_the_text(part):
    file = sources.FILES[f"adult.{part}.gz"]
    with gzip.open(Path(os.environ["LINPOISON_DATA"]) / file.name) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == file.source_sha256
