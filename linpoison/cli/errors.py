"""One line for each error that a user can meet."""

from __future__ import annotations

from ..core.errors import LinpoisonError


def error_line(error: BaseException) -> str | None:
    """The line for standard error, or None for a defect of the library, which keeps its traceback."""
    if isinstance(error, LinpoisonError):
        return _line(str(error))
    if isinstance(error, MemoryError):
        return _line("expected data that fit in memory, got too little memory. Use fewer rows or fewer --jobs.")
    if isinstance(error, OSError):
        where = f" for {error.filename}" if error.filename else ""
        return _line(f"expected files that can be read and written, got {error.strerror or error}{where}.")
    return None


def _line(text: str) -> str:
    return "linpoison: error: " + " ".join(text.split())
