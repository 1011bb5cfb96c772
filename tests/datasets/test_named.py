"""Embedded and generated data, and the list of names."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from linpoison.core import InputError
from linpoison.datasets import counts, gaussians, load, names
from linpoison.datasets.scaling import standardize


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("LINPOISON_DATA", str(tmp_path))


@pytest.mark.parametrize("info", [info for info in names() if info.kind != "external"], ids=lambda info: info.name)
def test_records_tell_the_truth(info):
    split = load(info.name)
    assert (split.train.n, split.test.n, split.train.d) == (info.n_train, info.n_test, info.n_features)
    assert split.train.domain.kind == split.test.domain.kind == info.domain
    assert split.name == info.name
    assert info.available
    split.train.domain.check(split.train.X, "X")
    split.test.require_all_classes("test data")


@pytest.mark.usefixtures("no_data")
def test_external_names_are_listed_without_their_files():
    external = {info.name: info.available for info in names() if info.kind == "external"}
    assert external == dict.fromkeys(["enron1", "imdb", "mnist", "mnist17", "adult"], False)


def test_breast_cancer_is_standardised_and_scaled():
    split = load("breast_cancer")
    X = split.train.X * np.sqrt(30)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), 1)
    assert abs((split.train.y > 0).mean() - 212 / 569) < 0.002
    assert split.train.feature_names is not None
    assert split.train.feature_names[0] == "mean radius"


def test_breast_cancer_malignant_is_positive():
    train = load("breast_cancer").train
    radius = train.X[:, 0]
    assert radius[train.y > 0].mean() > radius[train.y < 0].mean()


def test_digits17_pixels_and_labels():
    from sklearn.datasets import load_digits

    split = load("digits17")
    bunch = load_digits()
    ones = {row.tobytes() for row in bunch.data[bunch.target == 1] / 16.0}
    for part in (split.train, split.test):
        assert part.X.min() >= 0
        assert part.X.max() <= 1
        assert part.image_shape == (8, 8)
        assert [row.tobytes() in ones for row in part.X] == (part.y > 0).tolist()


def test_splits_are_fixed_and_seeds_move_only_generators():
    for name in ("breast_cancer", "digits17"):
        assert load(name, seed=0).train.digest() == load(name, seed=5).train.digest()
    for name in ("gaussians", "counts"):
        assert load(name, seed=1).train.digest() == load(name, seed=1).train.digest()
        assert load(name, seed=1).train.digest() != load(name, seed=2).train.digest()


def test_gaussians_have_the_stated_means_and_unit_covariance():
    train = gaussians(n=20000, d=4, separation=3.0, n_test=5).train
    means = [train.X[train.y == label].mean(axis=0) for label in (1, -1)]
    np.testing.assert_allclose(means[0] - means[1], np.full(4, 3 / 2), atol=0.06)
    np.testing.assert_allclose(np.cov(train.X[train.y > 0].T), np.eye(4), atol=0.06)


def test_counts_have_the_stated_length_and_contrast():
    split = counts(n=2000, d=30, contrast=0.0, length=25.0, n_test=7, seed=3)
    assert split.test.n == 7
    assert split.train.is_sparse
    assert abs(split.train.X.sum(axis=1).mean() - 25) < 0.5
    classes = [split.train.of_class(label).X.mean(axis=0) for label in (1, -1)]
    np.testing.assert_allclose(classes[0], classes[1], atol=0.5)
    leaning = counts(n=2000, d=30, contrast=2.0, length=25.0, seed=3).train
    assert np.abs(leaning.of_class(1).X.mean(axis=0) - leaning.of_class(-1).X.mean(axis=0)).max() > 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gaussians(n=1), "n as a whole number"),
        (lambda: gaussians(d=0), "d as a whole number"),
        (lambda: gaussians(separation=-1), "separation"),
        (lambda: gaussians(n_test=0), "n_test"),
        (lambda: gaussians(seed=-1), "a seed"),
        (lambda: counts(contrast=float("nan")), "contrast"),
        (lambda: counts(length=0), "length"),
        (lambda: load("gaussians", seed=-1), "seed"),
        (lambda: load("gaussians", test_fraction=1.0), "test_fraction"),
        (lambda: load("gaussians", label="y"), "no option label"),
        (lambda: load("gaussians", test="a.csv"), "no option test"),
        (lambda: load("gaussians", domain="torus"), "a domain among"),
        (lambda: load("gaussians", domain="counts"), "X of counts"),
        (lambda: load("mnist"), "two classes, got mnist, which has 10 classes"),
        (lambda: load("mnist:3"), "two digits"),
        (lambda: load("mnist:3:10"), "two digits"),
        (lambda: load("mnist:3:3"), "two different digits"),
        (lambda: load("breast-cancer"), "Did you mean breast_cancer"),
        (lambda: load("xyzzy"), "Known names: breast_cancer"),
        (lambda: load(""), "the name of a data set"),
        (lambda: load(3), "the name of a data set"),
    ],
)
def test_bad_requests(call, words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert message.startswith("expected ")
    assert ", got " in message
    assert words in message


def test_a_domain_can_be_chosen():
    split = load("counts", domain="box")
    assert split.train.domain.kind == split.test.domain.kind == "box"
    np.testing.assert_array_equal(split.train.domain.upper, split.train.X.max(axis=0).toarray().ravel())


def test_constant_columns_stay_finite():
    train = np.array([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]])
    X, X_test = standardize(train, np.array([[0.1, 3.0], [0.6, 3.0]]))
    assert np.isfinite(X).all()
    np.testing.assert_array_equal(X[:, 0], 0)
    np.testing.assert_allclose(X_test, [[0, 0], [0.5, 0]])


def test_import_stays_light():
    code = "import sys, linpoison.datasets; print(sorted({'sklearn', 'pandas', 'cvxpy', 'torch'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
