"""The files of the external data sets: checksums, public sources, and how to get them."""

from __future__ import annotations

import http.client
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..core.errors import InputError
from ..core.writing import Draft, text_writer, write_file
from . import convert
from .store import VARIABLE, data_folder, record_of, sha256_of, verify

_log = logging.getLogger("linpoison")
_TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class DataFile:
    """One file of an external data set.

    Parameters
    ----------
    name : str
        File name in the data folder.
    sha256 : str
        SHA-256 of its bytes, in hexadecimal.
    url : str
        Where the project that made the data offers it.
    source_sha256 : str, optional
        SHA-256 of what lies there, if that is not the file itself. ``None`` where the conversion
        verifies the content.
    convert : callable, optional
        Writes the file (second path) from what was downloaded (first path).
    """

    name: str
    sha256: str
    url: str
    source_sha256: str | None = None
    convert: Callable[[Path, Path], None] | None = None


_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult"
_SEVER = "https://raw.githubusercontent.com/hoonose/sever/c51762258e17d36fdbb92b597cb9803a309c8cd1/svm/data"


def _mnist(name: str, sha256: str) -> DataFile:
    return DataFile(name, sha256, f"{_MNIST}/{name}")


FILES: dict[str, DataFile] = {
    file.name: file
    for file in (
        DataFile(
            "enron1.npz", "29873c5a1d025a221d5a1b1d49be514e966a130429a9542b9b2e99f2f78a34a5",
            f"{_SEVER}/enron_data.mat", None, convert.enron_from_mat,
        ),
        DataFile(
            "imdb.npz", "aa3ce074e762cf905b1f9000d0e1682f664ef89d6ece703df4a331a4f7b6c245",
            "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
            "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe", convert.imdb_from_archive,
        ),
        _mnist("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        _mnist("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        _mnist("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        _mnist("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        DataFile(
            "adult.data.gz", "c7a2b4716a97f930123e0baf879188d701e798172631a654fc703d4b082907f3",
            f"{_UCI}/adult.data", "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d", convert.gzip_file,
        ),
        DataFile(
            "adult.test.gz", "8a2c1bffa6e7ce5abfa43881ae5e87c4311ebc2b3cd526c9c40a43f19f06f799",
            f"{_UCI}/adult.test", "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05", convert.gzip_file,
        ),
    )
}  # fmt: skip


def require(name: str) -> Path:
    """The path of a verified data file, downloaded if it is missing.

    Raises
    ------
    InputError
        If the file is damaged, or missing and the source does not answer or has changed.
    """
    file = FILES[name]
    path = data_folder() / name
    if not path.is_file():
        download(file, path)
    verify(path, file.sha256)
    return path


def download(file: DataFile, path: Path) -> None:
    """Get a file from its source, verify it, convert it, and put it in place, whole or not at all."""
    _make_folder(file, path.parent)
    try:
        with Draft(path) as raw:
            raw.fill(lambda stream: _copy(file, path, stream))
            _check(file, raw.place)
            if file.convert is None:
                raw.commit()
                return
            with Draft(path) as converted:
                file.convert(raw.place, converted.place)
                write_file(record_of(path), text_writer(sha256_of(converted.place) + "\n"))
                converted.commit()
    except OSError as error:
        raise _not_writable(file, error) from None


def _make_folder(file: DataFile, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(file, error) from None


def _not_writable(file: DataFile, error: OSError) -> InputError:
    return InputError(f"a folder for {file.name} that can be written", f"{error}", _remedy(file))


def _copy(file: DataFile, path: Path, target: BinaryIO) -> None:
    _log.info("downloading %s", file.url)
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT) as stream:
            shutil.copyfileobj(stream, target)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise InputError(
            f"the file {path.name} in {path.parent}, or a network to download it",
            f"no such file, and nothing from {file.url} ({error})",
            _remedy(file),
        ) from None


def _check(file: DataFile, part: Path) -> None:
    expected = file.sha256 if file.convert is None else file.source_sha256
    if expected is not None and (digest := sha256_of(part)) != expected:
        raise InputError(f"{file.url} with SHA-256 {expected[:12]}...", f"{digest[:12]}...", _remedy(file))


def _remedy(file: DataFile) -> str:
    return f"Set {VARIABLE} to a folder that holds {file.name}."
