"""One door for data: a name, or a file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import InputError, Split, check_number, check_seed
from ..core.archives import user_path
from .external import mnist_pair
from .layout import Layout
from .registry import ENTRIES
from .store import data_folder


def load(
    name_or_path: str | os.PathLike[str],
    *,
    domain: str | None = None,
    label: str | None = None,
    test: str | os.PathLike[str] | None = None,
    test_fraction: float = 0.3,
    seed: int = 0,
    header: str | None = None,
    index: str | None = None,
    weight: str | None = None,
) -> Split:
    """Load a named data set or a file as training and test rows.

    Parameters
    ----------
    name_or_path : str or path
        A name that `names` lists, that of an ``.npz`` file in the folder of data, ``mnist:A:B`` for two digits (A is
        +1), or a file: ``.npz``, ``.csv``, ``.tsv`` (fields between tabs, no quotes), both also as ``.csv.gz`` and
        ``.tsv.gz``, ``.parquet``, or ``.svmlight`` (also ``.svm``, ``.libsvm``). A name wins over a file of the same
        name; write ``./name`` for the file.
    domain : {"real", "box", "counts", "counts:N", "unit", "range", "range:F"}, optional
        The space that poison rows must lie in. By default that of the named data set, and ``real``
        for files. The training rows are checked against it and give its bounds.
    label : str, optional
        The label column of a table (``.csv``, ``.tsv``, ``.parquet``). By default the only column called label, target
        or class, else the one called y, else the last one, if it alone has two values.
    test : str or path, optional
        A file of the same kind with the test rows.
    test_fraction : float, default 0.3
        Share of a file's rows that is held out, class by class, if the file brings no test rows.
    seed : int, default 0
        Seed of that split, and of the generators. Embedded and external data have fixed splits.
    header : {"first", "none"}, optional
        Whether the first line of a ``.csv`` or ``.tsv`` file names the columns; by default it does, and is refused
        where it looks like data. Columns without names are called "0", "1", ...
    index : str, optional
        A column that numbers or names the rows and is no feature. One that looks like it is refused unless it is named
        here, or this is "none".
    weight : str, optional
        The column of sample weights (the array of an ``.npz`` file), which is no feature.

    Returns
    -------
    Split
        Of two label values in a file the later in sorted order is +1, the other -1; of more each is its place in that
        order, from 0 (`Dataset.classes`). Rows
        of files know their numbers in the file, from 0, a header not counted (`Dataset.row_numbers`).

    Raises
    ------
    InputError
        For anything that cannot be read as rows of 2 to 100 classes with finite features.
    MissingDependency
        For ``.parquet`` without pyarrow.

    Examples
    --------
    >>> split = load("breast_cancer")
    >>> split.name, split.train.n, split.test.n
    ('breast_cancer', 398, 171)
    """
    check_seed(seed)
    check_number(test_fraction, "test_fraction", above=0, below=1)
    name = os.fspath(name_or_path) if isinstance(name_or_path, (str, os.PathLike)) else name_or_path
    if not isinstance(name, str) or not name.strip():
        raise InputError("the name of a data set or a path", repr(name_or_path), _known())
    split = _named(name, seed)
    if split is None:
        return load_path(
            name, Layout(label, header, index, weight), domain=domain, test=test, test_fraction=test_fraction, seed=seed
        )
    given = {"label": label, "test": test, "header": header, "index": index, "weight": weight}
    for option, value in given.items():
        if value is not None:
            raise InputError(f"no option {option} with the named data set {name}", repr(value), "It is for files only.")
    return split if domain is None else split.in_domain(domain)


def load_path(name: str, layout: Layout, *, test: str | os.PathLike[str] | None = None, **options: Any) -> Split:
    """`load` of a file, with what else `linpoison.datasets.files.load_file` takes."""
    from .files import load_file

    return load_file(_existing(name), layout=layout, test=None if test is None else Path(test), **options)


def load_marked(name: str, layout: Layout) -> NDArray[np.intp]:
    """Numbers of the rows of a file that its column of trusted rows marks."""
    from .files import marked_rows

    return marked_rows(_existing(name), layout)


def is_named(name: str) -> bool:
    """Whether `load` knows the name of a data set."""
    return name in ENTRIES or name.startswith("mnist:")


def _named(name: str, seed: int) -> Split | None:
    if name in ENTRIES:
        return ENTRIES[name].load(seed)
    if name.startswith("mnist:"):
        digits = name.split(":")[1:]
        if len(digits) != 2 or not all(len(digit) == 1 and digit in "0123456789" for digit in digits):
            raise InputError("two digits as in mnist:3:8", name)
        return mnist_pair(int(digits[0]), int(digits[1]))
    return None


def _existing(name: str) -> Path:
    path = user_path(name, "a data file or the name of a data set")
    there = os.path.exists(path)  # unlike that of a path it takes names that are too long for a file, or hold a NUL
    if not there and path.name == name and os.path.isfile(kept := data_folder() / f"{name}.npz"):
        return kept
    if os.path.isdir(path):
        raise InputError("a data file or the name of a data set", f"the folder {name}", _known())
    if not there:
        close = difflib.get_close_matches(name, ENTRIES, n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise InputError("a data file or the name of a data set", f"{name!r}, which is neither", hint + _known())
    return path


def _known() -> str:
    return f"Known names: {', '.join(ENTRIES)}."
