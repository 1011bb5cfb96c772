"""Bad input: one line with expected and got, exit code 2, nothing written."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from linpoison.cli import main

pytestmark = pytest.mark.usefixtures("in_tmp", "fake_attacks")

AUDIT = ("audit", "gaussians")
SWEEP = ("sweep", "gaussians")


def write(name: str, content: str | bytes) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def save(name: str, **arrays) -> Callable[[], None]:
    return lambda: np.savez(name, **arrays)


def text(name: str, content: str | bytes) -> Callable[[], None]:
    return lambda: write(name, content)


def pickled(name: str) -> Callable[[], None]:
    return lambda: write(name, pickle.dumps({"y": np.ones(3)}))


def folder(name: str) -> Callable[[], None]:
    return lambda: Path(name).mkdir()


def other_zip() -> None:
    np.savez("m.npz", y=ROW)
    Path("m.npz").rename("m.skops")


def counted() -> None:
    """A table of counts up to 4, a test row with 5 in it, and poison with 6."""
    rows = [f"{k % 5},{(k * k) % 4},{'a' if k % 2 else 'b'}\n" for k in range(40)]
    write("rows.csv", "u,v,label\n" + "".join(rows))
    write("more.csv", "u,v,label\n5,0,a\n0,1,b\n")
    np.savez("p.npz", X=[[6.0, 0.0]], y=[1], count=[2])


def nothing() -> None:
    pass


ROW = np.zeros((1, 10))
EVERY = (
    ("audit",), ("sweep",), ("certify",), ("budget", "--target", "decoys"), ("evaluate", "--poison", "p.npz"),
    ("sanitize", "--defense", "l2", "--out", "kept.csv"),
)  # fmt: skip
"""Every command that takes a domain, with what else it needs."""
BAD = {
    "epsilon of zero": ((*AUDIT, "--epsilon", "0"), nothing, "epsilon"),
    "negative epsilon": ((*AUDIT, "--epsilon", "-0.1"), nothing, "epsilon"),
    "epsilon above one": ((*AUDIT, "--epsilon", "3"), nothing, "0.03 means 3 %"),
    "epsilon of nan": ((*AUDIT, "--epsilon", "nan"), nothing, "epsilon"),
    "infinite epsilon": ((*AUDIT, "--epsilon", "inf"), nothing, "epsilon"),
    "epsilon in words": ((*AUDIT, "--epsilon", "few"), nothing, "a number"),
    "budget of no row": ((*AUDIT, "--epsilon", "0.0001"), nothing, "rounds to 0"),
    "unknown attack": ((*AUDIT, "--attack", "magic"), nothing, "attacks among"),
    "no attack": ((*AUDIT, "--attack", "none"), nothing, "attacks among"),
    "attack twice": ((*AUDIT, "--attack", "kkt,kkt"), nothing, "twice"),
    "unknown defence": ((*AUDIT, "--defenses", "l2,wall"), nothing, "'wall'"),
    "defence twice": ((*AUDIT, "--defenses", "l2,slab,l2"), nothing, "twice"),
    "empty name": ((*AUDIT, "--defenses", "l2,"), nothing, "''"),
    "unknown model": ((*AUDIT, "--model", "forest"), nothing, "svm, logistic, ridge"),
    "unknown variant": ((*AUDIT, "--variant", "own"), nothing, "paper, reference"),
    "unknown domain": ((*AUDIT, "--domain", "complex"), nothing, "real, box, counts"),
    "unknown data": (("audit", "gausians"), nothing, "Did you mean gaussians"),
    "reg of zero": ((*AUDIT, "--reg", "0"), nothing, "reg"),
    "negative reg": ((*AUDIT, "--reg", "-1"), nothing, "reg"),
    "reg of nan": ((*AUDIT, "--reg", "nan"), nothing, "reg"),
    "remove all": ((*AUDIT, "--remove", "1"), nothing, "remove"),
    "negative remove": ((*AUDIT, "--remove", "-0.1"), nothing, "remove"),
    "remove a whole class": ((*AUDIT, "--attack", "kkt", "--remove", "0.999"), nothing, "at least one row kept"),
    "unknown target": ((*AUDIT, "--target", "all"), nothing, "'test', 'train', 'split:F'"),
    "rows that are not there": ((*AUDIT, "--target", "rows:99999"), nothing, "below"),
    "rows named twice": ((*AUDIT, "--target", "rows:1,1"), nothing, "each once"),
    "no target row": ((*AUDIT, "--target", "rows:"), nothing, "at least one test row"),
    "negative row": ((*AUDIT, "--target", "rows:3,-1"), nothing, "from 0 on, got -1"),
    "half a row": ((*AUDIT, "--target", "rows:1.5"), nothing, "or a file of them"),
    "row missing between commas": ((*AUDIT, "--target", "rows:1,,2"), nothing, "whole numbers between commas"),
    "no file of rows": ((*AUDIT, "--target", "rows:few.txt"), nothing, "'few.txt' (No such file or directory)"),
    "folder of rows": ((*AUDIT, "--target", "rows:few"), folder("few"), "'few', which is not a file"),
    "empty file of rows": ((*AUDIT, "--target", "rows:few.txt"), text("few.txt", "\n"), "at least one test row"),
    "words for rows": ((*AUDIT, "--target", "rows:few.txt"), text("few.txt", "1\ntwo\n"), "'two' in few.txt"),
    "binary file of rows": ((*AUDIT, "--target", "rows:few.txt"), text("few.txt", b"\xff\xfe\x00"), "whole numbers"),
    "mask for rows": ((*AUDIT, "--target", "rows:few.npy"), lambda: np.save("few.npy", np.array([True, False])),
                      "an array of bool"),
    "pickled rows": ((*AUDIT, "--target", "rows:few.npy"), pickled("few.npy"), "which is a pickle"),
    "all and a name": ((*AUDIT, "--attack", "all,kkt"), nothing, "'all' alone"),
    "sweep of one budget twice": ((*SWEEP, "--epsilon", "0.1", "0.1"), nothing, "combinations that differ"),
    "sweep of a bad budget": ((*SWEEP, "--epsilon", "0.1", "3"), nothing, "0.03 means 3 %"),
    "sweep of no budget": ((*SWEEP, "--epsilon"), nothing, "--epsilon"),
    "sweep of budget in words": ((*SWEEP, "--epsilon", "0.1", "few"), nothing, "a number"),
    "sweep of an unknown attack": ((*SWEEP, "--attack", "kkt", "magic"), nothing, "'magic'"),
    "sweep of an unknown defence": ((*SWEEP, "--defenses", "l2", "l2,wall"), nothing, "'wall'"),
    "sweep of an unknown target": ((*SWEEP, "--target", "test", "all"), nothing, "target"),
    "sweep of a row that is not there": ((*SWEEP, "--target", "test", "rows:99999"), nothing, "below"),
    "sweep of half a seed": ((*SWEEP, "--seed", "0.5"), nothing, "whole number"),
    "sweep of unknown data": (("sweep", "gausians"), nothing, "Did you mean gaussians"),
    "sweep of no data": (("sweep",), nothing, "DATA"),
    "sweep where nothing works": ((*SWEEP, "--attack", "kkt", "--remove", "0.999", "--quiet"),
                                nothing, "got 1 that failed"),
    "sweep into a file": ((*SWEEP, "--out", "taken"), text("taken", "x"), "the file taken"),
    "sweep with no worker": ((*SWEEP, "--jobs", "0"), nothing, "jobs"),
    "split of zero": ((*AUDIT, "--target", "split:0"), nothing, "split:F"),
    "split of all": ((*AUDIT, "--target", "split:1"), nothing, "split:F"),
    "split that leaves no rows": ((*AUDIT, "--target", "split:0.001"), nothing, "stratified"),
    "no worker": ((*AUDIT, "--jobs", "0"), nothing, "jobs"),
    "half a worker": ((*AUDIT, "--jobs", "0.5"), nothing, "whole number"),
    "negative seed": ((*AUDIT, "--seed", "-1"), nothing, "seed"),
    "limit above one": ((*AUDIT, "--fail-above", "20"), nothing, "0.2 means 20 %"),
    "negative limit": ((*AUDIT, "--fail-above", "-0.1"), nothing, "fail-above"),
    "counts of real data": ((*AUDIT, "--domain", "counts"), nothing, "counts"),
    "half a count": ((*AUDIT, "--domain", "counts:2.5"), nothing, "Such as counts:3"),
    **{f"entries over counts:3 of {words[0]}": ((words[0], "rows.csv", "--domain", "counts:3", *words[1:]), counted,
                                                "X inside its counts, got ") for words in EVERY},
    **{f"test entries over counts:4 of {words[0]}": (
        (words[0], "rows.csv", "--test", "more.csv", "--domain", "counts:4", *words[1:]), counted,
        "test X inside its counts, got 1 rows outside, by up to 1") for words in EVERY},
    **{f"poison outside of {domain}": (
        ("evaluate", "rows.csv", "--poison", "p.npz", "--domain", domain), counted,
        "poison X inside its ") for domain in ("counts:4", "counts", "box", "range")},
    "label of named data": ((*AUDIT, "--label", "y"), nothing, "label"),
    "test file of named data": ((*AUDIT, "--test", "rows.csv"), nothing, "test"),
    "test fraction of named data": ((*AUDIT, "--test-fraction", "0.5"), nothing, "Its split is fixed"),
    "test fraction of one": (("audit", "rows.csv", "--test-fraction", "1"), nothing, "test_fraction"),
    "output without a name": ((*AUDIT, "--out", " "), nothing, "a file or folder, got ' '"),
    "output is a file": ((*AUDIT, "--out", "taken"), text("taken", "x"), "the file taken"),
    "output below a file": ((*AUDIT, "--out", "taken/deep"), text("taken", "x"), "cannot"),
    "unknown option": ((*AUDIT, "--fast"), nothing, "--fast"),
    "shortened option": ((*AUDIT, "--eps", "0.1"), nothing, "--eps"),
    "unknown command": (("attack", "gaussians"), nothing, "attack"),
    "two data sets": (("audit", "gaussians", "counts"), nothing, "counts"),
    "estimator and model": ((*AUDIT, "--model", "svm", "--estimator", "m.skops"), nothing, "an estimator alone"),
    "estimator and reg": ((*AUDIT, "--reg", "1", "--estimator", "m.skops"), nothing, "an estimator alone"),
    "no estimator file": ((*AUDIT, "--estimator", "m.skops"), nothing, "existing estimator"),
    "pickled estimator": ((*AUDIT, "--estimator", "m.pkl"), pickled("m.pkl"), "can run any code"),
    "pickle in disguise": ((*AUDIT, "--estimator", "m.skops"), pickled("m.skops"), "which is not one"),
    "estimator of other zip": ((*AUDIT, "--estimator", "m.skops"),
                               other_zip,
                               "can be read"),
    "data is a folder": (("audit", "rows"), folder("rows"), "the folder rows"),
    "two dashes for defences": (("audit", "gaussians", "--defenses=--"), nothing, "expected one argument"),
    "data of no rows": (("audit", "rows.csv"), text("rows.csv", "a,label\n"), "expected"),
    "data of one class": (("audit", "rows.csv"), text("rows.csv", "a,label\n1,x\n2,x\n3,x\n"), "2 to 100 classes"),
    "three classes of a ridge": (("audit", "r.csv", "--model", "ridge"),
                                 text("r.csv", "a,label\n" + "1,x\n2,y\n3,z\n" * 9), "two classes"),
    "data that are no text": (("audit", "rows.csv"), text("rows.csv", b"\xff\xfe\x00\x01\x80"), "expected"),
    "no poison file": (("evaluate", "gaussians", "--poison", "p.npz"), nothing, "No such file"),
    "no poison option": (("evaluate", "gaussians"), nothing, "--poison"),
    "poison of other width": (("evaluate", "gaussians", "--poison", "p.npz"),
                              save("p.npz", X=np.ones((1, 3)), y=[1], count=[1]), "10 features"),
    "poison of other labels": (("evaluate", "gaussians", "--poison", "p.npz"), save("p.npz", X=ROW, y=[3]), "{-1, +1}"),
    "poison of nan": (("evaluate", "gaussians", "--poison", "p.npz"), save("p.npz", X=ROW + np.nan, y=[1]), "NaN"),
    "poison of half copies": (("evaluate", "gaussians", "--poison", "p.npz"),
                              save("p.npz", X=ROW, y=[1], count=[0.5]), "whole copies"),
    "poison of negative copies": (("evaluate", "gaussians", "--poison", "p.npz"),
                                  save("p.npz", X=ROW, y=[1], count=[-1]), "count"),
    "poison without rows": (("evaluate", "gaussians", "--poison", "p.npz"), save("p.npz", y=[1]), "array 'X'"),
    "pickled poison": (("evaluate", "gaussians", "--poison", "p.npz"), pickled("p.npz"), "without pickles"),
    "poison with objects": (("evaluate", "gaussians", "--poison", "p.npz"),
                            save("p.npz", X=np.array([[{}]], dtype=object), y=[1]), "a pickled object array 'X'"),
    "fractional counts": (("evaluate", "counts", "--poison", "p.npz"), save("p.npz", X=np.full((1, 200), 0.5), y=[1]),
                          "counts"),
    "epsilon of evaluate": (("evaluate", "gaussians", "--poison", "p.npz", "--epsilon", "0"),
                            save("p.npz", X=ROW, y=[1]), "epsilon"),
    "sanitize with nothing": (("sanitize", "gaussians", "--defense", "none", "--out", "k.npz"), nothing, "one defence"),
    "sanitize without defence": (("sanitize", "gaussians", "--out", "k.npz"), nothing, "--defense"),
    "sanitize to another kind": (("sanitize", "counts", "--defense", "l2", "--out", "k.txt"), nothing, ".npz or .csv"),
    "sanitize to nowhere": (("sanitize", "gaussians", "--defense", "l2"), nothing, "--out"),
    "sanitize to a folder": (("sanitize", "gaussians", "--defense", "l2", "--out", "k.npz"), folder("k.npz"), "folder"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "prepare", "hint"), BAD.values(), ids=BAD.keys())
def test_bad_input(words, prepare, hint, capsys, fake_attacks):
    prepare()
    before = sorted(Path().rglob("*"))
    assert main(list(words)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"linpoison: error: [^\n]*expected [^\n]+, got [^\n]+\n", printed.err)
    assert hint in printed.err
    assert sorted(Path().rglob("*")) == before
    assert fake_attacks.steps == []
