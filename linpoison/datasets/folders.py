"""Public sets that come as folders of files: UTKFace, CIFAR-10 and film reviews. The files have to be there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import InputError, check_integer

RACES = ("White", "Black", "Asian", "Indian", "Other")
"""In the order of UTKFace's numbers; "Other" has Latino and Middle Eastern faces."""

_FACE = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\.jpg(\.chip\.jpg)?")
_CIFAR_ROW = 1 + 3 * 32 * 32


@dataclass(frozen=True, eq=False)
class Faces:
    """UTKFace's pictures and what their file names say.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, size, size, 3)
    gender : ndarray of int, shape (n,)
        0 male, 1 female: the label in the subpopulation paper.
    age : ndarray of int, shape (n,)
    race : ndarray of str, shape (n,)
        See `RACES`.
    skipped : tuple of str
        Files whose names do not tell all three; a few of the published ones are such.
    """

    images: NDArray[np.uint8]
    gender: NDArray[np.int64]
    age: NDArray[np.int64]
    race: NDArray[Any]
    skipped: tuple[str, ...] = ()


def read_utkface(folder: str | Path, size: int = 64, least_age: int = 15) -> Faces:
    """Faces in a folder, in the order of their names, from files ``age_gender_race_date.jpg``.

    Parameters
    ----------
    folder : path
        Searched with all folders below it.
    size : int, default 64
        Height and width to which pictures are brought, in pixels (bilinear, with antialiasing).
    least_age : int, default 15
        Younger people are left out. 15 leaves 20054 of the aligned faces, according to the subpopulation paper.

    Raises
    ------
    InputError
        If there is no such face, or a picture cannot be read.

    Notes
    -----
    Split them with `linpoison.subpopulations.three_parts`, which draws without replacement; the published code drew
    with replacement, so that its training, auxiliary and test rows overlap. The groups of the paper are those of
    ``FeatureMatch(["race", "age"], bins={"age": (30, 45, 60)})``.

    References
    ----------
    Zhang, Song, Qi, "Age progression/regression by conditional adversarial autoencoder", 2017.
    Jagielski et al., "Subpopulation data poisoning attacks", 2021, section 5.1.
    """
    check_integer(size, "size", at_least=1)
    check_integer(least_age, "least_age", at_least=0)
    files = sorted(path for path in _existing(folder).rglob("*.jpg") if path.is_file())
    named = [(path, _FACE.fullmatch(path.name)) for path in files]
    skipped = tuple(path.name for path, match in named if match is None)
    kept = [(path, match) for path, match in named if match is not None and int(match[1]) >= least_age]
    if not kept:
        found = f"{len(files)} .jpg files, {len(skipped)} of them with other names"
        raise InputError(f"files age_gender_race_date.jpg of people from {least_age} years on in {folder}", found)
    images = np.stack([_picture(path, size) for path, _ in kept])
    age, gender, race = np.array([[int(match[k]) for k in (1, 2, 3)] for _, match in kept], dtype=np.int64).T
    return Faces(images, gender, age, np.array(RACES)[race], skipped)


def _picture(path: Path, size: int) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(small, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"a picture in {path.name}", f"a file that cannot be read ({_line(error)})") from None


def read_cifar10(folder: str | Path) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """CIFAR-10 from its binary version: ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.

    Returns
    -------
    (X, y), (X_test, y_test)
        Pictures as uint8 of shape (n, 32, 32, 3), labels 0 to 9 as int64.

    Raises
    ------
    InputError
        If a file is missing or damaged.

    References
    ----------
    Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    place = _existing(folder)
    parts = [_cifar_batch(place / f"data_batch_{number}.bin") for number in range(1, 6)]
    train = np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    return train, _cifar_batch(place / "test_batch.bin")


def _cifar_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError:
        raise InputError(f"the file {path.name} of CIFAR-10's binary version in {path.parent}", "none") from None
    if not content.size or content.size % _CIFAR_ROW or content[::_CIFAR_ROW].max() > 9:
        raise InputError(f"rows of a label and 3072 pixels in {path.name}", f"{content.size} other bytes")
    rows = content.reshape(-1, _CIFAR_ROW)
    images = np.ascontiguousarray(np.moveaxis(rows[:, 1:].reshape(-1, 3, 32, 32), 1, 3))
    return images, rows[:, 0].astype(np.int64)


def read_reviews(folder: str | Path, part: str = "train") -> tuple[list[str], NDArray[np.int64]]:
    """Texts of the Large Movie Review Dataset from ``part/pos/*.txt`` and ``part/neg/*.txt``.

    Parameters
    ----------
    folder : path
        The folder ``aclImdb``.
    part : str, default "train"
        "train" or "test".

    Returns
    -------
    texts : list of str
        Negative ones first, each class in the order of its numbers. ``<br />`` is a space.
    y : ndarray of int
        0 negative, 1 positive.

    Raises
    ------
    InputError
        If either class has no file, or a file is no text.

    References
    ----------
    Maas et al., "Learning word vectors for sentiment analysis", 2011.
    """
    texts: list[str] = []
    counts = []
    for name in ("neg", "pos"):
        before = len(texts)
        texts += _texts(_existing(folder) / part / name)
        counts.append(len(texts) - before)
        if not counts[-1]:
            raise InputError(f"reviews in {part}/{name}/*.txt of {folder}", "none", "Name the folder aclImdb.")
    return texts, np.repeat(np.arange(2, dtype=np.int64), counts)


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.txt"), key=_number):
        try:
            yield re.sub(r"(?:\s*<br\s*/?>)+\s*", " ", path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"text in UTF-8 in {path.name}", f"other bytes ({_line(error)})") from None


def _number(path: Path) -> tuple[int, str]:
    digits = path.stem.partition("_")[0]
    return (int(digits) if digits.isdigit() else -1, path.name)


def _existing(folder: str | Path) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"a folder {folder}", "none there")
    return path


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
