"""Two points suffice: random poison, merged into at most two pulling points, leaves the same model behind.

    python experiments/theory/two_points.py --out DIR

Clean rows are two Gaussians in ten dimensions (200 rows); the poison is 40 random rows of random weights, a mass of
0.2 on average. For each loss, scaling of the regulariser and intercept, over ten seeds: the learner is trained on
clean rows and poison, the poison is collapsed (`collapse`), and the learner is trained again. ``table.md`` has the
most points that were left, the least share of the weight that they have, and the greatest distance between both
models, relative to the model's length; beside it the same for the theorem of Koh et al. as printed, which merges the
rows and lets the weight that this saves weaken the regulariser ("merged only"), and the least distance of the clean
model. A free intercept of the hinge may have several best values: there the coefficients alone are compared.

The last lines are the hinge of Crammer and Singer with 3 and 4 classes (`collapse_classes`, Proposition 10). Rows
within 0.001 of its kinks are left as they are, since a conic learner does not tell on which side they are.

Expected: two points under sum scaling and for smooth losses; for the hinge under mean scaling up to two more, which
do not pull and keep the weight; up to four for the squared loss, whose points pull from both sides; for k classes k
(k - 1) + k, and the rows that were left. Distances below 1e-6 (1e-3 for several classes), against more than 0.1 for
the clean model. "Merged only" is as good under sum scaling, and 0.001 to 0.1 away under mean scaling. Ten seconds;
``--quick`` takes two seeds.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from collapse import collapse, collapse_classes
from tables import options, write

from linpoison import Dataset, LinearModel, Poison, Problem
from linpoison.core import MultiModel
from linpoison.datasets import gaussians
from linpoison.learners import make_learner
from linpoison.losses import LOSSES, CrammerSinger, MultiProblem, make_loss

REG = 0.05
INTERCEPTS = {"penalised": {"penalize_intercept": True}, "free": {"penalize_intercept": False},
              "none": {"fit_intercept": False}}  # fmt: skip
HEADER = ("loss", "scaling", "intercept", "rows before", "points after", "weight kept", "distance", "merged only",
          "clean model")  # fmt: skip


class Outcome(NamedTuple):
    """One poison."""

    points: int
    kept: float
    distance: float
    merged_only: float
    clean: float


def random_poison(rng: np.random.Generator, d: int, rows: int = 40) -> Poison:
    """Rows of both labels all over the place."""
    y = np.where(np.arange(rows) % 2, 1.0, -1.0)
    return Poison(2 * rng.standard_normal((rows, d)), y, rng.uniform(0.2, 1.8, rows))


def learn(problem: Problem, rows: Dataset) -> LinearModel:
    """The minimiser; for the hinge to the last digits."""
    model = make_learner(problem).fit(rows)
    if problem.loss.kink is None:
        return model
    tries = [model, *(polished(problem, rows, model, near) for near in (1e-6, 1e-5, 1e-4, 1e-3))]
    return min(tries, key=lambda found: problem.value(found, rows))


def polished(problem: Problem, data: Dataset, model: LinearModel, near: float) -> LinearModel:
    """The minimiser if just the rows this near to the hinge's kink lie on it, by the linear equations of optimality."""
    rows = np.column_stack([data.X, np.full(data.n, float(problem.fit_intercept))]) * data.y[:, None]
    margins, share = rows @ model.vector, data.weight / data.total
    on, below = np.abs(margins - 1) <= near, margins < 1 - near
    mask = problem.reg_at(data.total) * problem.penalty_mask(data.d)
    table = np.block([[np.diag(mask), -(share[on, None] * rows[on]).T], [rows[on], np.zeros((on.sum(), on.sum()))]])
    found = np.linalg.lstsq(table, np.append(share[below] @ rows[below], np.ones(on.sum())), rcond=None)[0]
    return LinearModel.from_vector(found[: data.d + 1])


def merged_only(poison: Poison, merged: Poison, problem: Problem, model: LinearModel) -> Poison:
    """The points of each class and side at the mean that they pull from, with the weight of that pull and no more."""
    if problem.loss.kink is not None:
        pulls = merged.y * model.decision_function(merged.X) < problem.loss.kink - 1e-6
        return Poison(merged.X[pulls], merged.y[pulls], merged.count[pulls])
    pull = -problem.loss.derivative(poison.y * model.decision_function(poison.X))
    rows, labels, counts = [], [], []
    for label, side in itertools.product((1.0, -1.0), (1.0, -1.0)):
        weight = np.where(poison.y == label, poison.count * np.maximum(side * pull, 0.0), 0.0)
        if weight.sum() > 0:
            x = weight @ poison.X / weight.sum()
            margin = np.array(label * float(x @ model.coef + model.intercept))
            rows.append(x)
            labels.append(label)
            counts.append(weight.sum() / abs(float(problem.loss.derivative(margin))))
    return Poison(np.array(rows), np.array(labels), np.array(counts))


def measure(problem: Problem, train: Dataset, seed: int) -> Outcome:
    """Merge, retrain, compare."""
    poison = random_poison(np.random.default_rng(seed), train.d)
    model = learn(problem, train.mix(poison.as_dataset()))
    merged = collapse(poison, train, problem, model)
    plain = merged_only(poison, merged, problem, model)
    away = [
        distance(problem, model, learn(problem, rows))
        for rows in (train.mix(merged.as_dataset()), train.mix(plain.as_dataset()), train)
    ]
    return Outcome(merged.n_distinct, merged.total / poison.total, *away)


def distance(problem: Problem, model: LinearModel, other: LinearModel) -> float:
    """Relative to the model's length; of the coefficients alone where a hinge may have several best intercepts."""
    several = problem.loss.kink is not None and problem.fit_intercept and not problem.penalize_intercept
    one, two = ((m.coef if several else m.vector) for m in (model, other))
    return float(np.linalg.norm(one - two) / np.linalg.norm(one))


def measure_classes(k: int, seed: int) -> Outcome:
    """The same with k classes in the plane."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(k) / k
    centers, y = 2 * np.column_stack([np.cos(angle), np.sin(angle)]), np.arange(20 * k) % k
    clean = Dataset.coded(centers[y] + rng.standard_normal((20 * k, 2)), y)
    labels = rng.integers(0, k, size=40)
    poison = Dataset.coded(2 * rng.standard_normal((40, 2)), labels, rng.uniform(0.2, 1.8, 40), n_classes=k)
    learner = make_learner(MultiProblem(CrammerSinger(), 0.1), method="reference")
    model = learner.fit(clean.mix(poison))
    unsure = undecided(model, poison)
    X, codes, count = collapse_classes(*parts(poison.take(~unsure)), model.coef, model.intercept)
    merged = Dataset.coded(X, codes, count, n_classes=k).mix(poison.take(unsure))
    size = float(np.linalg.norm(model.matrix))
    away = [
        float(np.linalg.norm(learner.fit(rows).matrix - model.matrix)) / size for rows in (clean.mix(merged), clean)
    ]
    return Outcome(merged.n, merged.total / poison.total, away[0], np.nan, away[1])


def parts(data: Dataset) -> tuple[Any, Any, Any]:
    """Rows, labels and copies."""
    return data.X, data.y, data.weight


def undecided(model: MultiModel, poison: Dataset, near: float = 1e-3) -> Any:
    """Rows so close to the kink or to a tie of rivals that a conic solver does not tell on which side they are."""
    scores = model.scores(poison.X)
    own = scores[np.arange(poison.n), poison.codes].copy()
    scores[np.arange(poison.n), poison.codes] = -np.inf
    ordered = np.sort(scores, axis=1)
    return (np.abs(1 + ordered[:, -1] - own) < near) | (ordered[:, -1] - ordered[:, -2] < near)


def line(found: Sequence[Outcome], rows: int) -> list[str]:
    """The worst over the seeds."""
    points, kept, distance, plain, clean = zip(*found, strict=True)
    return [str(rows), str(max(points)), f"{min(kept):.3f}", f"{max(distance):.1e}",
            "-" if np.isnan(plain).any() else f"{max(plain):.1e}", f"{min(clean):.2f}"]  # fmt: skip


def table(seeds: Sequence[int]) -> Iterator[list[str]]:
    """The lines."""
    train = gaussians(n=200, d=10, seed=0).train
    for loss in LOSSES:
        for scaling in ("mean", "sum"):
            for words, how in INTERCEPTS.items():
                problem = Problem(make_loss(loss), REG, scaling=scaling, n_reference=train.n, **how)
                yield [loss, scaling, words, *line([measure(problem, train, seed) for seed in seeds], 40)]
    for k in (3, 4):
        yield [f"Crammer-Singer, {k} classes", "mean", "penalised", *line([measure_classes(k, s) for s in seeds], 40)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = options(__doc__, quick="two seeds").parse_args(argv)
    seeds = range(given.seed, given.seed + (2 if given.quick else 10))
    write(given.out, "table", HEADER, list(table(seeds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
