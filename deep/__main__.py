"""``python -m deep``: attack a network on the command line."""

from linpoison._frame import run_as_program


def _main() -> int:
    from .cli import main

    return main()


if __name__ == "__main__":
    run_as_program(_main)
