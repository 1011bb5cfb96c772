"""Rows and labels of any origin (arrays, tensors, a torch Dataset) as chunks on a module's device."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from linpoison.core import InputError
from linpoison.core.validation import check_unmasked
from linpoison.risk.arrays import count_rows, pair_of

from .need_torch import torch

Chunk = tuple[Any, Any, slice]
"""Rows, labels as they came (None if there are none) and which of the rows they are."""


def chunks(X: Any, y: Any, size: int, like: Any) -> Iterator[Chunk]:
    """`X` and `y` in their order, `size` rows at a time, the rows on the device and in the precision of `like`.

    Parameters
    ----------
    X : array_like or tensor, shape (n, ...), or torch Dataset
        A map-style Dataset gives (x, y) for each whole number below its length; `y` is None then.
    y : array_like, tensor or None
    size : int
    like : tensor

    Raises
    ------
    InputError
        Without rows, or with another number of labels.
    """
    n = _count(X, y)
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        rows, labels = _read(X, y, part)
        yield as_rows(rows, like), labels, part


def as_rows(X: Any, like: Any) -> Any:
    """`X` as a tensor on the device of `like`; in its precision, unless X holds whole numbers such as tokens."""
    try:
        rows = X if isinstance(X, torch.Tensor) else torch.as_tensor(_plain(X))
    except (TypeError, ValueError) as error:
        raise InputError("rows X as an array of numbers", f"a {type(X).__name__} ({error})") from None
    _check_plain(rows)
    rows = rows.detach()
    if rows.is_complex():
        raise InputError("rows X of real numbers", f"{rows.dtype}", "Stack real and imaginary parts.")
    return rows.to(like.device, like.dtype) if rows.is_floating_point() else rows.to(like.device)


def _plain(X: Any) -> Any:
    """An array that torch takes: unsigned integers other than bytes become signed ones."""
    array = np.asarray(X.toarray() if sp.issparse(X) else X)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        return array.astype(np.int64)
    return array if array.flags.writeable else array.copy()


class Finite:
    """Remembers arrays that hold finite numbers only, so that each is looked at once."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_seen": {}}

    def check(self, X: Any) -> None:
        """InputError for rows with NaN or infinity."""
        if not hasattr(X, "shape"):  # rows of a Dataset are looked at as they are read
            return
        _check_plain(X)
        known = self._seen.get(id(X))
        if known is not None and known() is X:
            return
        _check_finite(X.data if sp.issparse(X) else X)
        if hasattr(X, "dtype") and not sp.issparse(X):
            if len(self._seen) > 16:
                self._seen.clear()
            self._seen[id(X)] = weakref.ref(X)


def _check_plain(X: Any) -> None:
    """InputError for arrays that hold their numbers in a way that nothing here reads."""
    if isinstance(X, torch.Tensor):
        if X.is_nested or X.is_mkldnn or X.is_meta or X.layout is not torch.strided:
            kind = "nested" if X.is_nested else "meta" if X.is_meta else str(X.layout)
            raise InputError("rows X as a dense tensor with values", f"a {kind} one", "Use X.to_dense().")
    else:
        check_unmasked(X, "rows X")
    count_rows(X)


def _check_finite(X: Any) -> None:
    if isinstance(X, torch.Tensor):
        good = not X.is_floating_point() or bool(torch.isfinite(X).all())
    else:
        array = np.asarray(X)
        good = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    if not good:
        raise InputError("finite rows X", "NaN or infinity", "Fill or drop them first.")


def whole_kinds(rows: Any, like: Any) -> tuple[Any, ...]:
    """What a module may take rows of whole numbers as: themselves, tokens, or numbers like any others."""
    return rows, rows.to(torch.int64), rows.to(like.dtype)


def as_labels(y: Any, like: Any) -> Any:
    """`y` as a tensor on the device of `like`: whole numbers stay whole, others take its precision."""
    try:
        labels = y if isinstance(y, torch.Tensor) else torch.as_tensor(_plain(y))
    except (TypeError, ValueError):
        remedy = "A TorchRisk numbers them: risk.codes(y, X)."
        raise InputError("labels as numbers", f"{np.asarray(y).dtype}", remedy) from None
    labels = labels.detach()
    return labels.to(like.device, like.dtype) if labels.is_floating_point() else labels.to(like.device, torch.int64)


def given(labels: Any) -> Any:
    """Labels that the loss asks for."""
    if labels is None:
        raise InputError("labels y with an array X", "none")
    return labels


def _count(X: Any, y: Any) -> int:
    n = count_rows(X)
    if not n:
        raise InputError("at least one row", "none")
    if y is not None and count_rows(y) != n:
        raise InputError(f"{n} labels, one for each row", f"{len(y)} labels")
    return n


def _read(X: Any, y: Any, part: slice) -> tuple[Any, Any]:
    if hasattr(X, "shape") or not isinstance(X, torch.utils.data.Dataset):
        return X[part], None if y is None else y[part]
    items = [pair_of(X[i]) for i in range(part.start, part.stop)]
    try:
        rows = torch.stack([torch.as_tensor(np.asarray(x) if not isinstance(x, torch.Tensor) else x) for x, _ in items])
    except (RuntimeError, TypeError, ValueError) as error:
        got = f"{type(items[0][0]).__name__} ({str(error).splitlines()[0][:80]})"
        raise InputError("a Dataset of rows of one shape", got, "Add a transform that gives tensors.") from None
    _check_finite(rows)
    return rows, np.asarray([_label(t) for _, t in items])


def _label(label: Any) -> Any:
    return label.item() if isinstance(label, torch.Tensor) and label.numel() == 1 else label
