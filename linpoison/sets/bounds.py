"""Upper bounds on the support of an intersection that hold whatever a search found, without a conic solver."""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import Any

import numpy as np

from ..core.errors import InputError, SolverFailed
from ..core.validation import Array
from .base import PAD, FeasibleSet
from .oracle import Oracle
from .structure import Structure, structure_of


class _SelfReliantOracle(Oracle):
    """An oracle that gives up where a conic program would have to answer."""

    _support_program: Any = None

    def _by_program(self, program: Any, vector: Array) -> Array:
        raise SolverFailed("the scalar dual did not settle")


@lru_cache(maxsize=32)
def kept_bound(feasible: FeasibleSet, thread: int) -> SupportBound:
    """Built once for the many directions that a certificate asks for, and for each thread by itself."""
    return SupportBound(feasible)


class SupportBound:
    """``w -> `` a number that no ``w . x`` over the set exceeds, with an oracle that is kept from call to call.

    The least of: the scalar dual of an `Oracle`; the closed form of each part; and, where `w` is nearly a
    combination of the normals of slabs and half-spaces, which is where the scalar dual has its kink, that
    combination with the core's bound on the rest.

    Parameters
    ----------
    feasible : FeasibleSet

    Examples
    --------
    >>> from linpoison.sets import Ball, Intersection, Slab
    >>> bound = SupportBound(Intersection([Ball([0.0, 0.0], 1.0), Slab([1.0, 0.0], 0.0, 0.3)]))
    >>> round(bound([2.0, 0.0]), 9), round(bound([0.0, 2.0]), 9)
    (0.6, 2.0)
    """

    def __init__(self, feasible: FeasibleSet) -> None:
        self.parts = [part for part in feasible.parts if part.has_support_bound]
        several = len(feasible.parts) > 1
        self._oracle = _SelfReliantOracle(feasible) if several else None
        self._structure = structure_of(feasible) if several else None

    def __call__(self, w: Array) -> float:
        least = min((part._support_bound(w) for part in self.parts), default=inf)
        if self._oracle is not None:
            least = min(least, self._scalar(self._oracle, w, float(np.linalg.norm(w))))
        if self._structure is not None and len(self._structure.rows):
            least = min(least, _combined(self._structure, w))
        return least

    @staticmethod
    def _scalar(oracle: Oracle, w: Array, size: float) -> float:
        oracle.forget()
        try:
            x = oracle.support(w)
        except (InputError, SolverFailed):
            return inf
        if not np.isfinite(oracle.gap):
            return inf
        return float(w @ x) + size * (oracle.gap * oracle.reach + PAD * (1 + float(np.linalg.norm(x))))


def _combined(structure: Structure, w: Array) -> float:
    """Weak duality at the multipliers that leave least of `w` for the core."""
    if structure.tube is not None:
        return inf
    weights = np.linalg.lstsq(structure.rows.T, w, rcond=None)[0]
    weights = np.where(np.isfinite(structure.low) | (weights >= 0), weights, 0.0)
    rest = w - weights @ structure.rows
    with np.errstate(invalid="ignore"):
        strips = np.where(weights > 0, weights * structure.high, np.where(weights < 0, weights * structure.low, 0.0))
    length = float(np.linalg.norm(rest))
    core = length * structure.reach if length > 0 else 0.0
    magnitude = abs(float(w @ structure.origin)) + float(np.abs(strips).sum()) + core
    return float(w @ structure.origin) + float(strips.sum()) + core + PAD * magnitude
