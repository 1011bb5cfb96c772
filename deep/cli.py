"""Entry point of ``python -m deep``: parse, run, and turn every outcome into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .cli_parser import build_parser

OK, BAD_INPUT, INTERRUPTED = 0, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0: done. 2: input that cannot be used, told in one line on standard error. 130: interrupted.
    """
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    if arguments.command is None:
        parser.print_help(sys.stdout)
        return OK
    return _guarded(arguments)


def _guarded(arguments: object) -> int:
    from linpoison.core.errors import LinpoisonError

    try:
        from .cli_run import run

        run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("\ndeep: interrupted. Run the same command again with --resume to go on.\n")
        return INTERRUPTED
    except (LinpoisonError, OSError) as error:
        text = str(error) if isinstance(error, LinpoisonError) else f"expected files that can be used, got: {error}."
        sys.stderr.write(f"deep: error: {' '.join(text.split())}\n")
        return BAD_INPUT
    return OK
