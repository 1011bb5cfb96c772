"""Raw tables behind a pipeline, audited as a user would: seconds, memory, figures, and naive raw rows beside them.

    python benchmarks/raw_tables.py [--tables reviews adult fraud] [--rows N] [--naive] [--free] [--time-limit S]

Texts (``reviews.tsv.gz``) behind TF-IDF; UCI Adult with its categories and missing values behind a ColumnTransformer,
balanced classes, race and sex frozen; 50,000 made rows of 30 columns of which 2 % are fraud, by recall. The first two
read ``LINPOISON_DATA``. For each: processor seconds until the first figure and in all and peak memory (of the process:
name one table to have its own); whether the clean figure is the estimator's own; and whether each row of
``poison.csv``, read again, fits the raw table and goes through the pipeline to the features that were scored.

With `--naive` some 80 poisons of raw rows that take no search (copies of one row, one value in one column, extremes of
numbers, one word repeated, shortest and longest texts, flipped labels) are scored behind the same defences, and the
exit code is 1 if one of them does more than the report states. With `--free` the features themselves are audited too,
as if the attacker handed in features: what raw rows cost the attacker is the difference. `--time-limit` counts
processor time here: a busy machine then measures what an idle core does.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import linpoison
from linpoison.attacks.deadline import Deadline
from linpoison.auditing.inputs import Setting, prepare
from linpoison.auditing.options import AuditOptions
from linpoison.auditing.target import Target
from linpoison.core import Poison, worst_case
from linpoison.datasets import load_adult_table

ALL = "all"
CLOSE = 1e-9
CLOCK = time.process_time
QUICK = {"attacks": "random-flips", "defenses": "l2"}


@dataclass(frozen=True, eq=False)
class Table:
    """A raw table with the pipeline of its user.

    Parameters
    ----------
    options : dict
        Of the audit.
    own : callable
        The figure of the estimator itself, on test rows and their labels.
    """

    name: str
    label: str
    train: pd.DataFrame
    test: pd.DataFrame
    estimator: Any
    options: dict[str, Any] = field(default_factory=dict)
    own: Callable[[Any, Any], float] | None = None

    def rows(self, frame: pd.DataFrame) -> Any:
        """What the pipeline takes: the columns, or the texts."""
        features = frame.drop(columns=self.label)
        return features["text"] if list(features) == ["text"] else features

    @property
    def asked(self) -> dict[str, Any]:
        """Keywords of the audit."""
        return {"label": self.label, "test": self.test, "estimator": self.estimator, **self.options}

    @property
    def clean(self) -> float:
        """The figure without poison, by scikit-learn alone."""
        X, y = self.rows(self.test), self.test[self.label]
        return 1 - self.estimator.score(X, y) if self.own is None else self.own(self.estimator.predict(X), y)


def reviews(n: int | None) -> Table:
    """Sentences about films."""
    frame = pd.read_csv(
        Path(os.environ.get("LINPOISON_DATA", ".")) / "reviews.tsv.gz",
        sep="\t",
        header=None,
        names=["label", "text"],
        quoting=3,
    )
    train, test = frame[:8662][:n], frame[8662:].reset_index(drop=True)[:n]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(tol=1e-7, max_iter=5000))
    return Table("reviews", "label", train, test, pipeline.fit(train["text"], train["label"]))


def adult(n: int | None) -> Table:
    """Incomes, with "?" read as missing."""
    train, test = (load_adult_table(part).replace("?", np.nan)[:n] for part in ("train", "test"))
    test = test.assign(income=test["income"].str.rstrip("."))
    words = [name for name in train if train[name].dtype.kind not in "if" and name != "income"]
    numbers = [name for name in train if name not in (*words, "income")]
    usual = SimpleImputer(strategy="most_frequent")
    steps = ColumnTransformer([
        ("words", make_pipeline(usual, OneHotEncoder(handle_unknown="ignore")), words),
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
    ])  # fmt: skip
    pipeline = make_pipeline(steps, LogisticRegression(class_weight="balanced", tol=1e-7, max_iter=5000))
    pipeline.fit(train.drop(columns="income"), train["income"])
    return Table("adult", "income", train, test, pipeline, {"frozen": "race,sex"})


def fraud(n: int | None) -> Table:
    """Amounts, hours and 28 columns of Gaussians, of which five are shifted where there is fraud."""
    rng, n = np.random.default_rng(0), n or 50_000
    total = n + n // 5
    bad = rng.random(total) < 0.02
    columns = {f"v{i}": rng.normal(size=total) + (bad * 1.2 if i < 5 else 0.0) for i in range(28)}
    columns["amount"] = (rng.lognormal(3, 1.2, total) * (1 + bad)).round(2)
    columns["hour"] = rng.integers(0, 24, total)
    frame = pd.DataFrame({**columns, "kind": np.where(bad, "fraud", "fair")})
    train, test = frame[:n], frame[n:].reset_index(drop=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", tol=1e-7, max_iter=5000))
    pipeline.fit(train.drop(columns="kind"), train["kind"])

    def missed(said: Any, y: Any) -> float:
        return 1 - float(recall_score(y, said, pos_label="fraud"))

    return Table("fraud", "kind", train, test, pipeline, {"metric": "recall:fraud"}, missed)


TABLES = {"reviews": reviews, "adult": adult, "fraud": fraud}


def audited(table: Table, out: Path, **options: Any) -> tuple[Any, float, float]:
    """The report, with processor seconds until the first figure and in all."""
    began, figures = CLOCK(), []

    def found(said: str) -> None:
        figures.append(CLOCK() - began)
        print(f"  {figures[-1]:.1f} s: {said}", flush=True)

    report = linpoison.audit(table.train, out=out, jobs=1, found=found, **{**table.asked, **options})
    spent = CLOCK() - began
    return report, figures[0] if figures else spent, spent


def all_raw_again(table: Table, out: Path) -> tuple[int, float]:
    """The number of poison files, and the greatest `raw_again` of them; infinite if one has no raw rows."""
    files = sorted(out.glob("poison*.npz"))
    return len(files), max(raw_again(table, file) if file.with_suffix(".csv").exists() else np.inf for file in files)


def raw_again(table: Table, file: Path) -> float:
    """How far the features of a table of poison are from those of its archive, relative to values above 1.

    Raises
    ------
    ValueError
        If a row holds what the raw table does not: another column, a category that no clean row has, a fraction in a
        column of whole numbers, frozen columns of no clean row.
    """
    poison = pd.read_csv(file.with_suffix(".csv"), keep_default_na="text" not in table.train)
    if list(poison) != [*[name for name in table.train if name != table.label], table.label, "copies"]:
        raise ValueError(f"columns {list(poison)}")
    for name in table.train:
        clean, planted = table.train[name], poison[name].dropna()
        if name == "text":
            continue
        if clean.dtype.kind in "iu" and (planted % 1 != 0).any():
            raise ValueError(f"fractions in {name}")
        if clean.dtype.kind not in "iuf" and not set(planted) <= set(clean.dropna()):
            raise ValueError(f"other values in {name}")
        if poison[name].isna().any() and not clean.isna().any():
            raise ValueError(f"missing values in {name}")
    if (frozen := table.options.get("frozen", "").split(",")) != [""]:
        held = {tuple(row) for row in table.train[frozen].to_numpy()}
        if not {tuple(row) for row in poison[frozen].to_numpy()} <= held:
            raise ValueError("frozen columns of no clean row")
    saved = Poison.load(file)
    if not np.array_equal(poison["copies"], saved.count):
        raise ValueError("other copies")
    X = table.estimator[:-1].transform(table.rows(poison.drop(columns="copies")))
    found, scored = (np.asarray(x.toarray() if hasattr(x, "toarray") else x) for x in (X, saved.X))
    return float((np.abs(found - scored) / np.maximum(1.0, np.abs(scored))).max())


def naive(table: Table) -> Iterator[tuple[str, pd.DataFrame]]:
    """Raw rows that somebody would try first, each to be planted in copies with one label or the other."""
    rows = table.train.drop(columns=table.label)
    yield from ((f"clean row {i}", rows.iloc[[i]]) for i in np.random.default_rng(0).permutation(len(rows))[:8])
    if list(rows) == ["text"]:
        yield from ((name, pd.DataFrame({"text": [text]})) for name, text in naive_texts(table))
        return
    frozen = table.options.get("frozen", "").split(",")
    free = [name for name in rows if name not in frozen]
    usual = rows.mode().iloc[[0]].astype(rows.dtypes.to_dict())
    numbers = [name for name in free if rows[name].dtype.kind in "iuf"]
    words = [name for name in free if name not in numbers]
    slopes = slopes_of(table, usual, free)
    yield "most usual values", usual
    for end in ("min", "max"):
        yield f"each number at its {end}", usual.assign(**{name: getattr(rows[name], end)() for name in numbers})
    for sign, side in ((1.0, "greatest"), (-1.0, "least")):
        best = {name: max(values, key=lambda value, s=sign, v=values: s * v[value]) for name, values in slopes.items()}
        yield f"each column at its {side} score", usual.assign(**best)
        yield f"numbers at their {side} score", usual.assign(**{name: best[name] for name in numbers})
        if words:
            yield f"words at their {side} score", usual.assign(**{name: best[name] for name in words})
    for name in sorted(free, key=lambda name: -np.ptp(list(slopes[name].values())))[:9]:
        for sign in (1.0, -1.0):
            value = max(slopes[name], key=lambda value, s=sign, n=name: s * slopes[n][value])
            yield f"{name} = {value}", usual.assign(**{name: value})


def slopes_of(table: Table, usual: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[Any, float]]:
    """The score that the usual row gets with each value of a column: every word, the least and the greatest number."""
    found = {}
    for name in names:
        column = table.train[name].dropna()
        values = [column.min(), column.max()] if column.dtype.kind in "iuf" else sorted(column.unique())
        rows = pd.concat([usual] * len(values), ignore_index=True).assign(**{name: values})
        found[name] = dict(zip(values, table.estimator.decision_function(rows), strict=True))
    return found


def naive_texts(table: Table) -> Iterator[tuple[str, str]]:
    """One word repeated, words of one side together, texts that are short, long or empty."""
    texts = table.train["text"]
    words, coef = table.estimator[0].get_feature_names_out(), table.estimator[-1].coef_[0]
    order = np.argsort(coef)
    common = np.argsort(-np.asarray(table.estimator[0].transform(texts).sum(axis=0)).ravel())
    for side, some in (("least", order), ("greatest", order[::-1]), ("common", common)):
        yield from ((f"{words[j]} repeated", " ".join([words[j]] * 20)) for j in some[:4])
        yield from ((f"{k} {side} words", " ".join(words[some[:k]])) for k in (5, 20, 40))
    lengths = texts.str.len().to_numpy()
    yield from (("shortest text", texts.iloc[lengths.argmin()]), ("longest text", texts.iloc[lengths.argmax()]))
    yield from (("no word", ""), ("unknown words", "zzzz qqqq"))


def poisons(table: Table, setting: Setting, total: int) -> Iterator[tuple[str, Poison]]:
    """The naive rows as features, with copies up to the budget, and flipped labels of clean rows."""
    train = setting.split.train
    for name, rows in naive(table):
        X = table.estimator[:-1].transform(table.rows(rows.assign(**{table.label: ""})))
        for label in (1.0, -1.0):
            yield f"{total} x {train.classes[int(label > 0)]}, {name}", Poison(X, [label], [float(total)])
    rng = np.random.default_rng(0)
    for draw in range(2):
        rows = rng.permutation(train.n)[:total]
        yield f"flipped labels, draw {draw + 1}", Poison(train.X[rows], -train.y[rows], np.ones(total))


def exceeding(table: Table, report: Any, options: dict[str, Any]) -> tuple[int, list[str]]:
    """The number of naive poisons, and those that do more to some defender than the report states."""
    setting = prepare(table.train, AuditOptions(**{**table.asked, **options}))
    rows = Target.parse("test").rows(setting.split, 0, setting.measure)
    named = {damage.behind for damage in report.damages}
    filters = [name for name in setting.defenses if name in named]  # others take minutes to fit, and were left out
    total, tried, more = report.strongest.n_allowed, 0, []
    best: dict[str, tuple[float, str]] = {}
    for name, poison in poisons(table, setting, total):
        tried += 1
        error = setting.defender.score(poison, rows.parts, filters).error["scored"]
        for behind, value in {ALL: worst_case(error), **error}.items():
            best[behind] = max(best.get(behind, (0.0, "")), (value, name))
    for domain in report.domains:
        for behind, (value, name) in best.items():
            stated = report.damage(behind, domain).test_error
            print(f"  {domain}, {behind}: report {stated:.4f}, naive {value:.4f} ({name})", flush=True)
            if value > stated + CLOSE:
                more.append(f"{domain}, {behind}: {name}, {value:.4f} > {stated:.4f}")
    return tried, more


def free_features(table: Table, options: dict[str, Any]) -> tuple[Any, float]:
    """The report of an attacker who hands in features, and the seconds that it took."""
    X, X_test = (table.estimator[:-1].transform(table.rows(frame)) for frame in (table.train, table.test))
    data, began = (X, table.train[table.label], X_test, table.test[table.label]), CLOCK()
    kept = {name: value for name, value in table.options.items() if name != "frozen"}
    report = linpoison.audit(data, estimator=table.estimator[-1], jobs=1, **kept, **options)
    return report, CLOCK() - began


def run(table: Table, args: argparse.Namespace, folder: Path) -> bool:
    """Audit, check and print; whether everything is as it should be."""
    options: dict[str, Any] = {} if args.time_limit is None else {"time_limit": args.time_limit}
    options |= QUICK if args.quick else {}
    report, first, spent = audited(table, folder, **options)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    clean, own = report.clean["test_error"], table.clean
    print(f"{table.name}: {len(table.train)} rows; first figure {first:.1f} s, in all {spent:.1f} s, {memory:.2f} GB")
    files, off = all_raw_again(table, folder)
    print(f"  clean {clean:.4f}, of the estimator itself {own:.4f}; {files} tables of poison, off by {off:.1g}")
    print(f"  {report.verdict}", flush=True)
    flips = max((entry.test_error_behind_all for entry in report.attacks if entry.name == "random-flips"), default=0.0)
    print(f"  behind all filters: {report.test_error_behind_all:.4f}, label flips {flips:.4f}", flush=True)
    good = abs(clean - own) < 1e-3 and off < CLOSE
    if args.naive:
        tried, more = exceeding(table, report, options)
        print(f"  {tried} naive poisons; above the report: {'; '.join(more) or 'none'}", flush=True)
        good = good and not more
    if args.free:
        free, seconds = free_features(table, options)
        for words, one in (("raw rows", report), ("features", free)):
            for damage in one.damages:
                print(f"  {words}, {damage.domain}, {damage.behind}: {damage.test_error:.4f}")
        print(f"  features took {seconds:.1f} s", flush=True)
    return good


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=[*TABLES])
    parser.add_argument("--rows", type=int, help="training rows, and test rows at most; all by default")
    parser.add_argument("--naive", action="store_true", help="score naive raw rows beside the audit")
    parser.add_argument("--free", action="store_true", help="audit the features themselves, too")
    parser.add_argument("--time-limit", type=float, help="of the audit, in processor seconds; none by default")
    parser.add_argument("--out", type=Path, help="folder for the reports")
    parser.add_argument("--quick", action="store_true", help="toy size")
    args = parser.parse_args(argv)
    good = True
    by_processor = staticmethod(lambda seconds: Deadline(CLOCK() + seconds, CLOCK))
    with tempfile.TemporaryDirectory() as made, patch.object(Deadline, "after", by_processor):
        for name in args.tables:
            good = run(TABLES[name](1000 if args.quick else args.rows), args, (args.out or Path(made)) / name) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
