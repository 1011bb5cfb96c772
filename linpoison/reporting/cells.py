"""Cells, tables and lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .._printable import printable


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first to the left, the rest to the right.

    Examples
    --------
    >>> print(aligned([("a", "1"), ("long", "20")]))
    a      1
    long  20
    """
    rows = [[printable(" ".join(cell.split("\n"))) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percent(value: float | None) -> str:
    """A share in per cent, a dash if there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def points(low: float, high: float) -> str:
    """An interval of shares, in points with a sign.

    Examples
    --------
    >>> points(-0.011, 0.3)
    '-1.1 to +30.0'
    """
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def own_words(data: Mapping[str, Any]) -> str:
    """A line on the user's labels, of the `dataset` part of a report; empty where there is none."""
    return f"\n{data['labels']}" if data.get("labels") else ""


def wrapped(text: str, lead: str) -> str:
    return textwrap.fill(text, width=100, initial_indent=lead, subsequent_indent=" " * len(lead))
