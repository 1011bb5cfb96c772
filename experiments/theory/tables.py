"""What the scripts of this folder write: tables with what they were measured with, and figures."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from linpoison.auditing.assemble import versions


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
    out.mkdir(parents=True, exist_ok=True)
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    (out / f"{name}.md").write_text(f"{text}\n{provenance()}\n", encoding="utf-8")
    with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    print(text, flush=True)


def provenance() -> str:
    """Command without folders, and versions."""
    words = [Path(word).name for word in sys.argv]
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"`{' '.join(words)}`; {packages}."


def canvas(path: Path, panels: int = 1, height: float = 4.0) -> tuple[list[Any], Callable[[], None]]:
    """Axes side by side, and what writes them to a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * max(panels, 2), height), layout="constrained")

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)

    return list(figure.subplots(1, panels, squeeze=False)[0]), save
