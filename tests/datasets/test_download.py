"""Downloads and conversions, with file:// addresses and small stand-ins for the public files."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import savemat

from linpoison.core import InputError
from linpoison.datasets import convert, load, load_mnist, names, sources, store


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setenv("LINPOISON_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Puts content behind the address of a data file; the checksum is that of the content."""

    def put(name: str, content: bytes, **changes) -> None:
        served = tmp_path / "served" / name
        served.parent.mkdir(exist_ok=True)
        served.write_bytes(content)
        file = sources.FILES[name]
        sums = {"sha256" if file.convert is None else "source_sha256": sha256(content)}
        monkeypatch.setitem(sources.FILES, name, replace(file, url=served.as_uri(), **(sums | changes)))

    return put


def idx(array) -> bytes:
    array = np.asarray(array, dtype=np.uint8)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    return gzip.compress(header + array.tobytes())


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28))
DIGITS = [1, 7, 3, 1, 7, 7]


def offer_mnist(offer):
    for part, rows in (("train", slice(0, 6)), ("t10k", slice(2, 5))):
        offer(f"{part}-images-idx3-ubyte.gz", idx(IMAGES[rows]))
        offer(f"{part}-labels-idx1-ubyte.gz", idx(DIGITS[rows]))


def test_mnist_is_downloaded_once_and_two_digits_are_taken(folder, offer, tmp_path):
    offer_mnist(offer)
    split = load("mnist17")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{p}-{k}-ubyte.gz" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")
    )
    np.testing.assert_allclose(split.train.X, IMAGES[[0, 1, 3, 4, 5]].reshape(5, 784) / 255)
    np.testing.assert_array_equal(split.train.y, [1, -1, 1, -1, -1])
    np.testing.assert_array_equal(split.test.y, [1, -1])
    assert split.train.image_shape == (28, 28)
    assert all(info.available for info in names() if info.name.startswith("mnist"))
    for served in (tmp_path / "served").iterdir():
        served.unlink()
    other = load("mnist:7:3")
    assert other.name == "mnist:7:3"
    np.testing.assert_array_equal(other.train.y, [1, -1, 1, 1])
    X, digits, X_test, test_digits = load_mnist()
    assert digits.tolist() == DIGITS
    assert test_digits.tolist() == DIGITS[2:5]
    assert X.shape == (6, 784)
    np.testing.assert_allclose(X_test, X[2:5])


def test_wrong_checksum_leaves_nothing(folder, offer):
    offer_mnist(offer)
    offer("train-images-idx3-ubyte.gz", b"something else", sha256="0" * 64)
    with pytest.raises(InputError, match=r"expected file://.* with SHA-256 000000000000\.\.\., got .*LINPOISON_DATA"):
        load("mnist17")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("url", ["file:///no/such/file", "http://127.0.0.1:9/enron_data.mat"])
def test_no_network(folder, monkeypatch, url):
    monkeypatch.setitem(sources.FILES, "enron1.npz", replace(sources.FILES["enron1.npz"], url=url))
    with pytest.raises(InputError) as caught:
        load("enron1")
    message = str(caught.value)
    assert message.startswith(
        f"expected the file enron1.npz in {folder}, or a network to download it, got no such file"
    )
    assert "Set LINPOISON_DATA to a folder that holds enron1.npz." in message
    assert list(folder.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LINPOISON_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(InputError, match=r"expected a folder for enron1.npz that can be written, got .*LINPOISON_DATA"):
        load("enron1")


def test_folder_defaults_to_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("LINPOISON_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.data_folder() == tmp_path / ".cache" / "linpoison"


def test_damaged_file_is_refused_and_a_repaired_one_accepted(folder, offer):
    offer_mnist(offer)
    load("mnist17")
    path = folder / "t10k-labels-idx1-ubyte.gz"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    with pytest.raises(
        InputError, match=r"expected the file t10k-labels-idx1-ubyte.gz with SHA-256 .*, got .*delete it"
    ):
        load("mnist17")
    path.write_bytes(good)
    assert load("mnist17").test.n == 2


def test_unchanged_file_is_hashed_once(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    store.verify(path, sha256(b"abc"))
    monkeypatch.setattr(store, "sha256_of", lambda path: pytest.fail("hashed again"))
    store.verify(path, sha256(b"abc"))


MATRIX = np.array([[0, 2, 1], [3, 0, 0], [0, 0, 1], [1, 1, 1]])


def mat(y=((1,), (-1,), (1,), (-1,))) -> bytes:
    stream, X = io.BytesIO(), sp.csc_matrix(MATRIX.astype(float))
    y = np.array(y)
    savemat(stream, {"X_train": X[:3], "y_train": y[:3], "X_test": X[3:], "y_test": y[3:]}, do_compression=True)
    return stream.getvalue()


def test_enron_is_converted_and_its_entries_verified(folder, offer, monkeypatch):
    digest = convert.content_digest(sp.csr_array(MATRIX), [1, -1, 1, -1], 3)
    monkeypatch.setattr(convert, "ENRON_CONTENT", digest)
    offer("enron1.npz", mat())
    split = load("enron1")
    np.testing.assert_array_equal(split.train.X.toarray(), MATRIX[:3])
    np.testing.assert_array_equal(split.test.X.toarray(), MATRIX[3:])
    np.testing.assert_array_equal(np.concatenate([split.train.y, split.test.y]), [1, -1, 1, -1])
    np.testing.assert_array_equal(split.train.domain.upper, [3, 2, 1])
    assert sorted(path.name for path in folder.iterdir()) == ["enron1.npz", "enron1.npz.sha256"]
    assert load(folder / "enron1.npz", domain="counts").train.digest() == split.train.digest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (mat(), "expected Enron1 entries with SHA-256"),
        (mat()[:200], "expected Sever's enron_data.mat, got a file that cannot be read"),
        (b"<html>", "expected Sever's enron_data.mat, got a file that cannot be read"),
    ],
)
def test_enron_with_other_content_leaves_nothing(folder, offer, content, words):
    offer("enron1.npz", content, source_sha256=None)
    with pytest.raises(InputError, match=words):
        load("enron1")
    assert list(folder.iterdir()) == []


def archive(members: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"aclImdb/{name}")
            info.size = len(content.encode())
            tar.addfile(info, io.BytesIO(content.encode()))
    return stream.getvalue()


REVIEWS = {
    "imdb.vocab": "the\nfilm\ncafé\n",
    "train/labeledBow.feat": "9 0:2 2:1\n7 1:3\n1 0:1\n4 1:1\n",
    "test/labeledBow.feat": "10 2:5\n2 0:1 1:1\n",
}


def test_imdb_is_converted_from_the_archive(folder, offer):
    offer("imdb.npz", archive(REVIEWS))
    split = load("imdb")
    np.testing.assert_array_equal(split.train.X.toarray(), [[2, 0, 1], [0, 3, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(split.test.X.toarray(), [[0, 0, 5], [1, 1, 0]])
    np.testing.assert_array_equal(split.train.y, [1, 1, -1, -1])
    np.testing.assert_array_equal(split.test.y, [1, -1])
    assert split.train.feature_names == ("the", "film", "café")
    np.testing.assert_array_equal(np.load(folder / "imdb.npz")["rating"], [9, 7, 1, 4, 10, 2])


def test_imdb_archive_without_its_counts(folder, offer):
    offer("imdb.npz", archive({"imdb.vocab": "the"}))
    with pytest.raises(InputError, match="expected the Large Movie Review archive, got"):
        load("imdb")
    assert list(folder.iterdir()) == []


def test_counts_that_are_not_counts(folder, offer):
    offer("imdb.npz", archive(REVIEWS | {"test/labeledBow.feat": "10 2:0.5\n"}))
    with pytest.raises(InputError, match="expected word counts, got values that are not whole"):
        load("imdb")


ADULT = "39, {work}, 77516, Bachelors, 13, {married}, Sales, Own, White, {sex}, {gain}, 0, 40, Peru, {income}\n"


def person(work="Private", married="No", sex="Male", gain=0, income="<=50K"):
    return ADULT.format(work=work, married=married, sex=sex, gain=gain, income=income)


def test_adult_is_encoded_with_the_training_categories(folder, offer):
    rows = [person(), person("?", gain=10, income=">50K"), person(sex="Female"), person(sex="Female", income=">50K")]
    offer("adult.data.gz", "".join([*rows, "\n"]).encode())
    tests = ["|1x3 Cross validator\n", person("Elsewhere", income=">50K."), person(income="<=50K."), "\n"]
    offer("adult.test.gz", "".join(tests).encode())
    split = load("adult")
    np.testing.assert_array_equal(split.train.y, [-1, 1, -1, 1])
    np.testing.assert_array_equal(split.test.y, [1, -1])
    names = split.train.feature_names
    assert names is not None
    assert not any("fnlwgt" in name or "Elsewhere" in name for name in names)
    unknown = split.train.X[:, names.index("workclass_?")]
    np.testing.assert_allclose(unknown, [-1 / np.sqrt(3), np.sqrt(3), -1 / np.sqrt(3), -1 / np.sqrt(3)])
    np.testing.assert_array_equal(split.train.X[:, names.index("age")], 0)
    np.testing.assert_allclose(split.test.X[0, names.index("workclass_Private")], -np.sqrt(3))


def test_every_source_has_an_address_and_a_checksum():
    for name, file in sources.FILES.items():
        assert file.name == name
        assert file.url.startswith("https://")
        assert len(file.sha256) == 64
        assert file.convert is None or file.source_sha256 is not None or name == "enron1.npz"
