"""What a poison row may hold, in words."""

from __future__ import annotations

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
        COUNTS: "counts up to the largest of each column",
    }
    if domain in words:
        return words[domain]
    if kind == RANGE and factor:
        return f"within {factor} times the range of each column"
    return f"counts up to {factor}" if kind == COUNTS else domain
