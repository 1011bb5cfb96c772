"""What numpy arrays and torch tensors do not say alike, without importing torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import CapabilityError, InputError
from ..core.validation import Array


def to_numpy(values: Any) -> Array:
    """`values` as a float64 ndarray on the host, copied where they are elsewhere."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def like(values: Any, template: Any) -> Any:
    """`values` as the kind of `template`: its dtype, and its device if it is a tensor.

    Examples
    --------
    >>> like([1, 2], np.zeros(3))
    array([1., 2.])
    """
    if hasattr(template, "detach"):
        if hasattr(values, "detach"):
            return values.to(template)
        return template.new_tensor(np.asarray(values, dtype=np.float64))
    return np.asarray(to_numpy(values), dtype=template.dtype)


def doubled(values: Any) -> Any:
    """`values` in double precision, of the same kind."""
    return values.double() if hasattr(values, "double") else np.asarray(values, dtype=np.float64)


def norm(vector: Any) -> float:
    """Euclidean length of a flat vector."""
    return float(vector @ vector) ** 0.5


def copy_of(values: Any) -> Any:
    """A copy of the same kind."""
    return values.clone() if hasattr(values, "clone") else values.copy()


def row_norms(X: Any) -> Any:
    """Euclidean length of each row of any shape, with axes to broadcast against `X`."""
    lengths = flat_rows(X * X).sum(axis=1) ** 0.5
    return lengths.reshape((-1,) + (1,) * (X.ndim - 1))


def flat_rows(X: Any) -> Any:
    """The rows as vectors, of no rows too: shape (n, d)."""
    return X.reshape(len(X), math.prod(X.shape[1:]))


def per_row(values: Any, X: Any) -> Any:
    """One number for each row, as the kind of `X` and with axes to broadcast against it."""
    return like(values, X).reshape((-1,) + (1,) * (X.ndim - 1))


def row_shape(X: Any) -> tuple[int, ...]:
    """Shape of one row of an array, or of the first item of a torch Dataset."""
    return tuple(X.shape[1:]) if hasattr(X, "shape") else tuple(np.shape(pair_of(X[0])[0]))


def count_rows(X: Any) -> int:
    """Number of rows of an array, tensor, sparse matrix, sequence or torch Dataset.

    Raises
    ------
    InputError
        For what has no number of rows, or cannot be asked for one of them.
    """
    if hasattr(X, "shape"):
        if not len(X.shape):
            raise InputError("rows X of shape (n, ...)", "one number")
        return int(X.shape[0])
    if not hasattr(X, "__getitem__"):
        raise InputError("rows that can be asked for by number", f"a {type(X).__name__}", "Such as its `dataset`.")
    try:
        return len(X)
    except (TypeError, NotImplementedError):
        remedy = "Make a list or a TensorDataset of it."
        raise InputError("rows that can be counted", f"a {type(X).__name__} without a length", remedy) from None


def pair_of(item: Any) -> Any:
    """Row and label, which is what an item of a Dataset has to be."""
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return item
    keys = f" with the keys {list(item)[:4]}" if isinstance(item, dict) else ""
    raise InputError("a Dataset whose items are (row, label)", f"a {type(item).__name__}{keys}", "Give arrays X and y.")


def movable(X: Any) -> Any:
    """`X`, if its rows are of numbers that can be moved.

    Raises
    ------
    CapabilityError
        For whole numbers such as tokens.
    """
    if "float" not in str(X.dtype):
        raise CapabilityError("rows to differentiate in", f"{X.dtype}", "Attack the embeddings instead.")
    return X


def take_rows(X: Any, y: Any, index: Any) -> tuple[Any, Any]:
    """Some rows and their labels as arrays; of a torch Dataset (`y` None) item by item."""
    index = np.asarray(index, dtype=np.intp)
    if y is not None:
        return X[index], y[index]
    items = [pair_of(X[int(i)]) for i in index]
    try:
        rows = np.stack([np.asarray(item[0]) for item in items])
    except ValueError as error:
        raise InputError("a Dataset of rows of one shape", str(error)) from None
    return rows, np.asarray([np.asarray(item[1]) for item in items])
