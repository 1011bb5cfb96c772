"""Columns of numbers are named and cut alike, whoever asks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from linpoison.auditing.groups import Grouping
from linpoison.cli import main
from linpoison.core import Dataset, InputError
from linpoison.risk import Sample
from linpoison.subpopulations import ColumnMatch, FeatureMatch, column_numbers, three_parts
from linpoison.subpopulations.columns import told_apart


def rows_of(*columns):
    X = np.column_stack(columns).astype(float)
    return Sample(X, np.ones(len(X)))


@pytest.mark.parametrize("values", [[1234561.0, 1234562.0], [2001.5, 2003.0, 2004.5], [0.1, 0.2]])
def test_different_numbers_are_different_words(values):
    words = told_apart(np.array(values))
    assert len(set(words)) == len(values)
    assert [float(word) for word in words] == pytest.approx(values, rel=1e-3)


def test_a_column_of_many_values_is_cut_at_its_quartiles():
    values = np.random.default_rng(0).uniform(20, 80, size=200)
    match = ColumnMatch([0], ["age"]).fit(rows_of(values))
    cuts = np.quantile(values, [0.25, 0.5, 0.75])
    assert set(match.names_) == {f"age={word}" for word in (
        f"below {cuts[0]:.3g}", f"{cuts[0]:.3g} to {cuts[1]:.3g}", f"{cuts[1]:.3g} to {cuts[2]:.3g}",
        f"from {cuts[2]:.3g}")}  # fmt: skip
    assert match.sizes_.tolist() == [50] * 4
    new = np.array([-5.0, cuts[0], cuts[2] - 1e-9, 1e9])
    found = [match.names_[code] for code in match.assign(rows_of(new))]
    assert found[0].startswith("age=below")
    assert found[1] == f"age={cuts[0]:.3g} to {cuts[1]:.3g}"
    assert found[3].startswith("age=from")


def test_values_that_round_to_the_same_word_are_different_groups_in_other_rows_too():
    match = ColumnMatch([0]).fit(rows_of([0.1, 0.10001, 0.1, 0.10001]))
    assert match.names_ == ["x0=0.1", "x0=0.10001"]
    assert match.assign(rows_of([0.10001, 0.10001])).tolist() == [1, 1]


def test_a_value_that_no_auxiliary_row_has_is_in_no_group():
    match = ColumnMatch([0]).fit(rows_of([0, 1, 1]))
    assert match.assign(rows_of([2, 0.5, -1, 1])).tolist() == [-1, -1, -1, 1]


@pytest.mark.parametrize("sparse", [False, True])
def test_counts_that_are_mostly_zero_are_cut_above_it(sparse):
    counts = np.array([0] * 80 + [1, 2, 3, 4, 5, 6, 7, 8] * 2)
    rows = rows_of(counts)
    if sparse:
        rows = Sample(sp.csr_array(rows.X), rows.y)
    match = ColumnMatch([0]).fit(rows)
    assert dict(zip(match.names_, match.sizes_.tolist(), strict=True)) == {
        "x0=below 1": 80, "x0=1 to 4.5": 8, "x0=from 4.5": 8,
    }  # fmt: skip


def test_audit_and_subpop_name_and_cut_alike(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(2, size=400), rng.uniform(20, 80, size=400)])
    y = np.where(rng.uniform(size=400) > 0.5, 1, -1)
    lines = ["sex,age,y", *(f"{int(a)},{b!r},{c}" for (a, b), c in zip(X.tolist(), y, strict=True))]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    given = ["subpop", str(tmp_path / "people.csv"), "--match", "sex,1", "--alpha", "1", "--json", "--groups", "0"]
    assert main([*given, "--test-fraction", "0.5"]) == 0
    found = {group["name"] for group in json.loads(capsys.readouterr().out)["groups"]}
    order = np.random.default_rng(0).permutation(200)
    from linpoison import load

    split = load(tmp_path / "people.csv", test_fraction=0.5, seed=0)
    half = split.train.take(order[1::2])
    division = Grouping.parse("columns:sex,age").divide(half, split.test, 0)
    assert found == {division.names[code] for code in division.chosen}
    assert all(name.startswith("sex=") and ", age=" in name for name in found)
    assert len(found) == 8


def test_names_without_feature_names_are_those_of_feature_match():
    train = Dataset([[0.0, 3.0], [1.0, 4.0]] * 5, [1, -1] * 5)
    assert Grouping.parse("columns:1").divide(train, train, 0).names == ["x1=3", "x1=4"]


def test_columns_that_share_a_name_are_told_by_number():
    rows = rows_of([0, 1], [5, 5], [2, 2])
    match = ColumnMatch([0, 1, 2], ["a", "a", "b"]).fit(rows)
    assert match.names_ == ["x0=0, x1=5, b=2", "x0=1, x1=5, b=2"]
    assert match.assign(rows).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        ([2], None, "columns below 2, got 2"),
        ([-1], None, "at least 0"),
        ([0, 0], None, "named once"),
        ([0, 1], ["x1", "x1"], None),
        ([0], ["a"], "2 names"),
    ],
)
def test_columns_that_there_are_not_are_told(columns, names, words):
    rows = rows_of([0, 1], [5, 5])
    if words is None:
        assert ColumnMatch(columns, names).fit(rows).names_ == ["x0=0, x1=5", "x0=1, x1=5"]
        return
    with pytest.raises(InputError, match=words):
        ColumnMatch(columns, names).fit(rows)


@pytest.mark.parametrize("least", [2, 12])
def test_nan_is_in_no_quarter_but_told(least):
    values = np.arange(least, dtype=float)
    match = ColumnMatch([0]).fit(rows_of(values))
    for call in (match.assign, ColumnMatch([0]).fit):
        with pytest.raises(InputError, match="numbers in column 0, got NaN"):
            call(rows_of([*values[:-1], np.nan]))


def test_text_is_told():
    with pytest.raises(InputError, match=r"numbers in column 0.*FeatureMatch\(\[0\]\)"):
        ColumnMatch([0]).fit(Sample(np.array([["f"], ["m"]]), np.ones(2)))


def people(**more):
    columns = {"sex": [0, 0, 1, 1, 1, 0], "age": [20.0, 31, 42, 53, 64, 75], **more}
    return pd.DataFrame(columns, index=[5, 4, 3, 2, 1, 0])


def test_a_data_frame_is_matched_by_the_names_of_its_columns():
    """As its array is by their numbers, through `three_parts`, `take` and `mix`, which go by place and not by index."""
    table = people(old=[False, False, False, True, True, True])
    y = pd.Series([1, -1, 1, -1, 1, -1], index=table.index)
    rows = Sample(table, y, annotations={"sex": table["sex"]})
    assert rows.X.dtype == np.float64
    assert rows.X.tolist() == table.to_numpy(dtype=float).tolist()
    assert rows.take([1]).X.tolist() == [[0.0, 31.0, 0.0]]
    by_name = ColumnMatch(["old", "sex"]).fit(rows)
    assert by_name.names_ == ["old=0, sex=0", "old=0, sex=1", "old=1, sex=0", "old=1, sex=1"]
    by_number = ColumnMatch([2, 0], list(table.columns)).fit(Sample(table.to_numpy(dtype=float), y))
    assert by_number.names_ == by_name.names_
    parts = three_parts(rows, (2, 2, 2))
    for part in (rows, parts.train, parts.test, parts.train.mix(parts.test)):
        assert part.feature_names == ("sex", "age", "old")
        bare = Sample(part.X, part.y)
        assert by_name.assign(part).tolist() == by_number.assign(bare).tolist() == by_name.assign(bare).tolist()
    data = rows.dataset()
    assert data.feature_names == Sample.of(data).feature_names == rows.feature_names


def test_names_of_columns_that_are_numbers_are_none():
    rows = Sample(pd.DataFrame([[1, 2], [3, 4]]), pd.Series([1, -1]))
    assert rows.feature_names is None
    assert ColumnMatch([1]).fit(rows).names_ == ["x1=2", "x1=4"]


def test_columns_of_text_beside_others():
    rows = Sample(people(job=list("abcabc")), np.ones(6))
    assert ColumnMatch(["sex"]).fit(rows).names_ == ["sex=0", "sex=1"]
    assert FeatureMatch([2]).fit(rows).sizes_.tolist() == [2, 2, 2]
    with pytest.raises(InputError, match=r"numbers in column 2.*FeatureMatch\(\[2\]\)"):
        ColumnMatch(["job"]).fit(rows)
    missing = Sample(people(pay=pd.array([1, None, 2, 3, 4, 5], dtype="Int64")), np.ones(6))
    with pytest.raises(InputError, match="numbers in column 2"):
        ColumnMatch(["pay"]).fit(missing)


def test_names_that_do_not_fit_are_told():
    rows = Sample(people(), np.ones(6))
    with pytest.raises(InputError, match=r"such as sex, age\) or by number below 2, got 'agee'"):
        ColumnMatch(["agee"]).fit(rows)
    with pytest.raises(InputError, match="by number below 2, got 'age'"):
        ColumnMatch(["age"]).fit(Sample(rows.X, rows.y))
    with pytest.raises(InputError, match=r"a list of columns, got 'age'. Say \['age'\]"):
        ColumnMatch("age").fit(rows)
    swapped = Sample(people()[["age", "sex"]], np.ones(6))
    with pytest.raises(InputError, match=r"columns \['sex', 'age'\], got the columns \['age', 'sex'\]"):
        ColumnMatch(["age"]).fit(rows).assign(swapped)
    with pytest.raises(InputError, match=r"feature names, one for each column, got 1 for X of shape \(6, 2\)"):
        Sample(rows.X, rows.y, feature_names=["sex"])


def test_a_name_of_two_columns_names_neither():
    with pytest.raises(InputError, match="Say 0 or 2"):
        column_numbers(["a"], ("a", "b", "a"), 3)
    assert column_numbers(["2", "b"], ("a", "b", "a"), 3) == [2, 1]
