"""An L1 ball with its sanitiser, of a package of two files that registers both, in every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from audit_cases import small_split
from foreign import register
from l1_ball import L1Ball

import linpoison
from linpoison.attacks import Influence
from linpoison.certificates import Certificate
from linpoison.core import Poison
from linpoison.sets import FeasibleSet

PACKAGE = Path(__file__).parents[1] / "support" / "l1_package"
RIDGE = {"model": "ridge", "reg": 0.3}


def install(folder: Path) -> None:
    """What pip makes of the project file."""
    made = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {group.removeprefix("linpoison."): entries for group, entries in made["entry-points"].items()}
    register(folder, made["name"], **groups)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def means(data):
    return {y: data.train.X[data.train.y == y].mean(axis=0) for y in (1, -1)}


def test_it_works_in_every_command(installed):
    data = small_split()
    attack = Influence(starts=1, steps=20, finalists=1)
    report = linpoison.audit(data, defenses="l1,l2", attacks=[attack], jobs=1, **RIDGE)
    assert list(report.attacks[0].test_error) == ["none", "l1", "l2"]
    assert report.attacks[0].kept_fraction["l1"] == 1
    assert linpoison.sanitize(data, defenses="l1").defenses == ("l1",)
    far = Poison([[9.0, 9.0, 9.0]], [-1], [3])
    assert linpoison.evaluate(data, far, defenses="l1", **RIDGE).attacks[0].kept_fraction["l1"] == pytest.approx(1 / 3)
    rows = linpoison.sweep(data, defenses=["l1"], attacks=["random-flips"], jobs=1, **RIDGE).records()
    assert {row["defenses"] for row in rows} == {"l1"}
    spent = linpoison.budget(data, linpoison.LinearModel(np.array([0.1, 0.1, 0.1])), defenses="l1", **RIDGE).entries[0]
    assert 0 < spent["bound"] <= spent["primal"] * (1 + 1e-6)


def test_a_certificate_holds_the_set_itself(installed, tmp_path):
    data = small_split()
    out, attack = tmp_path / "out", Influence(starts=1, steps=20, finalists=1)
    report = linpoison.certify(data, epsilon=0.03, defenses="l1", attacks=[attack], jobs=1, out=out, **RIDGE)
    rung = report.rungs[-1]
    assert report.defenses == ["l1"]
    assert rung["attack_loss"] <= rung["loss_bound"] < 1
    assert rung["attack_error"] <= rung["bound"] < 1
    wider = linpoison.certify(data, epsilon=0.03, defenses="l2", certificates="average-loss", **RIDGE).rungs[0]
    assert rung["loss_bound"] < wider["loss_bound"]


def test_no_bound_is_looser_than_the_set(installed):
    """The greatest loss over a polytope is that of a vertex: no other point is charged for."""
    from linpoison.auditing.certifying import CertifyOptions
    from linpoison.auditing.inputs import prepare
    from linpoison.auditing.trusted import trusted

    data = small_split()
    defender = trusted(prepare(data, CertifyOptions(defenses="l1", certificates="average-loss", **RIDGE)))
    for y, mean in means(data).items():
        part = defender.sets[y]
        np.testing.assert_allclose(part.center, mean, atol=1e-12)
        vertices = mean + part.radius * np.vstack([np.eye(3), -np.eye(3)])
        for w in np.random.default_rng(0).normal(size=(10, 3)):
            assert part.support_bound(w) == pytest.approx((vertices @ w).max(), rel=1e-11)


READ = """
import sys
from linpoison import certificates, load
from linpoison.core import Dataset
import numpy as np
found = np.load(sys.argv[2])
read = certificates.Certificate.load(sys.argv[1], Dataset(found["X"], found["y"]))
read.verify()
print(type(read.claim.sets[1]).__name__, type(read.claim.sets[1]).__module__, read.bound)
"""


def test_another_process_reads_its_certificate_if_the_package_is_there(installed, tmp_path):
    from linpoison.certificates import Claim, certify_average_loss
    from linpoison.losses import Hinge, Problem
    from linpoison.sets import ByLabel

    data = small_split()
    claim = Claim(data.train, Problem(Hinge(), 0.1), ByLabel({y: L1Ball(m, 3.0) for y, m in means(data).items()}), 0.05)
    made = certify_average_loss(claim)
    made.save(tmp_path / "bound")
    assert Certificate.load(tmp_path / "bound", data.train).bound == made.bound
    np.savez(tmp_path / "data.npz", X=data.train.X, y=data.train.y)
    said = run(tmp_path, [str(installed), str(PACKAGE)])
    assert said.stdout.split() == ["L1Ball", "l1_ball", str(made.bound)], said.stderr
    without = run(tmp_path, [])
    assert without.stdout == ""
    assert "got 'L1Ball'. Install the package that brings it." in without.stderr.splitlines()[-1]


def run(tmp_path, folders):
    return subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "bound"), str(tmp_path / "data.npz")],
        env=with_path(folders), capture_output=True, text=True, check=False,
    )  # fmt: skip


def with_path(folders):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])}


def test_the_command_line_certifies_with_it(installed, tmp_path):
    words = ["certify", "gaussians", "--model", "ridge", "--reg", "0.3", "--epsilon", "0.01", "--defenses", "l1"]
    words += ["--certificates", "average-loss", "--attack", "none", "--out", str(tmp_path / "out")]
    said = subprocess.run(
        [sys.executable, "-m", "linpoison", *words],
        env=with_path([str(installed), str(PACKAGE)]), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    report = json.loads((tmp_path / "out" / "certify.json").read_text(encoding="utf-8"))
    assert (report["defenses"], report["left_out"]) == (["l1"], {})
    assert report["rungs"][-1]["clean_loss"] <= report["rungs"][0]["loss_bound"] < 1


def test_a_set_without_a_bound_is_named_before_any_work(installed, monkeypatch, fake_attacks):
    monkeypatch.setattr(L1Ball, "_support_bound", FeasibleSet._support_bound)
    with pytest.raises(linpoison.InputError, match="a defence or a domain that bounds the rows"):
        linpoison.certify(small_split(), epsilon=0.01, defenses="l1", attacks="fake", **RIDGE)
    assert fake_attacks.steps == []
    report = linpoison.certify(small_split(), epsilon=0.01, defenses="l1,l2", certificates="average-loss", **RIDGE)
    assert (report.defenses, report.left_out) == (["l2"], {"l1": "its set has no bound on its support"})
