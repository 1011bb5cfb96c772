"""The names that `load` knows, and what is behind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..core.dataset import Split
from ..core.errors import InputError
from . import embedded, external, generated
from .store import data_folder

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
    available : bool
        Whether `load` needs no download.
    description : str
    """

    name: str
    kind: Kind
    n_train: int
    n_test: int
    n_features: int
    domain: str
    available: bool
    description: str


@dataclass(frozen=True)
class Entry:
    """A name, its sizes, and its loader (given the seed)."""

    kind: Kind
    sizes: tuple[int, int, int]
    domain: str
    description: str
    load: Callable[[int], Split]
    files: tuple[str, ...] = ()

    def info(self, name: str) -> DatasetInfo:
        """The public record."""
        available = all((data_folder() / file).is_file() for file in self.files)
        return DatasetInfo(name, self.kind, *self.sizes, self.domain, available, self.description)


_MNIST_FILES = tuple(f"{p}-{k}-ubyte.gz" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1"))


def _refuse_ten_classes(seed: int) -> Split:
    raise InputError(
        "a data set of two classes",
        "mnist, which has 10 classes",
        "An audit is binary: use mnist17, or name two digits as in mnist:3:8 (the first is +1).",
    )


ENTRIES: dict[str, Entry] = {
    "breast_cancer": Entry(
        "embedded", (398, 171, 30), "real", "malignant (+1) and benign tumours, standardised and divided by sqrt(30)",
        lambda seed: embedded.breast_cancer(),
    ),
    "digits17": Entry(
        "embedded", (252, 109, 64), "box", "8 x 8 images of the digits 1 (+1) and 7",
        lambda seed: embedded.digits17(),
    ),
    "digits": Entry(
        "embedded", (1257, 540, 64), "box", "8 x 8 images of all ten digits, ten classes",
        lambda seed: embedded.digits(),
    ),
    "gaussians": Entry(
        "generated", (400, 400, 10), "real", "two unit Gaussians, means 3 apart",
        lambda seed: generated.gaussians(seed=seed),
    ),
    "counts": Entry(
        "generated", (400, 400, 200), "counts", "Poisson word counts, sparse",
        lambda seed: generated.counts(seed=seed),
    ),
    "enron1": Entry(
        "external", (4137, 1035, 5116), "counts", "word counts of spam (+1) and ham messages, sparse",
        lambda seed: external.enron1(), ("enron1.npz",),
    ),
    "imdb": Entry(
        "external", (25000, 25000, 89527), "counts", "word counts of positive (+1) and negative film reviews, sparse",
        lambda seed: external.imdb(), ("imdb.npz",),
    ),
    "mnist": Entry(
        "external", (60000, 10000, 784), "box", "ten digits; load two as mnist:A:B (A is +1)",
        _refuse_ten_classes, _MNIST_FILES,
    ),
    "mnist17": Entry(
        "external", (13007, 2163, 784), "box", "28 x 28 images of the digits 1 (+1) and 7",
        lambda seed: external.mnist17(), _MNIST_FILES,
    ),
    "adult": Entry(
        "external", (32561, 16281, 107), "real", "census rows, income above 50K (+1), one-hot and standardised",
        lambda seed: external.adult(), ("adult.data.gz", "adult.test.gz"),
    ),
}  # fmt: skip


def names() -> list[DatasetInfo]:
    """Every data set that has a name, in a fixed order.

    Examples
    --------
    >>> [info.name for info in names() if info.kind != "external"]
    ['breast_cancer', 'digits17', 'digits', 'gaussians', 'counts']
    """
    return [entry.info(name) for name, entry in ENTRIES.items()]
