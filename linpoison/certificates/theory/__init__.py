"""What theory needs and no command asks for: exact search on small data, older bounds, thresholds, moved centers."""

from .exact import certify_exact
from .inflation import inflate
from .sublevel import certify_naive, certify_steinhardt
from .thresholds import Threshold, reachability_threshold

__all__ = ["Threshold", "certify_exact", "certify_naive", "certify_steinhardt", "inflate", "reachability_threshold"]
