"""Where data files lie on this machine, and the check that they are the right ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..core.archives import user_path
from ..core.errors import InputError

VARIABLE = "LINPOISON_DATA"
_verified: dict[Path, tuple[int, int, str]] = {}


def data_folder() -> Path:
    """The folder named by the environment variable LINPOISON_DATA, else ``~/.cache/linpoison``."""
    named = os.environ.get(VARIABLE, "").strip()
    return user_path(named, f"a folder in {VARIABLE}") if named else Path.home() / ".cache" / "linpoison"


def sha256_of(path: Path) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_of(path: Path) -> Path:
    """The file beside a converted one that holds its checksum (other zlib versions write other bytes)."""
    return path.with_name(path.name + ".sha256")


def verify(path: Path, expected: str) -> None:
    """Raise unless the file has the checksum `expected`, or the one recorded when it was converted.

    A file whose size and time have not changed since is not read again.
    """
    stat = path.stat()
    state = (stat.st_size, stat.st_mtime_ns, expected)
    if _verified.get(path) == state:
        return
    digest = sha256_of(path)
    record = record_of(path)
    if digest != expected and not (record.is_file() and record.read_text(encoding="ascii").strip() == digest):
        raise InputError(
            f"the file {path.name} with SHA-256 {expected[:12]}...",
            f"{path} with {digest[:12]}...",
            "The file is damaged or another version: delete it and load the data again to download it.",
        )
    _verified[path] = state
