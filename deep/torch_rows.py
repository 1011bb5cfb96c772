"""Rows and labels of any origin (arrays, tensors, a torch Dataset) as chunks on a module's device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from linpoison.core import InputError, MissingDependency

from .arrays import count_rows

try:
    import torch
except ImportError:
    raise MissingDependency("torch", "to differentiate networks", "deep") from None

Chunk = tuple[Any, Any, slice]
"""Rows, labels (None if there are none) and which of the rows they are."""


def chunks(X: Any, y: Any, size: int, like: Any) -> Iterator[Chunk]:
    """`X` and `y` in their order, `size` rows at a time, on the device and in the precision of `like`.

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
        yield as_rows(rows, like), None if labels is None else as_labels(labels, like), part


def as_rows(X: Any, like: Any) -> Any:
    """`X` as a tensor on the device of `like`; in its precision, unless X holds whole numbers such as tokens."""
    try:
        rows = X if isinstance(X, torch.Tensor) else torch.as_tensor(X.toarray() if sp.issparse(X) else np.asarray(X))
    except (TypeError, ValueError) as error:
        raise InputError("rows X as an array of numbers", f"a {type(X).__name__} ({error})") from None
    rows = rows.detach()
    return rows.to(like.device, like.dtype) if rows.is_floating_point() else rows.to(like.device)


def as_labels(y: Any, like: Any) -> Any:
    """`y` as a tensor on the device of `like`: whole numbers stay whole, others take its precision."""
    labels = y if isinstance(y, torch.Tensor) else torch.as_tensor(np.asarray(y))
    labels = labels.detach()
    return labels.to(like.device, like.dtype) if labels.is_floating_point() else labels.to(like.device, torch.int64)


def _count(X: Any, y: Any) -> int:
    n = count_rows(X)
    if not n:
        raise InputError("at least one row", "none")
    if y is not None and len(y) != n:
        raise InputError(f"{n} labels, one for each row", f"{len(y)} labels")
    return n


def _read(X: Any, y: Any, part: slice) -> tuple[Any, Any]:
    if not isinstance(X, torch.utils.data.Dataset):
        return X[part], None if y is None else y[part]
    items = [X[i] for i in range(part.start, part.stop)]
    rows = torch.stack([torch.as_tensor(x) for x, _ in items])
    return rows, torch.as_tensor(np.asarray([_label(t) for _, t in items]))


def _label(label: Any) -> Any:
    return label.item() if isinstance(label, torch.Tensor) else label
