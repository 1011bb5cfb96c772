"""Seeded bad input for `tests/fuzz_inputs.py`: damaged files, odd arrays, odd tables, odd options, odd objects."""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

N, D = 40, 3
WORDS = (
    "", " ", "nan", "inf", "-inf", "-1", "0", "1", "1.5", "1e300", "1e-320", "-0.0", "9" * 25, "9" * 5000, "0x10",
    "1_0",
    "\u0663", "\u202eabc", "\x1b[31m", "caf\u00e9", "None", "none", "all", "True", "1,1", "1,,2", ",", "a b",
    "~nouser-x/y",
    "/dev/zero", "/dev/null", ".", "..", "/", "a" * 300, "a" * 5000, "*", "%s%n", "{0}", "$\\frac$", "--", "-", "\\",
    "'", '"',
    "rows:", "rows:-1", "rows:0,0", "rows:" + "9" * 5000, "rows:/dev/zero", "rows:rows.npz", "split:", "split:nan",
    "split:0.5", "flip:0", "flip:-1", "flip:" + "9" * 5000, "decoys", "clusters:0", "clusters:" + "9" * 30,
    "clusters:9999",
    "columns:", "columns:0,0", "columns:99", "columns:zz", "range", "range:0", "range:nan", "range:1e300", "box",
    "counts",
    "2**32", "4294967296", "18446744073709551616", "mnist:1:1", "mnist:a:b", "mnist:", "os:getcwd", "json:loads",
    "a:b", ":",
)  # fmt: skip
OPTIONS = {
    "audit": ("--model", "--reg", "--epsilon", "--attack", "--defenses", "--target", "--variant", "--remove",
              "--domain", "--metric",
              "--label", "--test", "--test-fraction", "--seed", "--subpopulation", "--jobs", "--fail-above",
              "--estimator",
              "--out", "--header", "--index", "--sample-weight", "--frozen", "--gate", "--baseline", "--time-limit",
              "--class-weight"),
    "certify": ("--model", "--reg", "--epsilon", "--attack", "--certificates", "--defenses", "--seed", "--out",
              "--remove", "--metric"),
    "budget": ("--target", "--model", "--reg", "--defenses", "--seed", "--out", "--domain"),
    "subpop": ("--attack", "--match", "--clusters", "--components", "--groups", "--alpha", "--collateral", "--map",
               "--seed", "--out", "--reg", "--model"),
    "evaluate": ("--poison", "--epsilon", "--model", "--reg", "--defenses", "--fail-above", "--seed", "--domain",
                 "--metric"),
    "sanitize": ("--defense", "--out", "--remove", "--variant", "--seed", "--test-fraction", "--label"),
    "sweep": ("--epsilon", "--seed", "--attack", "--defenses", "--target", "--jobs", "--reg", "--out"),
    "check": ("--config", "--only", "--baseline", "--jobs", "--out"),
    "harden": ("--trusted", "--max-cost", "--finalists", "--defenses", "--epsilon", "--model", "--reg", "--remove",
               "--domain", "--seed", "--out"),
    "inspect": ("--top", "--share", "--model", "--reg", "--label", "--seed", "--estimator", "--frozen", "--out"),
    "deep": ("--model", "--loss", "--reg", "--rows", "--epochs-train", "--batch-train", "--step-train", "--momentum",
             "--seed", "--device", "--precision", "--chunk", "--out", "--epsilon"),
}  # fmt: skip
BASE = {
    "audit": ["--attack", "random-flips", "--defenses", "l2", "--epsilon", "0.1"],
    "certify": ["--attack", "none", "--model", "ridge", "--reg", "0.1", "--defenses", "l2", "--epsilon", "0.05"],
    "budget": ["--target", "model.npz", "--model", "ridge", "--defenses", "l2"],
    "subpop": ["--groups", "1", "--clusters", "2", "--alpha", "1"],
    "evaluate": ["--poison", "poison.npz", "--defenses", "l2"],
    "sanitize": ["--defense", "l2", "--out", "out.npz"],
    "sweep": ["--attack", "random-flips", "--defenses", "l2", "--jobs", "1", "--epsilon", "0.1", "--time-limit", "5"],
    "check": ["--config", "suite.toml", "--jobs", "1"],
    "harden": ["--defenses", "l2", "--epsilon", "0.1", "--jobs", "1"],
}


DATA = {"check": [], "inspect": ["many.npz"], "harden": ["nowhere.npz"]}
"""What a command reads, if not ``rows.npz``; `harden` takes longer than a case may: its options alone are read."""


@dataclass(frozen=True)
class Case:
    """One call: words of a command line, or a function; `senseless` input must be refused."""

    name: str
    call: Any
    senseless: bool = False


def rows(rng: np.random.Generator) -> tuple[Any, Any]:
    """Forty rows of two overlapping classes."""
    X = rng.normal(size=(N, D))
    y = np.where(X[:, 0] + 0.5 * rng.normal(size=N) > 0, 1, 0)
    y[:4] = 0, 1, 0, 1
    return X, y


def good_files() -> dict[str, dict[str, Any]]:
    """Write one good file of each kind; returns the arrays of those that are archives."""
    rng = np.random.default_rng(0)
    X, y = rows(rng)
    S = sp.csr_array(np.where(rng.random((N, D)) < 0.6, X, 0.0))
    images = rng.random((24, 1, 6, 6))
    arrays = {
        "rows.npz": {"X": X, "y": y},
        "csr.npz": {"data": S.data, "indices": S.indices, "indptr": S.indptr, "shape": np.array(S.shape), "y": y},
        "poison.npz": {"X": X[:3], "y": np.array([1, -1, 1]), "count": np.array([1, 2, 1])},
        "model.npz": {"coef": np.array([1.0, 0.1, 0.0]), "intercept": np.array(0.0)},
        "deep.npz": {"X_train": images, "y_train": np.arange(24) % 2, "X_test": images[:8], "y_test": np.arange(8) % 2},
    }
    for name, parts in arrays.items():
        np.savez_compressed(name, **parts)
    np.savez("many.npz", X=np.vstack([X, X[::-1] + 0.1]), y=np.concatenate([y, 1 - y[::-1]]))
    lines = [
        ",".join(map(repr, row.tolist())) + f",{'yes' if label else 'no'}" for row, label in zip(X, y, strict=True)
    ]
    Path("rows.csv").write_text("\n".join(["a,b,c,label", *lines]) + "\n")
    text = (" ".join(f"{j + 1}:{value:.4f}" for j, value in enumerate(row)) for row in X)
    Path("rows.svmlight").write_text("".join(f"{label} {line}\n" for label, line in zip(y, text, strict=True)))
    with optional():
        import pandas as pd

        pd.read_csv("rows.csv").to_parquet("rows.parquet")
    _estimator(X, y)
    Path("suite.toml").write_text(SUITE)
    np.save("numbers.npy", np.array([0, 2]))
    Path("numbers.txt").write_text("0 2\n")
    return arrays


def optional() -> Any:
    """Optional packages may be missing."""
    return contextlib.suppress(ImportError)


def _estimator(X: Any, y: Any) -> None:
    with optional():
        from sklearn.svm import LinearSVC
        from skops import io as skops_io

        skops_io.dump(LinearSVC(loss="hinge", C=2.5, max_iter=100_000, random_state=0).fit(X, y), "model.skops")


def command(place: str, name: str) -> list[str]:
    """A command that reads the file `place` where `name` (a good file) would stand."""
    if name == "poison.npz":
        return ["evaluate", "rows.npz", "--poison", place, "--defenses", "l2", "--quiet"]
    if name == "model.npz":
        return ["budget", "rows.npz", "--target", place, "--model", "ridge", "--defenses", "l2", "--quiet"]
    if name == "model.skops":
        return ["sanitize", "rows.npz", "--estimator", place, "--defense", "l2", "--out", "out.npz", "--quiet"]
    if name.startswith("numbers"):
        return ["audit", "rows.npz", "--target", f"rows:{place}", *BASE["audit"], "--out", "o", "--quiet"]
    if name == "suite.toml":
        return ["check", "--config", place, "--out", "c", "--quiet"]
    if name == "deep.npz":
        return ["deep", "flip", place, "--epochs-train", "1", "--device", "cpu", "--out", "d", "--quiet"]
    return ["sanitize", place, "--defense", "l2", "--out", "out.npz", "--quiet"]


def damaged(rng: np.random.Generator, arrays: Any) -> Case:
    """A good file with some of its bytes changed, cut off, or in another file's place."""
    names = sorted(path.name for path in Path().iterdir() if path.name in GOOD)
    name = names[rng.integers(len(names))]
    content = bytearray(Path(name).read_bytes())
    how = ("flip", "cut", "block", "insert", "swap", "nothing", "twice")[rng.integers(7)]
    place = int(rng.integers(len(content)))
    if how == "flip":
        for _ in range(int(rng.integers(1, 6))):
            content[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
    elif how == "cut":
        content = content[:place]
    elif how == "block":
        content[place : place + 20] = bytes([int(rng.integers(256))]) * 20
    elif how == "insert":
        content[place:place] = rng.integers(0, 256, 30, dtype=np.uint8).tobytes()
    elif how == "swap":
        content = bytearray(Path(names[rng.integers(len(names))]).read_bytes())
    elif how == "twice":
        content = content * 2
    else:
        content = bytearray()
    bad = Path(f"bad{Path(name).suffix}")
    bad.write_bytes(content)
    return Case(f"damaged {name} {how} at {place}", command(bad.name, name))


GOOD = ("rows.npz", "csr.npz", "poison.npz", "model.npz", "deep.npz", "rows.csv", "rows.svmlight", "rows.parquet",
        "model.skops", "numbers.npy", "numbers.txt", "suite.toml")  # fmt: skip
SUITE = """
[defaults]
epsilon = 0.1
attacks = "random-flips"
defenses = "l2"
jobs = 1

[audits.one]
data = "rows.csv"
gates = { error = 0.4 }
"""
CHANGES: tuple[tuple[str, Callable[[Any], Any], bool], ...] = (
    ("complex", lambda a: a + 1j, True),
    ("text", lambda a: np.full(a.shape, "x"), True),
    ("bytes", lambda a: np.full(a.shape, b"x"), True),
    ("dates", lambda a: np.full(a.shape, np.datetime64("2024-01-01")), True),
    ("durations", lambda a: np.full(a.shape, np.timedelta64(3, "s")), True),
    ("records", lambda a: np.zeros(a.shape, dtype=[("a", "f8")]), True),
    ("objects", lambda a: a.astype(object), True),
    ("raw", lambda a: np.zeros(a.shape, dtype="V8"), True),
    ("nan", lambda a: np.full(a.shape, np.nan), True),
    ("infinite", lambda a: np.full(a.shape, np.inf), True),
    ("empty", lambda a: a[:0] if a.ndim else a, False),
    ("short", lambda a: a[:-1] if a.ndim else a, False),
    ("transposed", lambda a: a.T, False),
    ("flat", lambda a: a.ravel(), False),
    ("one number", lambda a: np.array(1.0), False),
    ("deeper", lambda a: a[None, ..., None], False),
    ("huge", lambda a: a * 1e300 + 1e300, False),
    ("tiny", lambda a: a * 1e-310, False),
    ("zero", lambda a: a * 0, False),
    ("negative", lambda a: -a - 1, False),
    ("half", lambda a: a + 0.5, False),
    ("small floats", lambda a: a.astype(np.float16), False),
    ("long floats", lambda a: a.astype(np.longdouble), False),
    ("big integers", lambda a: np.full(a.shape, 2**63 - 1), False),
    ("unsigned", lambda a: np.abs(a).astype(np.uint8), False),
    ("truth values", lambda a: a > 0, False),
)  # fmt: skip


def odd_arrays(rng: np.random.Generator, arrays: dict[str, dict[str, Any]]) -> Case:
    """An archive with one array that is missing or changed."""
    name = sorted(arrays)[rng.integers(len(arrays))]
    parts = dict(arrays[name])
    key = sorted(parts)[rng.integers(len(parts))]
    if rng.random() < 0.1:
        del parts[key]
        what, senseless = "missing", key != "count"
    else:
        what, change, senseless = CHANGES[rng.integers(len(CHANGES))]
        parts[key] = change(parts[key])
        senseless = senseless and not (key.startswith("y") and name != "deep.npz")  # labels may be of any kind
    np.savez("odd.npz", **parts)
    return Case(f"arrays {name} {key} {what}", command("odd.npz", name), senseless)


def members(rng: np.random.Generator, arrays: Any) -> Case:
    """An archive whose members lie about what they are."""
    name = ("rows.npz", "poison.npz", "model.npz", "deep.npz")[rng.integers(4)]
    shapes = (
        "(3,)",
        "(-3,)",
        "(1000000000, 1000000)",
        "()",
        "3",
        "(3.5,)",
        "(True, 3)",
        "[3]",
        "(" * 90 + ")" * 90,
        "'x'",
    )
    kinds = ("<f8", "|O", "<U0", "<i8", "<M8[s]", "x", "", "<f8, <f8", "(3,)<f8", ">c16", "<f99")
    shape, kind = shapes[rng.integers(len(shapes))], kinds[rng.integers(len(kinds))]
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    method = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[rng.integers(4)]
    with zipfile.ZipFile("lie.npz", "w", method) as archive:
        for key, array in arrays[name].items():
            stream = io.BytesIO()
            np.save(stream, array)
            lies = rng.random() < 0.5
            archive.writestr(f"{key}.npy", header + bytes(int(rng.integers(64))) if lies else stream.getvalue())
    return Case(f"members {name} {shape} {kind} method {method}", command("lie.npz", name))


CELLS = (
    "",
    "nan",
    "inf",
    "-inf",
    "NA",
    "1e400",
    "1e300",
    "9" * 400,
    "x",
    "1;2",
    "1,5",
    '"',
    '"a',
    "\x00",
    "\x1b[2J",
    "\u202e1",
    "True",
    "2024-01-01",
    "1+2j",
    "0x1F",
    "\u0663",
    "$\\frac$",
    "<script>",
    "a" * 70000,
    "-0",
    "1_000",
    " ",
    "\t",
    "=1+1",
)


def odd_tables(rng: np.random.Generator, arrays: Any) -> Case:
    """A table with odd cells, headers, separators or encoding."""
    lines = [line.split(",") for line in Path("rows.csv").read_text().splitlines()]
    cell = CELLS[rng.integers(len(CELLS))]
    where = ("cell", "column", "label", "header", "row", "separator", "encoding")[rng.integers(7)]
    column = int(rng.integers(D))
    for number, line in enumerate(lines):
        if (where == "cell" and number == 7) or (where == "column" and number):
            line[column] = cell
        elif where == "label" and number and line[-1] == "no":
            line[-1] = cell
        elif where == "header" and not number:
            line[column] = cell
    lines += [[cell]] if where == "row" else []
    text = ("\t" if where == "separator" else ",").join(lines[0]) + "\n"
    text += "\n".join(",".join(line) for line in lines[1:]) + "\n"
    encoding = ("utf-8", "utf-16", "latin-1", "utf-7")[rng.integers(4)] if where == "encoding" else "utf-8"
    Path("odd.csv").write_bytes(text.encode(encoding, errors="replace"))
    call = [
        ["sanitize", "odd.csv", "--defense", "l2", "--out", "out.csv", "--quiet"],
        ["audit", "odd.csv", *BASE["audit"], "--subpopulation", f"columns:{column}", "--out", "o", "--quiet"],
        ["subpop", "odd.csv", "--match", f"{column}", "--groups", "1", "--alpha", "1", "--quiet", "--out", "s"],
        ["certify", "odd.csv", *BASE["certify"], "--quiet"],
    ]
    weight = rng.choice(4, p=[0.76, 0.08, 0.08, 0.08])
    return Case(f"table {where} {cell[:20]!r} {encoding} {call[weight][0]}", call[weight])


def odd_options(rng: np.random.Generator, arrays: Any) -> Case:
    """A command with one or two odd values."""
    name = sorted(OPTIONS)[rng.integers(len(OPTIONS))]
    head = (
        ["deep", "flip", "deep.npz", "--epochs-train", "1", "--device", "cpu"] if name == "deep" else [name, "rows.npz"]
    )
    head = [name, *DATA.get(name, head[1:])]
    words = [*head, *BASE.get(name, [])]
    words += ["--out", "o"] if name in ("audit", "deep", "sweep", "check", "harden") else []
    chosen = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        flag, word = OPTIONS[name][rng.integers(len(OPTIONS[name]))], WORDS[rng.integers(len(WORDS))]
        chosen += [f"{flag}={word}"] if rng.random() < 0.8 else [flag, word]
    if rng.random() < 0.15 and name != "check":
        words[1 if name != "deep" else 2] = WORDS[rng.integers(len(WORDS))]
    place = [word for word in chosen if word.startswith("--out=")]
    if any(word.removeprefix("--out=").startswith(("/", "..")) for word in place):
        chosen = [word for word in chosen if word not in place]  # stay in this folder
    return Case(f"options {name} {' '.join(word[:60] for word in words[:3] + chosen)}", [*words, "--quiet", *chosen])


class Unfriendly:
    """An object that raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __len__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return "Unfriendly()"


def objects(rng: np.random.Generator) -> list[Any]:
    """Things that are handed in where numbers, names, rows or options are expected."""
    X, y = rows(rng)
    return [
        None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**400, 1 + 2j, "", "x", "\0", b"x", [], [[]], (), {},
        {"a": 1},
        object(), Unfriendly(), range(3), iter([1]), X, X[0], y, X + 1j, X.astype(str), X.astype(object), X * np.nan,
        X * 1e300, np.zeros((0, D)), np.zeros((N, 0)), np.array(1.0), sp.coo_matrix(X), sp.bsr_array(X),
        sp.dia_matrix(X),
        sp.lil_array(X), sp.dok_matrix(X), sp.csc_array(X), sp.csr_matrix(X.astype(np.float32)), sp.coo_array(X[0]),
        Path("none"), np.datetime64("2024"), [1, [2]], "9" * 5000, [X], X.tolist(), np.ma.masked_array(X, X > 0),
        lambda: 1,
    ]  # fmt: skip


def odd_calls(rng: np.random.Generator, arrays: Any) -> Case:
    """A call of the library with odd objects."""
    import linpoison as lp
    from linpoison.datasets import LabelEncoding

    things = objects(rng)

    def thing() -> Any:
        return things[rng.integers(len(things))]

    X, y = rows(rng)
    a, b = thing(), thing()
    option = ("epsilon", "reg", "model", "defenses", "attacks", "target", "remove", "seed", "domain", "jobs", "out",
              "estimator", "variant", "subpopulation", "penalize_intercept", "certify", "label", "test",
              "sample_weight", "metric")[rng.integers(20)]  # fmt: skip
    small = {"attacks": "random-flips", "defenses": "l2", "epsilon": 0.1, "jobs": 1}
    data = (X, y, X, y)
    known = {
        "audit data": lambda: lp.audit(a, **small),
        "audit rows": lambda: lp.audit((a, y, X, y), **small),
        "audit labels": lambda: lp.audit((X, a, X, b), **small),
        f"audit {option}": lambda: lp.audit(data, **{**small, option: a}),
        "certify epsilon": lambda: lp.certify(data, model="ridge", reg=0.1, defenses="l2", epsilon=a),
        "budget target": lambda: lp.budget(data, a, model="ridge", defenses="l2"),
        "evaluate poison": lambda: lp.evaluate(data, a, defenses="l2"),
        "evaluate epsilon": lambda: lp.evaluate(data, "poison.npz", epsilon=a, defenses="l2"),
        "sanitize": lambda: lp.sanitize(a, defenses="l2"),
        "sanitize out": lambda: lp.sanitize(data, defenses="l2", out=a),
        "sweep": lambda: lp.sweep(data, epsilons=a, attacks=b, jobs=1),
        "load": lambda: lp.load(a),
        "load options": lambda: lp.load("rows.csv", test_fraction=a, seed=b),
        "Dataset": lambda: lp.Dataset(a, b),
        "Dataset weight": lambda: lp.Dataset(X, np.where(y, 1, -1), a),
        "Poison": lambda: lp.Poison(a, b, b),
        "Poison count": lambda: lp.Poison(X[:3], [1, 1, -1], a),
        "Poison.load": lambda: lp.Poison.load(a),
        "LinearModel": lambda: lp.LinearModel(a, b),
        "Budget": lambda: lp.Budget(a).count(100),
        "Problem": lambda: lp.Problem(a, b),
        "Domain": lambda: lp.Domain.box(a, b),
        "Domain.of": lambda: lp.Domain.of(a, b),
        "defence": lambda: lp.make_defense(a, remove=b),
        "defence rows": lambda: lp.make_defense("l2").fit_resample(a, y),
        "defence labels": lambda: lp.make_defense("slab").fit_resample(X, a),
        "classifier": lambda: lp.LinearClassifier("svm", reg=0.1).fit(a, y),
        "classifier reg": lambda: lp.LinearClassifier("ridge", reg=a).fit(X, y),
        "report": lambda: lp.AuditReport.from_json(a),
        "labels": lambda: LabelEncoding.of(a).encode(a),
    }
    name = sorted(known)[rng.integers(len(known))]
    return Case(f"call {name}: {brief(a)}, {brief(b)}", known[name])


def brief(thing: Any) -> str:
    """A thing in a few letters."""
    if hasattr(thing, "dtype"):
        return f"{type(thing).__name__} {thing.dtype} {getattr(thing, 'shape', '')}"
    return (
        f"{type(thing).__name__} {str(thing)[:30]!r}"
        if not isinstance(thing, int) or abs(thing) < 10**9
        else "long int"
    )


def odd_journals(rng: np.random.Generator, arrays: Any) -> Case:
    """A folder of an earlier run, one file of which was changed."""
    words = ["certify", "rows.npz", *BASE["certify"], "--quiet", "--out", "kept"]
    if not Path("kept").is_dir():
        return Case("journal first", words)
    shutil.rmtree("again", ignore_errors=True)
    shutil.copytree("kept", "again")
    files = sorted(path for path in Path("again").rglob("*") if path.is_file() and path.suffix in (".json", ".npz"))
    file = files[rng.integers(len(files))]
    content = bytearray(file.read_bytes())
    how = ("flip", "cut", "pickle", "json", "nothing")[rng.integers(5)]
    if how == "flip":
        content[int(rng.integers(len(content)))] ^= 255
    elif how == "cut":
        content = content[: int(rng.integers(len(content)))]
    else:
        texts = {"pickle": pickle.dumps({"a": 1}), "json": b'{"format": 1, "sets": []}', "nothing": b""}
        content = bytearray(texts[how])
    file.write_bytes(content)
    return Case(f"journal {file.name} {how}", [*words[:-1], "again"])


def odd_suites(rng: np.random.Generator, arrays: Any) -> Case:
    """A suite with an odd value."""
    keys = ("data", "gates", "baseline", "estimator", "test", "epsilon", "metric", "target", "defenses", "attacks",
            "certify", "label", "jobs", "time_limit", "frozen", "out", "")  # fmt: skip
    values = ("3", "-1", "nan", "inf", "true", "''", "'x'", "[]", "[1]", "{}", "{error = 0.1, unseen = 0.1}", "1e400",
              "{error = nan}", "{worse = 0.1}", "2024-01-01", "'split:0.5'", "'recall:yes'", "'cost:suite.toml'",
              "'cost:'", "'fpr:zz'", "'\\u0000'", "'.'", "'o/report.json'", "'rows:0'")  # fmt: skip
    key, value = keys[rng.integers(len(keys))], values[rng.integers(len(values))]
    lines = [line for line in SUITE.splitlines() if not key or not line.startswith(f"{key} ")]
    place = int(rng.integers(2, len(lines) + 1))
    Path("odd.toml").write_text("\n".join([*lines[:place], f"{key} = {value}", *lines[place:]]) + "\n")
    return Case(f"suite {key} {value} {place}", ["check", "--config", "odd.toml", "--out", "c", "--quiet"])


def odd_raw(rng: np.random.Generator, arrays: Any) -> Case:
    """Raw rows of odd types behind odd steps."""
    import warnings

    import raw_cases
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    import linpoison as lp

    frame, steps = raw_cases.odd_columns(60, int(rng.integers(1 << 30))), raw_cases.odd_steps()
    if rng.random() < 0.2:
        frame.index = np.zeros(len(frame), dtype=int)
    for _ in range(100):
        names = [sorted(steps)[k] for k in rng.choice(len(steps), size=int(rng.integers(1, 4)), replace=False)]
        columns = [frame.columns[rng.integers(len(frame.columns))] for _ in names]
        parts = [(name, steps[name], column if "text" in name else [column])
                 for name, column in zip(names, columns, strict=True)]  # fmt: skip
        estimator = make_pipeline(ColumnTransformer(parts), LogisticRegression(tol=1e-8, max_iter=5000))
        y = np.where(frame["paid"] > frame["paid"].median(), "yes", "no")
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(frame, y)
            break
    else:
        return Case("raw none", lambda: None)
    frozen = ["", "paid", columns[0], f"{columns[0]},{columns[-1]}", "y", "\0", None, None][rng.integers(8)]
    small = {"attacks": "random-flips", "defenses": "l2", "epsilon": 0.1, "jobs": 1, "frozen": frozen}

    def call() -> None:
        report = lp.audit((frame, y, frame, y), estimator=estimator, **small)
        if any("differ by" in line for line in report.reading):
            raise ArithmeticError("rows of the domain that no raw rows make")

    return Case(f"raw {dict(zip(names, columns, strict=True))} frozen {frozen}", call)


KINDS = (damaged, odd_arrays, members, odd_tables, odd_options, odd_calls, odd_journals, odd_suites, odd_raw)
SHARE = (0.16, 0.16, 0.08, 0.1, 0.2, 0.16, 0.02, 0.05, 0.07)


def warm_up(judge: Callable[[Case], Any]) -> None:
    """Import what cases import, so that no case pays for it."""
    good_files()
    for words in (["audit", "rows.npz", *BASE["audit"], "--out", "o"], ["certify", "rows.npz", *BASE["certify"]]):
        judge(Case("first", [*words, "--quiet"]))
    judge(Case("first", command("deep.npz", "deep.npz")))


def cases(n: int, seed: int, only: str = "") -> Iterator[Case]:
    """`n` cases; each is made just before it is run, in the current folder."""
    arrays = good_files()
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        case = KINDS[rng.choice(len(KINDS), p=SHARE)](rng, arrays)
        if case.name.startswith(only):
            yield case
