"""Cells, tables and lines of text, and what a poison row may hold in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .._printable import printable

_HELD = "\N{NO-BREAK SPACE}%"


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


def counted(number: int, what: str) -> str:
    """A number of things.

    Examples
    --------
    >>> counted(1, "row"), counted(12, "row")
    ('1 row', '12 rows')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def joined(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def difference(share: float) -> str:
    """A share in points.

    Examples
    --------
    >>> difference(0.01), difference(0.125)
    ('1 point', '12.5 points')
    """
    number = f"{100 * share:.1f}".removesuffix(".0")
    return f"{number} point{'' if number == '1' else 's'}"


def own_words(data: Mapping[str, Any]) -> str:
    """A line on the user's labels, of the `dataset` part of a report; empty where there is none."""
    return f"\n{data['labels']}" if data.get("labels") else ""


def wrapped(text: str, lead: str) -> str:
    """Lines of a terminal: names with hyphens, options and numbers with their per cent stay whole.

    Examples
    --------
    >>> print(wrapped(94 * "a" + " one-class", "")[95:], wrapped(95 * "a" + " 15.2 %", "")[96:])
    one-class 15.2 %
    """
    lines = textwrap.fill(
        text.replace(" %", _HELD), width=100, initial_indent=lead, subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )  # fmt: skip
    return lines.replace(_HELD, " %")


def listed(lines: Sequence[str], heading: str = "") -> str:
    """Lines behind dashes, below a heading if there is one."""
    return "\n".join([*([heading] if heading else []), *(wrapped(line, "- ") for line in lines)])


def class_words(data: Mapping[str, Any], label: float) -> str:
    """A class in the user's words, where the `dataset` part of a report has them.

    Examples
    --------
    >>> class_words({"classes": {"-1": "ham", "+1": "spam"}}, 1.0), class_words({}, -1.0)
    ('class spam', 'class -1')
    """
    texts = (f"{label:+.0f}", f"{label:.0f}")
    return f"class {next((value for text, value in data.get('classes', {}).items() if text in texts), texts[0])}"


REAL, RANGE, BOX = "real", "range", "box"
COUNTS, ANY_COUNTS = "counts", "counts:inf"


def domain_words(domain: str) -> str:
    """A domain as a reader would say it."""
    kind, _, factor = domain.partition(":")
    words = {
        REAL: "no range check",
        ANY_COUNTS: "no range check",
        RANGE: "within the range of each column",
        BOX: "within the box of the features",
        "unit": "rows of length 1",
        "table": "rows that raw rows give",
        COUNTS: "counts up to the largest of each column",
    }
    if domain in words:
        return words[domain]
    if kind == RANGE and factor:
        return f"within {factor} times the range of each column"
    return f"counts up to {factor}" if kind == COUNTS else domain


def rungs_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Header and one row for each budget: what one poison does to all rows."""
    header = ("epsilon", "clean", "attack (at least)", "certified (at most)", "rows certified", "strongest attack")
    cells = ("clean_error", "attack_error", "bound", "certified_fraction")
    body = [(f"{rung['epsilon']:g}", *(percent(rung[name]) for name in cells), rung["attack"] or "-") for rung in rungs]
    return [header, *body]


def aimed_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The same where each row has an attacker of its own: rows that are turned, not known, and proved."""
    known = [rung for rung in rungs if rung.get("aimed_error") is not None]
    if not known:
        return []
    body = []
    for rung in known:
        turned, proved = rung["aimed_error"], rung["certified_fraction"]
        cells = (rung["clean_error"], turned, max(1 - turned - proved, 0.0), proved)
        body.append((f"{rung['epsilon']:g}", *map(percent, cells)))
    return [("epsilon", "clean", "aimed (turned)", "open", "certified"), *body]


def rows_table(rungs: Sequence[dict[str, Any]], what: str) -> list[tuple[str, ...]]:
    """Header and one row for each number of rows, or budget, of a certificate of single rows."""
    header = (what, "clean", "turned (at least)", "certified (at most)", "rows certified")
    cells = ("clean_error", "attack_error", "bound", "certified_fraction")
    body = [(f"{rung.get('count') or rung['epsilon']:g}", *(percent(rung[name]) for name in cells)) for rung in rungs]
    return [header, *body]


def loss_table(rungs: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The same for the mean loss of the clean rows."""
    known = [rung for rung in rungs if rung["loss_bound"] is not None]
    if not known:
        return []
    header = ("epsilon", "clean loss", "attack (at least)", "certified (at most)")
    cells = ("clean_loss", "attack_loss", "loss_bound")
    return [header, *((f"{rung['epsilon']:g}", *(_number(rung[name]) for name in cells)) for rung in known)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
