"""Data: embedded and generated sets, loaders for public sets, and users' files."""

from .external import load_adult_table, load_mnist
from .files import LabelEncoding
from .loading import load
from .registry import DatasetInfo, counts, gaussians, names

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
