"""Bad input of every kind, to every command and to the library: no traceback, no hang, nothing taken that is no input.

    python tests/fuzz_inputs.py                 # 2,000 cases
    python tests/fuzz_inputs.py --cases 100 --seed 7

A case is one call in this process. It may be refused in one line (exit code 2; in Python a `LinpoisonError`), or
answered.
Counted are tracebacks (any other exception, exit code 70), hangs (ten seconds of processor time, or 100 of any),
errors of more than one line, and silent changes: input that means nothing, such as complex numbers, and that is taken
all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "support"))

import fuzz_cases

CPU, WALL = 10.0, 100.0
"""Seconds."""


class Hang(BaseException):
    """A case that took too long."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case: "refused", "answered", "traceback", "hang", "lines" or "silent"."""

    kind: str
    told: str = ""

    @property
    def bad(self) -> bool:
        """Whether it should not have been."""
        return self.kind not in ("refused", "answered")


def judged(case: fuzz_cases.Case) -> Outcome:
    """Run one case."""
    try:
        with limited():
            return of_command(case) if isinstance(case.call, list) else of_call(case.call, case.senseless)
    except Hang:
        return Outcome("hang")


def of_command(case: fuzz_cases.Case) -> Outcome:
    """The outcome of a command line."""
    words = list(case.call)
    if words[0] == "deep":
        from deep.cli import main

        words = words[1:]
    else:
        from linpoison.cli import main
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except Exception as error:
        return Outcome("traceback", last_line(error))
    told = err.getvalue().strip()
    if code == 70 or "Traceback" in told:
        return Outcome("traceback", told[-300:])
    if code == 2:
        errors = [line for line in told.splitlines() if "error: " in line or ": failed; " in line]
        return Outcome("refused" if len(errors) == 1 else "lines", told[-300:])
    return Outcome("silent" if case.senseless else "answered", told[-200:])


def of_call(call: Callable[[], Any], senseless: bool) -> Outcome:
    """The outcome of a call of the library."""
    from linpoison import LinpoisonError

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call()
    except LinpoisonError as error:
        return Outcome("refused" if "\n" not in str(error) else "lines", str(error)[:300])
    except Exception as error:
        return Outcome("traceback", last_line(error))
    return Outcome("silent" if senseless else "answered")


def last_line(error: Exception) -> str:
    """Kind, message and place of an exception."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise `Hang` after too much time, of the processor or of the clock."""

    def stop(*_: object) -> None:
        raise Hang

    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, CPU)
    signal.setitimer(signal.ITIMER_REAL, WALL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for sign, handler in before.items():
            signal.signal(sign, handler)


def run(n: int, seed: int, *, only: str = "", tell: Callable[[str], None] = print) -> Counter[str]:
    """Judge `n` cases in a folder of their own, tell the bad ones, and count them all by kind."""
    counts: Counter[str] = Counter()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            fuzz_cases.warm_up(of_command)
            for case in fuzz_cases.cases(n, seed, only):
                outcome = judged(case)
                counts[outcome.kind] += 1
                if outcome.bad:
                    tell(f"{outcome.kind}: {case.name}: {outcome.told}")
        finally:
            os.chdir(home)
    return counts


def main() -> int:
    """The command line; exit code 1 if a case went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    arguments = parser.parse_args()
    counts = run(arguments.cases, arguments.seed, only=arguments.only)
    print(f"{counts.total()} bad inputs: " + ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())))
    return int(any(Outcome(kind).bad for kind in counts))


if __name__ == "__main__":
    sys.exit(main())
