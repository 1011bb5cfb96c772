"""Closed pipes, odd streams, Ctrl-C at any moment, and names that nobody can obey."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from linpoison._frame import BUG, INTERRUPTED, framed, say
from linpoison._printable import printable
from linpoison.cli import main
from linpoison.core.wording import drawable
from linpoison.reporting.cells import aligned
from linpoison.reporting.page import harmless


def shell(command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    ("words", "ending", "code", "told"),
    [
        ("datasets", ">&- 2>&-", 0, ""),
        ("--help", ">&-", 0, ""),
        ("--help", "2>&-", 0, ""),
        ("--help", ">/dev/full", 2, "No space left on device"),
        ("datasets", "| head -1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(words, ending, code, told):
    done = shell(f"{sys.executable} -m linpoison {words} {ending}")
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == bool(told)


def test_text_that_the_terminal_cannot_show(tmp_path):
    np.savez(tmp_path / "\u65e5\u672c.npz", X=np.zeros((4, 2)), y=[0, 1, 0, 1])
    done = shell(f"PYTHONIOENCODING=ascii {sys.executable} -m linpoison audit \u65e5\u672c", cwd=tmp_path)
    assert done.returncode == 2
    assert "\\u65e5" in done.stderr


@pytest.mark.parametrize("within", ["{}", "exec({!r})"])
@pytest.mark.parametrize("program", ["linpoison", "deep"])
def test_ctrl_c_while_packages_are_loaded(program, within, tmp_path):
    """The signal comes from within the first heavy import, so that the moment is always the same.

    After one within `exec`, as dataclasses call it, Python ends by the signal although it was caught.
    """
    code = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"
    (tmp_path / "numpy.py").write_text(within.format(code))
    words = [sys.executable, "-m", program, *(["flip", "digits"] if program == "deep" else ["audit"])]
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    started = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    told = started.communicate(timeout=60)[1]
    assert started.returncode == INTERRUPTED
    assert told.startswith(f"\n{program}: interrupted")
    assert "Traceback" not in told


def test_outcomes_have_codes(capsys, monkeypatch):
    def raising(error):
        def work():
            raise error

        return framed("program", work, interrupted=lambda: ".")

    assert raising(KeyboardInterrupt()) == INTERRUPTED
    assert raising(SystemExit(3)) == 3
    assert raising(SystemExit("words")) == 2
    assert raising(MemoryError()) == 2
    assert raising(OSError(28, "No space", "file")) == 2
    assert raising(KeyError("a\nb")) == BUG
    assert capsys.readouterr().err.count("\n") == 5
    say("a\x1b[31mb\u202e\n")
    assert capsys.readouterr().out == "a\\x1b[31mb\\u202e\n"


def test_names_are_shown_not_obeyed():
    assert printable("plain \u65e5\u672c\n\t") == "plain \u65e5\u672c\n\t"
    assert printable("\x07\u202e\u200f\ud800\x85\u2028") == "\\x07\\u202e\\u200f\\ud800\\x85\\u2028"
    assert drawable("$x_{$ \n" + "a" * 99) == "\\$x_{\\$ " + "a" * 51 + "..."
    assert aligned([("a\nb", "1"), ("\x1b[2J", "2")]) == "a b      1\n\\x1b[2J  2"
    assert harmless("\u202e") == "\\u202e"


@pytest.mark.filterwarnings("error")
def test_odd_column_names_are_drawn_without_a_warning(in_tmp):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    lines = [f"{a},{b},{c}" for (a, b), c in zip(X.tolist(), y, strict=True)]
    Path("t.csv").write_text("\n".join(["$\\frac$ \u65e5\u672c,\x1b[31m$x_{$,label", *lines]) + "\n", encoding="utf-8")
    words = ["subpop", "t.csv", "--match", "0,1", "--groups", "2", "--alpha", "1", "--out", "o", "--reg", "0.1"]
    assert main([*words, "--quiet"]) == 0
    assert main([*words[:-4], "--alpha", "1", "1"]) == 2


def test_a_resumed_study_does_not_know_other_test_rows(in_tmp):
    import json

    from linpoison.auditing import subpop

    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(80, 3)), rng.normal(size=(60, 3))
    y, t = np.where(X[:, 0] > 0, 1, -1), np.where(T[:, 0] > 0, 1, -1)
    words = ["subpop", "d.npz", "--groups", "1", "--clusters", "2", "--alpha", "1", "--quiet", "--out"]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    np.savez("d.npz", X=X, y=y, X_test=T, y_test=t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subpop, "_write", stop)
        assert main([*words, "o"]) == INTERRUPTED
    assert list(Path("o/journal").rglob("*.npz"))
    np.savez("d.npz", X=X, y=y, X_test=T, y_test=np.where(rng.random(60) < 0.4, -t, t))
    found = [json.loads(Path(o, "subpop.json").read_text()) for o in ("o", "fresh") if main([*words, o]) == 0]
    assert len(found) == 2
    assert found[0] == found[1]


def test_a_step_of_a_killed_worker_starts_again(caplog, tmp_path):
    from linpoison.attacks.parallel import in_parallel

    sign = str(tmp_path / "sign")
    assert in_parallel(dying_once, [(sign, 0), (sign, 1), (sign, 2)], 2) == [0, 1, 4]
    assert "ended from outside" in caplog.text


def dying_once(sign: str, number: int) -> int:
    if number == 1 and not os.path.exists(sign):
        Path(sign).touch()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2
