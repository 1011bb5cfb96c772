"""Suites: what a file may say, what runs, and what build servers are told."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import pytest
from sarif_schema import LOG

from linpoison import InputError, check
from linpoison.auditing import Suite
from linpoison.cli import main

HEAD = '[defaults]\nattacks = "random-flips"\ndefenses = "l2"\njobs = 1\n'
GOOD = """
[audits.loose]
data = "gaussians"
gates = { error = 0.9, damage = 0.9 }

[audits.tight]
data = "gaussians"
target = "split:0.5"
gates = { unseen = 0.0 }
"""
BAD = '[audits.gone]\ndata = "no|such"\n'


def written(folder, text, name="linpoison.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_build_servers_are_told_what_is_met_and_what_is_not(tmp_path):
    path = written(tmp_path, HEAD + GOOD + BAD)
    report = check(path, out=tmp_path / "out")
    assert [entry.state for entry in report.entries] == ["met", "not met", "failed"]
    assert [entry.line for entry in report.entries] == [6, 10, 14]
    log = json.loads((tmp_path / "out/check.sarif").read_text())
    jsonschema.validate(log, LOG)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    told = [(item["ruleId"], item["kind"], item["level"]) for item in run["results"]]
    assert told == [("LP001", "pass", "none"), ("LP003", "pass", "none"), ("LP002", "fail", "error")]
    assert all(rules[item["ruleIndex"]] == item["ruleId"] for item in run["results"])
    assert run["results"][2]["locations"][0]["physicalLocation"]["region"] == {"startLine": 10}
    assert not run["invocations"][0]["executionSuccessful"]
    suite = ET.parse(tmp_path / "out/check.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    assert suite.find("testcase[@classname='linpoison.tight']/failure").get("message").startswith("test error")
    lines = (tmp_path / "out/check.md").read_text().splitlines()
    assert len({line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}) == 1
    assert any("no\\|such" in line for line in lines)
    assert (tmp_path / "out/tight/report.json").is_file()


def test_a_schema_that_takes_everything_would_show_nothing():
    log = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [{"message": {"text": "y"}}]}]}
    jsonschema.validate(log, LOG)
    log["runs"][0]["results"][0]["rule_id"] = "LP001"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, LOG)


def test_a_worse_model_fails_against_the_baseline_and_codes_are_as_documented(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = HEAD + '[audits.one]\ndata = "gaussians"\nmodel = "ridge"\ngates = { error = 0.01 }\n'
    written(tmp_path, text)
    assert main(["check", "--quiet", "--out", "base"]) == 1
    assert "one: not met; test error behind every filter at once" in capsys.readouterr().err
    assert main(["check", "--quiet", "--out", "same", "--baseline", "base"]) == 0
    written(tmp_path, text.replace('"ridge"', '"ridge"\nreg = 100'))
    assert main(["check", "--quiet", "--out", "worse", "--baseline", "base"]) == 1
    growth = re.search(r"over the baseline: (\S+) points \(.*, from (\S+) % to (\S+) %\)", capsys.readouterr().err)
    grown, before, now = map(float, growth.groups())
    assert grown == pytest.approx(now - before, abs=0.11)
    written(tmp_path, text.replace("error = 0.01", "error = 0.9, worse = 0.5").replace('"ridge"', '"ridge"\nreg = 100'))
    assert main(["check", "--quiet", "--out", "worse", "--baseline", "base"]) == 0
    assert main(["check", "--quiet", "--out", "worse"]) == 0
    written(tmp_path, HEAD + BAD)
    assert main(["check", "--quiet", "--out", "gone"]) == 2
    assert main(["check", "--quiet", "--only", "none", "--out", "gone"]) == 2


def test_no_run_writes_over_its_own_baseline(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, HEAD + '[audits.one]\ndata = "gaussians"\n')
    assert main(["check", "--quiet"]) == 0
    kept = (tmp_path / "linpoison-check/one/report.json").read_bytes()
    assert main(["check", "--quiet", "--baseline", "linpoison-check"]) == 2
    once = ["audit", "gaussians", "--attack", "breakdown", "--quiet", "--out", "linpoison-check/one"]
    assert main([*once, "--baseline", "linpoison-check/one/report.json"]) == 2
    assert main([*once[:4], "--gate", "error=0", "--gate", "error=1"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in told[:2]] == [
        "linpoison: error: expected an output folder apart from the baseline"
    ] * 2
    assert "gates that are named once" in told[2]
    assert (tmp_path / "linpoison-check/one/report.json").read_bytes() == kept


def test_an_audit_that_is_done_is_read_back(tmp_path, monkeypatch):
    path = written(tmp_path, HEAD + GOOD)
    first = check(path, out=tmp_path / "out")
    monkeypatch.setattr("linpoison.auditing.sweeping.audit", None)
    again = check(path, out=tmp_path / "out")
    assert again.to_json() == first.to_json()


def test_a_redacted_check_writes_no_poison_and_is_no_answer_to_one_that_is_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, HEAD + GOOD.partition("[audits.tight]")[0])
    told = []
    report = check(out="bare", redact=True, progress=lambda *said: told.append(said))
    assert report.entries[0].report.poisons == {}
    assert not [path for path in (tmp_path / "bare").rglob("*") if path.name.startswith("poison")]
    assert any("loose, " in words and "random-flips" in words for _, _, words in told)
    assert main(["check", "--redact", "--out", "bare", "--json"]) == 0
    assert main(["check", "--out", "bare", "--quiet"]) == 0
    assert (tmp_path / "bare/loose/poison.npz").exists()
    assert main(["check", "--redact", "--out", "bare", "--quiet"]) == 2
    assert "an output folder without poison files" in capsys.readouterr().err


def test_pyproject_holds_a_suite_too_and_files_lie_beside_it(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(40)))
    text = '[project]\nname = "x"\n\n[tool.linpoison.audits."my.rows"]\ndata = "rows.csv"\n'
    path = written(tmp_path, text, "pyproject.toml")
    monkeypatch.chdir(tmp_path)
    (audit,) = Suite.read().audits
    assert (audit.name, audit.line) == ("my.rows", 4)
    monkeypatch.chdir("/")
    (audit,) = Suite.read(path).audits
    assert audit.data == str(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one table"),
        ("audits = 3", "audits as a table"),
        ("[audit.x]\ndata = 'gaussians'", "Did you mean 'audits'"),
        ("[audits.x]\n", "data as a name or a file"),
        ("[audits.x]\ndata = 'gaussians'\nepsilom = 0.1", "Did you mean 'epsilon'"),
        ("[audits.x]\ndata = 'gaussians'\nepsilon = 3", r"got 3.*\(In \[audits.x\]"),
        ("[audits.x]\ndata = 'gaussians'\ngates = { unseen = 0.1 }", "got target test"),
        ("[audits.x]\ndata = 'gaussians'\nbaseline = 'none.json'", "the report.json of an audit"),
        ("[audits.'../x']\ndata = 'gaussians'", "names of audits"),
        ("[audits.'check.json']\ndata = 'gaussians'", "names of audits"),
        ("[audits.x]\ndata = 'gaussians'\ngates = []", "gates as a mapping"),
        ("[audits.x\n", "a suite in TOML"),
    ],
)
def test_a_suite_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as caught:
        Suite.read(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "words"), [(b"\xff", "--config"), (b"\xff[tool.linpoison]", "a suite in TOML")])
def test_a_project_file_of_another_encoding_is_no_crash(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(InputError, match=words):
        Suite.read()


def test_without_a_suite_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Or name a file with --config"):
        Suite.read()
