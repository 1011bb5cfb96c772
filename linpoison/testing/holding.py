"""What every contract does where it is broken."""

from __future__ import annotations

from typing import Any

import numpy as np


def hold(true: Any, what: str, thing: Any) -> None:
    """Raise AssertionError in one sentence unless all of `true` is; `what` is expected of `thing`."""
    if not np.all(true):
        raise AssertionError(f"expected {what}, which {' '.join(repr(thing).split())} breaks.")
