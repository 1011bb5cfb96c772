"""The points that several sets have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import get_ident
from typing import Any, Self

import numpy as np

from ..core import Array, InputError, Matrix
from .base import FeasibleSet, Relation, unpack_set
from .bounds import kept_bound
from .oracle import Oracle
from .piece import Piece, joined

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
