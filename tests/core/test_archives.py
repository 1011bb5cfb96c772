"""The one reader of ``.npz`` files: every damaged or hostile file is one sentence, and takes no memory."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison import InputError
from linpoison.core import archives
from linpoison.core.archives import arrays_writer, csr_of, parts_of, read_array, read_arrays
from linpoison.core.writing import write_file

GOOD = {"X": np.arange(6.0).reshape(2, 3), "y": np.array([1, -1], dtype=np.int8), "names": np.array(["a", "bc"])}


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def packed(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def patched(content: bytes, offset: int, value: int) -> bytes:
    """The same archive with one field of every header of a member replaced (offsets of the central directory)."""
    found = bytearray(content)
    for sign, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):
        place = found.find(sign)
        while place >= 0:
            struct.pack_into("<H", found, place + offset + shift, value)
            place = found.find(sign, place + 4)
    return bytes(found)


def good(**options: bool) -> bytes:
    stream = io.BytesIO()
    arrays_writer(GOOD, **options)(stream)
    return stream.getvalue()


def damaged() -> bytes:
    stream = io.BytesIO()
    arrays_writer({"X": np.random.default_rng(0).normal(size=(50, 3))})(stream)
    content = bytearray(stream.getvalue())
    content[400:420] = b"\xff" * 20
    return bytes(content)


BAD = {
    "encrypted": (patched(good(), 8, 1), "encrypted array 'X'"),
    "unknown compression": (patched(good(), 10, 99), "compressed by method 99"),
    "other compression": (packed(zipfile.ZIP_LZMA, X=header("(0,)")), "method 14"),
    "damaged": (damaged(), "damaged array 'X'"),
    "cut short": (good()[:-40], "damaged|other bytes"),
    "a single array": (header("(3,)") + bytes(24), "single array"),
    "a pickle": (pickle.dumps({"X": 1}), "which is a pickle"),
    "text": (b"X,y\n1,2\n", "other bytes"),
    "nothing": (b"", "other bytes"),
    "pickled array": (packed(X=header("(1,)", "|O")), "pickled object array 'X'.*can run code"),
    "not an array": (packed(X=b"hello"), "damaged array 'X'"),
    "deep header": (packed(X=header("(" * 3000 + ")" * 3000)), "damaged array 'X'"),
    "negative shape": (packed(X=header("(-3,)")), "damaged array 'X'"),
    "shape that is no tuple": (packed(X=header("3   ")), "damaged array 'X'"),
    "fewer bytes than rows": (packed(X=header("(3,)") + bytes(16)), "damaged array 'X'"),
    "claim of petabytes": (packed(X=header("(1000000000, 1000000)")), "damaged array 'X'"),
    "type of no bytes": (packed(X=header("(3,)", "<U0")), "damaged array 'X'"),
    "bytes left over": (packed(X=header("(3,)") + bytes(32)), "damaged array 'X'"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_bad_archives_are_one_sentence(content, message, tmp_path):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_arrays(tmp_path / "bad.npz")
    assert len(str(caught.value)) < 500


def test_good_archives_come_back_writable_and_as_they_were(tmp_path):
    arrays = {**GOOD, "F": np.asfortranarray(GOOD["X"]), "none": np.zeros((0, 3)), "one": np.array(7)}
    for compressed in (True, False):
        write_file(tmp_path / "a.npz", arrays_writer(arrays, compressed=compressed))
        found = read_arrays(tmp_path / "a.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert (found[name].dtype, found[name].flags.writeable) == (array.dtype, True)
            np.testing.assert_array_equal(np.load(tmp_path / "a.npz")[name], array)
    assert list(read_arrays(tmp_path / "a.npz", names=("y", "absent"))) == ["y"]


def test_a_bomb_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_SUSPICIOUS", (1 << 28, 100))  # 1 GiB takes seconds to write
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", header("(3,)") + bytes(24))
        with archive.open("X.npy", "w", force_zip64=True) as stream:
            stream.write(header("(16, 2228224)"))
            for _ in range(17):
                stream.write(bytes(1 << 24))
    tracemalloc.start()
    with pytest.raises(InputError, match="ordinary size, got 0.3 GiB in a file of 0.3 MiB"):
        read_arrays(tmp_path / "bomb.npz")
    assert read_arrays(tmp_path / "bomb.npz", names=("y",))["y"].tolist() == [0, 0, 0]
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_names_that_stand_twice_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("X.npy", header("(3,)") + bytes(24))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("X.npy", header("(3,)") + bytes(24))
    with pytest.raises(InputError, match="'X' twice"):
        read_arrays(tmp_path / "twice.npz")


def test_special_files_are_refused_without_being_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for place in ("/dev/zero", tmp_path / "pipe.npz", tmp_path, tmp_path / "none.npz", "a\0b"):
        for reader in (read_arrays, read_array):
            with pytest.raises(InputError):
                reader(place, "a file")


def test_single_arrays_are_read_with_the_same_checks(tmp_path):
    np.save(tmp_path / "rows.npy", [3, 1])
    assert read_array(tmp_path / "rows.npy", "rows").tolist() == [3, 1]
    np.save(tmp_path / "rows.npy", np.array([{}], dtype=object))
    with pytest.raises(InputError, match="pickled"):
        read_array(tmp_path / "rows.npy", "rows")
    (tmp_path / "rows.npy").write_bytes(header("(1000000000, 1000000)"))
    with pytest.raises(InputError, match="damaged"):
        read_array(tmp_path / "rows.npy", "rows")


def test_sparse_parts_are_taken_as_they_are_or_refused():
    X = sp.csr_array([[0.0, 2.0], [1.0, 0.0]])
    assert (csr_of(parts_of(X), "file").toarray() == X.toarray()).all()
    assert parts_of(X.toarray()).keys() == {"X"}
    for name, other in (
        ("data", X.data + 1j), ("data", X.data.astype(str)), ("indices", X.indices + 0.5), ("indptr", X.indptr * 1.0),
        ("indices", X.indices + 5), ("shape", np.array([2.0, 2.0])), ("shape", np.array(2)),
        ("shape", np.array([2, -2])), ("format", np.array("coo")), ("indptr", X.indptr[:-1]),
    ):  # fmt: skip
        with pytest.raises(InputError):
            csr_of({**parts_of(X), name: other}, "file")
