"""The impossibility theorem as a demonstration: no locally dependent learner withstands flips of a small group.

    python experiments/subpopulation/impossibility.py [--groups 10] [--n 1000] [--trials 20]

Data come from k groups on disjoint supports, each with one label. The smallest of the drawn groups, K rows (at most
n / k), is copied with its labels flipped, and one row more: K + 1 rows. Equal numbers, as in the theorem, only tie.
A learner that decides in each group by the rows there alone, and minimises its 0-1 loss there, then errs on the whole
group and nowhere else. Three such learners: a majority in each cluster, a mixture
(nearest mean of a cluster, the label of most mass there), and the 2 K - 1 nearest neighbours, of which K are of the
group without poison.

A group of probability alpha has fewer than 2 alpha n rows with probability

    at least 1 - exp(-alpha n / 3)      (multiplicative Chernoff; the best rate is 2 ln 2 - 1 = 0.386)

The paper states exp(-alpha n / 2), which is false where alpha n is large: Pr[Bin(10^4, 0.01) > 200] = 2.8e-19 is more
than exp(-50) = 1.9e-22. Expected: damage 1.00 to the group for all three learners, 0.00 to the others, and each exact
tail below the bound with 1/3.

References: Jagielski et al. (2021), Theorems 7.1 and A.1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom
from sklearn.neighbors import KNeighborsClassifier

from linpoison.risk import Sample
from linpoison.subpopulations import ClusterMatch, measure_damage


class ClusterMajority:
    """The more frequent label in each cluster; clusters are found without labels."""

    def __init__(self, groups: int) -> None:
        self.match = ClusterMatch(n_components=None, n_clusters=groups)

    def fit(self, rows: Sample) -> ClusterMajority:
        """Clusters, then votes."""
        codes = self.match.fit(rows).assign(rows)
        votes = np.bincount(codes, weights=rows.y, minlength=self.match.n_clusters)
        self.labels = np.where(votes > 0, 1.0, -1.0)
        return self

    def predict(self, rows: Sample) -> Any:
        """The vote of each row's cluster."""
        return self.labels[self.match.assign(rows)]


class Mixture(ClusterMajority):
    """Spherical Gaussian mixture; in each component the label of more posterior mass."""

    def fit(self, rows: Sample) -> Mixture:
        """Components around the clusters, then masses."""
        from sklearn.mixture import GaussianMixture

        means = self.match.fit(rows).kmeans_.cluster_centers_
        self.model = GaussianMixture(len(means), covariance_type="spherical", means_init=means).fit(rows.X)
        mass = self.model.predict_proba(rows.X).T @ rows.y
        self.labels = np.where(mass > 0, 1.0, -1.0)
        return self

    def predict(self, rows: Sample) -> Any:
        """The label of the likeliest component."""
        return self.labels[self.model.predict(rows.X)]


class Neighbours:
    """k nearest neighbours."""

    def __init__(self, k: int) -> None:
        self.model = KNeighborsClassifier(k)

    def fit(self, rows: Sample) -> Neighbours:
        """Remember the rows."""
        self.model.fit(rows.X, rows.y)
        return self

    def predict(self, rows: Sample) -> Any:
        """Majority of the neighbours."""
        return self.model.predict(rows.X)


def draw(groups: int, n: int, rng: np.random.Generator) -> tuple[Sample, np.ndarray]:
    """Rows of groups that stand far apart, each with one label, and their groups."""
    angles = 2 * np.pi * np.arange(groups) / groups
    centres = 5 * groups * np.column_stack([np.cos(angles), np.sin(angles)])
    group = np.append(np.arange(groups), rng.integers(0, groups, n - groups))
    X = centres[group] + rng.uniform(-1, 1, size=(n, 2))
    return Sample(X, np.where(np.arange(groups) % 2 == 0, 1.0, -1.0)[group]), group


def attack(rows: Sample, group: np.ndarray, rng: np.random.Generator) -> tuple[Sample, int]:
    """The smallest group with flipped labels, its middle row twice."""
    smallest = int(np.argmin(np.bincount(group)))
    members = np.flatnonzero(group == smallest)
    # Neighbours leave out the two of its 2 K + 1 rows that are farthest. These are a row and its copy, and the poison
    # keeps the majority, unless the row with two copies is the farthest: hence the one in the middle.
    far = np.linalg.norm(rows.X[members] - rows.X[members].mean(axis=0), axis=1)
    chosen = rows.take(np.append(members, members[np.argmin(far)]))
    jitter = chosen.X + 1e-6 * rng.normal(size=chosen.X.shape)
    return Sample(jitter, -chosen.y), smallest


def trial(groups: int, n: int, seed: int) -> dict[str, tuple[float, float, int]]:
    """Target damage, collateral and poison size of each learner."""
    rng = np.random.default_rng(seed)
    (rows, group), (test, where) = draw(groups, n, rng), draw(groups, n, rng)
    poison, smallest = attack(rows, group, rng)
    found = {}
    k = 2 * ((2 * poison.n - 1) // 2) - 1
    makers = {
        "majority": lambda: ClusterMajority(groups),
        "mixture": lambda: Mixture(groups),
        "neighbours": lambda: Neighbours(k),
    }
    for name, make in makers.items():
        before, after = make().fit(rows), make().fit(rows.mix(poison))
        right = [np.array([model.predict(test) == test.y]) for model in (before, after)]
        damage = measure_damage(*right, where == smallest)
        found[name] = (damage.target.value, damage.collateral.value, poison.n)
    return found


def tails(sizes: Sequence[tuple[int, float]]) -> list[tuple[int, float, float, float, float]]:
    """For each (n, alpha): the exact tail beyond 2 alpha n, the bound with 1/3, and the paper's."""
    rows = []
    for n, alpha in sizes:
        exact = float(binom.sf(2 * alpha * n, n, alpha))
        rows.append((n, alpha, exact, float(np.exp(-alpha * n / 3)), float(np.exp(-alpha * n / 2))))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args(argv)
    trials = [trial(options.groups, options.n, seed) for seed in range(options.trials)]
    print("| learner | poison rows | n / k | target damage | collateral |\n|---|---|---|---|---|")
    for name in trials[0]:
        damage, collateral, size = np.mean([found[name] for found in trials], axis=0)
        print(f"| {name} | {size:.0f} | {options.n / options.groups:.0f} | {damage:.3f} | {collateral:+.4f} |")
    print("\n| n | alpha | Pr[size > 2 alpha n] | exp(-alpha n / 3) | exp(-alpha n / 2) |\n|---|---|---|---|---|")
    for n, alpha, *values in tails([(1000, 0.01), (10_000, 0.01), (10_000, 0.02)]):
        print(f"| {n} | {alpha} | " + " | ".join(f"{value:.3g}" for value in values) + " |")


if __name__ == "__main__":
    sys.exit(main())
