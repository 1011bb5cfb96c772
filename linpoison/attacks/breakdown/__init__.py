"""Breakdown: what filters that are fitted on the poison itself do not hold."""

from .attack import Breakdown
from .rays import Rays, far_direction, worst_rays

__all__ = ["Breakdown", "Rays", "far_direction", "worst_rays"]
