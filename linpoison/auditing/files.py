"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..core import InputError

Writer = Callable[[Path], None]


def check_folder(path: str | os.PathLike[str]) -> Path:
    """`path` if a folder is there or can be made there; nothing is created."""
    if not isinstance(path, str | os.PathLike):
        raise InputError("an output folder", repr(path), "Name one with --out; . is the current folder.")
    if not os.fspath(path):
        raise InputError("an output folder", "an empty name", "Name one with --out; . is the current folder.")
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError("an output folder", f"the file {folder}", "Name another folder with --out.")
    parent = _first_existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            "an output folder that can be written", f"{folder} under {parent}, which cannot", "Name another with --out."
        )
    return folder


def _first_existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it becomes `path`, on failure it is removed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_all(folder: Path, writers: Mapping[str, Writer]) -> None:
    """Write every file under a temporary name, then rename them all, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / f".{os.getpid()}.part-{name}" for name in writers}
    try:
        for name, write in writers.items():
            write(partial[name])
        for name in writers:
            partial[name].replace(folder / name)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
