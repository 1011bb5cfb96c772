"""Progress on standard error: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import time
from typing import Any, Self, TextIO

from ._frame import tell
from ._log import log, verbose
from ._printable import printable

EVERY = 10.0
"""Least seconds between two plain lines about the same step."""


class ProgressLine:
    """A progress callback ``(done, total, what)`` that cleans up after itself.

    Parameters
    ----------
    quiet : bool
        Show nothing. Nor is anything shown where the log is (``-v``), which says the same.
    program : str
        Begins each line.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False, program: str = "linpoison") -> None:
        self._stream, self._quiet, self._program = stream, quiet or verbose(), program
        self._bar: Any = None
        self._step, self._last = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show where the work stands."""
        step = what.partition(":")[0]
        goes_on, self._step = step == self._step, step
        (log.debug if goes_on else log.info)("%s %s", what, _count(done, total))
        if self._quiet:
            return
        if self._stream.isatty():
            self._draw(done, total, what)
        else:
            self._write(done, total, what, goes_on)

    def note(self, text: str) -> None:
        """A line that stays: what has been found so far."""
        log.info("%s", text)
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.clear()
        self._stream.write(f"{self._program}: {text}\n")
        self._stream.flush()

    def _draw(self, done: int, total: int, what: str) -> None:
        from tqdm import tqdm

        if self._bar is None or self._bar.total != total or done < self._bar.n:
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(total=total, desc=printable(what), file=self._stream, leave=False, dynamic_ncols=True)
        self._bar.set_description(printable(what), refresh=False)
        self._bar.update(done - self._bar.n)

    def _write(self, done: int, total: int, what: str, goes_on: bool) -> None:
        now = time.monotonic()
        if goes_on and done < total and now - self._last < EVERY:
            return
        if goes_on and done == total and total == 0:
            return
        self._last = now
        tell(f"{self._program}: {what} {_count(done, total)}", self._stream)


def _count(done: int, total: int) -> str:
    """How far it is: a hundred parts are per cent."""
    return f"{done} %" if total == 100 else f"{done}/{total}"
