"""What a command says while it works, as lines with their time: on standard error, and in a file."""

from __future__ import annotations

import logging
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ._printable import printable
from ._version import __version__

log = logging.getLogger("linpoison")
_LINE = "%(asctime)s %(levelname)s %(message)s"


class _Printable(logging.Formatter):
    """Lines without control characters: names of columns and labels come from outside."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).split("\n"))


class _Terminal(logging.StreamHandler):  # type: ignore[type-arg]
    """Standard error."""


def verbose() -> bool:
    """Whether what is logged is shown as it comes, so that a bar would be in its way."""
    return any(isinstance(handler, _Terminal) and handler.level < logging.WARNING for handler in log.handlers)


@contextmanager
def logged(program: str, words: Sequence[str] | None, arguments: Any) -> Iterator[None]:
    """Log a command as its arguments ``verbose`` and ``log_file`` ask.

    Parameters
    ----------
    program : str
        Name of the command, for the first line.
    words : sequence of str or None
        The arguments as given; those of the process by default.
    arguments : argparse.Namespace
        ``verbose`` counts: 1 shows each step on standard error, 2 each advance and the traceback of an error.
        ``log_file`` gets all of it, whatever is shown, after what it holds already.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    handlers = _handlers(arguments.verbose, arguments.log_file)
    level, before = log.level, time.monotonic()
    if len(handlers) > 1 or arguments.verbose:
        log.setLevel(logging.DEBUG)
    for handler in handlers:
        log.addHandler(handler)
    try:
        python, given = platform.python_version(), shlex.join(sys.argv[1:] if words is None else words)
        log.debug("%s %s, Python %s: %s %s", program, __version__, python, program, given)
        yield
        log.debug("ended after %.1f s", time.monotonic() - before)
    except BaseException as error:
        log.debug("ended by %s after %.1f s", type(error).__name__, time.monotonic() - before, exc_info=error)
        raise
    finally:
        log.setLevel(level)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _handlers(shown: int, file: str | None) -> list[logging.Handler]:
    """Warnings are shown whatever is asked for."""
    terminal: logging.Handler = _Terminal(sys.stderr)
    terminal.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(shown, 2)])
    terminal.setFormatter(_Printable(_LINE if shown else "%(message)s"))
    if file is None:
        return [terminal]
    kept = logging.FileHandler(file, encoding="utf-8")
    kept.setLevel(logging.DEBUG)
    kept.setFormatter(_Printable(_LINE))
    return [terminal, kept]
