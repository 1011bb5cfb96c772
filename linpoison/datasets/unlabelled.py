"""Rows without labels: what a model is asked about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..core import InputError, Matrix
from ..core.archives import user_path
from .layout import Layout
from .readers import _arrays, _matrix
from .tables import TABLES, _numbers


def read_rows(path: str | os.PathLike[str], names: tuple[str, ...] | None, layout: Layout) -> Matrix:
    """The rows of a ``.csv`` or ``.parquet`` table or of the array X of an ``.npz`` file, without labels.

    Parameters
    ----------
    path : str or path
    names : tuple of str, optional
        Columns that are read, in this order; all but those of the layout by default. Columns of labels, weights and
        numbers of rows that the layout names may be there, others may not.
    layout : Layout

    Raises
    ------
    InputError
        For a file of another kind, a column too few or too many, or anything but finite numbers.
    """
    file = user_path(path, "a table of rows")
    if not file.is_file():
        raise InputError("a file of rows", f"{file}, which is none")
    suffix = file.suffix.lower()
    if suffix == ".npz":
        return _matrix(_arrays(file), file)
    if suffix not in TABLES:
        raise InputError(f"rows in {', '.join((*TABLES, '.npz'))}", file.name)
    frame = TABLES[suffix](file, layout)
    spare = {str(name) for name in (layout.label, layout.weight, layout.index) if name is not None}
    columns = {str(name): name for name in frame.columns}
    wanted = [name for name in columns if name not in spare] if names is None else list(names)
    _check_columns(file, set(wanted) - set(columns), set(columns) - set(wanted) - spare)
    return _numbers(frame, [columns[name] for name in wanted], file)


def _check_columns(file: Path, missing: set[Any], odd: set[Any]) -> None:
    for which, what in ((missing, "the columns of the training rows"), (odd, "no other columns")):
        if which:
            got = f"{'none' if which is missing else 'some'} called {', '.join(sorted(map(str, which))[:5])}"
            raise InputError(f"{what} in {file.name}", got, "Name a column of labels with --label.")
