"""Scripts that complete commands, options and file names in a shell; ``shtab`` makes them of the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ..core import MissingDependency
from .parser import build_parser

_FILES = {"FILE", "FILE.npz", "DATA"}


def completion(shell: str) -> str:
    """The script for ``bash`` or ``zsh``.

    Raises
    ------
    MissingDependency
        If the package ``shtab`` is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise MissingDependency("shtab", "to print the script of a shell", "completion") from None
    parser = build_parser()
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of a parser and of all its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
