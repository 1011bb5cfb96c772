"""The points that several sets have in common, and bounds on their supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import inf
from threading import get_ident
from typing import Any, Self

import numpy as np

from ..convex import Restated, solve
from ..core import Array, InfeasibleSet, InputError, Matrix, SolverFailed
from .base import PAD, FeasibleSet, Relation, unpack_set
from .oracle import Oracle
from .piece import Piece, joined
from .structure import Structure, structure_of

_BESIDE = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Lengths, relative to a direction, of the steps to one beside it."""


class _SelfReliantOracle(Oracle):
    """An oracle that gives up where a conic program would have to answer."""

    _support_program: Any = None

    def _by_program(self, program: Any, vector: Array) -> Array:
        raise SolverFailed("the scalar dual did not settle")


@lru_cache(maxsize=32)
def kept_bound(feasible: Any, thread: int) -> SupportBound:
    """Built once for the many directions that a certificate asks for, and for each thread by itself."""
    return SupportBound(feasible)


class SupportBound:
    """``w -> `` a number that no ``w . x`` over the set exceeds, with an oracle that is kept from call to call.

    The least of: the scalar dual of an `Oracle`; the closed form of each part; and, where `w` is nearly a
    combination of the normals of slabs and half-spaces, which is where the scalar dual has its kink, that
    combination with the core's bound on the rest; beside sets of someone else, the sum over shares of `w`.

    Examples
    --------
    >>> from linpoison.sets import Ball, Intersection, Slab
    >>> bound = SupportBound(Intersection([Ball([0.0, 0.0], 1.0), Slab([1.0, 0.0], 0.0, 0.3)]))
    >>> round(bound([2.0, 0.0]), 9), round(bound([0.0, 2.0]), 9)
    (0.6, 2.0)
    """

    def __init__(self, feasible: Any) -> None:
        self.parts = [part for part in feasible.parts if part.has_support_bound]
        several = len(feasible.parts) > 1
        self._shares = _Shares(feasible) if several and None in [part.piece for part in self.parts] else None
        self._oracle = _SelfReliantOracle(feasible) if several else None
        self._structure = structure_of(feasible) if several else None

    def __call__(self, w: Array) -> float:
        least = self._of_parts(w)
        if self._oracle is not None:
            least = min(least, self._by_scalars(self._oracle, w))
        if self._structure is not None and len(self._structure.rows):
            least = min(least, _combined(self._structure, w))
        return least if self._shares is None else min(least, self._shares(w))

    def _of_parts(self, w: Array) -> float:
        return min((part._support_bound(w) for part in self.parts), default=inf)

    def _by_scalars(self, oracle: Oracle, w: Array) -> float:
        """The bound of the scalar dual, at `w` or, where that does not settle, beside it."""
        # The support h is the greatest of linear functions: h(w) <= h(v) + h(w - v) for every v. Where bounds and rows
        # decide and the ball does not, the search may miss its multiplier of 0; that of a v nearby is none, and w - v
        # is so short that any part bounds it well.
        size = float(np.linalg.norm(w))
        found = self._scalar(oracle, w, size)
        for share in _BESIDE:
            if found < inf:
                break
            v = w + share * size * np.random.default_rng(0).normal(size=w.size) / np.sqrt(w.size)
            near, rest = self._scalar(oracle, v, size), self._of_parts(w - v)
            found = near + rest + PAD * (abs(near) + abs(rest))
        return found

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
    slabs, rest = _taken_by_rows(structure, w)
    length = float(np.linalg.norm(rest))
    core = length * structure.reach if length > 0 else 0.0
    magnitude = abs(float(w @ structure.origin)) + float(np.abs(slabs).sum()) + core
    return float(w @ structure.origin) + float(slabs.sum()) + core + PAD * magnitude


def _taken_by_rows(structure: Structure, w: Array) -> tuple[Array, Array]:
    """What the rows allow of the part of `w` that they can take, and the rest of it."""
    weights = np.linalg.lstsq(structure.rows.T, w, rcond=None)[0]
    weights = np.where(np.isfinite(structure.low) | (weights >= 0), weights, 0.0)
    with np.errstate(invalid="ignore"):
        slabs = np.where(weights > 0, weights * structure.high, np.where(weights < 0, weights * structure.low, 0.0))
    return slabs, w - weights @ structure.rows


class _Shares:
    """The supports of the parts in shares of the direction, where some part is of another structure.

    ``max w . x  =  min { sum_k h_k(u_k) : sum_k u_k = w }``, so that shares ``u_k`` of any kind bound it. They are
    the multipliers of a conic program over copies of x, one for each part of another structure.
    """

    def __init__(self, feasible: Any) -> None:
        import cvxpy as cp

        self.others = [part for part in feasible.parts if part.piece is None and part.has_support_bound]
        known = tuple(part for part in feasible.parts if part.piece is not None)
        self.rest = replace(feasible, sets=known) if known else None
        self._x = cp.Variable(feasible.d)
        copies = [cp.Variable(feasible.d) for _ in self.others]
        self._equal = [copy == self._x for copy in copies]
        inside = [rule for part, copy in zip(self.others, copies, strict=True) for rule in part.constraints(copy)]
        inside += [] if self.rest is None else self.rest.constraints(self._x)
        self._inside = self._equal + inside
        self._program = Restated(self._along, feasible.d)

    def _along(self, w: Any) -> Any:
        import cvxpy as cp

        return cp.Problem(cp.Minimize(-w @ self._x), self._inside)

    def __call__(self, w: Array) -> float:
        size = float(np.linalg.norm(w))
        problem = self._program.at(w / size)
        try:
            solve(problem, tight=True)
        except (SolverFailed, InfeasibleSet):
            return inf
        shares = [-size * np.asarray(rule.dual_value) for rule in self._equal]
        return self._total(shares, w - sum(shares))

    def _total(self, shares: list[Array], left: Array) -> float:
        total = 0.0
        if self.rest is not None and self.rest.extent < inf:
            total, left = self.rest.support_bound(left), np.zeros(left.size)
        elif self.rest is not None and (structure := structure_of(self.rest)) is not None:
            slabs, left = _taken_by_rows(structure, left)
            total = float(slabs.sum()) + PAD * float(np.abs(slabs).sum())
        shares[0] = shares[0] + left
        return total + sum(part.support_bound(share) for part, share in zip(self.others, shares, strict=True))


_INSIDE = 1e-8


@dataclass(frozen=True, eq=False, repr=False)
class Intersection(FeasibleSet):
    """The intersection of sets. The violation is the largest of theirs.

    `support` and `project` ask an `Oracle`: by the scalar duals where the parts allow it, relative
    violation and duality gap at most 1e-9, and by a conic program where not (objective and constraints
    to about 1e-8, the nearest point itself to about 1e-5). Rows that violate nothing by more than 1e-8
    are their own projection. Loops should keep an `Oracle` of their own, which starts each call from
    the one before. The relation follows from the parts: exact if
    all are, and "inner" for a mix of "inner" and "outer" ones, so that no certificate rests on it.

    Parameters
    ----------
    sets : sequence of FeasibleSet
        At least one, of one dimension; intersections among them are flattened.

    Examples
    --------
    >>> from linpoison.sets import Ball, NonNegative
    >>> both = Intersection([Ball([0.0, 0.0], 1.0), NonNegative(2)])
    >>> both.contains([[0.5, 0.5], [-0.5, 0.5]])
    array([ True, False])
    >>> both.support([1.0, -1.0]).round(6) + 0.0
    array([1., 0.])
    """

    sets: tuple[FeasibleSet, ...]
    relation: Relation = field(init=False)

    def __post_init__(self) -> None:
        sets = _flatten(self.sets)
        if len({part.d for part in sets}) != 1:
            raise InputError("at least one set, all of one dimension", f"dimensions {[part.d for part in sets]}")
        self._set(sets=sets, relation=_joint_relation({part.relation for part in sets}))

    @property
    def d(self) -> int:
        return self.sets[0].d

    @property
    def parts(self) -> tuple[FeasibleSet, ...]:
        return self.sets

    @cached_property
    def piece(self) -> Piece | None:  # type: ignore[override]
        return joined([part.piece for part in self.sets])

    @cached_property
    def extent(self) -> float:
        return min(part.extent for part in self.sets)

    @property
    def has_support_bound(self) -> bool:
        return any(part.has_support_bound for part in self.sets)

    @property
    def normals(self) -> Array | None:
        of_parts = [part.normals for part in self.sets]
        return None if any(rows is None for rows in of_parts) else np.vstack(of_parts)  # type: ignore[arg-type]

    def _cone(self, u: Any, t: Any) -> list[Any]:
        return [constraint for part in self.sets for constraint in part._cone(u, t)]

    def _violation(self, X: Matrix) -> Array:
        return np.asarray(np.max([part._violation(X) for part in self.sets], axis=0))

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(self)

    def _support(self, w: Array) -> Array:
        self._oracle.forget()
        return self._oracle.support(w)

    def _support_bound(self, w: Array) -> float:
        return kept_bound(self, get_ident())(w)

    def packed(self, name: str, arrays: dict[str, Array]) -> dict[str, Any]:
        return {"set": self.kind, "sets": [part.packed(f"{name}.{i}", arrays) for i, part in enumerate(self.sets)]}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        return cls(tuple(unpack_set(part, arrays) for part in packed["sets"]))

    def _project(self, X: Array) -> Array:
        for row in np.flatnonzero(self._violation(X) > _INSIDE):
            self._oracle.forget()
            X[row] = self._oracle.project(X[row])
        return X

    def __repr__(self) -> str:
        return f"Intersection({', '.join(map(repr, self.sets))})"


def intersect(*sets: FeasibleSet | None) -> FeasibleSet:
    """The intersection of the sets, leaving out ``None`` (no restriction); one set is itself."""
    parts = [part for part in sets if part is not None]
    return parts[0] if len(parts) == 1 else Intersection(tuple(parts))


def _flatten(sets: Sequence[Any]) -> tuple[FeasibleSet, ...]:
    flat: list[FeasibleSet] = []
    for part in sets:
        if not isinstance(part, FeasibleSet):
            raise InputError("feasible sets", repr(part))
        flat.extend(part.parts)
    return tuple(flat)


def _joint_relation(relations: set[Relation]) -> Relation:
    if "inner" in relations:
        return "inner"
    return "outer" if "outer" in relations else "exact"
