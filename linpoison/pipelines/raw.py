"""Poison as raw rows: the domain that the steps leave, and the way back from features."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core import Array, CapabilityError, Domain, InputError, Matrix
from ..core.parts import dense
from .origins import Origin, mixed_rows
from .probing import MANY_VALUES, origins_of
from .table import RawTable
from .text import NotRaw

TOLERANCE = 1e-9
"""By how much the features of raw rows may differ from those that were scored, relative to values above 1."""
_CHECKED, _ENTRIES = 200, 5_000_000  # rows that are sent there and back, at least and in features


@dataclass(frozen=True, eq=False)
class RawRows:
    """The raw rows behind features, where the steps let one find them.

    Parameters
    ----------
    table : RawTable
        Clean rows.
    origins : tuple of Origin
        Empty where there is no way back.
    d : int
        Number of features.
    reason : str
        Why there is none.
    frozen : tuple of str
        Columns that poison rows take over from clean rows, all from the same one.
    """

    table: RawTable = field(repr=False)
    origins: tuple[Origin, ...] = field(repr=False)
    d: int
    reason: str = ""
    frozen: tuple[str, ...] = ()

    @property
    def domain(self) -> Domain:
        """What rows of features may be, their numbers as large as one likes; R^d where nothing limits them."""
        if not self.origins:
            return Domain.real()
        domain = Domain.of_parts([origin.part for origin in self.origins], self.d)
        if all(part.free for part in domain.parts):
            return Domain.real()
        limit = domain.parts[0].count_limit if len(domain.parts) == 1 else None
        return domain if limit is None else Domain.counts(limit, d=self.d)

    def frame(self, X: Matrix) -> Any:
        """Raw rows that the steps turn into rows of features, with the columns and types of the clean ones.

        Raises
        ------
        CapabilityError
            If there are none, or none that come out as these features.
        """
        if not self.origins:
            raise CapabilityError("features that raw rows can be found for", self.reason)
        rows = dense(X)
        frame = self.table.copies(len(rows))
        for origin in self.origins:
            for name, values in origin.raw(rows[:, origin.part.columns], self.table).items():
                self.table.put(frame, name, values)
        off = self.off(frame, rows)
        if off.max(initial=0.0) > TOLERANCE:
            raise CapabilityError("raw rows with these features", f"features that differ by {off.max():.3g}")
        return frame

    def off(self, frame: Any, rows: Array) -> Array:
        """By how much the features of raw rows differ from some rows."""
        again = dense(self.table.features(frame))
        return np.asarray((np.abs(again - rows) / np.maximum(1.0, np.abs(rows))).max(axis=1, initial=0.0))

    def csv(self, X: Matrix, labels: Any, copies: Array, label_name: str) -> str:
        """Raw rows with a column of labels and one of copies, as text."""
        frame = self.frame(X)
        for name, values in ((label_name, labels), ("copies", np.asarray(copies, dtype=np.int64))):
            while name in frame:  # such as a feature of that name
                name += "_"
            frame[name] = values
        stream = io.StringIO()
        frame.to_csv(stream, index=False, lineterminator="\n")
        return stream.getvalue()

    def words(self) -> str:
        """What stands in a report."""
        if not self.origins:
            return f"Poison rows are rows of features and not raw ones: {self.reason}."
        held = f" Each takes {', '.join(self.frozen)} from one clean row." if self.frozen else ""
        some = [name for origin in self.origins for name in origin.sampled]
        curved = (
            f" The steps are no line in {', '.join(some)}: beyond clean values only a few are tried." if some else ""
        )
        return (
            "Poison rows are raw rows as well: sent through the steps, they give the features that were scored."
            f"{held}{curved}"
        )


def raw_rows(table: RawTable | None, estimator: Any, frozen: tuple[str, ...] = ()) -> RawRows | None:
    """How the steps of a fitted estimator make features of raw rows, and the way back.

    Parameters
    ----------
    table : RawTable, optional
        Rows before any step.
    estimator : object
        Fitted, with the steps before its last.
    frozen : tuple of str
        Columns that poison leaves as they are.

    Raises
    ------
    InputError
        If a frozen column is unknown.
    CapabilityError
        If columns are frozen, and which features they make cannot be told.
    """
    if table is None:
        if frozen:
            raise InputError("rows with columns, to freeze some of them", "rows of another kind")
        return None
    held = table.checked(frozen)
    d = table.features(table.copies(1)).shape[1]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # what steps say of values that they are tried with
            warnings.simplefilter("ignore")
            origins = origins_of(table, estimator, held)
            found = RawRows(table, tuple(origins), d, frozen=tuple(held))
            _there_and_back(found)
        return found
    except NotRaw as error:
        if held:
            raise CapabilityError(
                "steps that keep frozen columns apart from others", str(error),
                "Leave out frozen: then poison rows are rows of features.",
            ) from None  # fmt: skip
        return RawRows(table, (), d, str(error))


def _there_and_back(rows: RawRows) -> None:
    """Send rows there and back that take each column from another clean row, and each value that was tried.

    Raises
    ------
    NotRaw
        If what comes back has other features: columns act together, or a step is none that can be read.
    """
    searched = any(origin.part.searched for origin in rows.origins)
    most = _CHECKED if searched else max(_CHECKED, min(MANY_VALUES, _ENTRIES // rows.d))
    frame = mixed_rows(rows.table, rows.origins, _CHECKED, most)
    try:
        X = dense(rows.table.features(frame))
        near = Domain.of_parts([origin.part for origin in rows.origins], rows.d).clip(X)
        off = [origin.part.off(X[:, origin.part.columns]) for origin in rows.origins]
        rows.frame(near[:_CHECKED])
    except (CapabilityError, ValueError):
        raise NotRaw(_TOGETHER) from None
    if any((np.median if origin.part.searched else np.max)(each) > TOLERANCE
           for origin, each in zip(rows.origins, off, strict=True)):  # fmt: skip
        raise NotRaw(_TOGETHER)


_TOGETHER = "its steps do not treat each column by itself"
