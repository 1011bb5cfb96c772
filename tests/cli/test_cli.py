"""The command line: what it prints, writes and returns."""

from __future__ import annotations

import json
import multiprocessing
import re
import subprocess
import sys
import time
from pathlib import Path

import audit_cases
import numpy as np
import pytest

import linpoison
from linpoison._progress import ProgressLine
from linpoison.cli import main

pytestmark = pytest.mark.usefixtures("in_tmp", "fake_attacks")

ONE = ("--attack", "kkt", "--domain", "real")
AUDIT = ("audit", "gaussians", "--epsilon", "0.05", "--defenses", "l2,slab", "--jobs", "1", *ONE)


def test_audit_prints_a_table_and_writes_three_files(capsys, tmp_path):
    assert main([*AUDIT, "--out", "out"]) == 0
    printed = capsys.readouterr()
    report = linpoison.AuditReport.from_json(Path("out/report.json").read_text())
    assert printed.out.startswith(report.to_text())
    assert {path.name for path in Path("out").iterdir()} == {*report.files, "report.html", "report.json"}
    assert Path("out/report.html").read_text().startswith("<!DOCTYPE html>")
    assert "report 100 %" in printed.err


def test_audit_needs_no_data(capsys):
    assert main(["audit", *ONE, "--defenses", "l2"]) == 0
    assert "breast_cancer" in capsys.readouterr().out
    assert Path("linpoison-report/report.json").is_file()


def test_json_is_alone_on_standard_output(capsys):
    assert main([*AUDIT, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["schema"] == 2
    assert json.loads(printed.out) == json.loads(Path("linpoison-report/report.json").read_text())


def test_quiet_prints_nothing(capsys):
    assert main([*AUDIT, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_quiet_json_prints_json(capsys):
    assert main([*AUDIT, "--quiet", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["schema"] == 2
    assert printed.err == ""


def test_fail_above_compares_the_error_behind_all(capsys):
    assert main([*AUDIT, "--json"]) == 0
    worst = json.loads(capsys.readouterr().out)["attacks"][0]["test_error_behind_all"]
    assert 0 < worst < 1
    assert main([*AUDIT, "--quiet", "--fail-above", str(worst)]) == 0
    assert main([*AUDIT, "--quiet", "--fail-above", str(worst - 1e-9)]) == 1
    assert main([*AUDIT, "--quiet", "--fail-above", "1"]) == 0
    poison = ("evaluate", "gaussians", "--poison", "linpoison-report/poison.npz", "--defenses", "l2,slab", "--quiet")
    assert main([*poison, "--fail-above", str(worst - 1e-9)]) == 1
    assert main([*poison, "--fail-above", str(worst)]) == 0


@pytest.mark.parametrize(("words", "check"), [
    (("--model", "logistic"), lambda report: report["model"]["loss"] == "logistic"),
    (("--reg", "0.5"), lambda report: report["model"]["reg"] == 0.5),
    (("--no-penalize-intercept",), lambda report: report["model"]["penalize_intercept"] is False),
    (("--epsilon", "0.1"), lambda report: report["attacks"][0]["n_poison"] == 40),
    (("--attack", "fake,one-class"), lambda report: report["attacks"][1]["name"] == "one-class"),
    (("--defenses", "none"), lambda report: list(report["attacks"][0]["test_error"]) == ["none"]),
    (("--variant", "reference"), lambda report: report["options"]["variant"] == "reference"),
    (("--remove", "0.2"), lambda report: report["clean"]["kept_clean_fraction"]["l2"] == 0.8),
    (("--domain", "box"), lambda report: report["dataset"]["domain"] == "box"),
    (("--seed", "7"), lambda report: report["seed"] == 7),
    (("--target", "train"), lambda report: report["attacks"][0]["unseen_test_error"] is not None),
])  # fmt: skip
def test_options_reach_the_report(words, check, capsys):
    assert main([*AUDIT, "--json", *words]) == 0
    assert check(json.loads(capsys.readouterr().out))


def test_command_in_the_report_repeats_it(capsys):
    assert main([*AUDIT, "--json", "--target", "split:0.5", "--seed", "3"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*first["command"].split()[1:], "--json"]) == 0
    assert audit_cases.without_times(json.loads(capsys.readouterr().out)) == audit_cases.without_times(first)


def test_interrupt_says_how_to_resume_and_resumes(capsys, fake_attacks):
    fake_attacks.interrupt_before = 2
    assert main([*AUDIT, "--out", "out"]) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "same command" in printed.err
    assert "out/journal" in printed.err
    fake_attacks.interrupt_before = None
    assert main([*AUDIT, "--out", "out"]) == 0
    assert fake_attacks.steps == [0, 1, 2]
    assert not Path("out/journal").exists()


def test_an_interrupt_while_the_parts_are_still_loading_is_one_line_too(monkeypatch, capsys):
    class Impatient:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "linpoison.cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "linpoison.cli.commands", raising=False)
    monkeypatch.delattr("linpoison.cli.commands", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Impatient, *sys.meta_path])
    assert main([*AUDIT, "--out", "out"]) == 130
    assert "linpoison: interrupted, nothing was reported. Run" in capsys.readouterr().err


def test_interrupt_ends_the_workers(fake_attacks):
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    worker.start()
    fake_attacks.interrupt_before = 0
    assert main([*AUDIT, "--quiet"]) == 130
    worker.join(20)
    assert worker.exitcode not in (None, 0)


@pytest.mark.parametrize("failure", [MemoryError(), OSError(28, "No space left on device", "out")])
def test_machine_trouble_is_one_line(failure, capsys, fake_attacks):
    fake_attacks.fail_with = failure
    assert main([*AUDIT, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"linpoison: error: expected .+, got .+\n", error)


def test_a_defect_has_its_own_code_and_keeps_its_traceback(fake_attacks, capsys, monkeypatch):
    fake_attacks.fail_with = RuntimeError("a\ndefect")
    assert main([*AUDIT, "--quiet"]) == 70
    told = capsys.readouterr().err
    assert told.startswith("linpoison: a defect of the program: RuntimeError: a defect (set LINPOISON_DEBUG=1")
    assert told.count("\n") == 1
    monkeypatch.setenv("LINPOISON_DEBUG", "1")
    assert main([*AUDIT, "--quiet"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_folder_that_cannot_be_written_after_all_is_one_line(capsys, monkeypatch):
    def refuse(self, folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(linpoison.AuditReport, "save", refuse)
    assert main([*AUDIT, "--quiet"]) == 2
    assert "Permission denied for linpoison-report" in capsys.readouterr().err


SWEEP = ("sweep", "gaussians", "--epsilon", "0.05", "0.1", "--defenses", "l2,slab", "none", "--jobs", "1", *ONE)


def test_sweep_prints_and_writes_a_table(capsys):
    assert main([*SWEEP, "--seed", "0", "3", "--out", "out"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    first = next(place for place, line in enumerate(lines) if line.split()[:3] == ["attack", "epsilon", "seed"])
    axes = [[epsilon, seed] for epsilon in ("0.05", "0.1") for seed in "0033"]
    assert [line.split()[1:3] for line in lines[first + 1 : first + 9]] == axes
    assert "audits 8/8" in printed.err
    assert len(Path("out/sweep.csv").read_text().splitlines()) == 9
    reports = [linpoison.AuditReport.from_json(path.read_text()) for path in Path("out").glob("*/report.json")]
    assert sorted(report.seed for report in reports) == [0] * 4 + [3] * 4
    assert main([*SWEEP, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path("linpoison-sweep/sweep.csv").is_file()


def test_sweep_tells_what_failed_and_goes_on(capsys, monkeypatch):
    class Failing(audit_cases.FakeAttack):
        def _search(self, scenario, run):
            if scenario.n_poison > 30:
                raise linpoison.SolverFailed("expected a solution, got none.")
            return super()._search(scenario, run)

    monkeypatch.setitem(audit_cases.REGISTRY, "kkt", Failing)
    assert main([*SWEEP, "--out", "out"]) == 0
    assert capsys.readouterr().out.count("failed: kkt, 0.1, 0, test") == 2
    assert Path("out/sweep.csv").read_text().count("got none") == 2


def test_an_interrupted_sweep_says_how_to_resume(capsys, fake_attacks):
    fake_attacks.interrupt_before = 1
    assert main([*SWEEP, "--out", "out"]) == 130
    assert "resume from out." in capsys.readouterr().err
    fake_attacks.interrupt_before = None
    fake_attacks.steps.clear()
    assert main([*SWEEP, "--out", "out"]) == 0
    assert fake_attacks.steps == [1, 2, *[0, 1, 2] * 3]


def test_evaluate_prints_the_table_of_the_audit(capsys):
    assert main([*AUDIT, "--json"]) == 0
    audited = json.loads(capsys.readouterr().out)
    words = ["evaluate", "gaussians", "--poison", "linpoison-report/poison.npz", "--defenses", "l2,slab"]
    assert main([*words, "--json", "--out", "scored"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["attacks"][0]["test_error"] == audited["attacks"][0]["test_error"]
    assert Path("scored/report.html").is_file()
    assert main(words) == 0
    assert "poison.npz" in capsys.readouterr().out


def test_sanitize_writes_survivors(capsys):
    assert main(["sanitize", "gaussians", "--defense", "l2,slab", "--out", "kept.npz"]) == 0
    said = capsys.readouterr().out
    with np.load("kept.npz") as stored:
        assert f"{stored['kept'].size} of 400 training rows of gaussians kept" in said
        assert stored["kept"].size + stored["removed"].size == 400
    assert main(["sanitize", "gaussians", "--defense", "l2", "--out", "kept.csv", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_datasets_lists_every_name(capsys):
    from linpoison.datasets import names

    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [info.name for info in names()]


@pytest.mark.parametrize(
    "words", [["--help"], ["audit", "--help"], ["sweep", "-h"], ["evaluate", "-h"], ["sanitize", "-h"], []]
)
def test_help(words, capsys):
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "usage: linpoison" in printed.out
    assert printed.err == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"linpoison {linpoison.__version__}\n"


def test_audit_without_pictures_to_draw_imports_no_matplotlib():
    code = (
        "import sys; from linpoison.cli import main\n"
        "rc = main(['sanitize', 'gaussians', '--defense', 'l2', '--out', 'k.npz', '--quiet'])\n"
        "sys.exit(rc or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lazy_names_are_all_there():
    for name in linpoison.__all__:
        assert getattr(linpoison, name) is not None
    assert set(linpoison.__all__) <= set(dir(linpoison))
    with pytest.raises(AttributeError, match="nothing"):
        _ = linpoison.nothing
    assert callable(linpoison.audit)


class Stream:
    """A text stream that may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.text, self.terminal = "", terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self.terminal


def test_progress_is_a_few_lines_off_a_terminal():
    stream = Stream(terminal=False)
    with ProgressLine(stream) as progress:
        for done in range(101):
            progress(done, 100, "decoys")
        progress(1, 4, "finals")
    assert stream.text.splitlines() == ["linpoison: decoys 0 %", "linpoison: decoys 100 %", "linpoison: finals 1/4"]


def test_progress_is_a_bar_on_a_terminal_and_nothing_when_quiet():
    stream, silent = Stream(terminal=True), Stream(terminal=True)
    with ProgressLine(stream) as progress, ProgressLine(silent, quiet=True) as nothing:
        progress(1, 4, "decoys")
        progress(1, 2, "finals")
        nothing(1, 4, "decoys")
    assert "decoys" in stream.text
    assert "finals" in stream.text
    assert silent.text == ""
