"""The frame around every command line: what becomes of its outcome, its errors, its streams and its signals.

It imports nothing but the standard library and `_printable`, and nothing else is imported outside of it, so that
Ctrl-C, a closed pipe or a crash while packages are being loaded end like those that come later.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

from ._printable import printable

OK, ABOVE, BAD_INPUT, BUG, INTERRUPTED = 0, 1, 2, 70, 130
"""Exit codes."""
CODES = (
    f"Exit codes: {OK} done; {ABOVE} a gate is not met, such as --fail-above; {BAD_INPUT} input that "
    f"cannot be used; {BUG} a defect of the program itself; {INTERRUPTED} interrupted."
)
DEBUG = "LINPOISON_DEBUG"
"""Environment variable that shows the traceback of a defect."""


def framed(program: str, work: Callable[[], int], *, interrupted: Callable[[], str]) -> int:
    """Run `work`, and turn whatever happens into an exit code and at most one line on standard error.

    Parameters
    ----------
    program : str
        Begins the line.
    work : callable
        Returns the exit code.
    interrupted : callable
        What to say, and what to end, after Ctrl-C.
    """
    _open_streams()
    try:
        code = _code_of(work)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        tell(f"\n{program}: interrupted{interrupted()}")
        return INTERRUPTED
    except BrokenPipeError:
        _settle(sys.stdout)
        return OK
    except Exception as error:
        return _failed(program, error)


def commanded(
    program: str,
    argv: Sequence[str] | None,
    build: Callable[[], Parser],
    run: Callable[[Any], int],
    *,
    interrupted: Callable[..., str],
) -> int:
    """Parse and run a command line, framed.

    Parameters
    ----------
    program : str
        Begins a line of error.
    argv : sequence of str or None
        Arguments without the program's name; those of the process by default.
    build : callable
        Makes the parser; without a command its help is shown.
    run : callable
        Takes the arguments, returns the exit code.
    interrupted : callable
        See `framed`; takes the arguments where they have been read.
    """
    read: list[Any] = []

    def work() -> int:
        parser = build()
        read.append(parser.parse_args(argv))
        if read[0].command is None:
            parser.print_help(sys.stdout)
            return OK
        from ._log import logged

        with logged(parser.prog, argv, read[0]):
            return run(read[0])

    return framed(program, work, interrupted=lambda: interrupted(*read))


def _code_of(work: Callable[[], int]) -> int:
    """What `work` returns, or exits with, as the help does."""
    try:
        return work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else BAD_INPUT if end.code else OK


def _failed(program: str, error: Exception) -> int:
    from .core.errors import LinpoisonError

    if isinstance(error, LinpoisonError):
        line = str(error)
    elif isinstance(error, MemoryError):
        line = "expected data that fit in memory, got too little memory. Use fewer rows or fewer --jobs."
    elif isinstance(error, OSError):
        where = f" for {error.filename}" if error.filename else ""
        line = f"expected files that can be read and written, got {error.strerror or error}{where}."
        _settle(sys.stdout)
    else:
        return _defect(program, error)
    tell(f"{program}: error: {' '.join(line.split())}")
    return BAD_INPUT


def _defect(program: str, error: Exception) -> int:
    """The last line of a traceback, and how to see the others."""
    import traceback

    if os.environ.get(DEBUG):
        tell("".join(traceback.format_exception(error)).rstrip())
    what = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
    tell(f"{program}: a defect of the program: {what} (set {DEBUG}=1 to see the traceback, and report it, please)")
    return BUG


def say(text: str) -> None:
    """Write to standard output; when its reader has gone away, such as ``head``, the command goes on without."""
    try:
        sys.stdout.write(printable(text))
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)


def tell(text: str, stream: TextIO | None = None) -> None:
    """Write a line to standard error, where somebody still reads it."""
    stream = stream or sys.stderr
    try:
        stream.write(printable(text) + "\n")
        stream.flush()
    except (OSError, ValueError):
        _silence(stream)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line: program, expected, got, remedy."""

    program = "linpoison"

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        text = " ".join(message.split())
        if "expected" not in text or ", got " not in text:
            text = f"expected arguments as in '{self.prog} --help', got {text}."
        self.exit(BAD_INPUT, f"{self.program}: error: {text}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help to standard output, where a failure counts, as argparse does not; an error as `tell` does."""
        if message and file is sys.stdout:
            file.write(message)
        elif message:
            tell(message.rstrip("\n"), file)

    def add_whole(self, name: str, default: int, words: str = "") -> None:
        """An option that is a whole number, with its default."""
        self.add_argument(name, type=whole, default=default, metavar="N", help=_with_default(words, str(default)))

    def add_number(self, name: str, default: float, words: str = "") -> None:
        """An option that is a number, with its default."""
        self.add_argument(name, type=number, default=default, metavar="F", help=_with_default(words, f"{default:g}"))

    def add_choice(self, name: str, choices: Sequence[str], words: str = "") -> None:
        """An option that is one of some words, by default the first."""
        self.add_argument(name, choices=choices, default=choices[0], help=_with_default(words, choices[0]))

    def add_epsilon(self, **values: Any) -> None:
        """The budget."""
        values = values or {"default": 0.03}
        self.add_argument("--epsilon", type=number, metavar="E",
                          help="poison rows as a fraction of the training rows (default: 0.03)", **values)  # fmt: skip

    def add_jobs(self, words: str, default: int | None = None) -> None:
        """How many processes."""
        self.add_argument("--jobs", type=whole, default=default, metavar="N", help=words)

    def add_out(self, words: str, *, default: str | None = None) -> None:
        """The output folder."""
        self.add_argument("--out", type=place, default=default, metavar="DIR", help=words)

    def add_output(self, fail_above: str | None = None) -> None:
        """What is printed, and the limit that fails the command."""
        add = self.add_argument_group("output").add_argument
        if fail_above is not None:
            add("--fail-above", type=number, metavar="X", help=fail_above)
        add("--json", action="store_true", help="print the JSON report on standard output, and nothing else")
        add("--quiet", action="store_true", help="no progress and no table")

    def add_logging(self) -> None:
        """What is said while the command works; `linpoison._log` reads it."""
        add = self.add_argument_group("log").add_argument
        add("-v", "--verbose", action="count", default=0, help="say each step with its time; -vv each advance too")
        add("--log-file", type=place, metavar="FILE", help="add all of that to a file, with the traceback of an error")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """For ``--option=--`` argparse would take the empty list."""
        if action.option_strings and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "expected one argument")
        return super()._get_values(action, arg_strings)  # type: ignore[misc]


def _with_default(words: str, default: str) -> str:
    return f"{words} (default: {default})" if words else f"default: {default}"


def place(text: str) -> str:
    """The name of a file or folder, for an argument of a command."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, got {text!r}.")
    return text


def number(text: str) -> float:
    """A number, for an argument of a command."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}.") from None


def whole(text: str) -> int:
    """A whole number, for an argument of a command."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text[:40]!r}.") from None


def _open_streams() -> None:
    """Put the null device where a standard stream was closed, and show what its encoding lacks as escapes."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                _fill(number)
                setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fill(number: int) -> None:
    """Open the null device under a number that is free, or the next file would get it."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _settle(stream: TextIO) -> None:
    """Write out what a stream still holds, or let it go where it cannot be written."""
    try:
        stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere: Python would complain at its end otherwise."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def run_as_program(main: Callable[[], int]) -> None:
    """End the process with the exit code of `main`, by Ctrl-C during its last steps too."""
    try:
        code = main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == INTERRUPTED:
        _end(code)
    sys.exit(code)


def _end(code: int) -> None:
    """End with a code whatever came before: Python ends by the signal if Ctrl-C came within ``exec``, though caught."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        _settle(stream)
    os._exit(code)
