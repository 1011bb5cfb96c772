"""Rows with given features: what is reached, what is not, and bad input."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep_cases import seeded, slope  # noqa: E402

from deep import FeatureCollision, features  # noqa: E402
from deep.collision import _Collision  # noqa: E402
from linpoison.core import CapabilityError, InputError  # noqa: E402
from linpoison.risk import Adam, Box  # noqa: E402

nn = torch.nn


def network():
    """Pictures of one channel and 4 x 4 pixels, 6 features of batch statistics and dropout, 3 classes."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(6, 3),
        )
    )


def pictures(n, seed):
    return np.random.default_rng(seed).uniform(size=(n, 1, 4, 4))


def test_features_of_pictures_are_reached_by_other_pictures():
    module, base = network(), pictures(5, 0)
    wanted = features(module, pictures(5, 1))
    state, modes = {k: v.clone() for k, v in module.state_dict().items()}, [p.training for p in module.modules()]
    found = FeatureCollision(Adam(step=0.05, steps=400)).collide(module, wanted, base)
    assert found.distance.max() < 1e-3 < 0.05 < found.before.min()
    assert found.rows.min() >= 0
    assert found.rows.max() <= 1
    np.testing.assert_allclose(found.features, features(module, found.rows))
    np.testing.assert_allclose(found.distance, np.linalg.norm(found.features - wanted, axis=1))
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in state.items())
    assert [p.training for p in module.modules()] == modes
    apart = FeatureCollision(Adam(step=0.05, steps=400), batch_size=2).collide(module, wanted, base)
    assert apart.distance.max() < 1e-3


def test_the_gradient_is_that_of_the_objective():
    module, base = network(), torch.as_tensor(pictures(2, 0))
    of = _Collision(module, torch.as_tensor(features(module, pictures(2, 1))), base - 0.1, 0.3)
    along = torch.as_tensor(pictures(2, 2))
    value, gradient = of(base)
    gaps = features(module, base) - of.wanted.numpy()
    assert value == pytest.approx((gaps**2).sum() / 2 + 0.15 * 0.01 * 32)
    assert float((gradient * along).sum()) == pytest.approx(slope(lambda x: of(x)[0], base, along), rel=1e-7)


def test_what_no_picture_has_is_approached_and_the_rest_told():
    module, base = network(), pictures(3, 0)
    far = np.full((3, 6), 5.0)  # beyond tanh
    free = FeatureCollision(Adam(step=0.05, steps=100)).collide(module, far, base)
    assert (free.distance < free.before).all()
    assert free.distance.min() > 6**0.5 * 4
    near = FeatureCollision(Adam(step=0.05, steps=100), Box(0.4, 0.6), 1.0).collide(module, far, base)
    assert near.rows.min() >= 0.4
    assert near.rows.max() <= 0.6
    assert (near.distance > free.distance).all()


def test_the_experiment_carries_poison_of_a_head_to_pictures_and_learns_it_again(tmp_path):
    path = Path(__file__).parents[2] / "experiments" / "features" / "frozen.py"
    script = runpy.run_path(str(path), run_name="imported")
    assert script["main"](["--quick", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "frozen.csv", newline="", encoding="utf-8") as stream:
        rows = {row["poison"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["none", "features", "base", "pictures", "of 8 bits", "any, 1 %"]
    distances = [float(rows[name]["distance of features"]) for name in ("features", "of 8 bits", "base")]
    assert distances[0] == 0 < distances[1] < 0.9 * distances[2]
    clean, planted = (float(rows[name]["error, seen rows"]) for name in ("none", "features"))
    assert clean < planted
    assert clean <= float(rows["any, 1 %"]["error, seen rows"].removeprefix("at most "))
    assert (tmp_path / "digits-seed-0.png").exists()


@pytest.mark.parametrize(
    ("wanted", "base", "error", "words"),
    [
        (np.zeros((2, 5)), pictures(2, 0), InputError, r"of shape \(2, 6\).* got \(2, 5\)"),
        (np.full((2, 6), np.nan), pictures(2, 0), InputError, "finite features"),
        (np.zeros((2, 6)), pictures(2, 0)[:, :, :3], InputError, "rows X that the network takes"),
    ],
)
def test_bad_input_is_one_line(wanted, base, error, words):
    with pytest.raises(error, match=words) as caught:
        FeatureCollision().collide(network(), wanted, base)
    assert "\n" not in str(caught.value)


def test_tokens_cannot_be_moved():
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(CapabilityError, match="Attack the embeddings"):
        FeatureCollision().collide(module, np.zeros((1, 12)), np.array([[1, 2, 3]]))


def test_rows_without_slopes_are_refused_with_the_layer():
    class Rounded(nn.Module):
        def forward(self, x):
            return torch.round(x)

    whole = seeded(lambda: nn.Sequential(Rounded(), nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)))
    with pytest.raises(CapabilityError, match=r"slopes in the rows, got none behind the layer 0 \(Rounded\)"):
        FeatureCollision().collide(whole, np.zeros((1, 3)), [[0.2, 0.8]])
