"""The one writer of files: whole or not at all, under temporary names that nobody can foresee."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from .errors import InputError, WriteFailed

Writer = Callable[[BinaryIO], object]
"""Writes the content of one file to an open stream."""
_LONGEST = 255
"""Bytes of a name that file systems take."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def check_folder(path: str | os.PathLike[str]) -> Path:
    """`path` if a folder is there or can be made there; nothing is created."""
    if not isinstance(path, str | os.PathLike):
        raise InputError("an output folder", repr(path), "Name one with --out; . is the current folder.")
    if not os.fspath(path):
        raise InputError("an output folder", "an empty name", "Name one with --out; . is the current folder.")
    folder = Path(path)
    if "\0" in os.fspath(folder) or max(map(len, os.fsencode(folder).split(b"/"))) > _LONGEST:
        raise InputError("an output folder", f"{os.fspath(folder)[:80]!r}, which is no name of one", "Name another.")
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


class Draft:
    """A file that becomes `path` when it is committed, and leaves nothing behind otherwise.

    Its temporary name beside `path` is drawn at random and must be new, so that runs do not meet and a link that
    somebody has laid there is not followed. A context that ends without `commit` removes it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.place = self.path.with_name(f".{secrets.token_hex(8)}.part")
        with translated(self.path):
            self.stream: BinaryIO = os.fdopen(os.open(self.place, _NEW, 0o666), "wb")

    def fill(self, write: Writer) -> None:
        """Write the content, down to the disk."""
        with translated(self.path):
            write(self.stream)
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()

    def commit(self) -> None:
        """Put the file in the place of `path`, itself never written through: a link there is replaced."""
        with translated(self.path):
            os.replace(self.place, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self.stream.close()
        with contextlib.suppress(OSError):
            self.place.unlink(missing_ok=True)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Full disks, missing rights and the like as `WriteFailed`, which names the file."""
    try:
        yield
    except WriteFailed:
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WriteFailed(path, error) from None


def write_file(path: str | os.PathLike[str], write: Writer) -> None:
    """Write one file, whole or not at all.

    Raises
    ------
    WriteFailed
        If there is no room or no right to; what was there before is there still.
    """
    with Draft(path) as draft:
        draft.fill(write)
        draft.commit()


def write_all(folder: str | os.PathLike[str], writers: Mapping[str, Writer]) -> None:
    """Write every file under a temporary name, then put them all in place, in order. The folder is made.

    Where several runs write the same names at once, all files are those of one of them. Where one fails there is none,
    and no folder that was not there before.
    """
    place = Path(folder)
    with translated(place), _made(place), contextlib.ExitStack() as stack:
        drafts: list[Draft] = []
        for name, write in writers.items():
            drafts.append(stack.enter_context(Draft(place / name)))
            drafts[-1].fill(write)
        with _one_at_a_time(place / ".commit"):
            for draft in drafts:
                draft.commit()


@contextmanager
def _made(place: Path) -> Iterator[None]:
    """The folder, which is taken away again if it is new and nothing comes into it."""
    new = _missing(place)
    place.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        _drop_empty(new)
        raise


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it, as far as they are not there."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


def _drop_empty(folders: Iterable[Path]) -> None:
    """Remove folders, each of which lies in the next, up to one that holds something."""
    with contextlib.suppress(OSError):
        for one in folders:
            one.rmdir()  # refuses unless it is empty


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait until no other run is inside; the file that is locked for that is removed again."""
    held = None
    with contextlib.suppress(ImportError, AttributeError, OSError):  # where there are no such locks, go on without
        import fcntl

        while held is None:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_file(lock, descriptor):
                held = descriptor
            else:  # the run before has removed it
                os.close(descriptor)
    try:
        yield
    finally:
        if held is not None:
            lock.unlink(missing_ok=True)
            os.close(held)


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def text_writer(text: str | Callable[[], str]) -> Writer:
    """What writes a text to a stream, or what a function then returns, as UTF-8.

    Halves of characters that no text can hold become question marks.
    """
    return lambda stream: stream.write((text if isinstance(text, str) else text()).encode("utf-8", errors="replace"))


def table_writer(
    records: Callable[[], Sequence[Mapping[str, Any]]],
    columns: Callable[[], Sequence[str]] | None = None,
    end: str = "\r\n",
) -> Writer:
    """What writes records as comma-separated text, under the names of the columns; those of the first by default."""

    def write(stream: BinaryIO) -> None:
        rows = records()
        with as_text(stream) as text:
            lines = csv.DictWriter(text, list(rows[0]) if columns is None else columns(), lineterminator=end)
            lines.writeheader()
            lines.writerows(rows)

    return write


@contextmanager
def as_text(stream: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """A binary stream as one of UTF-8 text, such as for `csv.writer`; it stays open afterwards."""
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="", write_through=False)
    try:
        yield text
        text.flush()
    finally:
        with contextlib.suppress(OSError, ValueError):
            text.detach()


@contextmanager
def alone_in(folder: Path | None) -> Iterator[None]:
    """Hold an output folder, which is made, for this run alone; one that stays empty is removed again.

    So are the folders above it that were made for it.

    The lock is on the folder itself, so that no file is left behind, and a run that is killed lets go of it.

    Raises
    ------
    InputError
        If another run holds it.
    """
    if folder is None:
        yield
        return
    made = _missing(folder)
    with translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
    held = _lock(folder)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)
        _drop_empty(made or [folder])


def _lock(folder: Path) -> int | None:
    """A locked descriptor of the folder; None where the system or its file server knows no such locks."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (ImportError, AttributeError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(
            "an output folder to itself", f"{folder}, to which another run is writing",
            "Wait until it has ended, or name another folder with --out.",
        ) from None  # fmt: skip
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
