"""Text of users' files, made safe for where it is shown."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from .._printable import printable

MOST = 60
"""Letters of a name in a picture."""


def drawable(text: object) -> str:
    r"""A name for matplotlib: one line, no control characters, not too long, and ``$`` begins no formula.

    Examples
    --------
    >>> print(drawable("price in $\n\x1b[1mx_{$"))
    price in \$ \x1b[1mx_{\$
    """
    shown = printable(" ".join(str(text).split()))
    shown = shown if len(shown) <= MOST else shown[: MOST - 3] + "..."
    return shown.replace("$", r"\$")


@contextmanager
def quiet_fonts() -> Iterator[None]:
    """Draw letters that the font lacks as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(Glyph|Matplotlib currently does not support)")
        yield
