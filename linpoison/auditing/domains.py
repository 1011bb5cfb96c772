"""The question of what a poison row may hold, and the two answers that a report gives to it.

A reader who does not know what stands before the learner reads the answer without a check first: a check that nobody
built holds nobody back, and an audit that rests on one would understate. The answer within the range of each column
stands beside it, and the difference is what a range check would buy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..reporting.cells import ANY_COUNTS, BOX, COUNTS, RANGE, REAL
from .inputs import Setting

WIDEST = {BOX: REAL, COUNTS: ANY_COUNTS}
"""What rows of a narrow domain may hold where nothing checks their range: numbers, or counts of any size."""


def settings_of(setting: Setting, asked: str | None) -> dict[str, Setting]:
    """The setting in each domain that is answered for, the widest first; each holds all those after it.

    Parameters
    ----------
    setting : Setting
        In the domain of the data, or in the one asked for.
    asked : str, optional
        The domain that the user picked; then it is the only one.
    """
    domain = setting.split.train.domain
    kind = domain.kind
    if asked is None and any(part.ranged for part in domain.parts):
        return {REAL: setting, RANGE: replace(setting, split=setting.split.in_domain(RANGE))}
    if asked is not None or kind not in (REAL, *WIDEST):
        return {asked or kind: setting}
    if kind == REAL or (domain.upper is not None and np.isinf(domain.upper).all()):
        wide = REAL if kind == REAL else ANY_COUNTS
        return {wide: setting, RANGE: replace(setting, split=setting.split.in_domain(RANGE))}
    wide = WIDEST[kind]
    return {wide: replace(setting, split=setting.split.in_domain(wide)), kind: setting}
