"""Poison as raw rows: the domain that the steps leave, and the way back from features."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core import Array, CapabilityError, Domain, InputError, Matrix
from ..core.parts import dense
from .origins import Origin
from .probing import origins_of
from .table import RawTable
from .text import NotRaw

TOLERANCE = 1e-9
"""By how much the features of raw rows may differ from those that were scored, relative to values above 1."""
_CHECKED = 200  # clean rows that are sent there and back


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
        limit = domain.parts[0].count_limit
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
            for name, values in origin.raw(rows[:, origin.part.columns]).items():
                frame[name] = values
        frame = frame.astype(self.table.frame.dtypes.to_dict())
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
        frame[label_name] = labels
        frame["copies"] = np.asarray(copies, dtype=np.int64)
        stream = io.StringIO()
        frame.to_csv(stream, index=False, lineterminator="\n")
        return stream.getvalue()

    def words(self) -> str:
        """What stands in a report."""
        if not self.origins:
            return f"Poison rows are rows of features and not raw ones: {self.reason}."
        held = f" Each takes {', '.join(self.frozen)} from one clean row." if self.frozen else ""
        return (
            f"Poison rows are raw rows as well: sent through the steps, they give the features that were scored.{held}"
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
        origins = origins_of(table, estimator, held)
        found = RawRows(table, tuple(origins), d, frozen=tuple(held))
        _there_and_back(found)
        return found
    except NotRaw as error:
        if held:
            raise CapabilityError("steps that keep frozen columns apart from others", str(error)) from None
        return RawRows(table, (), d, str(error))


def _there_and_back(rows: RawRows) -> None:
    """Send clean rows there and back.

    Raises
    ------
    NotRaw
        If what comes back has other features: columns act together, or a step is none that can be read.
    """
    some = np.linspace(0, len(rows.table.frame) - 1, min(_CHECKED, len(rows.table.frame))).astype(int)
    X = dense(rows.table.features(rows.table.frame.iloc[some].reset_index(drop=True)))
    domain = Domain.of_parts([origin.part for origin in rows.origins], rows.d)
    near = domain.clip(X)
    off = np.abs(near - X).max(axis=1, initial=0.0)
    if np.median(off) > TOLERANCE:
        raise NotRaw("its steps do not treat each column by itself")
    try:
        rows.frame(near)
    except CapabilityError:
        raise NotRaw("its steps do not treat each column by itself") from None
