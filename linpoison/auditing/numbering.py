"""Rows that a user names by their numbers: ``rows:3,17,42`` or ``rows:FILE``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..core import InputError, as_whole
from ..core.archives import check_file, read_array


def row_numbers(text: str, what: str) -> tuple[int, ...]:
    """Row numbers, ascending, from a comma list or a file.

    Parameters
    ----------
    text : str
        What stands behind ``rows:``; a file is text, ``.csv`` or ``.npy``.
    what : str
        What the rows are called, such as ``"test"``.

    Examples
    --------
    >>> row_numbers("42,3,17", "test")
    (3, 17, 42)
    """
    numbers = _listed(text, what) if re.fullmatch(r"[-\d,\s]*", text) else _in_file(Path(text), what)
    return in_order(numbers, what, text)


def in_order(numbers: Iterable[int], what: str, text: str = "") -> tuple[int, ...]:
    """Row numbers, ascending, each once and from 0 on."""
    ordered = sorted(numbers)
    if not ordered:
        raise InputError(f"at least one {what} row", f"none in {text!r}", _remedy(what))
    if ordered[0] < 0:
        raise InputError(f"numbers of {what} rows from 0 on", str(ordered[0]), _remedy(what))
    twice = [number for number, other in pairwise(ordered) if number == other]
    if twice:
        raise InputError(f"{what} rows each once", f"row {twice[0]} twice", _remedy(what))
    return tuple(ordered)


def _remedy(what: str) -> str:
    return f"Name {what} rows by number from 0 on, each once: rows:3,17,42, or rows:FILE (text, .csv or .npy)."


def _listed(text: str, what: str) -> list[int]:
    try:
        return [as_whole(word) for word in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"{what} rows as whole numbers between commas", repr(text), _remedy(what)) from None


def _in_file(path: Path, what: str) -> list[int]:
    """Whole numbers of an ``.npy`` array or a text; the first line of a ``.csv`` file may be a heading."""
    file = check_file(path, f"numbers of {what} rows, or a file of them", _remedy(what))
    try:
        content = read_array(file, "a file of whole numbers") if path.suffix == ".npy" else file.read_text("utf-8")
    except OSError as error:
        raise InputError("a file of whole numbers", f"{str(path)!r} ({error.strerror})", _remedy(what)) from None
    except UnicodeDecodeError:
        raise InputError("a file of whole numbers", f"{path}, which is none", _remedy(what)) from None
    return _in_text(content, path, what) if isinstance(content, str) else in_array(content, what, f" in {path}")


def in_array(values: Any, what: str, where: str = "") -> list[int]:
    """Whole numbers of an array."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        kind = getattr(values, "dtype", type(values).__name__)
        raise InputError(f"whole numbers of {what} rows", f"an array of {kind}{where}", _remedy(what))
    return [int(value) for value in values.ravel()]


def _in_text(text: str, path: Path, what: str) -> list[int]:
    words = re.split(r"[,;\s]+", text.strip("\ufeff \r\n\t,;"))
    number = re.compile(r"-?\d+", re.ASCII)
    words = words[1:] if path.suffix == ".csv" and not number.fullmatch(words[0]) else words
    wrong = next((word for word in words if word and not number.fullmatch(word)), None)
    if wrong is not None:
        raise InputError("a file of whole numbers", f"{wrong[:40]!r} in {path}", _remedy(what))
    return [as_whole(word) for word in words if word]
