"""What a row of features may be before any defence looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .errors import InputError
from .parts import Part, lowest_and_highest
from .validation import Array, Matrix, as_number, check_number, squared_norms

DomainKind = Literal["real", "box", "counts", "range", "unit", "table"]
KINDS: tuple[DomainKind, ...] = ("real", "box", "counts", "range", "unit")
"""Those that a word names; a table is read off the steps before a learner."""


@dataclass(frozen=True, eq=False)
class Domain:
    """The space that features live in.

    Parameters
    ----------
    kind : {"real", "box", "counts", "range", "unit", "table"}
        ``real``: all of R^d. ``box``: ``lower <= x <= upper``, coordinate by coordinate.
        ``counts``: non-negative whole numbers up to `upper` (word counts). ``range``: the box of what
        clean rows show in each column, see `range`. ``unit``: rows of Euclidean length 1, or zero, as
        scikit-learn's `Normalizer` and most text embeddings give. ``table``: what fixed steps make of raw rows, see
        `of_parts`.
    lower, upper : ndarray of shape (d,), optional
        Bounds per coordinate. For counts `lower` is zero and `upper` the largest value that a
        coordinate may take, infinity where there is none.
    integral : bool
        Whether coordinates are whole numbers.
    parts : tuple of Part
        Of a table: groups of features, each made from a value of its own.

    Examples
    --------
    >>> Domain.box(0.0, 1.0, d=3)
    Domain(kind='box', d=3)
    >>> Domain.counts([2, 5]).integral
    True
    """

    kind: DomainKind = "real"
    lower: Array | None = field(default=None, repr=False)
    upper: Array | None = field(default=None, repr=False)
    integral: bool = False
    parts: tuple[Part, ...] = field(default=(), repr=False)

    @classmethod
    def real(cls) -> Domain:
        """R^d."""
        return cls("real")

    @classmethod
    def box(cls, lower: Any, upper: Any, d: int | None = None) -> Domain:
        """The box ``lower <= x <= upper``; scalars need `d`."""
        return cls("box", *cls._checked(_bounds(lower, d), _bounds(upper, d)))

    @staticmethod
    def _checked(low: Array, high: Array) -> tuple[Array, Array]:
        if low.shape != high.shape or (low > high).any():
            raise InputError("lower <= upper, of one shape", f"shapes {low.shape} and {high.shape}, or lower > upper")
        return low, high

    @classmethod
    def counts(cls, upper: Any, d: int | None = None) -> Domain:
        """Non-negative whole numbers up to `upper`, which may be infinite.

        Examples
        --------
        >>> Domain.counts(np.inf, d=2).violation(np.array([[1e9, 0.0], [-1.0, 0.5]])).tolist()
        [0.0, 1.0]
        """
        high = np.floor(_bounds(upper, d, finite=False))
        if (high < 0).any():
            raise InputError("count limits of at least 0", f"{high.min():g}")
        return cls("counts", np.zeros_like(high), high, integral=True)

    @classmethod
    def unit(cls) -> Domain:
        """Rows of Euclidean length 1, and the row of zeros."""
        return cls("unit")

    @classmethod
    def of_parts(cls, parts: Sequence[Part], d: int) -> Domain:
        """The product of groups of features, which together are all of them, each once.

        Examples
        --------
        >>> from linpoison.core.parts import Choice
        >>> Domain.of_parts([Choice(np.arange(2), np.eye(2))], 2).clip(np.array([[0.4, 0.7]]))
        array([[0., 1.]])
        """
        return cls("table", *lowest_and_highest(parts, d), parts=tuple(parts))

    def within(self, X: Matrix, factor: float = 1.0) -> Domain:
        """A table whose numbers keep to the ranges that the rows of `X` show, so many times as wide."""
        parts = [part.within(X[:, part.columns], factor) for part in self.parts]
        return Domain.of_parts(parts, X.shape[1])

    @classmethod
    def range(cls, X: Matrix, factor: float = 1.0, *, integral: bool = False) -> Domain:
        """What a range check of each column lets through: ``|x - m| <= factor h``, column by column.

        The middle ``m = (min + max) / 2`` and the half width ``h = (max - min) / 2`` are those of the rows of `X`; a
        factor of 1 gives the range itself.

        Parameters
        ----------
        X : ndarray or csr_array, shape (n, d)
            Clean rows.
        factor : float, default 1.0
            How much wider than the range, at least 1.
        integral : bool, default False
            Keep whole numbers of at least 0, for rows of counts.

        Examples
        --------
        >>> wide = Domain.range(np.array([[0.0, 3.0], [2.0, 3.0]]), 1.5)
        >>> wide.lower.tolist(), wide.upper.tolist()
        ([-0.5, 3.0], [2.5, 3.0])
        """
        low, high = _column_range(X)
        more = (check_number(factor, "range factor", at_least=1, remedy=_FACTOR) - 1) / 2 * (high - low)
        low, high = low - more, high + more
        if integral:
            low, high = np.maximum(np.ceil(low), 0.0), np.floor(high)
        return cls("range", *cls._checked(low, high), integral=integral)

    @classmethod
    def of(cls, word: str, X: Matrix, test: Matrix | None = None, *, integral: bool = False) -> Domain:
        """The domain of a word that the rows of `X` suggest, which must lie in it.

        A box spans [0, 1] where the data lie in it and the range of each column otherwise. The
        limit of a count is the largest value in its column, at least 1: what the reference
        implementation of Koh et al. lets the attacker write.

        Parameters
        ----------
        word : str
            ``real``, ``box``, ``counts``, ``counts:N`` for counts up to N in every column (``counts:inf``: without a
            limit), ``unit``, ``range``, or ``range:F`` for the range widened by a factor F.
        X : ndarray or csr_array, shape (n, d)
            Training rows.
        test : ndarray or csr_array, optional
            Further rows, which must keep to what the word says itself. Limits that are read off `X` do not bind them.
        integral : bool, default False
            Whether the rows are counts, so that a range keeps whole numbers.
        """
        kind, number = parse_domain(word)
        domain = cls._suggested(kind, number, X, integral)
        if kind in ("counts", "unit"):  # the others were drawn around these rows
            domain.check(X, "X")
        if test is not None:
            stated = kind == "counts" and number is not None
            (domain.check if stated else domain.check_kind)(test, "test X")
        return domain

    @classmethod
    def _suggested(cls, kind: DomainKind, number: float | None, X: Matrix, integral: bool) -> Domain:
        if kind in ("real", "unit"):
            return cls(kind)
        if kind == "range":
            return cls.range(X, 1.0 if number is None else number, integral=integral)
        low, high = _column_range(X)
        if kind == "box":
            unit = low.min() >= 0 and high.max() <= 1
            return cls.box(np.zeros_like(low), np.ones_like(high)) if unit else cls.box(low, high)
        if number is not None:
            return cls.counts(number, d=high.size)
        return cls.counts(np.maximum(high, 1))

    @property
    def on_sphere(self) -> bool:
        """Whether rows have one length, so that the domain is not convex even before rounding."""
        return self.kind == "unit"

    def clip(self, X: Array) -> Array:
        """Dense rows, or one row, cut to the bounds, scaled to their length, or moved to rows that a table holds.

        `X` itself where nothing bounds it.
        """
        if self.on_sphere:
            return X / np.maximum(np.sqrt(squared_norms(X))[..., None], _TINY)
        if self.lower is None or self.upper is None:
            return X
        if self.parts:
            rows = np.array(np.atleast_2d(X), dtype=np.float64)
            for part in self.parts:
                rows[:, part.columns] = part.nearest(rows[:, part.columns])
            return rows.reshape(np.shape(X))
        return np.clip(X, self.lower, self.upper)

    def reach(self, center: Array) -> float:
        """The greatest distance of a row of the domain from a point of shape (d,); infinite in R^d."""
        if self.on_sphere:
            return 1.0 + float(np.linalg.norm(center))
        if self.lower is None or self.upper is None:
            return float("inf")
        return float(np.linalg.norm(np.maximum(np.abs(self.upper - center), np.abs(self.lower - center))))

    def violation(self, X: Matrix) -> Array:
        """How far each row is outside, in the largest coordinate (shape (n,), zero inside).

        Being whole counts as a constraint too: the distance to the nearest whole number is a
        violation where the domain is integral, and in a domain of unit rows it is how far their length is from 1
        (by more than the 1e-6 of rows kept in single precision).
        Sparse rows cost their stored entries only, unless zero is outside the bounds of a column.
        """
        if self.on_sphere:
            lengths = np.sqrt(squared_norms(X))
            off = np.abs(lengths - 1.0)
            return np.where((off <= _SINGLE) | (lengths == 0), 0.0, off)
        if self.parts:
            return self._violation_of_parts(X)
        if hasattr(X, "toarray"):
            return self._violation_of_sparse(X.tocsr())
        rows = np.asarray(X)
        worst = np.zeros(rows.shape[0])
        if self.lower is not None and self.upper is not None:
            worst = np.maximum(self.lower - rows, rows - self.upper).max(axis=1).clip(min=0)
        if self.integral:
            worst = np.maximum(worst, np.abs(rows - np.round(rows)).max(axis=1))
        return worst

    def _violation_of_parts(self, X: Matrix) -> Array:
        """The distance to the nearest row that the table holds, see `Part.off`."""
        every = np.arange(X.shape[1])
        rows = (X if np.array_equal(part.columns, every) else X[:, part.columns] for part in self.parts)
        return np.max([part.off(some) for part, some in zip(self.parts, rows, strict=True)], axis=0)

    def _violation_of_sparse(self, X: Matrix) -> Array:
        if self.lower is not None and self.upper is not None and ((self.lower > 0) | (self.upper < 0)).any():
            return np.array([self.violation(X[[row]].toarray())[0] for row in range(X.shape[0])])
        off = np.zeros(X.data.size)
        if self.lower is not None and self.upper is not None:
            off = np.maximum(self.lower[X.indices] - X.data, X.data - self.upper[X.indices]).clip(min=0)
        if self.integral:
            off = np.maximum(off, np.abs(X.data - np.round(X.data)))
        worst = np.zeros(X.shape[0])
        np.maximum.at(worst, np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), off)
        return worst

    def check(self, X: Matrix, name: str) -> None:
        """Raise if a row of `X` is outside.

        Training rows must be inside, and so must a poison that is held against a domain which the user named.
        """
        self.check_kind(X, name)
        if (outside := self.violation(X) > _TOL).any():
            raise InputError(
                f"{name} inside its {self.kind}", f"{outside.sum()} rows outside, by up to {self.violation(X).max():g}",
                "Use wider bounds, or the domain 'real'.",
            )  # fmt: skip

    def check_kind(self, X: Matrix, name: str) -> None:
        """Raise if rows of `X` are no such features at all: not whole numbers from zero up, or not of length 1.

        Any row must be, such as a test row; limits that were read off training rows may be exceeded by others.
        """
        values = X.data if hasattr(X, "toarray") else np.asarray(X)
        if self.integral and values.size:
            if values.min() < 0:
                raise InputError(f"{name} of counts (0, 1, 2, ...)", f"a value of {values.min():g}", _COUNTS_REMEDY)
            if (values != np.round(values)).any():
                raise InputError(f"{name} of counts (0, 1, 2, ...)", "values that are not whole", _COUNTS_REMEDY)
        if self.on_sphere and self.violation(X).any():
            raise InputError(
                f"{name} of rows of length 1", f"a length that differs by {self.violation(X).max():g}",
                "Pass the rows through sklearn.preprocessing.normalize, or use the domain 'real'.",
            )  # fmt: skip

    def __repr__(self) -> str:
        size = "" if self.upper is None else f", d={self.upper.size}"
        return f"Domain(kind={self.kind!r}{size})"


def parse_domain(word: Any) -> tuple[DomainKind, float | None]:
    """The kind that a word names, and the number behind it: the factor of ``range:F``, the limit of ``counts:N``.

    Examples
    --------
    >>> parse_domain("range:1.5"), parse_domain("counts:inf"), parse_domain("box")
    (('range', 1.5), ('counts', inf), ('box', None))
    """
    name, colon, tail = word.partition(":") if isinstance(word, str) else ("", "", "")
    for kind in KINDS:
        if kind == name and not colon:
            return kind, None
        if kind == name == "range":
            return kind, check_number(as_number(tail), "range factor", at_least=1, remedy=_FACTOR)
        if kind == name == "counts":
            return kind, np.inf if tail == "inf" else _count_limit(tail)
    raise InputError("a domain among real, box, counts, counts:N, unit, range and range:F", repr(word), _FACTOR)


def _count_limit(text: str) -> float:
    limit = check_number(as_number(text), "count limit", at_least=1, remedy=_LIMIT)
    if limit != np.round(limit):
        raise InputError("count limit as a whole number", text, _LIMIT)
    return limit


_TOL = 1e-9
_LIMIT = "Such as counts:3, or counts:inf for counts of any size."
_FACTOR = "range:1.5 widens the range of each column by half about its middle."
_TINY = np.finfo(np.float64).tiny
_SINGLE = 1e-6
"""Lengths of rows that were scaled in single precision are 1 to about 1e-7."""
_COUNTS_REMEDY = "Use the domain 'real' or 'box' for such features."


def _bounds(value: Any, d: int | None, *, finite: bool = True) -> Array:
    try:
        bound = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("bounds that are numbers", repr(value)) from None
    if bound.ndim == 0:
        if d is None:
            raise InputError("a bound per coordinate, or the number of coordinates d", "a single number")
        bound = np.full(d, float(bound))
    if bound.ndim != 1 or np.isnan(bound).any() or (finite and not np.isfinite(bound).all()):
        raise InputError("finite bounds of shape (d,)", f"shape {bound.shape} or values that are not finite")
    return bound


def _column_range(X: Matrix) -> tuple[Array, Array]:
    low, high = X.min(axis=0), X.max(axis=0)
    if hasattr(low, "toarray"):
        low, high = low.toarray(), high.toarray()
    return np.asarray(low, dtype=np.float64).ravel(), np.asarray(high, dtype=np.float64).ravel()
