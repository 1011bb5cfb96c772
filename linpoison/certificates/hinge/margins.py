"""Bounds on the margins of the clean rows by the relaxation itself, round after round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.validation import Array
from .dual import Multipliers, dual_bound
from .frame import Frame
from .program import CaseProgram, Relaxed


def tighten(bare: Frame, program: CaseProgram, rounds: int) -> tuple[Frame, list[Multipliers]]:
    """Bound every margin from both sides, `rounds` times, each time with what the round before proved.

    Returns
    -------
    frame : Frame
        With the bounds.
    points : list of Multipliers
        What `replay` needs to prove them: 2 n for each round.
    """
    points: list[Multipliers] = []
    for _ in range(rounds):
        found = [point_of(bare, program.solve(aim, bare.states())) for aim in _aims(bare)]
        bare = _tightened(bare, found)
        points += found
    return bare, points


def replay(bare: Frame, points: Sequence[Multipliers]) -> Frame:
    """The frame that `tighten` ended with, from its multipliers alone; points that are too many are left out."""
    step = 2 * bare.share.size
    for start in range(0, len(points) - step + 1, step):
        bare = _tightened(bare, points[start : start + step])
    return bare


def point_of(bare: Frame, found: Relaxed | None) -> Multipliers:
    """The multipliers of a solve; ones that prove nothing if it failed."""
    if found is not None:
        return found.point
    width, n = bare.center.size, bare.share.size
    return Multipliers(np.zeros(width), np.zeros(width), 0.0, 0.0, np.zeros((4, bare.copies, n)))


def _aims(bare: Frame) -> Array:
    """Aims whose bounds are those of ``-m_i``, then of ``m_i``."""
    return np.vstack([bare.rows[0], -bare.rows[0]])


def _tightened(bare: Frame, points: Sequence[Multipliers]) -> Frame:
    rows = bare.states()
    found = np.array([dual_bound(bare, rows, point, aim) for point, aim in zip(points, _aims(bare), strict=True)])
    n = bare.share.size
    return bare.margins_within(-found[:n], found[n:])
