"""``python -m deep``: attack a network on the command line."""

import sys

try:
    from linpoison._frame import run_as_program
except KeyboardInterrupt:  # in the first tenth of a second
    sys.exit(130)


def _main() -> int:
    from .cli import main

    return main()


if __name__ == "__main__":
    run_as_program(_main)
