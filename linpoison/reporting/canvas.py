"""Colours, style and files of the pictures of a report; no global state of matplotlib is used."""

from __future__ import annotations

import base64
import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogFormatter

from ..core.wording import quiet_fonts

BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8F98", "#1B1F24"
"""Okabe and Ito's palette, told apart by colour-blind readers too."""

STYLE: Any = {
    "svg.hashsalt": "linpoison", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False, "axes.titlesize": 10,
}  # fmt: skip


def axes_of(width: float, height: float) -> tuple[Canvas, Any]:
    """A picture of so many inches with one pair of axes."""
    canvas = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas, canvas.subplots()


def logarithmic(axis: Any) -> None:
    """An axis in powers of ten, labelled 0.1 and 100: setting exponents is half of a picture's cost."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def svg(canvas: Canvas) -> str:
    """The picture as a data URI."""
    return _uri(canvas, "svg", "image/svg+xml", metadata={"Date": None})


def png(canvas: Canvas) -> str:
    """The same in pixels, for pictures of rows."""
    return _uri(canvas, "png", "image/png", dpi=110)


def _uri(canvas: Canvas, kind: str, mime: str, **options: Any) -> str:
    stream = io.BytesIO()
    with quiet_fonts():
        canvas.savefig(stream, format=kind, **options)
    return f"data:{mime};base64,{base64.b64encode(stream.getvalue()).decode()}"
