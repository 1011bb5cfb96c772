"""`linpoison subpop`: table, files, resuming, and errors in one line."""

from __future__ import annotations

import json

import pytest

from linpoison.cli import main

QUICK = ["subpop", "gaussians", "--clusters", "4", "--components", "2", "--groups", "2", "--alpha", "1", "2"]


@pytest.mark.parametrize("attack", ["label-flip", "convex"])
def test_table_and_files(attack, capsys, tmp_path):
    assert main([*QUICK, "--attack", attack, "--out", str(tmp_path / "r"), "--model", "logistic"]) == 0
    text = capsys.readouterr().out
    assert "alpha 2: worst 5" in text
    assert text.count("cluster ") == 4
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["damage.png", "map.png", "subpop.json"]
    assert len(json.loads((tmp_path / "r" / "subpop.json").read_text())["groups"]) == 4
    assert (tmp_path / "r" / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_json_alone(capsys):
    assert main([*QUICK, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {group["alpha"] for group in found["groups"]} == {1.0, 2.0}


def test_resumes_from_the_journal(tmp_path, monkeypatch, capsys):
    from linpoison.subpopulations import ProblemTrainer

    real, fits = ProblemTrainer.fit, []

    def failing(self, rows, seed):
        fits.append(rows.n)
        if len(fits) == 5:
            raise KeyboardInterrupt
        return real(self, rows, seed)

    monkeypatch.setattr(ProblemTrainer, "fit", failing)
    out = [*QUICK, "--out", str(tmp_path / "r"), "--quiet"]
    assert main(out) == 130
    assert "resume" in capsys.readouterr().err
    assert main(out) == 0
    assert len(fits) == 5 + 1 + 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--attack", "magic"], "label-flip, convex"),
        (["--alpha", "0"], "alpha"),
        (["--match", "height"], "columns by name or number"),
        (["--clusters", "0"], "clusters"),
    ],
)
def test_errors_are_one_line(options, text, capsys):
    assert main(["subpop", "gaussians", "--quiet", *options]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
