"""Entry point of ``python -m deep``: parse, run, and turn every outcome into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from linpoison._frame import OK, framed
from linpoison._log import logged


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0: done. 2: input that cannot be used, told in one line on standard error. 70: a defect of the program.
        130: interrupted.
    """

    def work() -> int:
        from .cli_parser import build_parser

        parser = build_parser()
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help(sys.stdout)
            return OK
        with logged("python -m deep", argv, arguments):
            from .cli_run import run

            run(arguments)
        return OK

    return framed("deep", work, interrupted=lambda: ". Run the same command again to go on.")
