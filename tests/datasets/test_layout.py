"""A table is read as it is laid out, or its user is asked: header line, label, row numbers, weights."""

import numpy as np
import pandas as pd
import pytest

from linpoison.core import InputError
from linpoison.datasets import load

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(40, 3)), 4)
Y = np.arange(40) % 2


def table(tmp_path, name="t.csv", **columns):
    frame = pd.DataFrame(columns)
    frame.to_csv(tmp_path / name, index=False)
    return str(tmp_path / name)


def refused(match, *arguments, **options):
    with pytest.raises(InputError, match=match):
        load(*arguments, **options)


@pytest.mark.parametrize("last", ["{:d}", "R{:d}"])
def test_a_first_line_of_data_is_no_header(tmp_path, last):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{a},{b},{c},{last.format(y)}\n" for (a, b, c), y in zip(X.tolist(), Y, strict=True)))
    refused("a header line in t.csv, got a first line (with|of) numbers .*header='none'", path)
    split = load(path, header="none", test_fraction=0.25)
    assert split.train.n + split.test.n == 40
    assert split.train.feature_names == ("0", "1", "2")
    assert split.train.label_name == "3"
    swapped = load(path, header="none", label="3")
    np.testing.assert_array_equal(swapped.train.X, X[swapped.train.row_numbers])


def test_names_that_are_numbers_are_asked_about(tmp_path):
    path = table(tmp_path, **{"2019": X[:, 0], "2020": X[:, 1], "label": Y})
    refused("if these are names, header='first'", path)
    assert load(path, header="first").train.feature_names == ("2019", "2020")
    words = tmp_path / "w.csv"
    words.write_text("tcp,bad\n" + "tcp,good\nudp,bad\n" * 4)
    refused("words are values of their columns", words)


def test_label_names_are_ranked_and_two_are_asked_about(tmp_path):
    path = table(tmp_path, x=X[:, 0], y=1 - Y, z=X[:, 2], label=Y)
    split = load(path)
    assert (split.train.label_name, split.train.feature_names) == ("label", ("x", "y", "z"))
    both = table(tmp_path, Class=Y, x=X[:, 0], label=Y)
    refused(r"one label column in t.csv, got 2 columns with a name of a label \('Class', 'label'\).*--label", both)
    assert load(both, label="Class").train.feature_names == ("x", "label")
    flags = table(tmp_path, spam=Y, x=X[:, 0], flag=1 - Y)
    refused("2 columns of two values, and none called label", flags)
    assert load(table(tmp_path, x=X[:, 0], spam=Y)).train.label_name == "spam"


def test_columns_that_number_the_rows_are_asked_about(tmp_path):
    counts = {"Unnamed: 0": np.arange(40), "nr": np.arange(1, 41), "index": RNG.permutation(90)[:40]}
    for name, numbers in counts.items():
        path = table(tmp_path, **{name: numbers, "a": X[:, 0], "label": Y})
        refused(f"the column '{name}' .*index='{name}'", path)
        assert load(path, index=name).train.feature_names == ("a",)
        assert load(path, index="none").train.feature_names == (name, "a")
    blank = tmp_path / "t.csv"
    pd.DataFrame({"a": X[:, 0], "label": Y}).to_csv(blank)
    refused("no name for column 1. .*index='Unnamed: 0'", blank)
    assert load(blank, index="Unnamed: 0").train.feature_names == ("a",)
    refused("an index column 'key' in t.csv", blank, index="key")


def test_rows_keep_their_numbers_and_labels_their_values(tmp_path):
    path = table(tmp_path, a=X[:, 0], b=X[:, 1], kind=np.where(Y, "spam", "ham"), cost=1.0 + Y)
    split = load(path, label="kind", weight="cost", test_fraction=0.3, seed=3)
    for part in (split.train, split.test):
        np.testing.assert_array_equal(part.X, X[part.row_numbers, :2])
        assert part.label_values(part.y) == np.where(Y, "spam", "ham")[part.row_numbers].tolist()
    assert sorted([*split.train.row_numbers, *split.test.row_numbers]) == list(range(40))
    np.testing.assert_array_equal(split.train.weight, 1.0 + Y[split.train.row_numbers])
    some = split.train.take([5, 2])
    assert some.row_numbers.tolist() == split.train.row_numbers[[5, 2]].tolist()
    assert split.test.positions([split.test.row_numbers[3]]).tolist() == [3]
    with pytest.raises(InputError, match="row numbers of the file among its 12 test rows"):
        split.test.positions([split.train.row_numbers[0]])
    np.savez(tmp_path / "a.npz", X=X, y=Y, n_train=30, cost=1.0 + Y)
    both = load(tmp_path / "a.npz", weight="cost")
    assert both.test.row_numbers.tolist() == list(range(30, 40))
    assert both.train.total == 30 + Y[:30].sum()


def test_a_class_called_none_is_no_missing_value(tmp_path):
    words = ["None", "attack"] * 20
    assert load(table(tmp_path, a=X[:, 0], label=words)).train.classes == ("None", "attack")
    refused(
        "20 empty fields in the column 'label' .20 that read 'NA'.", table(tmp_path, a=X[:, 0], label=["NA", "b"] * 20)
    )


def test_parquet_with_one_name_twice_names_it(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = [pa.array(X[:, 0]), pa.array(X[:, 1]), pa.array(Y)]
    pq.write_table(pa.Table.from_arrays(columns, names=["a", "a", "label"]), tmp_path / "t.parquet")
    refused("'a' more than once", tmp_path / "t.parquet")
