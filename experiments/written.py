"""What the scripts of the folders beside write: tables with what they were measured with, and canvases.

A script runs with its own folder on the path, and puts this one there, too.
"""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def write(out: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[str]], measured_with: str = "") -> str:
    """A table as Markdown and as CSV, with what it was measured with; the Markdown is returned."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    (out / f"{name}.md").write_text(f"{text}\n{measured_with or provenance()}\n", encoding="utf-8")
    with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return text


def provenance(**more: str) -> str:
    """Command as a shell takes it, without folders, and versions, those of further packages last."""
    from linpoison.auditing.assemble import versions

    command = shlex.join(Path(word).name or word for word in sys.argv)
    packages = ", ".join(f"{name} {version}" for name, version in (versions() | more).items())
    return f"`{command}`; {packages}."


def with_provenance(table: str) -> str:
    """A table with what it was measured with below it."""
    return f"{table}\n{provenance()}\n"


def drawn(path: Path, panels: int, size: tuple[float, float], dpi: int) -> tuple[list[Any], Callable[[], None]]:
    """Axes side by side, and what writes them to a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=dpi)

    return list(figure.subplots(1, panels, squeeze=False)[0]), save
