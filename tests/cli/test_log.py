"""What ``-v`` and ``--log-file`` say, and the scripts for shells."""

import logging
import shutil
import subprocess

import pytest

from linpoison.cli import main

AUDIT = ("audit", "gaussians", "--attack", "random-flips", "--defenses", "l2", "--domain", "real", "--jobs", "1")


@pytest.fixture
def audit(tmp_path):
    """Run a quick audit with further words; returns its code."""
    return lambda *words: main([*AUDIT, "--out", str(tmp_path / "out"), *words])


def test_verbose_says_steps_with_times_and_no_bar(audit, capsys):
    assert audit("-v") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line[:2] == "20" and " INFO " in line for line in lines)
    assert any("random-flips" in line for line in lines)
    assert not logging.getLogger("linpoison").handlers


def test_a_log_file_has_the_command_the_steps_and_its_end_and_is_added_to(audit, tmp_path, capsys):
    log = tmp_path / "log.txt"
    assert audit("--log-file", str(log), "--quiet") == 0
    assert capsys.readouterr().err == ""
    first = log.read_text(encoding="utf-8")
    assert "linpoison audit gaussians" in first.splitlines()[0]
    assert "ended after" in first.splitlines()[-1]
    audit("--log-file", str(log), "--quiet", "--reg", "-1")
    added = log.read_text(encoding="utf-8").removeprefix(first)
    assert "Traceback" in added
    assert capsys.readouterr().err.count("\n") == 1


def test_a_log_file_that_cannot_be_written_is_refused(audit, tmp_path, capsys):
    assert audit("--log-file", str(tmp_path)) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_cautions_are_shown_beside_a_log_file(capsys, tmp_path):
    table = tmp_path / "units.csv"
    rows = "\n".join(f"{1000000 * (i % 7 + (i % 2))},{i % 3 - (i % 2)},{i % 2}" for i in range(60))
    table.write_text(f"income,share,label\n{rows}\n", encoding="utf-8")
    words = ("sanitize", str(table), "--defense", "l2", "--out", str(tmp_path / "kept.csv"))
    said = []
    for more in ((), ("--log-file", str(tmp_path / "log.txt"))):
        from linpoison.auditing import inputs

        inputs._SAID.clear()
        main([*words, *more])
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_of_a_shell_knows_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("audit", "harden", "--fail-above", "--log-file"))
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
