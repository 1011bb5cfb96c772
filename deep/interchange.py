"""Poison as other tools take it: a torch Dataset, and pictures in folders by their class."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from linpoison.core import InputError, Poison, check_number
from linpoison.core.writing import check_folder, write_file

from .need_torch import torch


def poison_dataset(poison: Poison, shape: tuple[int, ...] | None = None) -> Any:
    """A poison with whole copies as a ``TensorDataset`` of rows in float32 and codes from 0, one item for each copy.

    Parameters
    ----------
    poison : Poison
    shape : tuple of int, optional
        Of a row; flat by default.

    Examples
    --------
    >>> rows, codes = poison_dataset(Poison([[0.0, 1.0]], [1], [3])).tensors
    >>> tuple(rows.shape), codes.tolist()
    ((3, 2), [1, 1, 1])
    """
    rows = poison.expanded()
    X = torch.tensor(rows.X, dtype=torch.float32).reshape(-1, *(shape or (rows.d,)))
    return torch.utils.data.TensorDataset(X, torch.tensor(rows.codes))


def save_images(
    folder: str | Path, poison: Poison, shape: tuple[int, ...], bounds: tuple[float, float] = (0.0, 1.0)
) -> float:
    """Write each copy of each row as a PNG of 8 bits, in a folder named after its code, as torchvision's ImageFolder.

    ::

        byte = round(255 (clip(x, low, high) - low) / (high - low)),    error <= (high - low) / 510 within the bounds

    ImageFolder numbers the folders that it finds: put these into the folder of the clean pictures, whose names are the
    codes too, padded with zeros to one length.

    Parameters
    ----------
    folder : path
    poison : Poison
        With whole copies.
    shape : (height, width), (1, height, width) or (3, height, width)
        Of a row.
    bounds : (low, high), default (0, 1)
        What black and white are.

    Returns
    -------
    float
        The greatest change of an entry by clipping and rounding. What it does to the damage is measured by learning
        from `load_images`.
    """
    from PIL import Image

    rows, place = poison.expanded(), check_folder(folder)
    low, high = _checked(bounds)
    scaled = 255 * (np.clip(rows.X, low, high) - low) / (high - low)
    bytes_ = np.round(scaled).astype(np.uint8).reshape(-1, *_picture(shape, rows.d))
    width = len(str(rows.k - 1))
    for number, (row, code) in enumerate(zip(bytes_, rows.codes, strict=True)):
        stream = BytesIO()
        Image.fromarray(np.moveaxis(row, 0, -1) if row.ndim == 3 else row).save(stream, format="PNG")
        into = place / f"{code:0{width}d}"
        into.mkdir(parents=True, exist_ok=True)
        write_file(into / f"poison-{number:06d}.png", partial(_copied, stream.getvalue()))
    return float(np.abs(low + (high - low) * bytes_.reshape(rows.X.shape) / 255 - rows.X).max())


def load_images(folder: str | Path, poison: Poison, bounds: tuple[float, float] = (0.0, 1.0)) -> Poison:
    """The pictures that `save_images` wrote of a poison, as rows of one copy each: what a learner is really given.

    Raises
    ------
    InputError
        If they are not as many, or of other classes or sizes.
    """
    from PIL import Image

    low, high = _checked(bounds)
    files = sorted(Path(folder).glob("*/poison-*.png"), key=lambda path: path.name)
    try:
        read = [np.asarray(Image.open(file)) for file in files]
        X = np.array([(np.moveaxis(row, -1, 0) if row.ndim == 3 else row).ravel() for row in read], dtype=np.float64)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"pictures of one size in {folder}", " ".join(str(error).split())[:120]) from None
    rows = poison.expanded()
    codes = [int(file.parent.name) if file.parent.name.isdigit() else -1 for file in files]
    if X.shape != rows.X.shape or codes != rows.codes.tolist():
        raise InputError(f"{rows.n} pictures of {rows.d} numbers by class in {folder}", f"others, {len(files)}")
    return Poison(low + (high - low) * X / 255, rows.y, np.ones(rows.n), poison.n_classes)


def _copied(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def _checked(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = (check_number(value, "bounds") for value in bounds)
    if not low < high:
        raise InputError("bounds (low, high)", f"({low:g}, {high:g})")
    return low, high


def _picture(shape: tuple[int, ...], d: int) -> tuple[int, ...]:
    """Height and width, with three channels before them if there are."""
    plain = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(plain) != 2 and not (len(plain) == 3 and plain[0] == 3) or int(np.prod(plain)) != d:
        raise InputError(f"pictures of {d} numbers and one or three channels", f"shape {shape}")
    return plain
