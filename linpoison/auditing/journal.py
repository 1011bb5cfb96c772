"""Finished steps of an attack on disk, so that an interrupted audit resumes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..core import InputError
from ..core.archives import arrays_writer, read_arrays
from ..core.writing import write_all


def run_digest(**influences: Any) -> str:
    """A short hash of everything that a result depends on, versions of the library and of what computes too."""
    told = {"linpoison": __version__, "packages": _packages(), **influences}
    text = json.dumps(told, sort_keys=True, default=_stated)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stated(value: Any) -> str:
    """An array by its bytes, anything else in words."""
    if not hasattr(value, "tobytes"):
        return str(value)
    return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"


@cache
def _packages() -> dict[str, str]:
    """Versions of what computes results."""
    return {name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn")}


class FolderJournal:
    """A journal in a folder: one ``.npz`` file without pickles for each finished step.

    Parameters
    ----------
    folder : Path
        Made when the first step is stored.
    prefix : str, optional
        Put before every key, so that attacks do not read each other's steps.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder, self.prefix = folder, prefix

    def scoped(self, name: str) -> FolderJournal:
        """The same folder with keys of its own."""
        return FolderJournal(self.folder, f"{self.prefix}{name}/")

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under a key; None if there are none or the file is damaged."""
        try:
            return read_arrays(self._path(key))
        except InputError:
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a key, whole or not at all."""
        path = self._path(key)
        write_all(path.parent, {path.name: arrays_writer(arrays, compressed=False)})

    def discard(self) -> None:
        """Remove the folder, and its parent if that is empty then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.is_dir() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256((self.prefix + key).encode()).hexdigest()[:24]}.npz"
