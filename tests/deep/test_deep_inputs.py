"""Bad input is refused with what was expected, what came and, where there is one, a remedy; and nothing needs cvxpy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import binary, linear_pair, mlp, several  # noqa: E402

import deep  # noqa: E402
from deep import TorchRisk  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.losses import Logistic, Problem  # noqa: E402
from linpoison.risk import DirectRows, LinearRisk, Sample, accuracy, relative_distance  # noqa: E402

nn = torch.nn


def torch_grad(X=None, y=None, w=None, **options):
    risk, data = TorchRisk(mlp(), **options), several()
    return risk.grad(risk.current if w is None else w, data.X if X is None else X, data.y if y is None else y)


def numpy_grad(loss=3, X=None, y=None, w=None):
    data = several()
    w = np.zeros(15 if loss == 3 else 5) if w is None else w
    return LinearRisk(loss).grad(w, data.X if X is None else X, data.y if y is None else y)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TorchRisk("net"), "torch.nn.Module, got str"),
        (lambda: TorchRisk(nn.ReLU()), "parameters to differentiate in"),
        (lambda: TorchRisk(mlp(), "absolute"), "a loss among cross_entropy"),
        (lambda: TorchRisk(mlp(), 3), "a loss: a name"),
        (lambda: TorchRisk(mlp(), reg=-1), "reg"),
        (lambda: TorchRisk(mlp(), chunk=0), "chunk"),
        (lambda: TorchRisk(mlp(), derivative="both"), "derivative"),
        (lambda: TorchRisk(mlp(), params=["3.weight"]), "got '3.weight'"),
        (lambda: TorchRisk(mlp(), params=lambda name: False), "got none"),
        (lambda: TorchRisk(mlp().half()), "torch.float16. Use"),
        (lambda: TorchRisk(mlp(), head="9").head, "named 9"),
        (lambda: TorchRisk(mlp(), params="0.weight").head, "last linear layer"),
        (lambda: TorchRisk(mlp()).vector(np.zeros(4)), "43 finite parameters"),
        (lambda: TorchRisk(mlp()).vector(np.full(43, np.nan)), "43 finite parameters"),
        (lambda: TorchRisk(mlp()).init(-1), "seed"),
        (lambda: TorchRisk(mlp()).features(torch.zeros(43), several().X, "9"), "a layer among"),
        (lambda: torch_grad(X=np.zeros((0, 4)), y=np.zeros(0)), "rows of positive weight"),
        (lambda: torch_grad(y=np.zeros(3, dtype=int)), "30 labels"),
        (lambda: torch_grad(w=torch.zeros(4)), "43 parameters"),
        (lambda: torch_grad(X=[["a"] * 4] * 30), "array of numbers"),
        (lambda: torch_grad(loss="logistic", y=np.ones(30)), "one output for each row"),
        (lambda: TorchRisk(nn.Conv2d(1, 1, 1)).grad(torch.zeros(2), np.zeros((2, 1, 3, 3)), [0, 0]), "classes"),
        (lambda: numpy_grad(X=np.zeros((30, 3))), "rows of 4 features"),
        (lambda: numpy_grad(y=np.full(30, 3)), "labels from 0 to 2, got 3"),
        (lambda: numpy_grad(y=np.full(30, 0.5)), "whole labels"),
        (lambda: numpy_grad(loss=Logistic(), y=np.zeros(30)), "labels in {-1, \\+1}"),
        (lambda: numpy_grad(w=np.zeros(14)), "3 rows of coefficients"),
        (lambda: numpy_grad(X=np.full((30, 4), np.inf)), "finite X"),
        (lambda: LinearRisk(1), "number of classes"),
        (lambda: LinearRisk(2.5), "number of classes"),
        (lambda: LinearRisk(3, -0.1), "reg"),
        (lambda: LinearRisk(3).vector([[1.0]]), "flat vector"),
        (lambda: LinearRisk(3).vector([np.nan]), "finite"),
        (lambda: LinearRisk(3).grad(np.zeros(15), several().X, several().y, np.zeros(30)), "weight"),
        (lambda: LinearRisk.of(Problem(Logistic(), reg=1.0, scaling="sum", n_reference=9)), "scaling 'mean'"),
        (lambda: Sample(np.zeros((2, 1))), "labels y"),
        (lambda: Sample(np.zeros((2, 1)), [1.0]), "2 labels"),
        (lambda: Sample(np.zeros((2, 1)), [1.0, 1.0], [1.0]), "2"),
        (lambda: Sample(np.zeros((2, 1)), [1.0, 1.0], [-1.0, 1.0]), "weight"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert ", got " in str(caught.value)


def test_tokens_cannot_be_moved():
    module = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)).double()
    risk, X = TorchRisk(module), np.array([[0, 1], [2, 3]])
    assert risk.grad(risk.current, X, [0, 1]).shape == (risk.size,)
    with pytest.raises(CapabilityError, match="embeddings"):
        risk.mixed_product(risk.current, X, [0, 1], risk.current)


def test_rows_are_copies_of_the_model_s_own_kind():
    ours, theirs, data = linear_pair("logistic")
    for risk in (ours, theirs):
        rows = risk.rows(data.X)
        rows[0] = 7.0
        assert data.X[0, 0] != 7.0
    assert theirs.rows(np.arange(4).reshape(1, 4)).dtype == torch.float64


def test_accuracy_counts_copies_and_distance_is_relative():
    risk = LinearRisk(Logistic(), fit_intercept=False)
    data = Sample([[1.0], [2.0], [-1.0]], [1.0, -1.0, -1.0], [1.0, 3.0, 1.0])
    assert accuracy(risk, np.ones(1), data) == pytest.approx(0.4)
    assert relative_distance(np.array([0.0, 2.0]), np.zeros(2), np.array([3.0, 4.0])) == pytest.approx(0.4)
    assert relative_distance(np.ones(2), np.zeros(2), np.zeros(2)) == np.inf
    assert relative_distance(np.zeros(2), np.zeros(2), np.zeros(2)) == 0


def test_rows_are_their_own_parameters():
    rows = DirectRows((2, 3))
    phi = np.arange(6.0)
    np.testing.assert_array_equal(rows.vjp(phi)[1](rows.points(phi)), phi)


def test_joined_rows_keep_order_and_copies():
    risk, data = TorchRisk(mlp()), several()
    both = data.joined(Sample(data.X[:2], data.y[:2], [2.0, 3.0]), risk)
    assert both.n == 32
    assert both.total == 35
    np.testing.assert_allclose(both.X[30:], data.X[:2])
    assert binary().joined(binary(3), LinearRisk(Logistic())).n == 33


def test_every_name_is_there_and_described():
    for name in deep.__all__:
        assert getattr(deep, name).__doc__ or name == "Vector"
        assert name in deep.__doc__ or name in {
            "Canceling", "Crafted", "Descent", "Reachability", "Solution", "Trained",
            "accuracy", "relative_distance", "hessian", "sampled_hessian", "objective", "Alone", "DirectRows",
            "InverseHVP", "PoisonParameters", "Projection", "TargetGenerator", "Trainer",
        }  # fmt: skip


NO_CVXPY = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cvxpy":
            raise ImportError("cvxpy is refused")
sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
assert "cvxpy" not in sys.modules
from linpoison.attacks.gradient import Canceler
from linpoison.risk import Adam, LBFGSTrainer, LinearRisk, Sample
risk, rows = LinearRisk(2, 0.1), Sample([[0.0], [1.0]], [0, 1])
Canceler(Adam(steps=2)).cancel(risk, LBFGSTrainer().fit(risk, rows).w, rows, 1.0)
"""


def test_everything_works_where_cvxpy_cannot_be_imported():
    folder = Path(deep.__file__).parent
    modules = [f"deep.{path.stem}" for path in folder.glob("*.py") if not path.stem.startswith("__")]
    assert len(modules) > 20
    outcome = subprocess.run([sys.executable, "-c", NO_CVXPY, *modules], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


ROWS = {
    "sparse": lambda X: torch.as_tensor(X).to_sparse(),
    "sparse rows": lambda X: torch.as_tensor(X).to_sparse_csr(),
    "mkldnn": lambda X: torch.as_tensor(X).float().to_mkldnn(),
    "meta": lambda X: torch.as_tensor(X).to("meta"),
    "one number": lambda X: np.float64(3),
    "masked": lambda X: np.ma.masked_array(X, X > 1),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("kind", ROWS)
def test_rows_that_are_held_in_another_way_are_refused_in_one_line(kind):
    data, risk = several(9), TorchRisk(mlp())
    for call in (lambda X: risk.grad(risk.current, X, data.y), lambda X: risk.scores(risk.current, X)):
        with pytest.raises(InputError, match=r"dense tensor|\(n, ...\)|masked entries") as caught:
            call(ROWS[kind](data.X))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("w", [None, "abc", ["a"] * 43, torch.ones(43).to_sparse(), np.ones((1, 43))])
def test_parameters_that_are_none_are_refused_in_one_line(w):
    data, risk = several(9), TorchRisk(mlp())
    with pytest.raises(InputError, match="a flat vector of 43 parameters"):
        risk.grad(w, data.X, data.y)
    with pytest.raises(InputError, match="a flat vector of 43 parameters"):
        risk.hvp(risk.current, data.X, data.y, w)


def test_an_array_of_rows_without_labels_is_refused():
    risk = TorchRisk(mlp())
    for operation in ("loss", "grad", "row_grad"):
        with pytest.raises(InputError, match="labels y with an array X, got none"):
            getattr(risk, operation)(risk.current, several(9).X, None)
