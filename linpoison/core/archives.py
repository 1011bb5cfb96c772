"""The one reader of ``.npz`` and ``.npy`` files: no pickles, and no memory before sizes have been checked."""

from __future__ import annotations

import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp
from numpy.lib import format as npy

from .errors import InputError
from .writing import Writer

CSR_PARTS = ("data", "indices", "indptr", "shape")
"""Arrays of a sparse matrix in an archive."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_GROWTH = 1040
"""Deflate makes data at most 1032 times smaller; a member that claims more is damaged or lies."""
_SUSPICIOUS = (1 << 30, 100)
"""Arrays of more bytes than this, compressed by more than this factor, are taken for a bomb."""
UNREADABLE = (OSError, EOFError, ValueError, TypeError, NotImplementedError, RuntimeError, AttributeError, KeyError,
               SyntaxError, MemoryError, IndexError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile,
              tokenize.TokenError)  # fmt: skip
"""What `zipfile`, `zlib` and numpy's reader of headers raise on damaged bytes (RecursionError is a RuntimeError)."""
_PICKLE = "A pickle can run code when it is read: save numbers, or text as y.astype(str)."


def read_arrays(
    path: str | os.PathLike[str],
    what: str = "an .npz archive of plain arrays",
    *,
    names: Collection[str] | None = None,
    largest: int | None = None,
    remedy: str = "Save plain arrays with numpy.savez.",
) -> dict[str, Any]:
    """The arrays of an ``.npz`` file.

    Parameters
    ----------
    what : str
        What errors call such a file.
    names : collection of str, optional
        Read these arrays only, where they are there; all of them by default.
    largest : int, optional
        Numbers that no array of such a file holds more of.
    remedy : str
        What errors advise.

    Raises
    ------
    InputError
        For a file that is missing, special, damaged, encrypted, compressed by another method than deflate, or
        written as a pickle; for arrays larger than what the file can hold or this machine has memory for.
    """
    file = check_file(path, what, remedy)
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, file, names, remedy)
            _check_sizes(list(members.values()), file, remedy)
            _check_largest(members, largest, file, remedy)
            return {name: _member(archive, member, name, file, remedy) for name, member in members.items()}
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(what, f"{file}, {_kind_of(file, error)}", remedy) from None


def read_array(path: str | os.PathLike[str], what: str, *, remedy: str = "Save it with numpy.save.") -> Any:
    """The array of an ``.npy`` file, with the checks of `read_arrays`."""
    file = check_file(path, what, remedy)
    try:
        with open(file, "rb") as stream:
            return _array(stream, os.fstat(stream.fileno()).st_size, f"a plain array in {file.name}", "one")
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(what, f"{file}, {_kind_of(file, error)}", remedy) from None


def arrays_writer(arrays: Mapping[str, Any], *, compressed: bool = True) -> Writer:
    """What writes an ``.npz`` file without pickles to a stream."""
    write = np.savez_compressed if compressed else np.savez
    pickled = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if pickled:  # numpy's own refusal, `allow_pickle`, is the name of one more array before numpy 2.2
        raise ValueError(f"Object arrays such as {pickled[0]!r} cannot be saved: that takes a pickle")
    return lambda stream: write(stream, **dict(arrays))


def parts_of(X: Any) -> dict[str, Any]:
    """A matrix as arrays of an archive: ``X`` dense, or the parts of a CSR matrix."""
    if not sp.issparse(X):
        return {"X": X}
    return {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": np.asarray(X.shape)}


def check_file(path: str | os.PathLike[str], what: str, remedy: str = "") -> Path:
    """`path` if it is a regular file that can be opened; reading a device or a pipe might never end."""
    try:
        file = Path(path)
        regular = stat.S_ISREG(file.stat().st_mode)
    except (TypeError, ValueError):
        raise InputError(what, repr(path), remedy) from None
    except OSError as error:
        raise InputError(what, f"{str(path)!r} ({error.strerror})", remedy) from None
    if not regular:
        raise InputError(what, f"{str(path)!r}, which is not a file", remedy)
    return file


def user_path(name: str | os.PathLike[str], what: str) -> Path:
    """A path as a user writes it, with ``~`` for a home folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise InputError(what, f"{os.fspath(name)!r}, a home folder that there is not", "Write out the path.") from None


def csr_of(arrays: Mapping[str, Any], what: str, remedy: str = "") -> Any:
    """The CSR matrix whose parts stand among `arrays`, as `numpy.savez` or `scipy.sparse.save_npz` wrote them."""
    layout = bytes(np.asarray(arrays.get("format", b"csr")).astype("S")).rstrip(b"\0")
    if layout != b"csr":
        raise InputError(f"a CSR matrix in {what}", f"the format {layout.decode(errors='replace')!r}", remedy)
    data, indices, indptr, shape = (np.asarray(arrays[part]) for part in CSR_PARTS)
    _check_kinds({"data": data}, "biuf", what, remedy)
    _check_kinds({"indices": indices, "indptr": indptr, "shape": shape}, "iu", what, remedy)
    try:
        sizes = tuple(int(size) for size in shape)
        matrix = sp.csr_array((data.astype(np.float64), indices, indptr), shape=sizes)
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise InputError(f"a valid CSR matrix in {what}", f"arrays that do not fit ({error})", remedy) from None
    return matrix


def _check_kinds(arrays: Mapping[str, Any], kinds: str, what: str, remedy: str) -> None:
    words = "whole numbers" if kinds == "iu" else "real numbers"
    for name, array in arrays.items():
        if array.dtype.kind not in kinds:
            raise InputError(f"{words} in the array {name!r} of {what}", f"the type {array.dtype}", remedy)


def _kind_of(file: Path, error: BaseException) -> str:
    """What a file that is no archive is, in words."""
    with open(file, "rb") as stream:
        first = stream.read(6)
    if first == npy.MAGIC_PREFIX:
        return "which is a single array (.npy)" if file.suffix != ".npy" else f"which is damaged ({_brief(error)})"
    if first[:1] == b"\x80":
        return "which is a pickle"
    return f"which is damaged ({_brief(error)})" if first[:2] == b"PK" else "which holds other bytes"


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


def _members(
    archive: zipfile.ZipFile, file: Path, names: Collection[str] | None, remedy: str
) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if names is not None and name not in names:
            continue
        if name in found:
            raise InputError(f"arrays of different names in {file.name}", f"{name!r} twice", remedy)
        found[name] = member
    return found


def _check_sizes(members: list[zipfile.ZipInfo], file: Path, remedy: str) -> None:
    """No member may claim more than deflate can have put there, nor all of them more than there is memory for."""
    on_disk, total = file.stat().st_size, sum(member.file_size for member in members)
    stored = sum(member.compress_size for member in members)
    if stored > on_disk or any(member.file_size > _GROWTH * member.compress_size + 1024 for member in members):
        raise InputError(f"arrays in {file.name} of the size of the file", "sizes that it cannot hold", remedy)
    size, factor = _SUSPICIOUS
    if total > size and total > factor * stored:
        got = f"{total / 2**30:.1f} GiB in a file of {on_disk / 2**20:.1f} MiB"
        raise InputError(f"arrays in {file.name} of ordinary size", got, "Save rows that are mostly zero as CSR parts.")
    if total > (memory := _memory()):
        got = f"{total / 2**30:.1f} GiB, where there are {memory / 2**30:.1f} GiB"
        raise InputError(f"arrays in {file.name} that fit in memory", got, "Use fewer rows.")


def _check_largest(members: Mapping[str, zipfile.ZipInfo], largest: int | None, file: Path, remedy: str) -> None:
    for name, member in members.items():
        if largest is not None and member.file_size > 8 * largest + (1 << 16):
            got = f"{name!r} with {member.file_size // 8}"
            raise InputError(f"arrays in {file.name} of at most {largest} numbers", got, remedy)


def _memory() -> float:
    """Bytes of memory of this machine; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, file: Path, remedy: str) -> Any:
    what = f"plain arrays in {file.name}"
    if member.flag_bits & 0x1:
        raise InputError(what, f"an encrypted array {name!r}", remedy)
    if member.compress_type not in _METHODS:
        raise InputError(what, f"the array {name!r}, compressed by method {member.compress_type}", remedy)
    try:
        with archive.open(member) as stream:
            return _array(stream, member.file_size, what, f"array {name!r}")
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(what, f"a damaged array {name!r} ({_brief(error)})", remedy) from None


def _array(stream: IO[bytes], size: int, what: str, name: str) -> Any:
    """The array in a stream of `size` bytes; its header is read and weighed first."""
    version = npy.read_magic(stream)
    reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if reader is None:
        raise ValueError(f"version {version} of its format")
    shape, fortran, dtype = reader(stream)
    if dtype.hasobject:
        raise InputError(what, f"a pickled object {name}", _PICKLE)
    count = math.prod(shape)
    if min(shape, default=0) < 0 or (dtype.itemsize == 0 and count) or stream.tell() + count * dtype.itemsize != size:
        raise ValueError(f"a header of shape {str(shape)[:60]} and {size} bytes")
    buffer = bytearray(count * dtype.itemsize)
    _fill(stream, memoryview(buffer))
    if stream.read(1):
        raise ValueError("bytes left over")
    return np.ndarray(shape, dtype, buffer=buffer, order="F" if fortran else "C")


def _fill(stream: IO[bytes], place: memoryview) -> None:
    done = 0
    while done < len(place):
        block = stream.read(min(1 << 24, len(place) - done))
        if not block:
            raise EOFError("it ends too early")
        place[done : done + len(block)] = block
        done += len(block)
