"""What the scripts of this folder share: rows, models, recipes of learning, a journal, and tables."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from deep import SGDTrainer, TorchRisk, make_model
from linpoison.core.journal import FolderJournal
from linpoison.risk import Sample, accuracy

sys.path.append(str(Path(__file__).resolve().parents[1]))
import written  # noqa: E402

MODELS = ("lr", "nn", "cnn")
RECIPES = {
    "lr": SGDTrainer(epochs=100, batch_size=1000, step=0.1),
    "nn": SGDTrainer(epochs=100, batch_size=1000, step=0.1),
    "cnn": SGDTrainer(epochs=10, batch_size=1000, step=0.1, channels_last=True),
}
"""The learner, of clean and of poisoned rows, as in the papers: 100 epochs in batches of 1000 with step 0.1 and no
momentum; the CNN gets a tenth of them."""


@dataclass(frozen=True, eq=False)
class Clean:
    """What a seed learns from clean rows."""

    w: Any
    accuracy: float
    seconds: float


class Lab:
    """One model, its rows and what was measured of it.

    Parameters
    ----------
    model : str
    out : Path
        Its folder ``journal`` keeps finished steps.
    quick : bool
        200 digits of 8 x 8 pixels and two epochs in the place of MNIST.
    subset : int, optional
        Training rows, drawn once; by default all.
    signed : bool, default False
        Pixels from -1 to 1 in the place of 0 to 1.
    """

    def __init__(self, model: str, out: Path, quick: bool, subset: int | None = None, *, signed: bool = False) -> None:
        self.model, self.quick, self.low = model, quick, -1.0 if signed else 0.0
        train, test = (Sample(self.low + (1.0 - self.low) * s.X, s.y) for s in rows_of(quick))
        train = train if subset is None else train.drawn(subset, 0)
        module = make_model(model, train.X.shape[1:], 10).float()
        if model == "cnn":
            module = module.to(memory_format=torch.channels_last)
        self.risk = TorchRisk(module, chunk=1000 if model == "cnn" else 5000)
        self.train, self.test = (Sample(self.risk.rows(s.X), s.y) for s in (train, test))
        recipe = RECIPES[model]
        self.recipe = replace(recipe, epochs=2, batch_size=20) if quick else recipe
        self.journal = FolderJournal(out / "journal", f"{model}/{quick}/{subset}/{self.recipe}/{'signed/' * signed}")

    def kept(self, key: str, make: Callable[[], dict[str, Any]], needed: Sequence[str] = ()) -> dict[str, Any]:
        """The arrays of a step: from the journal, unless it lacks `needed` ones, or made and stored."""
        found = self.journal.get(key)
        if found is None or not set(needed) <= set(found):
            print(f"{self.model}: {key}", file=sys.stderr, flush=True)
            self.journal.put(key, {name: _array(value) for name, value in make().items()})
            found = self.journal.get(key)
        return found or {}

    def learn(self, key: str, seed: int, poison: Callable[[], Sample] | None = None) -> Clean:
        """By the recipe, from scratch."""

        def make() -> dict[str, Any]:
            data = self.train if poison is None else self.train.joined(poison(), self.risk)
            began = time.process_time()
            found = self.recipe.fit(self.risk, data, seed=seed)
            seconds = time.process_time() - began
            return {"w": found.w, "accuracy": accuracy(found.risk, found.w, self.test), "seconds": seconds}

        found = self.kept(f"{key}, learner {seed}", make)
        return Clean(torch.as_tensor(found["w"]), float(found["accuracy"]), float(found["seconds"]))

    def clean(self, seed: int) -> Clean:
        """On clean rows."""
        return self.learn("clean", seed)


@cache
def rows_of(quick: bool) -> tuple[Sample, Sample]:
    """Training and test rows of MNIST, or a few digits; pixels in [0, 1]."""
    if not quick:
        from linpoison.datasets import load_mnist

        X, y, X_test, y_test = load_mnist()
        return Sample(X.reshape(-1, 1, 28, 28), y), Sample(X_test.reshape(-1, 1, 28, 28), y_test)
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 1, 8, 8) / 16
    return Sample(X[:200], y[:200]), Sample(X[200:500], y[200:500])


def victim(seed: int) -> int:
    """The learner who meets the poison of an attacker: not the one whom the attacker has watched."""
    return (seed + 1) % 3


def options(doc: str | None, *, seeds: bool = True) -> argparse.ArgumentParser:
    """What all scripts of this folder take; `seeds` those that learn from several."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; a run there resumes")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    if seeds:
        parser.add_argument("--seeds", type=int, default=3, metavar="N", help="1 to 3 (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="200 digits, one seed, a few steps")
    return parser


def write(out: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as Markdown and as CSV, with what it was measured with; it is printed too."""
    measured_with = f"{written.provenance(torch=torch.__version__).removesuffix('.')}; CPU, one thread."
    print(written.write(out, name, header, rows, measured_with), flush=True)


def name_of(table: str, models: Sequence[str]) -> str:
    """The file of a table: with the models' names, unless all of them are in it."""
    return table if len(models) == 3 else f"{table}-{'-'.join(models)}"


def spread(values: Sequence[float], digits: int = 2, unit: float = 1.0) -> str:
    """Mean and, of several values, standard deviation."""
    scaled = unit * np.asarray(values, dtype=float)
    mean = f"{scaled.mean():.{digits}f}"
    return mean if len(scaled) < 2 else f"{mean} ± {scaled.std(ddof=1):.{digits}f}"


def interval(differences: Any) -> str:
    """Mean and, of several, Student's interval of 95 %."""
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return f"{mean:.2f}"
    wide = float(student.ppf(0.975, n - 1) * np.std(differences, ddof=1) / n**0.5)
    return f"{mean:.2f} ({mean - wide:.2f} to {mean + wide:.2f})"


def confused_cluster(module: Any, X: Any, y: Any, budget: int, ratio: float) -> tuple[Any, int]:
    """Rows of the cluster of one class that a network takes most often for another class, and that class.

    The rows of each class are clustered by k-means on what the last layer of the Sequential is given; of each center
    the nearest ``budget / ratio`` rows of the class are looked at. They are repeated to the budget.
    """
    from sklearn.cluster import KMeans

    with torch.no_grad():
        parts = [(module[:-1](part), module(part).softmax(dim=1)) for part in X.split(2000)]
    seen, sure = (torch.cat(side) for side in zip(*parts, strict=True))
    size, best = max(1, round(budget / ratio)), (-1.0, None, 0)
    for label in range(10):
        own = (y == label).nonzero()[:, 0]
        count = max(1, round(len(own) / size))
        centers = KMeans(count, n_init=1, random_state=0).fit(seen[own].numpy()).cluster_centers_
        for center in torch.as_tensor(centers):
            part = own[(seen[own] - center).norm(dim=1).argsort()[:size]]
            means = sure[part].mean(dim=0)
            means[label] = -1
            best = max(best, (float(means.max()), part, int(means.argmax())), key=lambda entry: entry[0])
    return best[1].repeat(-(-budget // len(best[1])))[:budget], best[2]


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
