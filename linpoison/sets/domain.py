"""The convex set of a domain."""

from __future__ import annotations

import numpy as np

from ..core import Domain, InputError
from .ball import Ball
from .base import FeasibleSet
from .box import Box
from .count_ball import CountBall
from .halfspace import Halfspace
from .intersection import intersect

MOST_PIECES = 5_000_000
"""Whole numbers of all coordinates together that an envelope may have."""


def domain_set(domain: Domain, d: int) -> FeasibleSet | None:
    """The convex hull of a domain in R^d, or ``None`` for R^d itself; of a table a set around it.

    Counts give the box ``0 <= x <= upper``, rows of unit length the unit ball: being whole, or of that length, is left
    to the rounding. A table gives the bounds of its features, and of a group of which one is chosen also the greatest
    sum; which point it is, is left to the rounding as well.

    Examples
    --------
    >>> domain_set(Domain.counts([2, 3]), 2).upper
    array([2., 3.])
    """
    if domain.on_sphere:
        return Ball(np.zeros(d), 1.0, relation="outer")
    if domain.lower is None or domain.upper is None:
        return None
    if domain.upper.size != d:
        raise InputError(f"a domain of {d} features", f"one of {domain.upper.size}")
    box = Box(domain.lower, domain.upper, relation="outer" if domain.integral or domain.parts else "exact")
    sums = [(part.columns, part.most) for part in domain.parts if part.most is not None]
    sides = [Halfspace(np.isin(np.arange(d), columns).astype(np.float64), most) for columns, most in sums]
    whole = next((part.radius for part in domain.parts if part.columns.size == d), np.inf)
    return intersect(box, *sides, Ball(np.zeros(d), whole, relation="outer") if np.isfinite(whole) else None)


def in_domain(part: FeasibleSet, domain: Domain) -> FeasibleSet:
    """A set with what the domain adds to its shape; other sets than balls are themselves.

    Where rows are counts, the envelope (`CountBall`) takes the place of a ball: it holds every whole-number row of the
    ball and lies inside it. One of more than `MOST_PIECES` pieces, such as around a mean that was dragged off, stays a
    ball: against its radius rounding adds next to nothing. Where rows have length 1, a half-space does: for
    ``|x| = 1``::

        |x - c|^2 <= r^2   if and only if   -c . x <= (r^2 - 1 - |c|^2) / 2,

    and the half-space cuts the unit ball to the convex hull of such rows, from which the rounding finds back to them
    (`on_sphere`). The row of zeros is left out where it is not in the half-space.

    Examples
    --------
    >>> in_domain(Ball([0.5], 1.0), Domain.counts([3]))
    CountBall(d=1)
    >>> in_domain(Ball([0.5, 0.0], 1.0), Domain.unit()).contains([[0.25, 0.9], [0.0, 1.0], [0.5, 0.0]])
    array([ True, False,  True])
    """
    piece = part.piece
    if piece is None or piece.center is None or not piece.is_ball:
        return part
    center, radius = piece.center, piece.radius
    if domain.integral and domain.upper is not None:
        ball = CountBall(center, radius, domain.upper)
        return ball if ball.largest.sum() <= MOST_PIECES else part
    square = float(center @ center)
    if domain.on_sphere and square > 0:
        return Halfspace(-center, (radius**2 - 1.0 - square) / 2)
    return part
