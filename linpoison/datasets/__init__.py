"""Data: embedded and generated sets, loaders for public sets, and users' files."""

from .external import load_adult_table, load_mnist
from .generated import counts, gaussians
from .labels import LabelEncoding
from .loading import load
from .registry import DatasetInfo, names

__all__ = [
    "DatasetInfo",
    "LabelEncoding",
    "counts",
    "gaussians",
    "load",
    "load_adult_table",
    "load_mnist",
    "names",
]
