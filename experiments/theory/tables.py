"""What the scripts of this folder write: tables with what they were measured with, and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
import written  # noqa: E402


def options(doc: str | None, *, data: str | None = None, quick: str) -> argparse.ArgumentParser:
    """``--out``, ``--quick``, ``--seed``, and ``--data`` where there is a choice."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    if data is not None:
        parser.add_argument("--data", default=data, metavar="NAMES", help="comma list (default: %(default)s)")
    return parser


def write(out: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as Markdown and as CSV, with what it was measured with; it is printed too."""
    print(written.write(out, name, header, rows), flush=True)


def tell_violations(text: str, tallies: Mapping[str, Any], out: Path | None, name: str) -> int:
    """Print a table of checks, and write it to a folder if there is one; 1 if any tally has violations, else 0."""
    text = written.with_provenance(text)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return int(any(tally.violations for tally in tallies.values()))


def canvas(path: Path, panels: int = 1, height: float = 4.0) -> tuple[list[Any], Callable[[], None]]:
    """Axes side by side, and what writes them to a file."""
    return written.drawn(path, panels, (4.0 * max(panels, 2), height), 110)
