"""Labels of any kind, and the output of a network that each is of."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from linpoison.core import InputError
from linpoison.core.validation import Array

_NAME_THEM = "Name all, in the order of the outputs, in TorchRisk(classes=...)."


class Labels:
    """Which labels there are, learned from the first ones that come unless they are named, and then held.

    Labels that torch takes as they are stay: whole numbers from 0 to the number of outputs minus 1, or -1 and +1 for a
    loss of the margin. Any others are sorted, one for each output; for a loss of the margin the second of two is +1.

    Parameters
    ----------
    margin : bool
        Whether the loss is one of the margin.
    classes : sequence, optional
        All labels in the order of the outputs.

    Attributes
    ----------
    classes_ : ndarray or None
        In the order of the outputs; None before any came.
    """

    def __init__(self, margin: bool, classes: Sequence[Any] | None = None) -> None:
        self.margin, self.classes_ = margin, None if classes is None else _named(classes)
        if margin and self.classes_ is not None and self.classes_.size != 2:
            raise InputError("two classes with a loss of the margin", f"{self.classes_.size}")
        self._last: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}

    @property
    def native(self) -> bool:
        """Whether torch takes them as they are."""
        if self.classes_ is None:
            return False
        wanted = (-1, 1) if self.margin else range(self.classes_.size)
        return self.classes_.dtype.kind in "iuf" and self.classes_.tolist() == list(wanted)

    def codes(self, y: Any, outputs: int) -> Any:
        """Numbers that the loss takes: from 0 to outputs - 1, or -1.0 and +1.0.

        Raises
        ------
        InputError
            For labels that are not one for each row, or not among the classes.
        """
        if self._last is not None and self._last[0]() is y:
            return self._last[1]
        values = _flat(y)
        if self.classes_ is None:
            self.classes_ = self._learned(np.unique(values), outputs)
        elif not self.margin and self.classes_.size != outputs:
            raise InputError(f"{outputs} classes, one for each output", f"{self.classes_.size}")
        found = self._coded(values)
        if self.native and hasattr(y, "detach") and (self.margin or not y.is_floating_point()):
            found = y  # where it lies
        self._last = (weakref.ref(y), found) if hasattr(y, "dtype") else None
        return found

    def names(self, codes: Any) -> Any:
        """The labels of outputs, or of signs."""
        places = (np.asarray(codes) > 0).astype(int) if self.margin else np.asarray(codes)
        return places if self.classes_ is None else self.classes_[places]

    def _coded(self, values: Array) -> Any:
        classes = self.classes_ if self.classes_ is not None else values
        order = np.argsort(classes, kind="stable")
        try:
            places = order[np.searchsorted(classes, values, sorter=order).clip(max=classes.size - 1)]
            known = classes[places] == values
        except TypeError:  # numbers among words
            known = np.zeros(values.shape, dtype=bool)
        if not np.all(known):
            strange = np.unique(values[~known] if np.ndim(known) else values)[:3].tolist()
            raise InputError(f"labels among {_few(classes)}", f"{strange}", _NAME_THEM)
        return np.where(places > 0, 1.0, -1.0) if self.margin else places

    def _learned(self, values: Array, outputs: int) -> Any:
        numbers = values.dtype.kind in "biuf"
        got = f"the values {_few(values)}"
        if self.margin:
            if numbers and np.isin(values, (-1, 1)).all() and values.dtype.kind != "b":
                return np.array([-1, 1])
            if values.size == 2:
                return values
            raise InputError("labels in {-1, +1}, or of two kinds, with a loss of the margin", got, _NAME_THEM)
        if outputs < 2:
            raise InputError("at least two outputs with cross-entropy", "one", "Take a loss of the margin for one.")
        if numbers and np.isin(values, np.arange(outputs)).all():
            return np.arange(outputs)
        if values.size == outputs:
            return values
        raise InputError(f"labels from 0 to {outputs - 1}, or of {outputs} kinds, one for each output", got, _NAME_THEM)


def numbers_of(y: Any) -> Any:
    """Labels for a loss of the user's own, which are numbers of any shape."""
    if not hasattr(y, "detach") and np.asarray(y).dtype.kind not in "biuf":
        remedy = "Name them in TorchRisk(classes=...)."
        raise InputError("labels as numbers for a loss of one's own", f"{np.asarray(y).dtype}", remedy)
    return y


def _named(classes: Any) -> Array:
    found = np.asarray(list(classes))
    if found.ndim != 1 or found.size < 2 or len(np.unique(found)) < found.size:
        raise InputError("classes as a list of at least two labels, each named once", _few(found.ravel()))
    return found


def _flat(y: Any) -> Array:
    values = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if values.ndim != 1:
        raise InputError(
            "one label for each row, shape (n,)", f"shape {values.shape}", "Of one-hot rows: argmax(axis=1)."
        )
    if values.dtype.kind == "O":
        values = _of_one_kind(values)
    if values.dtype.kind not in "biufUS" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        raise InputError("labels that are numbers or words, none missing", f"{values.dtype}")
    return np.asarray(values)


def _of_one_kind(values: Array) -> Array:
    kinds = {type(value) for value in values}
    if kinds == {str} or all(issubclass(kind, (int, float, np.number)) for kind in kinds):
        return np.asarray(values.tolist())
    raise InputError("labels of one kind, none missing", ", ".join(sorted(kind.__name__ for kind in kinds)))


def _few(values: Any) -> str:
    words = [str(value) for value in np.asarray(values)[:6].tolist()]
    return f"[{', '.join(words)}{', ...' if len(values) > 6 else ''}]"
