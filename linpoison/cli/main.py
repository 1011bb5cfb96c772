"""Entry point: parse, run, and turn every outcome into an exit code and at most one line of error."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence

from .parser import build_parser

OK, ABOVE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0: done. 1: the worst-case error is above ``--fail-above``. 2: input that cannot be used, told
        in one line on standard error. 130: interrupted.
    """
    arguments = None
    try:
        parser = build_parser()
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help(sys.stdout)
            return OK
        return _guarded(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        _stop_workers()
        sys.stderr.write(f"\nlinpoison: interrupted, nothing was reported.{_resume(arguments)}\n")
        return INTERRUPTED


def _guarded(arguments: object) -> int:
    try:
        from . import commands  # takes a second or more, in which a user may give up

        code = commands.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except Exception as error:
        from .errors import error_line

        line = error_line(error)
        if line is None:
            raise
        sys.stderr.write(line + "\n")
        return BAD_INPUT


def _stop_workers() -> None:
    """End the worker processes of this one, which Python would otherwise wait for until they are idle for minutes."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(child.pid, signal.SIGTERM)


def _resume(arguments: object) -> str:
    place = {"audit": "/journal", "subpop": "/journal", "sweep": ""}.get(getattr(arguments, "command", ""))
    out = getattr(arguments, "out", None)
    return "" if place is None or out is None else f" Run the same command again to resume from {out}{place}."
