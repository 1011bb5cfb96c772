"""Ctrl-C with worker processes: one line, code 130, what is finished stays in the journal, no worker has its say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from linpoison import cli

SCRIPT = """
import pathlib, signal, sys, time
from linpoison.attacks.run import Run
from linpoison.core.journal import FolderJournal
from linpoison.cli import commands, main

def step(started, number):
    time.sleep(60 if number else 0)
    return [], []

def run(arguments):
    def tell(done, total, what):
        if done:
            print("one is done", flush=True)
    run = Run(n_jobs=arguments.jobs, progress=tell, journal=FolderJournal(pathlib.Path(arguments.out, "journal")))
    run.steps("steps", step, [(0,), (1,), (2,), (3,)])

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell starts its children without
    commands.run = run
    sys.exit(main(["audit", "--jobs", "2", "--out", sys.argv[1]]))
"""
SLOW_START = """
import os, pathlib, sys, time
if any("loky" in word for word in sys.orig_argv[:4]) and not any("resource_tracker" in word for word in sys.orig_argv):
    pathlib.Path(os.environ["STARTING"]).touch()
    time.sleep(5)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals to a group of processes")
@pytest.mark.parametrize("moment", ["starting", "working"])
def test_workers_are_silent_when_a_run_is_interrupted(moment, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    sign, out = tmp_path / "sign", tmp_path / "out"
    environment = {**os.environ, "STARTING": str(sign)}
    if moment == "starting":
        (tmp_path / "sitecustomize.py").write_text(SLOW_START)
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env=environment,
    )  # fmt: skip
    try:
        while moment == "starting" and not sign.exists() and started.poll() is None:
            time.sleep(0.05)
        assert moment == "starting" or started.stdout.readline() == "one is done\n"
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does
        _, told = started.communicate(timeout=50)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 130
    assert told.splitlines() == [
        "", f"linpoison: interrupted, nothing was reported. Run the same command again to resume from {out}/journal.",
    ]  # fmt: skip
    kept = list((out / "journal").iterdir()) if (out / "journal").exists() else []
    assert len(kept) == (moment == "working")


def test_an_interrupt_while_arguments_are_read_is_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("linpoison.cli.parser.build_parser", interrupted)
    assert cli.main(["audit"]) == 130
    assert capsys.readouterr().err == "\nlinpoison: interrupted, nothing was reported.\n"
