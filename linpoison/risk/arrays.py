"""What numpy arrays and torch tensors do not say alike, without importing torch."""

from __future__ import annotations

import math
import sys
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


def length(vector: Any) -> Any:
    """Euclidean length of a flat vector, as a number of its kind: `norm` without waiting for the device."""
    return (vector @ vector) ** 0.5


def where(mask: Any, values: Any, other: Any) -> Any:
    """`values` where `mask` is true, `other` elsewhere; numbers, or of the kind of the mask."""
    if isinstance(mask, bool):
        return values if mask else other
    if not hasattr(mask, "detach"):
        return np.where(mask, values, other)
    if not hasattr(values, "detach") and hasattr(other, "detach"):
        return other.where(~mask, values)
    values = values if hasattr(values, "detach") else mask * 0.0 + values
    return values.where(mask, other)


def signs(values: Any) -> Any:
    """-1, 0 or 1 for each entry, of the same kind."""
    return values.sign() if hasattr(values, "detach") else np.sign(values)


def plus(one: Any, factor: Any, other: Any) -> Any:
    """``one + factor * other`` in one pass, the factor a number of any kind."""
    if not hasattr(one, "detach"):
        return one + factor * other
    return one.addcmul(factor, other) if hasattr(factor, "detach") else one.add(other, alpha=factor)


def on_host(values: Any) -> bool:
    """Whether looking at a number costs nothing: it is no tensor of another device."""
    return bool(getattr(getattr(values, "device", None), "type", "cpu") == "cpu")


def gathered(numbers: Any, template: Any) -> Any:
    """Numbers or vectors of one length, wherever they are, as one array of the kind of `template`."""
    if not hasattr(template, "detach"):
        return np.array(numbers, dtype=np.float64)
    shape = getattr(numbers[0], "shape", ()) if len(numbers) else ()
    found = template.new_empty((len(numbers), *shape))
    for place, number in enumerate(numbers):
        found[place] = number
    return found


def stacked(first: Any, second: Any) -> Any:
    """The rows of two arrays of one kind."""
    if not hasattr(first, "detach"):
        return np.concatenate([first, second])
    joined = first.new_empty((len(first) + len(second), *first.shape[1:]))
    joined[: len(first)] = first
    joined[len(first) :] = second
    return joined


def places(index: Any, template: Any) -> Any:
    """Whole numbers where `template` is, to pick its rows by."""
    index = np.asarray(index, dtype=np.int64)
    return sys.modules["torch"].as_tensor(index, device=template.device) if hasattr(template, "detach") else index


def row_codes(X: Any) -> Any:
    """A whole number of 64 bits for each row, the same for the same bits, made where the rows are.

    The bits of a row are multiplied by fixed odd numbers and summed, without regard to overflow.

    Examples
    --------
    >>> one, other, again = row_codes(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
    >>> bool(one == again), bool(one == other)
    (True, False)
    """
    flat, kinds = flat_rows(X), sys.modules["torch"] if hasattr(X, "detach") else np
    factors = places(np.random.default_rng(0).integers(-(2**63), 2**63 - 1, flat.shape[1]) | 1, flat)
    found = []
    for start in range(0, len(flat), 4096):
        part = flat[start : start + 4096]
        part = part.contiguous() if hasattr(part, "detach") else np.ascontiguousarray(part)
        if "float" in str(part.dtype):
            part = part.view(kinds.int64 if "64" in str(part.dtype) else kinds.int32)
        found.append((part * factors).sum(1))
    return kinds.concatenate(found) if found else places([], flat)


def count_shared(rows: Any, others: Any) -> int:
    """How many of some rows are among others of the same kind."""
    kinds = sys.modules["torch"] if hasattr(rows, "detach") else np
    return int(kinds.isin(row_codes(rows), row_codes(others)).sum())


def add_to(total: Any, factor: float, one: Any, other: Any = None) -> None:
    """``total += factor * one``, or ``factor * one * other``, in place."""
    if not hasattr(total, "detach"):
        total += factor * one if other is None else factor * one * other
    elif other is None:
        total.add_(one, alpha=factor)
    else:
        total.addcmul_(one, other, value=factor)


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
