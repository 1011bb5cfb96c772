"""Poisoned images beside the clean ones that they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from linpoison.core import InputError, check_integer
from linpoison.risk.arrays import to_numpy


def save_grid(path: Path | str | BinaryIO, clean: Any, poison: Any, labels: Any, *, most: int = 10) -> None:
    """Write a picture of two rows: clean images, and below each the poison that it became.

    Parameters
    ----------
    path : Path, str or binary stream
        Its ending sets the format, such as ``.png``; a stream gets that.
    clean, poison : array_like or tensor, shape (m, height, width), (m, channels, height, width) or (m, d)
        Flat rows are drawn as squares, if d is a square. All images share one scale.
    labels : sequence, shape (m,)
        Written above.
    most : int, default 10
        Columns at most.

    Raises
    ------
    InputError
        For rows that are no images.
    """
    from matplotlib.figure import Figure

    columns = min(check_integer(most, "most", at_least=1), len(poison))
    rows = [_images(part)[:columns] for part in (clean, poison)]
    low, high = (f([f(part) for part in rows]) for f in (np.min, np.max))
    figure = Figure(figsize=(columns, 2.4), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    for i, part in enumerate(rows):
        for j, image in enumerate(part):
            shown = (image - low) / ((high - low) or 1.0)
            axes[i, j].imshow(shown, cmap="gray", vmin=0.0, vmax=1.0)
            axes[i, j].set_axis_off()
            axes[i, j].set_title(str(labels[j]) if i == 0 else "", fontsize=8)
    figure.savefig(path, dpi=120)


def _images(rows: Any) -> Any:
    X = to_numpy(rows)
    if X.ndim == 2 and round(X.shape[1] ** 0.5) ** 2 == X.shape[1]:
        side = round(X.shape[1] ** 0.5)
        return X.reshape(-1, side, side)
    if X.ndim == 4 and X.shape[1] == 1:
        return X[:, 0]
    if X.ndim == 4 and X.shape[1] == 3:
        return np.moveaxis(X, 1, -1)
    if X.ndim == 3:
        return X
    raise InputError("images: (m, d), (m, height, width) or (m, 1 or 3, height, width)", f"shape {X.shape}")
