"""Where a long attack stands, on disk, so that it resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import InputError
from ..core.archives import arrays_writer, read_arrays
from ..core.writing import write_file
from .arrays import to_numpy
from .samples import Sample


def digest_of(*parts: Any) -> str:
    """A short hash of settings, arrays, tensors and samples.

    Examples
    --------
    >>> digest_of("a", np.zeros(2)) == digest_of("a", np.zeros(2)), digest_of("a") == digest_of("b")
    (True, False)
    """
    found = hashlib.sha256()
    for part in parts:
        for item in (part.X, part.y, part.mass) if isinstance(part, Sample) else (part,):
            raw = hasattr(item, "shape")
            found.update(repr(tuple(item.shape) if raw else item).encode())
            found.update(to_numpy(item).tobytes() if raw else b"")
    return found.hexdigest()[:16]


class Checkpoint:
    """One ``.npz`` file, replaced as a whole; a file of other settings or data is not read.

    Parameters
    ----------
    path : Path or str, optional
        None: nothing is kept.
    digest : str
        Of all that the result depends on.
    """

    def __init__(self, path: Path | str | None, digest: str) -> None:
        self.path, self.digest = None if path is None else Path(path), digest

    def load(self) -> dict[str, Any] | None:
        """The arrays that were stored last; None if there are none of this digest."""
        if self.path is None:
            return None
        try:
            stored = read_arrays(self.path)
        except InputError:
            return None
        return stored if str(stored.pop("digest", "")) == self.digest else None

    def store(self, arrays: Mapping[str, Any]) -> None:
        """Replace what was stored."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        held: dict[str, Any] = {name: to_numpy(value) for name, value in arrays.items()}
        write_file(self.path, arrays_writer({"digest": np.array(self.digest), **held}, compressed=False))
