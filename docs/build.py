"""Build the reference from the docstrings: ``python docs/build.py`` writes docs/api (needs the extra ``docs``)."""

from __future__ import annotations

import argparse
import configparser
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def modules() -> list[str]:
    """The packages that setup.cfg lists, in its order; pdoc finds their public names by ``__all__``."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["options"]["packages"].split()


def build(out: Path) -> None:
    """Write one HTML page for each module."""
    import pdoc

    pdoc.render.configure(docformat="numpy", math=True)
    pdoc.pdoc(*modules(), output_directory=out)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "api", help="output folder (default: docs/api)")
    build(parser.parse_args(argv).out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
