"""Data sets read from files under LINPOISON_DATA, downloaded from their public source where missing."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Array, Dataset, Domain, InputError, Split
from ..core.archives import CSR_PARTS, csr_of, read_arrays
from .scaling import standardize
from .sources import require

MNIST_SHAPE = (28, 28)


def enron1() -> Split:
    """Enron1 spam (+1) and ham (-1): 4137 training and 1035 test messages, counts of 5116 words (CSR).

    The processed data released with Sever, with its split; the words themselves are not known.

    References
    ----------
    Metsis, Androutsopoulos, Paliouras, "Spam filtering with naive Bayes - which naive Bayes?", 2006.
    Diakonikolas et al., "Sever: a robust meta-algorithm for stochastic optimization", 2019.
    """
    return _word_counts("enron1", None)


def imdb() -> Split:
    """Film reviews, positive (+1) and negative (-1): 25000 training and test rows, counts of 89527 words (CSR).

    Rows are sorted by class. `feature_names` are the words.

    References
    ----------
    Maas et al., "Learning word vectors for sentiment analysis", 2011.
    """
    vocabulary = read_arrays(require("imdb.npz"), names=("vocab",))["vocab"]
    words = tuple(bytes(vocabulary).decode("utf-8").split("\n"))
    return _word_counts("imdb", words)


def _word_counts(name: str, words: tuple[str, ...] | None) -> Split:
    path = require(f"{name}.npz")
    arrays = read_arrays(path, names=("n_train", "y", "format", *CSR_PARTS))
    X, n, y = csr_of(arrays, path.name), int(arrays["n_train"]), arrays["y"].astype(np.float64)
    domain = Domain.of("counts", X[:n])
    return Split(
        Dataset(X[:n], y[:n], domain=domain, name=name, feature_names=words),
        Dataset(X[n:], y[n:], domain=domain, name=name, feature_names=words),
    )


def load_mnist() -> tuple[Array, Any, Array, Any]:
    """All ten MNIST digits as arrays, for work that is not binary.

    Returns
    -------
    X_train : ndarray, shape (60000, 784)
        Pixels in [0, 1], float64 (376 MB).
    y_train : ndarray, shape (60000,)
        Digits 0 to 9, int64.
    X_test, y_test
        The same for the 10000 test images.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    (train, digits), (test, test_digits) = _mnist_bytes()
    return train / 255.0, digits.astype(np.int64), test / 255.0, test_digits.astype(np.int64)


def mnist_pair(positive: int, negative: int, name: str | None = None) -> Split:
    """Two MNIST digits, pixels in [0, 1]; the first digit named is +1, the second -1."""
    for digit in (positive, negative):
        if digit not in range(10):
            raise InputError("two different digits 0 to 9", f"{positive} and {negative}")
    if positive == negative:
        raise InputError("two different digits 0 to 9", f"{positive} twice")
    domain = Domain.box(0.0, 1.0, d=784)
    parts = []
    for images, digits in _mnist_bytes():
        rows = np.isin(digits, (positive, negative))
        y = np.where(digits[rows] == positive, 1.0, -1.0)
        label = name or f"mnist:{positive}:{negative}"
        parts.append(Dataset(images[rows] / 255.0, y, domain=domain, name=label, image_shape=MNIST_SHAPE))
    return Split(*parts)


def mnist17() -> Split:
    """MNIST digits 1 (+1) and 7 (-1): 13007 training and 2163 test images of 28 x 28 pixels in [0, 1]."""
    return mnist_pair(1, 7, name="mnist17")


def _mnist_bytes() -> list[tuple[Any, Any]]:
    return [
        (
            read_idx(require(f"{part}-images-idx3-ubyte.gz")).reshape(-1, 784),
            read_idx(require(f"{part}-labels-idx1-ubyte.gz")),
        )
        for part in ("train", "t10k")
    ]


def read_idx(path: Path) -> Any:
    """The uint8 array in a gzipped file of the IDX format (magic 0x0000080k, k big-endian sizes, bytes)."""
    with gzip.open(path, "rb") as stream:
        content = stream.read()
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape.tolist())


ADULT_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship",
    "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income",
)  # fmt: skip


def adult() -> Split:
    """UCI Adult, income above 50K = +1: 32561 training and 16281 test rows of 107 features.

    Every row is kept; "?" (unknown) is a category of its own. Categories are one-hot encoded with
    the categories of the training rows, `fnlwgt` (a survey weight) is left out, and all columns are
    standardised with the training statistics. `load_adult_table` has the columns as published.

    References
    ----------
    Kohavi, "Scaling up the accuracy of naive-Bayes classifiers", 1996; UCI Machine Learning Repository.
    """
    import pandas as pd

    train, test = load_adult_table("train"), load_adult_table("test")
    labels = [np.where(table.pop("income").str.startswith(">50K"), 1.0, -1.0) for table in (train, test)]
    encoded = pd.get_dummies(train, dtype=float)
    other = pd.get_dummies(test, dtype=float).reindex(columns=encoded.columns, fill_value=0.0)
    X, X_test = standardize(encoded.to_numpy(dtype=float), other.to_numpy(dtype=float))
    names = tuple(str(column) for column in encoded.columns)
    return Split(
        Dataset(X, labels[0], name="adult", feature_names=names),
        Dataset(X_test, labels[1], name="adult", feature_names=names),
    )


def load_adult_table(part: str = "all") -> Any:
    """UCI Adult as it was published, for work that needs the columns themselves: annotations of subpopulations, say.

    Parameters
    ----------
    part : {"all", "train", "test"}, default "all"
        All 48842 rows, the 32561 training rows first, or one of the published parts.

    Returns
    -------
    pandas.DataFrame
        Columns `age`, `workclass`, `education`, `education_num`, `marital_status`, `occupation`, `relationship`,
        `race`, `sex`, `capital_gain`, `capital_loss`, `hours_per_week`, `native_country` and `income` (text that begins
        with ``>50K`` or ``<=50K``), rows numbered from 0. "?" is a value like any other; `fnlwgt`, a survey weight, is
        left out.

    Raises
    ------
    InputError
        For another part.

    References
    ----------
    Kohavi, "Scaling up the accuracy of naive-Bayes classifiers", 1996; UCI Machine Learning Repository.
    """
    import pandas as pd

    files = {"all": ("data", "test"), "train": ("data",), "test": ("test",)}
    if part not in files:
        raise InputError("the part 'all', 'train' or 'test'", repr(part))
    return pd.concat([_adult_file(name) for name in files[part]], ignore_index=True)


def _adult_file(part: str) -> Any:
    import pandas as pd

    path = require(f"adult.{part}.gz")
    table = pd.read_csv(
        path, header=None, names=list(ADULT_COLUMNS), sep=",", skipinitialspace=True,
        skiprows=1 if part == "test" else 0, keep_default_na=False, compression="gzip",
    )  # fmt: skip
    return table.drop(columns="fnlwgt")
