"""Two label values of any type, translated to -1 and +1 where data enter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.validation import Array, refuse_missing


@dataclass(frozen=True)
class LabelEncoding:
    """Which label value is read as -1 and which as +1.

    Parameters
    ----------
    negative, positive : object
        The two values; `positive` is the later one in sorted order.

    Examples
    --------
    >>> encoding = LabelEncoding.of(["spam", "ham", "spam"])
    >>> encoding
    LabelEncoding(negative='ham', positive='spam')
    >>> encoding.encode(["ham", "spam"])
    array([-1.,  1.])
    >>> encoding.decode([1.0, -1.0]).tolist()
    ['spam', 'ham']
    """

    negative: Any
    positive: Any

    @classmethod
    def of(cls, y: Any) -> LabelEncoding:
        """The encoding of the two values in `y`.

        Raises
        ------
        InputError
            Unless `y` is one-dimensional, without missing values, and holds exactly two values.
        """
        values = _distinct(_as_labels(y))
        if len(values) != 2:
            shown = ", ".join(repr(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")
            raise InputError(
                "labels of exactly two classes", f"{_classes(len(values))} ({shown})" if values else "no labels", _TWO
            )
        return cls(*values)

    def encode(self, y: Any) -> Array:
        """Labels in {-1, +1}, shape (n,)."""
        labels = _as_labels(y)
        signed = np.where(labels == self.positive, 1.0, -1.0)
        unknown = ~((labels == self.positive) | (labels == self.negative))
        if unknown.any():
            first = _plain(labels[np.flatnonzero(unknown)[0]])
            raise InputError(f"labels among {self.negative!r} and {self.positive!r}", repr(first), _TWO)
        return signed

    def decode(self, signed: Any) -> Any:
        """The label values of signs (an array of shape (n,))."""
        return np.where(np.asarray(signed) > 0, self.positive, self.negative)


def encode_labels(y: Any) -> tuple[Array, tuple[Any, Any]]:
    """Translate any two label values: the second in sorted order becomes +1, the first -1.

    Parameters
    ----------
    y : array_like, shape (n,)
        Strings, booleans or numbers of exactly two values.

    Returns
    -------
    signed : ndarray, shape (n,)
        Labels in {-1, +1}.
    (negative, positive) : tuple
        The values that became -1 and +1.

    Raises
    ------
    InputError
        If there are not exactly two values, some are missing, or their types cannot be sorted.

    Examples
    --------
    >>> encode_labels(["yes", "no", "no"])
    (array([ 1., -1., -1.]), ('no', 'yes'))
    >>> encode_labels([0, 1])
    (array([-1.,  1.]), (0, 1))
    """
    encoding = LabelEncoding.of(y)
    return encoding.encode(y), (encoding.negative, encoding.positive)


_TWO = "An audit is binary: keep two of the classes, or merge them into two."


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _as_labels(y: Any) -> Any:
    try:
        labels = np.asarray(y)
        if labels.dtype.kind in "US" and not (isinstance(y, np.ndarray) and y.dtype.kind in "US"):
            labels = np.asarray(y, dtype=object)  # numpy would turn a mix such as [1, "a"] into strings
    except ValueError:
        raise InputError("labels of shape (n_samples,)", "a ragged sequence") from None
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
            "labels of one type (text, numbers or booleans)", f"labels of the types {', '.join(kinds)}", _TWO
        ) from None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
