"""Certificates: what no attack can do, and the least that an attack must spend."""

from .thresholds import Threshold, reachability_threshold

__all__ = ["Threshold", "reachability_threshold"]
