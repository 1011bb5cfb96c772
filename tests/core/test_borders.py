"""What comes in: every sparse format, kinds that are no numbers, numbers of any length."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from linpoison import InputError, LinearModel, Poison, Problem, make_defense
from linpoison.core import as_matrix, as_signed_labels, as_weights, check_integer, check_number, check_seed
from linpoison.core.validation import as_whole
from linpoison.losses import Hinge

X = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 3.0], [4.0, 0.0, 5.0]])


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("layout", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
def test_every_sparse_format_becomes_csr(layout, kind):
    S = getattr(sp, f"{layout}_{kind}")(X)
    found = as_matrix(S)
    assert isinstance(found, sp.csr_array)
    assert (found.toarray() == X).all()
    kept, labels = make_defense("l2", remove=0.0).fit_resample(S, [0, 1, 0, 1])
    assert layout in ("csc", "lil", "dok") or kept.format == "csr"
    assert (kept.toarray() == X).all()
    assert list(labels) == [0, 1, 0, 1]


@pytest.mark.parametrize("other", [
    X + 1j, sp.coo_array(X + 1j), X.astype("timedelta64[s]"), X.astype("datetime64[s]"), np.full((4, 3), "x"),
    [[1, [2]]], [[10**400]], np.zeros((2, 2), dtype=[("a", "f8")]), "rows", None, 3,
])  # fmt: skip
def test_what_is_no_number_is_refused(other):
    with pytest.raises(InputError):
        as_matrix(other)
    for refuse in (as_signed_labels, lambda y: as_weights(y, 4), lambda c: LinearModel(c, 0.0)):
        with pytest.raises(InputError):
            refuse(other if other is not None else 1j)


@pytest.mark.parametrize("kind", ["datetime64[ns]", "datetime64[ns, UTC]", "timedelta64[s]"])
def test_a_column_of_dates_in_a_frame_is_not_counted_in_units_of_time(kind):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.5, 1.5], "when": pandas.Series([1, 2]).astype(kind)})
    with pytest.raises(InputError, match="dates or durations"):
        as_matrix(frame)
    assert as_matrix(frame[["a"]]).tolist() == [[0.5], [1.5]]


@pytest.mark.parametrize("value", [10**5000, -(10**5000), 1e300, 2**63], ids=["long", "negative", "float", "64 bits"])
def test_numbers_of_any_length_are_refused_in_a_line(value):
    for check in (check_seed, lambda v: check_number(v, "it"), lambda v: check_integer(v, "it", at_least=0)):
        if check is check_seed or not (value == 2**63 and isinstance(value, int)):
            with pytest.raises(InputError) as caught:
                check(value)
            assert len(str(caught.value)) < 500


def test_whole_numbers_in_words():
    assert (as_whole(" 17"), as_whole("-3")) == (17, -3)
    for text in ("9" * 19, "\u0663", "1.0", "1_0", "", "x"):
        with pytest.raises(InputError, match="at most 18 digits"):
            as_whole(text)


def test_extremes_of_the_problem_and_of_copies():
    for reg in (1e-320, 1e-16, 1e16, 0.0):
        with pytest.raises(InputError, match="reg"):
            Problem(Hinge(), reg)
    with pytest.raises(InputError, match="copies"):
        Poison(X[:1], [1], [1e300])


def test_scales_are_told_before_the_work(caplog):
    from linpoison.auditing.inputs import prepare
    from linpoison.auditing.options import LearnerOptions
    from linpoison.datasets.scaling import scale_caution

    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    assert scale_caution(rows) == scale_caution(sp.csr_array(rows)) == scale_caution(np.ones((4, 2))) == ""
    assert "'income' is 1e+06 times as wide" in scale_caution(rows * [1e6, 1, 1.1], ("income", "age", "z"))
    nearly_still = np.hstack([rng.normal(size=(40, 30)), 1e-9 * rows[:, :1]])
    assert scale_caution(nearly_still) == ""
    assert "column 1 lies" in scale_caution(rows + [0, 1e6, 0])
    for _ in range(2):
        prepare((rows * [1e6, 1, 1], y, rows, y), LearnerOptions(defenses="none"))
    assert caplog.text.count("StandardScaler") == 1
