"""Majorities over parts of the data, and how many inserted rows they withstand."""

from .certify import certify_partition
from .classifier import PartitionClassifier

__all__ = ["PartitionClassifier", "certify_partition"]
