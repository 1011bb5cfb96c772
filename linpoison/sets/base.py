"""What a feasible set offers: one set as a cone for conic programs and as numpy functions for re-checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from ..core.errors import InputError
from ..core.validation import Array, Matrix, as_matrix, check_number

Relation = Literal["exact", "inner", "outer"]


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

    def project(self, X: Any) -> Array:
        """The nearest point of the set to each row of `X` (n, d), dense.

        Raises
        ------
        InfeasibleSet
            If the set is empty.
        """
        rows = self._rows(X)
        return self._project(rows.toarray() if sp.issparse(rows) else np.array(rows))

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
