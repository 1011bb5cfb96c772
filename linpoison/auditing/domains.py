"""The question of what a poison row may hold, and the two answers that a report gives to it.

A reader who does not know what stands before the learner reads the answer without a check first: a check that nobody
built holds nobody back, and an audit that rests on one would understate. The answer within the range of each column
stands beside it, and the difference is what a range check would buy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .inputs import Setting

REAL, RANGE, BOX = "real", "range", "box"


def settings_of(setting: Setting, asked: str | None) -> dict[str, Setting]:
    """The setting in each domain that is answered for, the widest first; each holds all those after it.

    Parameters
    ----------
    setting : Setting
        In the domain of the data, or in the one asked for.
    asked : str, optional
        The domain that the user picked; then it is the only one.
    """
    from .inputs import in_domain

    kind = setting.split.train.domain.kind
    if asked is not None or kind not in (REAL, BOX):
        return {asked or kind: setting}
    if kind == BOX:
        return {REAL: replace(setting, split=in_domain(setting.split, REAL)), BOX: setting}
    return {REAL: setting, RANGE: replace(setting, split=in_domain(setting.split, RANGE))}


def domain_words(domain: str) -> str:
    """A domain as a reader would say it."""
    kind, _, factor = domain.partition(":")
    words = {
        REAL: "no range check",
        RANGE: "within the range of each column",
        BOX: "within the box of the features",
        "unit": "rows of length 1",
        "counts": "counts up to the largest of each column",
    }
    if kind == RANGE and factor:
        return f"within {factor} times the range of each column"
    return words.get(kind, domain)
