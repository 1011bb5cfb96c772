"""Entry point: parse, run, and turn every outcome into an exit code and at most one line of error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._frame import Parser, commanded


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0: done. 1: a gate is not met, such as ``--fail-above``. 2: input that cannot be used,
        told in one line on standard error. 70: a defect of the program. 130: interrupted.
    """
    reported: list[str] = []

    def build() -> Parser:
        from .parser import build_parser

        return build_parser()

    def run(arguments: Any) -> int:
        from . import commands  # takes a second or more, in which a user may give up

        try:
            return commands.run(arguments)
        except KeyboardInterrupt as stop:
            reported.append(str(stop))
            raise

    return commanded("linpoison", argv, build, run, interrupted=lambda *read: _interrupted("".join(reported), *read))


def _interrupted(reported: str, arguments: Any = None) -> str:
    """End the worker processes, which Python would otherwise wait for until they are idle, and say how to go on."""
    import contextlib
    import multiprocessing
    import os
    import signal

    for child in multiprocessing.active_children():
        if child.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(child.pid, signal.SIGTERM)
    told = f". {reported}" if reported else ", nothing was reported."
    return told + _resume(arguments)


def _resume(arguments: Any) -> str:
    place = {"audit": "/journal", "subpop": "/journal", "sweep": "", "check": "", "harden": ""}.get(
        getattr(arguments, "command", "")
    )
    out = getattr(arguments, "out", None)
    return "" if place is None or out is None else f" Run the same command again to resume from {out}{place}."
