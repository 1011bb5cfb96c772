"""The one writer: whole or not at all, beside other runs, and never through a link."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from linpoison import InputError, LinpoisonError, Poison
from linpoison.core import WriteFailed
from linpoison.core.writing import Draft, alone_in, check_folder, text_writer, write_all, write_file


def test_files_are_written_all_or_none(tmp_path):
    def full(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    with pytest.raises(WriteFailed, match="expected to write .*b, got: No space left on device"):
        write_all(out, {"a": text_writer("whole"), "b": full})
    assert not out.exists()
    write_all(out, {"a": text_writer("one"), "b": text_writer("two\udc80")})
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "one", "b": "two?"}
    with pytest.raises(ZeroDivisionError):
        write_file(out / "a", lambda stream: 1 / 0)
    assert (out / "a").read_text() == "one"
    assert len(list(out.iterdir())) == 2


def test_a_failed_write_is_an_error_of_the_library_and_of_the_system(tmp_path):
    with pytest.raises(LinpoisonError, match="No such file") as caught:
        write_file(tmp_path / "none" / "a", text_writer(""))
    assert isinstance(caught.value, OSError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (WriteFailed, str(caught.value))


def test_links_are_replaced_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "p.npz").symlink_to(victim)
    Poison(np.ones((1, 2)), [1], [1]).save(tmp_path / "p.npz")
    assert victim.read_text() == "kept"
    assert not (tmp_path / "p.npz").is_symlink()


def test_temporary_names_are_new_and_follow_the_umask(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "same")
    with Draft(tmp_path / "a") as draft:
        assert oct(draft.place.stat().st_mode & 0o777 & ~0o022) == "0o644"
        with pytest.raises(WriteFailed, match="File exists"):
            Draft(tmp_path / "b")
    (tmp_path / ".same.part").symlink_to(tmp_path / "victim")
    with pytest.raises(WriteFailed, match="File exists"):
        Draft(tmp_path / "a")
    assert not (tmp_path / "victim").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    code = (
        "import resource, sys, numpy as np; from linpoison import Poison\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "Poison(np.random.default_rng(0).normal(size=(900, 9)), np.ones(900), np.ones(900)).save(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p.npz")], capture_output=True, text=True)
    assert "WriteFailed: expected to write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_belongs_to_one_run(tmp_path):
    out = tmp_path / "out"
    code = (
        "import sys, pathlib; from linpoison.core.writing import alone_in\nwith alone_in(pathlib.Path(sys.argv[1])): 0"
    )
    with alone_in(out):
        other = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True)
        assert "to which another run is writing" in other.stderr
    assert not out.exists()
    with alone_in(out):
        (out / "a").touch()
    with alone_in(out), alone_in(None):
        pass
    assert [path.name for path in out.iterdir()] == ["a"]


def test_files_that_runs_write_together_are_those_of_one(tmp_path):
    code = (
        "import sys, pathlib; from linpoison.core.writing import text_writer, write_all\n"
        "for turn in range(60):\n"
        "    text = f'{sys.argv[1]} {turn}'\n"
        "    write_all('.', {name: text_writer(text) for name in ('a', 'b', 'c')})\n"
        "    with open(f'seen{sys.argv[1]}', 'a') as seen: seen.write('.')"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(k)], cwd=tmp_path) for k in (1, 2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == (tmp_path / "c").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "seen1", "seen2"]


@pytest.mark.parametrize("place", ["", 7, None, b"x", "a\0b", "~nouser-at-all/x", "x" * 5000])
def test_folders_that_cannot_be(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if place == "~nouser-at-all/x":
        assert check_folder(place) == Path(place)  # a name like any other
        return
    with pytest.raises(InputError, match="output folder"):
        check_folder(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folders_without_the_right_to_write(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="can be written"):
        check_folder(tmp_path / "out")
    tmp_path.chmod(0o700)
