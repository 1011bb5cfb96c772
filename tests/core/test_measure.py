"""Measures of damage against scikit-learn's, and the weights under which an error stands for them."""

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score, roc_auc_score

from linpoison.core import CapabilityError, Dataset, InputError, LinearModel, MultiModel, parse_measure
from linpoison.core.measure import Costs


def rows(n=300, *, classes=("ham", "fraud"), weighted=False):
    """Rows of a rare class, with some equal scores."""
    rng = np.random.default_rng(3)
    y = np.where(rng.random(n) < 0.1, 1.0, -1.0)
    X = np.round(rng.normal(size=(n, 2)) + 0.7 * y[:, None], 1)
    return Dataset(X, y, rng.random(n) if weighted else None, classes=classes)


def coded(n=300):
    rng = np.random.default_rng(4)
    y = rng.choice(3, n, p=[0.7, 0.25, 0.05])
    return Dataset.coded(rng.normal(size=(n, 2)) + y[:, None], y, n_classes=3, classes=("a", "b", "c"))


MODEL = LinearModel([1.0, 0.5], -0.3)
OF_THREE = MultiModel([[-1.0, -1.0], [0.1, 0.2], [1.0, 1.0]], [0.5, 0.6, -2.0])


def figure(name, model, data):
    return parse_measure(name).bound(data).of(model, data)


@pytest.mark.parametrize("weighted", [False, True])
def test_measures_of_two_classes_are_those_of_scikit_learn(weighted):
    data = rows(weighted=weighted)
    said, scores, weight = MODEL.predict(data.X), MODEL.decision_function(data.X), data.weight
    balanced = 1 - balanced_accuracy_score(data.y, said, sample_weight=weight)
    assert figure("balanced", MODEL, data) == pytest.approx(balanced)
    missed = 1 - recall_score(data.y, said, sample_weight=weight)
    assert figure("recall:fraud", MODEL, data) == pytest.approx(missed)
    called = 1 - recall_score(data.y, said, pos_label=-1, sample_weight=weight)
    assert figure("fpr:fraud", MODEL, data) == pytest.approx(called)
    assert figure("auc", MODEL, data) == pytest.approx(1 - roc_auc_score(data.y, scores, sample_weight=weight))


def test_measures_of_three_classes_are_those_of_scikit_learn():
    data = coded()
    said = OF_THREE.predict(data.X)
    assert figure("balanced", OF_THREE, data) == pytest.approx(1 - balanced_accuracy_score(data.y, said))
    recalls = recall_score(data.y, said, average=None)
    assert figure("recall:c", OF_THREE, data) == pytest.approx(1 - recalls[2])
    table = confusion_matrix(data.y, said)
    assert figure("fpr:b", OF_THREE, data) == pytest.approx((table[0, 1] + table[2, 1]) / (data.y != 1).sum())


@pytest.mark.parametrize("suffix", ["toml", "json", "csv"])
def test_costs_are_those_of_the_confusion_matrix(tmp_path, suffix):
    costs = np.array([[0, 1, 2], [4, 0, 8], [3, 5, 0]])
    named = {t: {s: int(costs[i, j]) for j, s in enumerate("abc") if i != j} for i, t in enumerate("abc")}
    lines = ["true," + ",".join("abc"), *(f"{t}," + ",".join(map(str, costs[i])) for i, t in enumerate("abc"))]
    texts = {
        "json": json.dumps(named),
        "toml": "\n".join(
            f"[{t}]\n" + "\n".join(f"{s} = {cost}" for s, cost in own.items()) for t, own in named.items()
        ),
        "csv": "\n".join(lines),
    }
    file = tmp_path / f"costs.{suffix}"
    file.write_text(texts[suffix])
    data = coded()
    table = confusion_matrix(data.y, OF_THREE.predict(data.X))
    assert figure(f"cost:{file}", OF_THREE, data) == pytest.approx((table * costs).sum() / data.n / 8)


@pytest.mark.parametrize("name", ["balanced", "recall:fraud", "recall:ham", "fpr:fraud"])
def test_the_error_of_weighted_rows_is_the_measure(name):
    data = rows(weighted=True)
    measure = parse_measure(name).bound(data)
    for part in (measure.weighted(data), measure.searched(data)):
        assert MODEL.error(part) == pytest.approx(measure.of(MODEL, data), rel=1e-12)


def test_the_error_of_weighted_rows_grows_with_the_cost_of_two_classes():
    data = rows()
    measure = Costs("costs.toml", costs=((0.0, 0.1), (1.0, 0.0)))
    models = [LinearModel([1.0, 0.5], shift) for shift in (-3.0, -1.0, 0.0, 1.0, 3.0)]
    ratio = [measure.of(model, data) / model.error(measure.searched(data)) for model in models]
    assert ratio == pytest.approx([ratio[0]] * 5, rel=1e-12)


def test_rows_of_one_class_keep_weights_of_one():
    data = rows()
    part = parse_measure("recall:fraud").bound(data).searched(data)
    assert part.y.tolist() == [1.0] * int((data.y > 0).sum())
    assert part.weight.tolist() == [1.0] * part.n


def test_the_rows_that_count_are_those_of_which_one_moves_the_figure_most():
    data = Dataset(np.zeros((100, 1)), np.where(np.arange(100) < 4, 1, -1))
    found = [
        parse_measure(name).bound(data).counted(data) for name in ("error", "recall:1", "fpr:1", "balanced", "auc")
    ]
    assert found == [100, 4, 96, 8, 4]


@pytest.mark.parametrize("name", ["f1", "recall", "recall:", "error:1", "balanced:", "auc:fraud", "cost", None, 3])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="a metric among error, balanced, recall:CLASS, fpr:CLASS, auc, cost:FILE"):
        parse_measure(name)


def test_unknown_classes_and_auc_of_many_classes_are_refused():
    with pytest.raises(InputError, match="a class of the metric recall among ham, fraud, got 'spam'"):
        parse_measure("recall:spam").bound(rows())
    with pytest.raises(CapabilityError, match="two classes with the metric auc"):
        parse_measure("auc").bound(coded())


def test_rows_without_the_class_are_refused():
    data = rows()
    with pytest.raises(InputError, match="unseen rows with rows for the metric recall:fraud"):
        parse_measure("recall:fraud").bound(data).require(data.of_class(-1.0), "unseen rows")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ham]\nfraud = 1", "the cost of taking fraud for ham, got none"),
        ("[ham]\nfraud = -1\n[fraud]\nham = 1", "the cost of taking ham for fraud as a number of at least 0"),
        ("[ham]\nfraud = 0\n[fraud]\nham = 0", "a cost above 0"),
        ("[ham]\nham = 1\nfraud = 1\n[fraud]\nham = 1", "the cost of taking ham for ham as a number of at least 0 and"),
        ("[spam]\nham = 1", "costs of the labels ham, fraud, got 'spam'"),
        ("ham = 1", "without a table for each label"),
        ("[ham", "costs by true and predicted label"),
    ],
)
def test_files_that_are_no_costs_are_refused(tmp_path, text, message):
    file = tmp_path / "costs.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        parse_measure(f"cost:{file}").bound(rows())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("costs.csv", ",ham,fraud\nham,0,1\nfraud,2,0\nfraud,9,0"),
        ("costs.csv", ",ham,fraud,fraud\nham,0,1,3\nfraud,2,0,0"),
        ("costs.json", '{"ham": {"fraud": 1, "fraud": 0}, "fraud": {"ham": 1}}'),
    ],
)
def test_a_label_that_stands_twice_in_a_file_of_costs_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="fraud twice"):
        parse_measure(f"cost:{tmp_path / name}").bound(rows())
