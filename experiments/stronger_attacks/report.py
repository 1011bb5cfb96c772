"""Tables and figures of the scripts of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from linpoison.core import UNDEFENDED

sys.path.append(str(Path(__file__).resolve().parents[1]))
from written import drawn, provenance, write  # noqa: E402

__all__ = ["bars", "canvas", "curves", "number", "percent", "provenance", "write"]


def percent(share: float | None) -> str:
    """A share in per cent, a dash if there is none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    """One decimal, a dash if there is none."""
    return "-" if value is None else f"{value:.1f}"


def bars(path: Path, groups: Mapping[str, Mapping[str, float]], paper: Mapping[str, float], title: str) -> None:
    """Error behind each defence for each attack; the paper's worst case as a dashed rule."""
    axes, save = canvas(path)
    names = [name for name in next(iter(groups.values())) if name != UNDEFENDED] or [UNDEFENDED]
    width = 0.8 / len(names)
    for place, defense in enumerate(names):
        heights = [100 * errors.get(defense, 0.0) for errors in groups.values()]
        axes.bar([index + place * width for index in range(len(groups))], heights, width, label=defense)
    for index, name in enumerate(groups):
        if name in paper:
            axes.hlines(100 * paper[name], index - width / 2, index + 0.8 - width / 2, colors="black", linestyles="--")
    axes.set_xticks([index + 0.4 - width / 2 for index in range(len(groups))], list(groups), rotation=15)
    axes.set_ylabel("test error, %")
    axes.set_title(title, fontsize="small")
    axes.legend(ncols=len(names), fontsize="x-small")
    save()


def curves(
    path: Path, lines: Mapping[str, Sequence[Sequence[float]]], title: str, x: str, *, steps: bool = True
) -> None:
    """Lines of (x, error) on a logarithmic axis: steps between the points, or markers at them. Error in per cent."""
    axes, save = canvas(path)
    style = {"drawstyle": "steps-post"} if steps else {"marker": "o"}
    drawn = {name: line for name, line in lines.items() if line}
    for name, line in drawn.items():
        axes.plot([point[0] for point in line], [100 * point[1] for point in line], label=name, **style)
    axes.set_xscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel("test error, %")
    axes.set_title(title, fontsize="small")
    if drawn:
        axes.legend(fontsize="x-small")
    save()


def canvas(path: Path) -> tuple[Any, Callable[[], None]]:
    """Axes, and what writes them to a file."""
    [axes], save = drawn(path, 1, (8, 4), 150)
    return axes, save
