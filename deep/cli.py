"""Entry point of ``python -m deep``: parse, run, and turn every outcome into an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from linpoison._frame import OK, Parser, commanded


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

    def build() -> Parser:
        from .cli_parser import build_parser

        return build_parser()

    def run(arguments: Any) -> int:
        from .cli_run import run

        run(arguments)
        return OK

    return commanded("deep", argv, build, run, interrupted=lambda *_: ". Run the same command again to go on.")
