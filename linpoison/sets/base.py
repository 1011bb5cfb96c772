"""What a feasible set offers: one set as a cone for conic programs and as numpy functions for re-checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import inf
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp

from ..core import Array, CapabilityError, InputError, Matrix, as_matrix, check_number
from ..core.parts import dense
from ..core.plugins import offered
from .piece import Piece

Relation = Literal["exact", "inner", "outer"]
PAD = 1e-12
"""Rounding allowed for in a closed form, relative to the lengths multiplied."""
_KINDS: dict[str, type[FeasibleSet]] = {}
"""Which class of sets a name in a file stands for."""


@dataclass(frozen=True, eq=False)
class FeasibleSet(ABC):
    """A closed convex set ``F`` in R^d, stated once and seen from five sides.

    Parameters
    ----------
    relation : {"exact", "inner", "outer"}, keyword only
        How the set relates to what it stands for (the rows that a defence keeps): equal, inside it
        or around it. An attack may use any that is re-checked, a certificate none that is "inner".
    """

    relation: Relation = field(default="exact", kw_only=True)
    kind: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.kind = cls.__dict__.get("kind", cls.__name__)
        register(cls.kind, cls)

    @property
    @abstractmethod
    def d(self) -> int:
        """Number of features."""

    @property
    def normals(self) -> Array | None:
        """Rows of shape (m, d): a point that moves orthogonally to all of them, at the same distance from zero, stays.

        None where no such rows are known.
        """
        return None

    @property
    def parts(self) -> tuple[FeasibleSet, ...]:
        """The members of an intersection, or the set itself."""
        return (self,)

    @property
    def piece(self) -> Piece | None:
        """What the set adds to the separable structure that the fast solvers take, None for another structure."""
        return None

    @cached_property
    def extent(self) -> float:
        """A number that no ``|x|`` over the set exceeds, infinite where none is known."""
        squares = 0.0
        for axis in range(self.d if self.has_support_bound else 0):
            ahead = np.zeros(self.d)
            ahead[axis] = 1.0
            squares += max(0.0, self._support_bound(ahead), self._support_bound(-ahead)) ** 2
            if squares == inf:
                return inf
        return float(np.sqrt(squares)) if self.has_support_bound else inf

    @property
    def has_support_bound(self) -> bool:
        """Whether anything bounds the support: a certificate needs such a set."""
        return self.piece is not None or type(self)._support_bound is not FeasibleSet._support_bound

    @abstractmethod
    def _cone(self, u: Any, t: Any) -> list[Any]:
        """Constraints of the cone over the set, without ``t >= 0``."""

    @abstractmethod
    def _violation(self, X: Matrix) -> Array:
        """`violation` for a checked matrix."""

    @abstractmethod
    def _support(self, w: Array) -> Array:
        """`support` for a checked direction."""

    @abstractmethod
    def _project(self, X: Array) -> Array:
        """`project` for checked dense rows."""

    def _support_bound(self, w: Array) -> float:
        """`support_bound` for a checked direction other than zero; `_at_support` where `_support` is a closed form."""
        if self.piece is None:
            raise CapabilityError(
                "a set with a bound on its support", repr(self), "Give its class `_support_bound` to certify with it."
            )
        return inf

    def _at_support(self, w: Array) -> float:
        """``w . x`` at a support point that a closed form gives, and what rounding may add."""
        try:
            x = self._support(w)
        except InputError:
            return inf
        return float(w @ x) + PAD * float(np.linalg.norm(w)) * (1 + float(np.linalg.norm(x)))

    def constraints(self, u: Any, t: Any = 1.0) -> list[Any]:
        """cvxpy constraints that put ``(u, t)`` in the closed cone over the set.

        The cone is the closure of ``{(t x, t): x in F, t >= 0}``: at ``t = 1`` it is ``F`` itself, at
        ``t = 0`` the directions of recession of ``F`` (only ``u = 0`` if ``F`` is bounded).

        Parameters
        ----------
        u : cvxpy expression of shape (d,), affine
        t : scalar cvxpy expression, affine, or a number of at least 0
        """
        if tuple(getattr(u, "shape", ())) != (self.d,):
            raise InputError(f"an expression u of shape ({self.d},)", f"shape {getattr(u, 'shape', None)}")
        return [*_non_negative(t), *self._cone(u, t)]

    def violation(self, X: Any) -> Array:
        """How far each row of `X` (n, d) is outside, shape (n,), zero inside; the class says in which unit."""
        return np.maximum(self._violation(self._rows(X)), 0.0)

    def contains(self, X: Any, tol: float = 1e-8) -> Any:
        """Whether `violation` is at most `tol`, shape (n,), boolean."""
        return self.violation(X) <= tol

    def support(self, w: Any) -> Array:
        """A point of the set with the greatest ``w . x``, shape (d,).

        Raises
        ------
        InputError
            If ``w . x`` is unbounded on the set.
        InfeasibleSet
            If the set is empty.
        """
        return self._support(as_vector(w, "direction w", self.d))

    def support_bound(self, w: Any) -> float:
        """A number that no ``w . x`` over the set exceeds, whatever a search found.

        Infinite where nothing bounds the set in this direction; a certificate then says nothing.

        Raises
        ------
        CapabilityError
            If the set has no bound on its support.
        """
        direction = as_vector(w, "direction w", self.d)
        return self._support_bound(direction) if direction.any() else 0.0

    def project(self, X: Any) -> Array:
        """The nearest point of the set to each row of `X` (n, d), dense.

        Raises
        ------
        InfeasibleSet
            If the set is empty.
        """
        rows = self._rows(X)
        return self._project(np.array(dense(rows)))

    def grown(self, by: float) -> FeasibleSet:
        """A set that holds this one after any move by a distance of at most `by`."""
        raise CapabilityError(
            "balls, slabs and boxes", repr(self), "Leave the set out: the bound then holds for a stronger attacker."
        )

    def packed(self, name: str, arrays: dict[str, Array]) -> dict[str, Any]:
        """The set as a JSON object for a file; what arrays it names are added to `arrays`, as ``name.field``."""
        packed: dict[str, Any] = {"set": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                arrays[f"{name}.{item.name}"] = np.asarray(value, dtype=np.float64)
                value = {"array": f"{name}.{item.name}"}
            elif not isinstance(value, str | int | float):
                raise InputError("sets of numbers, words and arrays", f"{item.name} of {self!r}")
            packed[item.name] = value
        return packed

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """The set that `packed` described."""
        values = {name: value for name, value in packed.items() if name != "set"}
        named = {name: arrays[value["array"]] for name, value in values.items() if isinstance(value, Mapping)}
        return cls(**values | named)

    def _rows(self, X: Any) -> Matrix:
        rows = as_matrix(X, allow_empty=True)
        if rows.shape[1] != self.d:
            raise InputError(f"rows of {self.d} features", f"{rows.shape[1]} features")
        return rows

    def _set(self, **values: Any) -> None:
        """Store checked values in a frozen instance, arrays read-only."""
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(d={self.d})"


def _non_negative(t: Any) -> list[Any]:
    if hasattr(t, "is_constant"):
        return [] if t.is_constant() else [t >= 0]
    check_number(t, "t", at_least=0)
    return []


def as_vector(value: Any, name: str, d: int | None = None, *, finite: bool = True) -> Array:
    """A copy of `value` as float64 of shape (d,), finite or at least without NaN."""
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"numeric {name}", "values that are not numbers") from None
    if vector.ndim != 1 or vector.size == 0 or (d is not None and vector.size != d):
        raise InputError(f"{name} of shape ({'d' if d is None else d},)", f"shape {vector.shape}")
    if np.isnan(vector).any() or (finite and np.isinf(vector).any()):
        raise InputError(f"{name} without NaN" + (" and infinity" if finite else ""), "such values")
    return vector


def as_normal(value: Any) -> Array:
    """A finite vector other than zero."""
    normal = as_vector(value, "normal")
    if not normal.any():
        raise InputError("a normal other than zero", "zeros only")
    return normal


def unbounded(what: str) -> InputError:
    """The error of a support in a direction of recession."""
    return InputError(
        f"a direction in which the {what} is bounded",
        "one in which it is unbounded",
        "Intersect it with a bounded set, such as a ball or a box.",
    )


def row_sums(X: Any, values: Array) -> Array:
    """Sums of `values`, one for each stored entry of the CSR matrix `X`, over its rows."""
    return np.asarray(sp.csr_array((values, X.indices, X.indptr), shape=X.shape).sum(axis=1)).ravel()


def squared_distances(X: Matrix, center: Array) -> Array:
    """``|x - center|^2`` of each row, shape (n,); CSR rows cost their stored entries only."""
    if not sp.issparse(X):
        offset = X - center
        return np.asarray(np.einsum("ij,ij->i", offset, offset))
    at = center[X.indices]
    elsewhere = center @ center - row_sums(X, at**2)
    return row_sums(X, (X.data - at) ** 2) + np.maximum(elsewhere, 0.0)


def register(kind: str, made: type[FeasibleSet]) -> None:
    """Let files call a class by a name; a class that is defined anew takes its own place."""
    known = _KINDS.setdefault(kind, made)
    if (known.__module__, known.__qualname__) == (made.__module__, made.__qualname__):
        _KINDS[kind] = made
    elif not issubclass(made, known):
        raise InputError("a class of sets with a name of its own", f"{kind}, which {known.__module__} has")


def unpack_set(packed: Mapping[str, Any], arrays: Mapping[str, Array]) -> FeasibleSet:
    """The set that `FeasibleSet.packed` described; a class that is not known is looked for among entry points."""
    kind = packed["set"]
    made = _KINDS.get(kind) or offered("sets", kind)
    if made is None:
        raise InputError(f"sets among {', '.join(_KINDS)}", repr(kind), "Install the package that brings it.")
    return made.unpacked(packed, arrays)  # type: ignore[no-any-return]
