"""The convex set of a domain."""

from __future__ import annotations

from ..core.domain import Domain
from ..core.errors import InputError
from .ball import Ball
from .base import FeasibleSet
from .box import Box
from .count_ball import CountBall


def domain_set(domain: Domain, d: int) -> Box | None:
    """The convex hull of a domain in R^d, or ``None`` for R^d itself.

    Counts give the box ``0 <= x <= upper``: being whole is left to the rounding.

    Examples
    --------
    >>> domain_set(Domain.counts([2, 3]), 2).upper
    array([2., 3.])
    """
    if domain.lower is None or domain.upper is None:
        return None
    if domain.upper.size != d:
        raise InputError(f"a domain of {d} features", f"one of {domain.upper.size}")
    return Box(domain.lower, domain.upper, relation="outer" if domain.integral else "exact")


def in_domain(part: FeasibleSet, domain: Domain) -> FeasibleSet:
    """A set with what the domain adds to its shape: where rows are counts, the envelope in place of a ball.

    The envelope (`CountBall`) holds every whole-number row of the ball and lies inside it.

    Examples
    --------
    >>> in_domain(Ball([0.5], 1.0), Domain.counts([3]))
    CountBall(d=1)
    """
    if domain.integral and isinstance(part, Ball) and domain.upper is not None:
        return CountBall(part.center, part.radius, domain.upper)
    return part
