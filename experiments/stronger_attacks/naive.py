"""Naive poisons beside the audit: does any of a grid of them do more than the report states?

    python experiments/stronger_attacks/naive.py --out DIR [--data NAME[,NAME...]] [--models svm,ridge,logistic]

For each data set and learner some 350 poisons in each domain (R^d, and the range of each column), made without any
search and without a look at the test rows: rows far out along the difference of the class means, principal axes,
columns and random directions, at radii of 1 to 10,000 times the usual distance, in one class or both, in one place or
with one row that drags the mean; clean rows scaled up; label flips; copies of outliers and of the means; all counts up
to the budget; and, within the ranges, corner points and the same rows clipped. Each is scored by
`linpoison.defender.Defender`. For each domain and each defender (every filter at once, each alone, none)
``naive.md`` has the best of them beside what `linpoison.audit` states, and the exit code is 1 if one of them does more.
Fits of far rows that did not converge say nothing and are left out; their number is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from linpoison import Dataset, Domain, Poison, Split, audit, load
from linpoison.auditing.options import MODELS
from linpoison.core import Budget, InputError, SolverFailed, worst_case
from linpoison.datasets import gaussians
from linpoison.defender import Defender
from linpoison.defenses import make_defense
from linpoison.defenses.quota import drag_ratio
from linpoison.learners.base import LearnerWarning
from linpoison.losses import Problem

sys.path.append(str(Path(__file__).parent.parent))
from written import with_provenance  # noqa: E402

DATA = "breast_cancer,digits17,gaussians,reviews"
FILTERS = ("l2", "slab", "loss", "svd", "knn")
EPSILON, REG = 0.03, 0.01
RADII = (1.0, 3.0, 10.0, 30.0, 100.0, 1_000.0, 10_000.0)
REVIEWS = "reviews_minilm.npz"
ROWS = 1_500  # of the reviews, every fifth or so: the audit and the grid get the same ones
Named = tuple[str, Poison]


@dataclass(frozen=True, eq=False)
class Ground:
    """What naive poisons are made of.

    Parameters
    ----------
    train : Dataset
    total : int
        Rows that the budget buys.
    rng : numpy.random.Generator
    """

    train: Dataset
    total: int
    rng: np.random.Generator

    @property
    def center(self) -> np.ndarray:
        """Mean of all rows."""
        return self.train.X.mean(axis=0)

    @property
    def base(self) -> float:
        """Median distance to it."""
        return float(np.median(np.linalg.norm(self.train.X - self.center, axis=1)))

    def mean(self, label: float) -> np.ndarray:
        """Mean of a class."""
        return self.train.of_class(label).X.mean(axis=0)

    def directions(self) -> dict[str, np.ndarray]:
        """Unit vectors by name; rows go along plus and minus each."""
        X = self.train.X - self.center
        axes = np.linalg.svd(X, full_matrices=False)[2][:3]
        wide = np.argsort(-X.std(axis=0))[:2]
        found = {"means": self.mean(-1.0) - self.mean(1.0)}
        found |= {f"axis {i + 1}": axis for i, axis in enumerate(axes)}
        found |= {f"column {j}": np.eye(self.train.d)[j] for j in wide}
        found |= {f"random {i + 1}": self.rng.normal(size=self.train.d) for i in range(2)}
        return {name: u / (np.linalg.norm(u) or 1.0) for name, u in found.items()}


def copies(rows: np.ndarray, labels: Sequence[float], count: Sequence[int]) -> Poison:
    """Rows with copies."""
    return Poison(rows, labels, np.asarray(count, dtype=float))


def far(ground: Ground) -> Iterator[Named]:
    """All copies in one place, or one of them so far that it drags the mean of its class after it."""
    m = ground.total
    for name, u in ground.directions().items():
        for sign in (1.0, -1.0):
            for label in (1.0, -1.0):
                center = ground.mean(label)
                ratio = 1.6 * max(drag_ratio(ground.train.of_class(label).n, m - 1), 1.0)
                for radius in RADII:
                    step = radius * ground.base * sign * u
                    words = f"{m} x {label:+.0f}, {sign:+.0f} {name}, {radius:g} base"
                    yield words, copies((center + step)[None], [label], [m])
                    if m > 1 and 10 <= radius <= 1000:
                        dragged = np.stack([center + step, center + ratio * step])
                        yield f"{words}, 1 drags", copies(dragged, [label] * 2, [m - 1, 1])


def mixed(ground: Ground) -> Iterator[Named]:
    """Half of the budget in each class along the difference of the means, and every count up to the budget."""
    u, m = ground.directions()["means"], ground.total
    for radius in RADII:
        step = radius * ground.base * u
        rows = np.stack([ground.mean(1.0) + step, ground.mean(-1.0) - step])
        yield f"both classes, {radius:g} base", copies(rows, [1, -1], [m - m // 2, m // 2])
    for count in range(1, m):
        for label in (1.0, -1.0):
            row = ground.mean(label) + label * 30 * ground.base * u
            yield f"{count} x {label:+.0f}, means, 30 base", copies(row[None], [label], [count])


def near(ground: Ground) -> Iterator[Named]:
    """Means, outliers, flips and scaled rows."""
    train, m = ground.train, ground.total
    for label in (1.0, -1.0):
        own, other = ground.mean(label), ground.mean(-label)
        for share in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0):
            row = own + share * (other - own)
            yield f"{m} x {label:+.0f}, {share:g} of the way to the other mean", copies(row[None], [label], [m])
        rows = train.of_class(-label).X
        out = rows[np.argsort(-np.linalg.norm(rows - rows.mean(axis=0), axis=1))]
        for place in range(min(3, len(out))):
            yield f"{m} x {label:+.0f}, outlier {place + 1} of the other class", copies(out[[place]], [label], [m])
        for draw in range(4):
            chosen = rows[ground.rng.choice(len(rows), min(m, len(rows)), replace=False)]
            yield f"flips to {label:+.0f}, draw {draw + 1}", copies(chosen, [label] * len(chosen), [1] * len(chosen))
            for scale in (2.0, 5.0, 20.0, 100.0, 1000.0):
                row = ground.center + scale * (chosen[0] - ground.center)
                yield f"{m} x {label:+.0f}, a row of the other class x {scale:g}", copies(row[None], [label], [m])


def corners(ground: Ground, domain: Domain) -> Iterator[Named]:
    """Corners of the ranges along each direction, and those of random columns only."""
    low, high, m = domain.lower, domain.upper, ground.total
    for name, u in ground.directions().items():
        for sign in (1.0, -1.0):
            corner = np.where(sign * u > 0, high, low)
            for label in (1.0, -1.0):
                yield f"{m} x {label:+.0f}, corner {sign:+.0f} {name}", copies(corner[None], [label], [m])
                for share in (0.1, 0.3, 0.6):
                    row = np.where(ground.rng.random(corner.size) < share, corner, ground.mean(label))
                    yield f"{m} x {label:+.0f}, {share:g} of corner {sign:+.0f} {name}", copies(row[None], [label], [m])


def grid(ground: Ground, domain: Domain) -> dict[str, Poison]:
    """The naive poisons of a domain by name."""
    named = [*far(ground), *mixed(ground), *near(ground)]
    if domain.lower is None:
        return dict(named)
    seen: dict[bytes, Named] = {}
    for name, poison in [*corners(ground, domain), *named]:
        inside = Poison(domain.clip(poison.X), poison.y, poison.count)
        seen.setdefault(inside.as_dataset().digest().encode(), (f"{name}, clipped", inside))
    return dict(seen.values())


@dataclass
class Best:
    """The best poison behind each defender, and how many were scored."""

    error: dict[str, float]
    name: dict[str, str]
    scored: int = 0
    unconverged: int = 0


def best_naive(split: Split, problem: Problem, domain: Domain, seed: int = 0, most: int | None = None) -> Best:
    """Score the grid."""
    train = replace(split.train, domain=domain)
    ground = Ground(train, Budget(EPSILON).count(train.n), np.random.default_rng(seed))
    defender = Defender(train, problem, {name: make_defense(name, problem=problem) for name in FILTERS})
    best = Best({}, {})
    for name, poison in list(grid(ground, domain).items())[:most]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", LearnerWarning)
                errors = defender.score(poison, {"test": split.test}).error["test"]
        except (LearnerWarning, SolverFailed, InputError):
            best.unconverged += 1
            continue
        best.scored += 1
        for behind, error in {"all": worst_case(errors), **errors}.items():
            if error > best.error.get(behind, -1.0):
                best.error[behind], best.name[behind] = error, name
    return best


def stated(split: Split, model: str, quick: bool) -> dict[str, dict[str, float]]:
    """What the default audit states, by domain and defender."""
    asked = {"attacks": "random-flips"} if quick else {}
    report = audit(split, model=model, reg=REG, epsilon=EPSILON, jobs=1, **asked)
    found: dict[str, dict[str, float]] = {}
    for damage in report.damages:
        found.setdefault(damage.domain, {})[damage.behind] = damage.test_error
    return found


def split_of(name: str, quick: bool) -> Split:
    """The rows of a case, of R^d."""
    if quick:
        return gaussians(n=60, d=3, n_test=60, seed=0)
    if name != "reviews":
        split = load(name)
        return Split(replace(split.train, domain=Domain.real()), replace(split.test, domain=Domain.real()))
    with np.load(Path(os.environ["LINPOISON_DATA"]) / REVIEWS) as arrays:
        parts = [(arrays[f"X_{part}"].astype(float), arrays[f"y_{part}"].astype(float)) for part in ("train", "test")]
    (X, y), (X_test, y_test) = parts
    rows = np.linspace(0, len(y) - 1, ROWS).astype(int)
    return Split(Dataset(X[rows], y[rows], name=name), Dataset(X_test, y_test, name=name))


def lines(case: str, best: Mapping[str, Best], report: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, bool]]:
    """The lines of the table of a case, and whether the grid did more."""
    for domain, naive in best.items():
        for behind, error in naive.error.items():
            value = report.get(domain, {}).get(behind)
            more = value is not None and error > value + 1e-12
            told = "-" if value is None else f"{100 * value:.1f} %"
            verdict = "**more**" if more else "" if value is not None else "not stated"
            yield (
                f"| {case} | {domain} | {behind} | {100 * error:.1f} % | {told} | {verdict} | {naive.name[behind]} |",
                more,
            )


def run_case(name: str, model: str, given: argparse.Namespace) -> tuple[list[str], bool]:
    """One data set and learner: lines of the table, and whether the grid did more anywhere."""
    split, loss = split_of(name, given.quick), MODELS[model]()
    problem = Problem(loss, REG, penalize_intercept=not loss.free_intercept)
    domains = {"real": Domain.real(), "range": Domain.range(split.train.X)}
    best = {
        key: best_naive(split, problem, domain, most=10 if given.quick else None) for key, domain in domains.items()
    }
    for key, naive in best.items():
        print(f"{name} {model} {key}: {naive.scored} scored, {naive.unconverged} unconverged", file=sys.stderr)
    report = {} if given.no_audit else stated(split, model, given.quick)
    facts = {"naive": {key: vars(naive) for key, naive in best.items()}, "stated": report}
    (given.out / f"{name}-{model}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    found = list(lines(f"{name} {model}", best, report))
    return [line for line, _ in found], any(more for _, more in found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DATA, help=f"comma list among {DATA} (default: all)")
    parser.add_argument("--models", default="svm,ridge,logistic")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-audit", action="store_true", help="the grid alone")
    parser.add_argument("--quick", action="store_true", help="a toy")
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    table = ["| case | domain | behind | best naive | stated | | naive poison |", "|---|---|---|---|---|---|---|"]
    beaten = False
    cases = [("toy", "ridge")] if given.quick else [
        (name, model) for name in given.data.split(",") for model in given.models.split(",")
    ]  # fmt: skip
    for name, model in cases:
        rows, more = run_case(name, model, given)
        table += rows
        beaten |= more
    text = with_provenance("\n".join(table) + "\n")
    (given.out / "naive.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return int(beaten)


if __name__ == "__main__":
    sys.exit(main())
