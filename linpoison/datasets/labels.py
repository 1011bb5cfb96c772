"""Label values of any type, translated where data enter: two to -1 and +1, more to codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import Array, InputError, label_array, refuse_missing

MOST_CLASSES = 100
"""More label values than these are no classes but numbers or names of rows."""


@dataclass(frozen=True)
class LabelEncoding:
    """Which label value is read as which label.

    Of two values the earlier in sorted order is -1 and the later +1; of more each is its place, from 0.

    Parameters
    ----------
    values : tuple
        All values, in sorted order.

    Examples
    --------
    >>> encoding = LabelEncoding.of(["spam", "ham", "spam"])
    >>> encoding
    LabelEncoding(values=('ham', 'spam'))
    >>> encoding.encode(["ham", "spam"])
    array([-1.,  1.])
    >>> encoding.decode([1.0, -1.0]).tolist()
    ['spam', 'ham']
    >>> LabelEncoding.of(["x", "z", "y"]).encode(["z", "x"])
    array([2., 0.])
    """

    values: tuple[Any, ...]

    @classmethod
    def of(cls, y: Any) -> LabelEncoding:
        """The encoding of the values in `y`.

        Raises
        ------
        InputError
            Unless `y` is one-dimensional, without missing values, of types that can be sorted, and holds 2 to
            `MOST_CLASSES` values.
        """
        values = _distinct(_as_labels(y))
        if not 2 <= len(values) <= MOST_CLASSES:
            shown = ", ".join(repr(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")
            raise InputError(
                f"labels of 2 to {MOST_CLASSES} classes",
                f"{_classes(len(values))} ({shown})" if values else "no labels",
                "Name the column of the labels, or cut numbers into classes first.",
            )
        return cls(tuple(values))

    @property
    def n_classes(self) -> int | None:
        """``k`` where labels are codes, None where they are signs: see `linpoison.Dataset`."""
        return None if len(self.values) == 2 else len(self.values)

    def encode(self, y: Any) -> Array:
        """Labels in {-1, +1} or {0, ..., k - 1}, shape (n,)."""
        labels = _as_labels(y)
        places = {value: float(place) for place, value in enumerate(self.values)}
        codes = [places.get(value) for value in labels.tolist()]
        unknown = next((value for value, code in zip(labels.tolist(), codes, strict=True) if code is None), None)
        if None in codes:
            known = ", ".join(repr(value) for value in self.values[:10])
            raise InputError(f"labels among {known}", repr(unknown), "Give training rows of every class.")
        found = np.array(codes, dtype=np.float64)
        return 2 * found - 1 if self.n_classes is None else found

    def decode(self, labels: Any) -> Any:
        """The values of labels (an array of shape (n,))."""
        codes = np.asarray(labels)
        values = np.empty(len(self.values), dtype=object)
        values[:] = self.values
        return values[(codes > 0).astype(int) if self.n_classes is None else codes.astype(int)]


_SORTED = "Write all of them in one type."


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _as_labels(y: Any) -> Any:
    labels = label_array(y)
    if labels.dtype.kind in "US" and not (isinstance(y, np.ndarray) and y.dtype.kind in "US"):
        labels = np.asarray(y, dtype=object)  # numpy would turn a mix such as [1, "a"] into strings
    if labels.ndim != 1:
        raise InputError("labels of shape (n_samples,)", f"shape {labels.shape}")
    refuse_missing(labels)
    return labels


def _distinct(labels: Any) -> list[Any]:
    try:
        return sorted(set(labels.tolist()))
    except TypeError:
        kinds = sorted({type(value).__name__ for value in labels.tolist()})
        raise InputError(
            "labels of one type (text, numbers or booleans)", f"labels of the types {', '.join(kinds)}", _SORTED
        ) from None
