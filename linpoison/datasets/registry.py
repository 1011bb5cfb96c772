"""The names that `load` knows, and what is behind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ..core import InputError, Split
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
                    lambda seed: embedded.breast_cancer()),
        DatasetInfo("digits17", "embedded", 252, 109, 64, "box", "8 x 8 images of the digits 1 (+1) and 7",
                    lambda seed: embedded.digits17()),
        DatasetInfo("digits", "embedded", 1257, 540, 64, "box", "8 x 8 images of all ten digits, ten classes",
                    lambda seed: embedded.digits()),
        DatasetInfo("gaussians", "generated", 400, 400, 10, "real", "two unit Gaussians, means 3 apart",
                    lambda seed: generated.gaussians(seed=seed)),
        DatasetInfo("counts", "generated", 400, 400, 200, "counts", "Poisson word counts, sparse",
                    lambda seed: generated.counts(seed=seed)),
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
