"""Conversions from the files that public sources offer to the files that the loaders read."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core.archives import arrays_writer
from ..core.errors import InputError
from ..core.writing import write_file

# SHA-256 of the entries (see `content_digest`) of the Enron1 matrix released with Sever.
ENRON_CONTENT = "7f8d94e9a494ea33f84ba014fb9b30dafa8a71b53d2ad9df2e27b1748f3dc99b"

_UNREADABLE = (KeyError, ValueError, TypeError, NotImplementedError, EOFError, OSError, zlib.error)


def gzip_file(raw: Path, target: Path) -> None:
    """Compress a file, without name and time."""
    write_file(target, lambda stream: stream.write(gzip.compress(raw.read_bytes(), compresslevel=9, mtime=0)))


def enron_from_mat(raw: Path, target: Path) -> None:
    """Sever's ``enron_data.mat`` (X_train, y_train, X_test, y_test) as one CSR archive, entries verified."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays = loadmat(raw)
        X = sp.vstack([sp.csr_array(arrays["X_train"]), sp.csr_array(arrays["X_test"])], format="csr")
        y = np.concatenate([np.ravel(arrays["y_train"]), np.ravel(arrays["y_test"])])
    except (*_UNREADABLE, MatReadError) as error:
        raise InputError("Sever's enron_data.mat", f"a file that cannot be read ({error})") from None
    X, y, n = _tidy(X), np.where(y > 0, 1, -1).astype(np.int8), int(arrays["X_train"].shape[0])
    digest = content_digest(X, y, n)
    if digest != ENRON_CONTENT:
        raise InputError(f"Enron1 entries with SHA-256 {ENRON_CONTENT[:12]}...", f"{digest[:12]}...")
    _save(target, X, y=y, n_train=np.int64(n))


def imdb_from_archive(raw: Path, target: Path) -> None:
    """The word counts (``labeledBow.feat``) in the Large Movie Review archive as one CSR archive."""
    from sklearn.datasets import load_svmlight_file

    counts, ratings = [], []
    try:
        with tarfile.open(raw, "r:*") as archive:
            vocabulary = _member(archive, "aclImdb/imdb.vocab").read().strip(b"\n")
            words = vocabulary.count(b"\n") + 1
            for part in ("train", "test"):
                stream = _member(archive, f"aclImdb/{part}/labeledBow.feat")
                X, rating = load_svmlight_file(stream, n_features=words, zero_based=True)
                counts.append(X)
                ratings.append(rating.astype(np.int8))
    except (*_UNREADABLE, tarfile.TarError) as error:
        raise InputError("the Large Movie Review archive", f"a file that cannot be read ({error})") from None
    rating = np.concatenate(ratings)
    y = np.where(rating >= 7, 1, -1).astype(np.int8)
    matrix = _tidy(sp.vstack([sp.csr_array(part) for part in counts], format="csr"))
    extra = {"rating": rating, "vocab": np.frombuffer(vocabulary, dtype=np.uint8)}
    _save(target, matrix, y=y, n_train=np.int64(ratings[0].size), **extra)


def content_digest(X: Any, y: Any, n_train: int) -> str:
    """SHA-256 of the entries of a CSR matrix, its labels and its split, whatever the storage types."""
    code = hashlib.sha256()
    for array in (X.data, X.indices, X.indptr, X.shape, y, n_train):
        code.update(np.asarray(array).astype("<i8").tobytes())
    return code.hexdigest()


def _tidy(X: Any) -> sp.csr_array:
    matrix = sp.csr_array(X)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if (matrix.data != np.round(matrix.data)).any() or np.abs(matrix.data).max(initial=0) > np.iinfo(np.int16).max:
        raise InputError("word counts", "values that are not whole or too large")
    return matrix.astype(np.int16)


def _member(archive: tarfile.TarFile, name: str) -> Any:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream


def _save(target: Path, X: sp.csr_array, **extra: Any) -> None:
    parts = {"format": np.bytes_(b"csr"), "shape": np.asarray(X.shape, dtype=np.int64)}
    arrays = {**parts, "data": X.data, "indices": X.indices, "indptr": X.indptr, **extra}
    write_file(target, arrays_writer(arrays))
