"""Bad input to ``certify`` and ``budget``: one line with expected and got, exit code 2, nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audit_cases import small_split

from linpoison.cli import main

pytestmark = pytest.mark.usefixtures("in_tmp")

CERTIFY = ("certify", "gaussians", "--attack", "none")
BUDGET = ("budget", "gaussians", "--target", "flip:0")


def nothing() -> None:
    pass


def text(name: str, content: str) -> Callable[[], None]:
    return lambda: Path(name).write_text(content) and None


def model(**arrays) -> Callable[[], None]:
    return lambda: np.savez("goal.npz", **arrays)


def aimed(*more: str) -> tuple[str, ...]:
    return ("budget", "gaussians", "--target", *more)


THREE = "a,b,label\n" + "1,2,x\n2,1,y\n3,3,z\n" * 4
SHARED = {
    "unknown model": (("--model", "forest"), nothing, "svm, logistic, ridge"),
    "unknown defence": (("--defenses", "wall"), nothing, "'wall'"),
    "reg of zero": (("--reg", "0"), nothing, "reg"),
    "reg of nan": (("--reg", "nan"), nothing, "reg"),
    "reg in words": (("--reg", "much"), nothing, "a number"),
    "nothing bounds the rows": (("--defenses", "none"), nothing, "Name l2 among --defenses"),
    "defences without a set": (("--defenses", "knn"), nothing, "Name l2 among --defenses"),
    "output without a name": (("--out", ""), nothing, "a file or folder, got ''"),
    "output is a file": (("--out", "taken"), text("taken", "x"), "the file taken"),
    "output below a file": (("--out", "taken/deep"), text("taken", "x"), "cannot"),
    "unknown option": (("--fast",), nothing, "--fast"),
    "unknown variant": (("--variant", "own"), nothing, "paper, reference"),
    "class weights": (("--class-weight", "1=2"), nothing, "sample weights"),
    "no estimator file": (("--estimator", "m.skops"), nothing, "existing estimator"),
}
BAD = {
    **{f"certify, {name}": ((*CERTIFY, *words), prepare, hint) for name, (words, prepare, hint) in SHARED.items()},
    **{f"budget, {name}": ((*BUDGET, *words), prepare, hint) for name, (words, prepare, hint) in SHARED.items()},
    "certify unknown data": (("certify", "gausians"), nothing, "Did you mean gaussians"),
    "budget unknown data": (("budget", "gausians", "--target", "flip:0"), nothing, "Did you mean gaussians"),
    "certify three classes": (("certify", "rows.csv"), text("rows.csv", THREE), "two classes"),
    "budget three classes": (("budget", "rows.csv", "--target", "flip:0"), text("rows.csv", THREE), "two classes"),
    "negative epsilon": ((*CERTIFY, "--epsilon=-0.1"), nothing, "0.03 means 3 %"),
    "epsilon of zero": ((*CERTIFY, "--epsilon", "0"), nothing, "0.03 means 3 %"),
    "epsilon above one": ((*CERTIFY, "--epsilon", "3"), nothing, "0.03 means 3 %"),
    "epsilon of nan": ((*CERTIFY, "--epsilon", "nan"), nothing, "0.03 means 3 %"),
    "epsilon without end": ((*CERTIFY, "--epsilon", "0.1,inf"), nothing, "0.03 means 3 %"),
    "epsilon in words": ((*CERTIFY, "--epsilon", "few"), nothing, "'few'"),
    "one epsilon in words": ((*CERTIFY, "--epsilon", "0.1,few"), nothing, "'few'"),
    "empty epsilon": ((*CERTIFY, "--epsilon", ""), nothing, "0.01,0.03"),
    "empty epsilon between": ((*CERTIFY, "--epsilon", "0.01,,0.03"), nothing, "0.01,0.03"),
    "empty epsilon at the end": ((*CERTIFY, "--epsilon", "0.01,"), nothing, "0.01,0.03"),
    "too long a count": (("certify", "gaussians", "--kind", "flips", "--count", "1" * 5000), nothing, "at most 18"),
    "too many answers": (("certify", "gaussians", "--rows", "0", "--count", "1" * 5000), nothing, "at most 18"),
    "epsilon of no row": ((*CERTIFY, "--epsilon", "1e-9"), nothing, "at least one poison row"),
    "unknown attack": (("certify", "gaussians", "--attack", "magic"), nothing, "'magic'"),
    "empty attack": (("certify", "gaussians", "--attack", "kkt,"), nothing, "attacks among"),
    "unknown certificate": ((*CERTIFY, "--certificates", "luck"), nothing, "test-error, average-loss"),
    "empty certificate": ((*CERTIFY, "--certificates", "test-error,"), nothing, "test-error, average-loss, got ''"),
    "certificate twice": (
        (*CERTIFY, "--certificates", "average-loss,average-loss"), nothing, "named once, got 'average-loss,aver"
    ),
    "blank certificates": ((*CERTIFY, "--certificates", ",,"), nothing, "average-loss, got '', '', ''"),
    "no certificate": ((*CERTIFY, "--certificates", ""), nothing, "test-error, average-loss"),
    "limit above one": ((*CERTIFY, "--fail-above", "20"), nothing, "0.2 means 20 %"),
    "no worker": ((*CERTIFY, "--jobs", "0"), nothing, "jobs"),
    "no target": (("budget", "gaussians"), nothing, "--target"),
    "unknown target": (aimed("all"), nothing, "'decoys', or 'flip:I'"),
    "empty target": (aimed(""), nothing, "'decoys', or 'flip:I'"),
    "no file of a target": (aimed("goal.npz"), nothing, "goal.npz"),
    "folder for a target": (aimed("."), nothing, "'decoys', or 'flip:I'"),
    "flip out of range": (aimed("flip:99999"), nothing, "numbers of test rows below"),
    "flip of a word": (aimed("flip:abc"), nothing, "Such as flip:17"),
    "flip of nothing": (aimed("flip:"), nothing, "Such as flip:17"),
    "flip of a negative row": (aimed("flip:-1"), nothing, "Such as flip:17"),
    "flip of half a row": (aimed("flip:1.5"), nothing, "Such as flip:17"),
    "flip of a raised row": (aimed("flip:\u00b2"), nothing, "Such as flip:17"),
    "text for a target": (aimed("goal.npz"), text("goal.npz", "1 2 3"), "goal.npz"),
    "target without intercept": (aimed("goal.npz"), model(coef=np.ones(10)), "goal.npz"),
    "target of another length": (aimed("goal.npz"), model(coef=np.ones(3), intercept=0.0), "10 features"),
    "target of several rows": (aimed("goal.npz"), model(coef=np.ones((2, 5)), intercept=0.0), "coef of shape (2, 5)"),
    "target of two intercepts": (aimed("goal.npz"), model(coef=np.ones(10), intercept=[0.0, 1.0]), "shape (2,)"),
    "target of nan": (aimed("goal.npz"), model(coef=np.full(10, np.nan), intercept=0.0), "goal.npz"),
    "target of words": (aimed("goal.npz"), model(coef=np.array(["a"] * 10), intercept=0.0), "goal.npz"),
    "pickled target": (aimed("goal.npz"), model(coef=np.array([{}] * 10), intercept=0.0), "goal.npz"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "prepare", "hint"), BAD.values(), ids=BAD.keys())
def test_bad_input(words, prepare, hint, capsys):
    prepare()
    before = sorted(Path().rglob("*"))
    assert main(list(words)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    error = [line for line in printed.err.splitlines() if line.startswith("linpoison: error:")]
    assert len(error) == 1
    assert "Traceback" not in printed.err
    assert re.fullmatch(r"linpoison: error: .*expected .+, got .+", error[0])
    assert hint in error[0]
    assert sorted(Path().rglob("*")) == before


def test_json_stands_alone_beside_the_files(capsys):
    """With --json the page and its figure are still written, and standard output is JSON and nothing else."""
    import json

    few = small_split(40)
    np.savez("few.npz", X=few.train.X, y=few.train.y, X_test=few.test.X, y_test=few.test.y)
    words = ("--model", "ridge", "--reg", "0.3", "--epsilon", "0.05", "--defenses", "l2", "--out", "found", "--json")
    assert main(["certify", "few.npz", "--attack", "none", *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("found/certify.json").read_text())
    assert "data:image/svg+xml" in Path("found/certify.html").read_text()
