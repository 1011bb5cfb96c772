"""The console script, and ``python -m linpoison``."""

import sys

try:
    from ._frame import run_as_program
except KeyboardInterrupt:  # in the first tenth of a second
    sys.exit(130)


def _main() -> int:
    from .cli import main

    return main()


def script() -> None:
    """What the console script calls."""
    run_as_program(_main)


if __name__ == "__main__":
    script()
