"""Where a long attack stands, in a journal, so that it resumes in the middle of a step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.journal import Journal
from .arrays import row_codes, to_numpy
from .samples import Held, Sample


def digest_of(*parts: Any) -> str:
    """A short hash of settings, arrays, tensors and samples; tensors are reduced to a number where they are.

    Examples
    --------
    >>> digest_of("a", np.zeros(2)) == digest_of("a", np.zeros(2)), digest_of("a") == digest_of("b")
    (True, False)
    """
    found = hashlib.sha256()
    for part in parts:
        for item in (part.X, part.y, part.mass) if isinstance(part, (Sample, Held)) else (part,):
            raw = hasattr(item, "shape")
            found.update(repr(tuple(item.shape) if raw else item).encode())
            found.update(_bytes(item) if raw else b"")
    return found.hexdigest()[:16]


def _bytes(item: Any) -> bytes:
    if not hasattr(item, "detach"):
        named = np.asarray(item).dtype.kind in "OUS"  # labels of the user's
        return repr(np.asarray(item).tolist()).encode() if named else to_numpy(item).tobytes()
    codes = row_codes(item.detach().reshape(len(item) if item.ndim > 1 else 1, -1))
    return str(int(row_codes(codes[None])[0])).encode()


class Checkpoint:
    """One entry of a journal, replaced as a whole; an entry of other settings or data is not read.

    Parameters
    ----------
    journal : Journal, optional
        None: nothing is kept.
    key : str
    digest : str
        Of all that the result depends on.
    """

    def __init__(self, journal: Journal | None, key: str, digest: str) -> None:
        self.journal, self.key, self.digest = journal, key, digest

    def load(self) -> dict[str, Any] | None:
        """The arrays that were stored last; None if there are none of this digest."""
        stored = None if self.journal is None else self.journal.get(self.key)
        return stored if stored is not None and str(stored.pop("digest", "")) == self.digest else None

    def store(self, arrays: Mapping[str, Any]) -> None:
        """Replace what was stored."""
        if self.journal is not None:
            held: dict[str, Any] = {name: to_numpy(value) for name, value in arrays.items()}
            self.journal.put(self.key, {"digest": np.array(self.digest), **held})
