"""Where the pull of a clean row lies if its margin is known to lie between bounds: for the smooth losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.validation import Array
from ..clean.losses import SoftHinge
from ..clean.rows import PAD
from ..clean.screen import Screening


@dataclass(frozen=True, eq=False)
class Band:
    """Smooth losses: where ``a = psi(m)`` lies for margins between bounds: an interval, and a slab along the chord."""

    least: Array
    most: Array
    slope: Array
    bottom: Array
    top: Array

    @classmethod
    def of(cls, loss: SoftHinge, screening: Screening) -> Band:
        """Least and greatest ``a``, and of ``a + slope m``: at the ends or where ``psi' = -slope``."""
        # a + slope m is stationary where psi' = -a (1 - a) / width = -slope: a = (1 +- sqrt(1 - 4 slope width)) / 2
        low, high = screening.lower, screening.upper
        least, most = loss.pull(high), loss.pull(low)
        known = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(known, low, 0.0), np.where(known, high, 0.0)
        width = high - low
        slope = np.where(width > 1e-9, (most - least) / np.where(width > 1e-9, width, 1.0), 0.0)
        inner = np.sqrt(np.clip(1 - 4 * slope * loss.width, 0, 1))
        points = [low, high]
        for sign in (1, -1):
            a = np.clip(0.5 * (1 + sign * inner), 1e-300, 1 - 1e-16)
            points.append(np.clip(loss.kink - loss.width * np.log(a / (1 - a)), low, high))
        levels = np.array([loss.pull(m) + slope * m for m in points])
        pad = PAD * (1 + np.abs(levels).max(axis=0))
        return cls(
            np.clip(least - PAD, 0, 1), np.clip(most + PAD, 0, 1), slope, levels.min(0) - pad, levels.max(0) + pad
        )
