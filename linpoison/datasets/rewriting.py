"""Some rows of a user's file as a file of the same kind: the same columns, label values and header."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.archives import CSR_PARTS, arrays_writer, parts_of
from ..core.errors import InputError
from .layout import Layout
from .readers import _arrays, _matrix
from .tables import TEXTS, kind_of, separated, text_words

SVMLIGHT = (".svmlight", ".svm", ".libsvm")


def same_kind(source: Path, target: Path) -> bool:
    """Whether rows of one file can be written to the other as they are."""
    commas, tabs = TEXTS[:2], TEXTS[2:]  # a field of commas or quotes is no field of tabs
    kinds = ((*commas, ".parquet"), tabs, SVMLIGHT, (".npz",))
    return any({kind_of(source), kind_of(target)} <= set(kind) for kind in kinds)


def write_rows(
    source: Path, target: BinaryIO, rows: NDArray[np.int64], layout: Layout, suffix: str, **extra: Any
) -> None:
    """Write the training rows of a file with the given numbers, every column as it is.

    Parameters
    ----------
    target : binary stream
        Of a file of the same kind, see `same_kind`.
    rows : ndarray of int
        From 0, a header not counted, ascending.
    layout : Layout
        Of the table.
    suffix : str
        Kind of the target.
    **extra : ndarray
        Arrays to be added to an ``.npz`` file.
    """
    if suffix == ".npz":
        _write_npz(source, target, rows, extra)
    elif suffix in SVMLIGHT:
        _write_svmlight(source, target, rows)
    else:
        _write_table(source, target, rows, layout, suffix)


def _write_table(source: Path, target: BinaryIO, rows: NDArray[np.int64], layout: Layout, suffix: str) -> None:
    import pandas as pd

    if kind_of(source) == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(source).take(rows)
        if suffix == ".parquet":
            pq.write_table(table, target)
        else:
            _write_text(table.to_pandas(), target, suffix)
        return
    if suffix == ".parquet":
        frame = pd.read_csv(source, **text_words(source, layout)).iloc[rows]
        frame.columns = frame.columns.astype(str)
        frame.to_parquet(target, index=False)
        return
    frame = pd.read_csv(source, dtype=str, keep_default_na=False, **text_words(source, layout))
    _write_text(frame.iloc[rows], target, suffix, header=layout.header != "none")


def _write_text(frame: Any, target: BinaryIO, suffix: str, header: bool = True) -> None:
    words = separated(suffix)
    packed = {"method": "gzip", "mtime": 0} if suffix.endswith(".gz") else None  # the same bytes whenever it is written
    frame.to_csv(target, mode="wb", index=False, header=header, encoding="utf-8", sep=words.pop("delimiter"),
                 compression=packed, **words)  # fmt: skip


def _write_svmlight(source: Path, target: BinaryIO, rows: NDArray[np.int64]) -> None:
    chosen = set(rows.tolist())
    number = 0
    with open(source, "rb") as stream:
        for line in stream:
            if not line.partition(b"#")[0].strip():
                continue
            if number in chosen:
                target.write(line if line.endswith(b"\n") else line + b"\n")
            number += 1


def _write_npz(source: Path, target: BinaryIO, rows: NDArray[np.int64], extra: dict[str, Any]) -> None:
    """The arrays of a file, those with one entry for each training row cut to the given rows."""
    arrays = _arrays(source)
    doubled = sorted(set(arrays) & set(extra))
    if doubled:
        raise InputError(f"no array {doubled[0]!r} in {source.name}", "one", "It is a name of the result: rename it.")
    n = int(arrays["y"].shape[0])
    n_train = int(arrays["n_train"]) if "n_train" in arrays else n
    index = np.concatenate([rows, np.arange(n_train, n)])
    sparse = "X" not in arrays
    if sparse:
        X = sp.csr_array(_matrix(arrays, source)[index])
        parts = parts_of(X)
        arrays |= {part: parts[part].astype(arrays[part].dtype, copy=False) for part in CSR_PARTS}
    for name, array in arrays.items():
        if array.ndim and array.shape[0] == n and not (sparse and name in CSR_PARTS) and "test" not in name:
            arrays[name] = array[index]
    if "n_train" in arrays:
        arrays["n_train"] = np.int64(rows.size)
    arrays_writer({**arrays, **extra})(target)
