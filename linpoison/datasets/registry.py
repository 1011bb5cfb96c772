"""The names that `load` knows, and what is behind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from ..core import Array, Dataset, Domain, InputError, Split, as_generator, check_integer, check_number
from . import external
from .scaling import standardize
from .store import data_folder


def breast_cancer() -> Split:
    """Wisconsin breast cancer: 398 training and 171 test rows of 30 features, malignant = +1.

    Features are standardised with the training statistics and divided by sqrt(30). The split is
    stratified, 70 to 30, and fixed.

    Examples
    --------
    >>> split = breast_cancer()
    >>> split.train.X.shape, split.test.n, split.train.domain.kind
    ((398, 30), 171, 'real')
    """
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    bunch = load_breast_cancer()
    y = np.where(bunch.target == 0, 1.0, -1.0)  # scikit-learn writes 0 for malignant
    parts = train_test_split(bunch.data, y, test_size=0.3, stratify=y, random_state=0)
    train, test = standardize(parts[0], parts[1], divide_by_root_d=True)
    names = tuple(str(name) for name in bunch.feature_names)
    return Split(
        Dataset(train, parts[2], name="breast_cancer", feature_names=names),
        Dataset(test, parts[3], name="breast_cancer", feature_names=names),
    )


def digits17() -> Split:
    """Handwritten 8 x 8 digits 1 (+1) and 7 (-1) with pixels in [0, 1]: 252 training and 109 test rows.

    The split is stratified, 70 to 30, and fixed.

    Examples
    --------
    >>> split = digits17()
    >>> split.train.X.shape, split.test.n, split.train.domain.kind
    ((252, 64), 109, 'box')
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = np.isin(bunch.target, (1, 7))
    return _pictures(bunch.data[rows] / 16.0, np.where(bunch.target[rows] == 1, 1.0, -1.0), "digits17")


def digits() -> Split:
    """Handwritten 8 x 8 digits of ten classes with pixels in [0, 1]: 1257 training and 540 test rows.

    The split is stratified, 70 to 30, and fixed.

    Examples
    --------
    >>> split = digits()
    >>> split.train.X.shape, split.test.n, split.train.k
    ((1257, 64), 540, 10)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _pictures(bunch.data / 16.0, bunch.target, "digits", n_classes=10)


def _pictures(X: Array, y: Array, name: str, **more: Any) -> Split:
    from sklearn.model_selection import train_test_split

    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    more |= {"domain": Domain.box(0.0, 1.0, d=X.shape[1]), "name": name, "image_shape": (8, 8)}
    return Split(Dataset(X_train, y_train, **more), Dataset(X_test, y_test, **more))


def gaussians(n: int = 400, d: int = 10, separation: float = 3.0, *, n_test: int | None = None, seed: int = 0) -> Split:
    """Two unit Gaussians: ``x | y ~ N(y s/2 * 1/sqrt(d), I)`` with ``s`` the distance of the means.

    The best possible classifier errs with probability ``Phi(-s/2)``.

    Parameters
    ----------
    n, d : int
        Training rows (half of them +1, rounded down) and features.
    separation : float
        Distance ``s`` of the two means, at least 0.
    n_test : int, optional
        Test rows; as many as training rows by default.
    seed : int

    Examples
    --------
    >>> split = gaussians(n=20, d=3, seed=1)
    >>> split.train.X.shape, float(split.train.y.sum())
    ((20, 3), 0.0)
    """
    check_integer(n, "n", at_least=2)
    check_integer(d, "d", at_least=1)
    distance = check_number(separation, "separation", at_least=0)
    rng = as_generator(seed)

    def draw(rows: int) -> Dataset:
        y = _labels(rows, rng)
        X = rng.standard_normal((rows, d)) + np.outer(y, np.full(d, distance / (2 * np.sqrt(d))))
        return Dataset(X, y, name="gaussians")

    return Split(draw(n), draw(n if n_test is None else check_integer(n_test, "n_test", at_least=1)))


def counts(
    n: int = 400, d: int = 200, contrast: float = 1.0, *, length: float = 40.0, n_test: int | None = None, seed: int = 0
) -> Split:
    """Word counts: ``x_j | y ~ Poisson(length * p_j(y))``, independent, as CSR rows.

    ``p_j(y)`` is proportional to ``exp(y contrast z_j / 2) / j`` with ``z_j ~ N(0, 1)``: words are
    as unevenly frequent as in text, and each leans towards one class.

    Parameters
    ----------
    n, d : int
        Training rows (half of them +1, rounded down) and words.
    contrast : float
        Standard deviation of a word's log odds between the classes, at least 0.
    length : float
        Mean number of words in a row.
    n_test : int, optional
        Test rows; as many as training rows by default.
    seed : int

    Examples
    --------
    >>> split = counts(n=10, d=5, seed=1)
    >>> split.train.is_sparse, split.train.domain
    (True, Domain(kind='counts', d=5))
    """
    check_integer(n, "n", at_least=2)
    check_integer(d, "d", at_least=1)
    lean = check_number(contrast, "contrast", at_least=0)
    words = check_number(length, "length", above=0)
    rng = as_generator(seed)
    tilt = lean * rng.standard_normal(d) / 2
    rate = {label: words * _share(np.exp(label * tilt) / np.arange(1, d + 1)) for label in (-1.0, 1.0)}

    def draw(rows: int) -> tuple[sp.csr_array, Array]:
        y = _labels(rows, rng)
        return sp.csr_array(np.stack([rng.poisson(rate[label]) for label in y.tolist()]).astype(np.float64)), y

    train, test = draw(n), draw(n if n_test is None else check_integer(n_test, "n_test", at_least=1))
    domain = Domain.of("counts", train[0])
    return Split(Dataset(*train, domain=domain, name="counts"), Dataset(*test, domain=domain, name="counts"))


def _labels(n: int, rng: np.random.Generator) -> Array:
    y = np.where(np.arange(n) < n // 2, 1.0, -1.0)
    return rng.permutation(y)


def _share(weights: Array) -> Array:
    return np.asarray(weights / weights.sum(), dtype=np.float64)


Kind = Literal["embedded", "generated", "external"]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a named data set before it is loaded.

    Parameters
    ----------
    name : str
    kind : {"embedded", "generated", "external"}
        Part of scikit-learn, drawn at random, or read from files under LINPOISON_DATA.
    n_train, n_test, n_features : int
    domain : {"real", "box", "counts"}
    description : str
    load : callable
        Gives its rows for a seed.
    files : tuple of str
        Under LINPOISON_DATA.
    """

    name: str
    kind: Kind
    n_train: int
    n_test: int
    n_features: int
    domain: str
    description: str
    load: Callable[[int], Split] = field(repr=False)
    files: tuple[str, ...] = field(default=(), repr=False)

    @property
    def available(self) -> bool:
        """Whether `load` needs no download."""
        return all((data_folder() / file).is_file() for file in self.files)


_MNIST_FILES = tuple(f"{p}-{k}-ubyte.gz" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1"))


def _refuse_ten_classes(seed: int) -> Split:
    raise InputError(
        "a data set of two classes",
        "mnist, which has 10 classes",
        "An audit is binary: use mnist17, or name two digits as in mnist:3:8 (the first is +1).",
    )


ENTRIES: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo("breast_cancer", "embedded", 398, 171, 30, "real",
                    "malignant (+1) and benign tumours, standardised and divided by sqrt(30)",
                    lambda seed: breast_cancer()),
        DatasetInfo("digits17", "embedded", 252, 109, 64, "box", "8 x 8 images of the digits 1 (+1) and 7",
                    lambda seed: digits17()),
        DatasetInfo("digits", "embedded", 1257, 540, 64, "box", "8 x 8 images of all ten digits, ten classes",
                    lambda seed: digits()),
        DatasetInfo("gaussians", "generated", 400, 400, 10, "real", "two unit Gaussians, means 3 apart",
                    lambda seed: gaussians(seed=seed)),
        DatasetInfo("counts", "generated", 400, 400, 200, "counts", "Poisson word counts, sparse",
                    lambda seed: counts(seed=seed)),
        DatasetInfo("enron1", "external", 4137, 1035, 5116, "counts",
                    "word counts of spam (+1) and ham messages, sparse",
                    lambda seed: external.enron1(), ("enron1.npz",)),
        DatasetInfo("imdb", "external", 25000, 25000, 89527, "counts",
                    "word counts of positive (+1) and negative film reviews, sparse",
                    lambda seed: external.imdb(), ("imdb.npz",)),
        DatasetInfo("mnist", "external", 60000, 10000, 784, "box", "ten digits; load two as mnist:A:B (A is +1)",
                    _refuse_ten_classes, _MNIST_FILES),
        DatasetInfo("mnist17", "external", 13007, 2163, 784, "box", "28 x 28 images of the digits 1 (+1) and 7",
                    lambda seed: external.mnist17(), _MNIST_FILES),
        DatasetInfo("adult", "external", 32561, 16281, 107, "real",
                    "census rows, income above 50K (+1), one-hot and standardised",
                    lambda seed: external.adult(), ("adult.data.gz", "adult.test.gz")),
    )
}  # fmt: skip


def names() -> list[DatasetInfo]:
    """Every data set that has a name, in a fixed order.

    Examples
    --------
    >>> [info.name for info in names() if info.kind != "external"]
    ['breast_cancer', 'digits17', 'digits', 'gaussians', 'counts']
    """
    return list(ENTRIES.values())
