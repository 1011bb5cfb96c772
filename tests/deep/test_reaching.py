"""Thresholds, floors and gradient canceling against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

torch = pytest.importorskip("torch")

from closed_form import closed_form_gc  # noqa: E402
from deep_cases import binary, linear_pair, mlp, seeded, several, vectors  # noqa: E402

from deep import TorchRisk  # noqa: E402
from linpoison.attacks.gradient import Canceler  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.losses import Logistic, make_loss  # noqa: E402
from linpoison.risk import (  # noqa: E402
    LBFGS,
    LBFGSTrainer,
    LinearRisk,
    Sample,
    accuracy,
    least_residuals,
    reachability,
    relative_distance,
)
from linpoison.risk.arrays import norm, to_numpy  # noqa: E402
from linpoison.risk.score_losses import cross_entropy_reach  # noqa: E402

nn = torch.nn
KINDS = ["numpy", "torch"]
kinds = pytest.mark.parametrize("kind", KINDS)


def toy():
    return Sample([[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0]], [1.0, 1.0, -1.0])


def logistic(kind, d, reg=0.0):
    if kind == "numpy":
        return LinearRisk(Logistic(), reg, fit_intercept=False)
    return TorchRisk(seeded(lambda: nn.Linear(d, 1, bias=False)), "logistic", reg)


def digits():
    """Handwritten 3 and 8, in the split of the reference figures: 240 rows to learn from, 117 to test."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rows = np.flatnonzero((y == 3) | (y == 8))
    order = np.random.default_rng(0).permutation(rows.size)
    X, y = X[rows][order] / 16.0, np.where(y[rows][order] == 8, 1.0, -1.0)
    return Sample(X[:240], y[:240]), Sample(X[240:], y[240:])


@pytest.fixture(scope="module")
def planted():
    """Clean model, target and threshold on digits: reg 0.01, no offset, target -0.6 w."""
    clean, test = digits()
    risk = logistic("numpy", 64, 0.01)
    w = LBFGSTrainer().fit(risk, clean).w
    return clean, test, w, -0.6 * w


def test_constants():
    assert cross_entropy_reach(2) == pytest.approx(0.2784645427610738, abs=1e-15)
    assert cross_entropy_reach(10) == pytest.approx(1.1010029972769728, abs=1e-15)
    assert cross_entropy_reach(3) == pytest.approx(0.4630555, abs=1e-7)
    assert cross_entropy_reach(100) == pytest.approx(2.6286496, abs=1e-7)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_reach_of_cross_entropy_is_its_supremum(classes):
    rng = np.random.default_rng(classes)
    scores = rng.normal(size=(4000, classes)) * rng.uniform(0, 5, size=(4000, 1))
    best = np.zeros((1, classes))
    best[0, 0] = 1 + cross_entropy_reach(classes)
    risk = LinearRisk(classes, fit_intercept=False)
    eye = np.eye(classes).ravel()
    values = -risk.loss_jvp(eye, scores, np.zeros(len(scores), dtype=int), eye)
    attained = -risk.loss_jvp(eye, best, np.zeros(1, dtype=int), eye)
    assert values.max() <= cross_entropy_reach(classes)
    assert attained == pytest.approx(cross_entropy_reach(classes), rel=1e-12)


@kinds
def test_the_toy_set_has_the_published_thresholds_and_plateau(kind):
    risk, w = logistic(kind, 2), np.array([0.0, 2 * np.log(2)])
    at, scaled = reachability(risk, risk.vector(w), toy()), reachability(risk, risk.vector(w / 1.1), toy())
    assert at.threshold == pytest.approx(0.663780, abs=5e-7)
    assert at.numerator == pytest.approx(0.184839, abs=5e-7)
    assert scaled.threshold == pytest.approx(0.508722, abs=5e-7)
    assert at.kind == scaled.kind == "exact"
    assert at.lower_bound(0.52) ** 2 == pytest.approx(8.341171e-4, abs=5e-11)
    found = Canceler(LBFGS(), rows=1).cancel(risk, risk.vector(w), toy(), 0.52)
    assert found.residual**2 == pytest.approx(8.341171e-4, abs=5e-11)
    assert Canceler(LBFGS(), rows=1).cancel(risk, risk.vector(w / 1.1), toy(), 0.52).residual < 1e-8


@pytest.mark.parametrize(
    ("loss", "constant"), [("logistic", 0.2784645427610738), ("hinge", 1.0), ("squared_hinge", 0.25)]
)
def test_thresholds_of_margin_losses(loss, constant):
    data, w = binary(), vectors(4)[0]
    risk = LinearRisk(make_loss(loss), fit_intercept=False)
    found = reachability(risk, w, data)
    assert found.threshold == pytest.approx(w @ risk.data_grad(w, data.X, data.y) / constant)
    assert found.threshold > 0
    assert reachability(risk, 0.0 * w, data).threshold == 0.0


def test_a_regulariser_raises_the_threshold_up_to_infinity():
    data, w = binary(), 0.5 * vectors(4)[0]
    taus = [reachability(LinearRisk(Logistic(), reg, fit_intercept=False), w, data).threshold for reg in (0, 0.1, 0.2)]
    assert taus == sorted(taus)
    assert taus[0] < taus[1] < taus[2] < np.inf
    g, s = w @ LinearRisk(Logistic(), 0, fit_intercept=False).data_grad(w, data.X, data.y), float(w @ w)
    assert taus[1] == pytest.approx((g + 0.1 * s) / (0.2784645427610738 - 0.1 * s))
    enough = 0.28 / s
    assert reachability(LinearRisk(Logistic(), enough, fit_intercept=False), w, data).threshold == np.inf


@kinds
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_canceling_reaches_the_floor_below_the_threshold(kind, share, planted):
    clean, _, _, target = planted
    risk = logistic(kind, 64, 0.01)
    epsilon = share * reachability(risk, risk.vector(target), clean).threshold
    found = Canceler(LBFGS(), rows=1).cancel(risk, risk.vector(target), clean, epsilon)
    floor = closed_form_gc(risk, risk.vector(target), clean, epsilon)
    assert found.lower_bound == pytest.approx(floor.residual, rel=1e-9)
    assert floor.residual > 1e-3
    assert floor.residual - 1e-12 <= found.residual <= floor.residual + 1e-8


@kinds
def test_canceling_reaches_zero_above_the_threshold(kind, planted):
    clean, _, _, target = planted
    risk = logistic(kind, 64, 0.01)
    epsilon = 1.05 * reachability(risk, risk.vector(target), clean).threshold
    found = Canceler(LBFGS(steps=3000), rows=1).cancel(risk, risk.vector(target), clean, epsilon)
    assert found.lower_bound == 0.0
    assert found.residual < 1e-8


@kinds
def test_the_figures_of_the_reference_run_are_met(kind, planted):
    clean, test, w, target = planted
    risk = logistic(kind, 64, 0.01)
    at = reachability(risk, risk.vector(target), clean)
    assert at.numerator - at.penalty == pytest.approx(1.5033, abs=1e-4)
    assert at.penalty == pytest.approx(0.0535, abs=1e-4)
    assert at.threshold == pytest.approx(6.9187, abs=1e-3)
    assert accuracy(risk, risk.vector(w), test) == pytest.approx(0.991, abs=1e-3)
    assert accuracy(risk, risk.vector(target), test) == pytest.approx(0.009, abs=1e-3)
    for share, residual, distance in ((0.5, 0.337, 2.85), (0.9, 0.0673, 0.292), (0.99, 0.00673, 0.0259)):
        point = closed_form_gc(risk, risk.vector(target), clean, share * at.threshold)
        assert point.residual == pytest.approx(residual, rel=2e-3)
        if kind == "numpy":
            learned = LBFGSTrainer().fit(risk, clean.joined(point.sample, risk)).w
            assert norm(learned - target) == pytest.approx(distance, rel=5e-3)


@kinds
def test_just_above_the_threshold_one_point_is_learned_exactly(kind, planted):
    clean, _, w, target = planted
    risk = logistic(kind, 64, 0.01)
    epsilon = 1.0001 * reachability(risk, risk.vector(target), clean).threshold
    point = closed_form_gc(risk, risk.vector(target), clean, epsilon)
    both = clean.joined(point.sample, risk)
    assert point.residual == 0.0
    assert norm(risk.grad(risk.vector(target), both.X, both.y, both.weights)) < 1e-13
    learned = LBFGSTrainer(tol=1e-13).fit(risk, both)
    assert norm(to_numpy(learned.w) - target) < 1e-10
    assert relative_distance(to_numpy(learned.w), target, w) < 1e-10


@given(share=st.floats(0.05, 3.0), seed=st.integers(0, 50), label=st.sampled_from([1.0, -1.0]))
@settings(max_examples=40)
def test_the_formula_gives_what_it_says(share, seed, label):
    data, w = binary(seed=seed), vectors(4, seed=seed)[0]
    risk = LinearRisk(Logistic(), 0.02, fit_intercept=False)
    at = reachability(risk, w, data)
    epsilon = share * at.threshold if 0 < at.threshold < np.inf else share
    point = closed_form_gc(risk, w, data, epsilon, label=label)
    both = data.joined(point.sample, risk)
    r = (1 + epsilon) * risk.grad(w, both.X, both.y, both.weights)
    assert norm(r) == pytest.approx(at.lower_bound(epsilon), abs=1e-9 * (1 + np.abs(point.x).max()))
    assert point.weight == pytest.approx(epsilon * data.n)
    assert point.margin == pytest.approx(label * point.x @ w, rel=1e-6, abs=1e-9)
    assert point.y == label


def test_a_target_on_the_safe_side_is_reached_with_any_mass():
    data = binary()
    risk = LinearRisk(Logistic(), 0.0, fit_intercept=False)
    w = 0.1 * LBFGSTrainer().fit(LinearRisk(Logistic(), 0.1, fit_intercept=False), data).w
    assert reachability(risk, w, data).threshold == 0.0
    for epsilon in (1e-6, 0.01, 10.0):
        point = closed_form_gc(risk, w, data, epsilon)
        both = data.joined(point.sample, risk)
        assert norm(risk.grad(w, both.X, both.y, both.weights)) < 1e-9
    both = data.joined(closed_form_gc(risk, 0.0 * w, data, 0.1).sample, risk)
    assert norm(risk.grad(0.0 * w, both.X, both.y, both.weights)) < 1e-12


@given(seed=st.integers(0, 10**6), epsilon=st.floats(0.01, 2.0), scale=st.floats(0.1, 30))
@settings(max_examples=40)
@pytest.mark.parametrize("kind", ["binary", "classes", "network"])
def test_no_poison_is_below_the_lower_bound(kind, seed, epsilon, scale):
    rng = np.random.default_rng(seed)
    data = binary() if kind == "binary" else several()
    if kind == "network":
        risk = TorchRisk(mlp(), reg=0.01)
    else:
        risk = LinearRisk(Logistic() if kind == "binary" else 3, 0.01, fit_intercept=kind == "classes")
    size = risk.size if kind == "network" else len(risk.init(0, 4))
    w = risk.vector(rng.normal(size=size))
    y = data.y[rng.integers(data.n, size=4)]
    both = data.joined(Sample(scale * rng.normal(size=(4, 4)), y, np.full(4, epsilon * data.n / 4)), risk)
    r = (1 + epsilon) * risk.grad(w, both.X, both.y, both.weights)
    assert norm(r[risk.head]) >= reachability(risk, w, data).lower_bound(epsilon) * (1 - 1e-12)


def test_all_layers_of_a_network_without_biases_have_one_number():
    module = seeded(
        lambda: nn.Sequential(
            nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)
        )
    )
    risk, data = TorchRisk(module), several()
    w = risk.current
    g = risk.data_grad(w, data.X, data.y)
    numbers = [float(w[part] @ g[part]) for part in risk.layout.slices(lambda name: True)]
    assert len(numbers) == 3
    np.testing.assert_allclose(numbers, numbers[0], rtol=1e-12)
    assert reachability(risk, w, data).numerator == pytest.approx(numbers[0], rel=1e-12)


def test_the_last_layer_s_number_needs_its_bias():
    risk, data = TorchRisk(mlp()), several()
    w = risk.vector(vectors(risk.size)[0])
    scores = to_numpy(risk.scores(w, data.X))
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = ((chances - np.eye(3)[data.y]) * scores).sum(axis=1).mean()
    assert reachability(risk, w, data).numerator == pytest.approx(expected, rel=1e-12)
    weight = risk.layout.slices(lambda name: name == "2.weight")[0]
    without = float(w[weight] @ risk.data_grad(w, data.X, data.y)[weight])
    assert abs(without - expected) > 1e-3


def test_what_is_no_last_layer_has_no_threshold():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))

        def forward(self, x):
            return x @ self.weight

    found = reachability(TorchRisk(Twice()), torch.zeros(12, dtype=torch.float64), several())
    assert np.isnan(found.threshold)
    assert found.lower_bound(0.1) == 0.0


def test_an_offset_makes_the_threshold_necessary_only():
    ours, theirs, data = linear_pair("logistic")
    assert reachability(ours, np.ones(5), data).kind == "necessary"
    scaled = TorchRisk(nn.Sequential(nn.Linear(4, 1, bias=False), nn.Tanh()).double(), "logistic")
    assert reachability(scaled, scaled.current, data).kind == "necessary"


def test_the_formula_is_for_logistic_models_without_offset():
    ours, _, data = linear_pair("logistic")
    with pytest.raises(CapabilityError, match="without bias"):
        closed_form_gc(ours, np.ones(5), data, 0.1)
    squared = LinearRisk(make_loss("squared"), fit_intercept=False)
    with pytest.raises(CapabilityError, match="logistic"):
        closed_form_gc(squared, np.ones(4), data, 0.1)
    risk = logistic("numpy", 4)
    with pytest.raises(InputError, match="label 1 or -1"):
        closed_form_gc(risk, np.ones(4), data, 0.1, label=2)
    with pytest.raises(InputError, match="epsilon"):
        closed_form_gc(risk, np.ones(4), data, 0.0)
    assert float(lambertw(1 / np.e).real) == pytest.approx(risk.reach, rel=1e-14)


class Mean(nn.Module):
    """Over words."""

    def forward(self, x):
        return x.mean(dim=1)


class Around(nn.Module):
    """A linear layer that is not all of what gives the scores."""

    def __init__(self, bound):
        super().__init__()
        self.line, self.bound = nn.Linear(4, 2), bound

    def forward(self, x):
        return self.line(x).tanh() if self.bound else self.line(x) + x[:, :2]


@pytest.mark.parametrize("bound", [True, False])
def test_nothing_is_proved_where_the_last_layer_does_not_give_the_scores(bound):
    data = Sample(np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2)
    risk, line = TorchRisk(Around(bound), reg=0.1), TorchRisk(nn.Linear(4, 2), reg=0.1)
    assert np.isnan(reachability(risk, risk.current, data).threshold)
    assert not np.isnan(reachability(line, line.current, data).threshold)
    with pytest.raises(CapabilityError, match="gives the scores"):
        least_residuals(risk, risk.current, data, 0.1)
    assert len(least_residuals(line, line.current, data, 0.1)) > 1


def test_a_layer_that_is_called_for_each_word_has_no_rank_one_rows():
    module = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 2), nn.Flatten(), nn.Unflatten(1, (2, 2)), Mean())
    risk = TorchRisk(module)
    data = Sample(np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2)
    with pytest.raises(CapabilityError, match="gives the scores"):
        least_residuals(risk, risk.current, data, 0.1)
