"""The convex set of a domain."""

from __future__ import annotations

from ..core.domain import Domain
from ..core.errors import InputError
from .box import Box


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
