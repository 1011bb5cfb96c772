"""Rows as a user has them, whatever holds them, as one data frame and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..core import InputError, Matrix, as_matrix

TEXT = "text"
"""Name of the column of rows that are texts."""


@dataclass(frozen=True, eq=False)
class RawTable:
    """Clean rows in front of the fixed steps of an estimator.

    Parameters
    ----------
    frame : pandas.DataFrame
        One column for each raw value of a row.
    back : callable
        From such a frame to what the steps take.
    transform : callable
        The steps.
    """

    frame: Any
    back: Callable[[Any], Any] = field(repr=False)
    transform: Callable[[Any], Any] = field(repr=False)

    @classmethod
    def of(cls, X: Any, transform: Callable[[Any], Any], names: Any = None) -> RawTable | None:
        """Rows as a frame, an array or a sequence of texts; None for others, such as sparse ones.

        `names` are those of the columns of an array.
        """
        import pandas as pd

        if isinstance(X, pd.DataFrame):
            return cls(X.reset_index(drop=True), _same, transform)
        if hasattr(X, "get_columns"):  # polars
            frame = pd.DataFrame({column.name: column.to_list() for column in X.get_columns()})
            return cls(frame, partial(_polars, like=X), transform)
        array = np.asarray(X) if not hasattr(X, "toarray") else None
        if array is None or array.ndim not in (1, 2):
            return None
        if array.ndim == 1:
            name = str(getattr(X, "name", None) or TEXT)
            return cls(pd.DataFrame({name: array}), lambda rows: rows[name].to_list(), transform)
        columns = [str(name) for name in (range(array.shape[1]) if names is None else names)]
        frame = pd.DataFrame(array, columns=columns).infer_objects()
        return cls(frame, lambda rows: rows.to_numpy(dtype=array.dtype), transform)

    def features(self, frame: Any) -> Matrix:
        """What the steps make of rows."""
        return as_matrix(self.transform(self.back(frame)), "transformed X")

    def take(self, rows: Any) -> RawTable:
        """Some of the rows."""
        return RawTable(self.frame.iloc[rows].reset_index(drop=True), self.back, self.transform)

    def copies(self, n: int) -> Any:
        """The first row, so many times."""
        return self.frame.iloc[np.zeros(n, dtype=int)].reset_index(drop=True)

    def put(self, rows: Any, name: str, values: Any) -> None:
        """Set a column of some rows, in the type that it has in the frame: pandas would infer another one."""
        import pandas as pd

        rows[name] = pd.Series(values, index=rows.index, dtype=self.frame[name].dtype)

    def typed(self, name: str, numbers: Any) -> Any:
        """Numbers (NaN: a missing one) as a column of the frame holds them, in a frame of that column."""
        import pandas as pd

        dtype = self.frame[name].dtype
        if isinstance(dtype, np.dtype):
            return pd.DataFrame({name: np.asarray(numbers, dtype=np.float64).astype(dtype)})
        values = [None if x != x else int(x) if x == int(x) else float(x) for x in numbers]
        return pd.DataFrame({name: pd.array(values, dtype=dtype)})

    def checked(self, names: Any) -> list[str]:
        """Names of columns, which must be here.

        Raises
        ------
        InputError
            For one that is not.
        """
        known = [str(column) for column in self.frame.columns]
        for name in names:
            if name not in known:
                raise InputError("frozen columns among those that the estimator takes", repr(name), ", ".join(known))
        return list(names)


def _same(frame: Any) -> Any:
    return frame


def _polars(frame: Any, like: Any) -> Any:
    """Rows as a frame of polars, whose missing values are null."""
    columns = {
        name: [None if lost else value for value, lost in zip(frame[name].tolist(), frame[name].isna(), strict=True)]
        for name in frame
    }
    return type(like)(columns, schema=like.schema, strict=False)
