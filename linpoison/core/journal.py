"""Finished steps of an attack, in a store, so that an interrupted one resumes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from .archives import arrays_writer, read_arrays
from .errors import InputError
from .writing import write_all


class Journal(Protocol):
    """A store of finished steps, so that an interrupted attack resumes."""

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under a key, or None."""

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a key."""


@dataclass(frozen=True, eq=False)
class Scoped:
    """A journal under whose keys an inner attack keeps its steps."""

    journal: Journal
    prefix: str

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under a key, or None."""
        return self.journal.get(self.prefix + key)

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a key."""
        self.journal.put(self.prefix + key, arrays)


@cache
def code_digest(*packages: str) -> str:
    """A short hash of the source of packages: what other code has found answers another question."""
    code = hashlib.sha256()
    for package in packages:
        [folder] = find_spec(package).submodule_search_locations  # type: ignore[union-attr, misc]
        for file in sorted(Path(folder).rglob("*.py")):
            code.update(file.relative_to(folder).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest())
    return code.hexdigest()[:16]


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
