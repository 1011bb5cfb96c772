"""What `extremes` holds against certificates besides inserted rows: flips, deletions, models to plant, parts, flags.

Each function proves a certificate of a claim, tries to break it in 60 digits, and writes into a tally. All changes of
one or two rows are enumerated; what a certificate calls exact has to be attained.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext

import digits
import numpy as np

from linpoison.certificates import (
    Certificate,
    Claim,
    certify_deletions,
    certify_flips,
    certify_partition,
    deletions_ridge,
    deletions_smooth,
    flips_smooth,
    label_flips_ridge,
    min_budget,
    ridge_attack,
)
from linpoison.certificates.budget.dual import held, numerator
from linpoison.certificates.budget.target import BudgetTarget
from linpoison.certificates.partition.bases import lone_label
from linpoison.certificates.partition.hashing import split_rows
from linpoison.core import Dataset, LinearModel, LinpoisonError, Poison
from linpoison.losses import Hinge, Logistic, SmoothHinge, Squared

ATTAINED = Decimal("1e-6")
"""What an exact certificate of `certify_ridge` may leave, as it says itself."""
PARTS = 3
SMOOTH = ("deletions, smooth", "flips, smooth")


@dataclass
class Tally:
    """What became of one kind of certificate."""

    clean: int = 0
    poisoned: int = 0
    endless: int = 0
    violations: list[str] = field(default_factory=list)
    slack: list[float] = field(default_factory=list)

    def held(self, fine: bool, words: str, *, clean: bool = False) -> None:
        """One more check."""
        self.clean += clean
        self.poisoned += not clean
        if not fine:
            self.violations.append(words)


def verified(way: Callable[[], Certificate]) -> Certificate | None:
    """A certificate that verifies; None where it is refused with a reason."""
    try:
        found = way()
        found.verify(claim=found.claim)
    except LinpoisonError:
        return None
    return found


def hold_scores(name: str, found: Certificate, data: Iterator[Dataset], tally: Tally) -> list[Decimal]:
    """Each changed data set against the bounds; the greatest scores."""
    bound = np.asarray(found.bound, dtype=np.float64)
    rows = found.claim.demand_rows()
    most = [Decimal("-Infinity")] * rows.n
    for changed in data:
        both = len(np.unique(changed.y[changed.weight > 0])) == 2
        v = digits.minimiser(found.claim.problem, changed) if both else None
        if v is None:
            continue
        tally.endless += int(np.isinf(bound).sum())
        for j, score in enumerate(digits.scores(v, rows)):
            over = score - Decimal(float(bound[j])) if np.isfinite(bound[j]) else Decimal("-Infinity")
            most[j] = max(most[j], score)
            tally.held(over <= 0, f"{name}, {found.claim.problem}: {float(over):.2e}")
    return most


def flipped(data: Dataset, chosen: tuple[int, ...], share: float = 1.0) -> Dataset:
    """The labels of some rows turned, or a share of their weight."""
    gone, back = data.weight.copy(), np.zeros(data.n)
    for i in chosen:
        back[i] = data.weight[i] * share
        gone[i] -= back[i]
    both = np.concatenate([gone, back])
    used = both > 0
    return Dataset(np.vstack([data.X, data.X])[used], np.concatenate([data.y, -data.y])[used], both[used])


def ridge_flips(claim: Claim, tally: Tally, number: int) -> None:
    """Every choice of up to `number` flipped rows; exact where they weigh one each."""
    found = verified(lambda: label_flips_ridge(claim, number))
    if found is None:
        return
    train = claim.train

    def choices() -> Iterator[Dataset]:
        yield train
        for size in range(1, number + 1):
            for chosen in itertools.combinations(range(train.n), size):
                weight = float(train.weight[list(chosen)].sum())
                yield flipped(train, chosen, min(1.0, number / weight * (1 - 1e-15)))

    most = hold_scores("flips of ridge", found, choices(), tally)
    if train.weight.max() > 1:
        return
    for bound, score in zip(np.asarray(found.bound), most, strict=True):
        if np.isfinite(bound):
            left = Decimal(float(bound)) - score
            tally.slack.append(float(left / (1 + abs(score))))


def ridge_deletions(claim: Claim, tally: Tally) -> None:
    """Every choice of one or two rows that are lost."""
    found = verified(lambda: deletions_ridge(claim.at(0.0), 2))
    if found is not None:
        train, places = claim.train, range(claim.train.n)
        kept = (np.setdiff1d(places, gone) for size in (1, 2) for gone in itertools.combinations(places, size))
        hold_scores("deletions of ridge", found, map(train.take, kept), tally)


def hinge_changes(claim: Claim, tally: Tally, *, flips: bool) -> None:
    """Each row deleted, or its label turned, one copy of it, and nothing besides."""
    about = claim.about(claim.demand_rows().take([0, 1])).at(0.0)
    certify = certify_flips if flips else certify_deletions
    found = verified(lambda: certify(about, 1, rounds=0))
    if found is None:
        return
    train = claim.train

    def choices() -> Iterator[Dataset]:
        yield train
        for i in range(train.n):
            if flips:
                yield flipped(train, (i,), 1 / float(train.weight[i]))
                continue
            weight = train.weight.copy()
            weight[i] -= 1
            yield replace(train, weight=weight).take(weight > 0)

    hold_scores("flips of the hinge" if flips else "deletions", found, choices(), tally)


def smooth_changes(claim: Claim, tally: Tally, *, flips: bool) -> None:
    """Every choice of one row that is lost, or whose label is turned, and nothing besides."""
    found = verified(lambda: (flips_smooth if flips else deletions_smooth)(claim.at(0.0), 1))
    if found is not None:
        train, places = claim.train, range(claim.train.n)
        changed = (flipped(train, (i,)) if flips else train.take(np.delete(places, i)) for i in places)
        hold_scores(SMOOTH[flips], found, itertools.chain([train], changed), tally)


def planted_model(claim: Claim, poison: Poison, tally: Tally) -> None:
    """The least budget of the model that a poison leads to is no more than that poison.

    The model is rounded to floats, so that it misses optimality by some ``r``, which is known in 60 digits. With the
    proof's direction ``v``, ``<v, g> <= S mass + <v, r>``: the bound may exceed the mass by ``<v, r> / S``.
    """
    data = claim.train.mix(poison.as_dataset())
    optimum = digits.optimum(claim.problem, data)
    if optimum is None:
        return
    if isinstance(claim.problem.loss, Hinge) and any(0 < pull < 1 for pull in optimum.pulls[claim.train.n :]):
        return  # poison on the kink, which rounding of the model may move off it
    v = np.array([float(t) for t in optimum.v])
    if not np.isfinite(v).all():
        return
    model = LinearModel(v[:-1], float(v[-1]))
    found = verified(lambda: min_budget(claim.train, claim.problem, claim.sets, model, method="conic"))
    if found is None:
        return
    bound, mass = float(found.bound), poison.total / claim.mass
    tally.endless += bound == np.inf
    with localcontext(digits.EXACT):
        left = digits.residual(claim.problem, data, v, optimum.pulls)
        target = BudgetTarget.of(claim.train, claim.problem, claim.sets, model, 1e-3)
        direction = held(target, found.witness["v"])
        pulled = abs(sum((Decimal(float(a)) * b for a, b in zip(direction, left, strict=False)), Decimal(0)))
        pulled *= sum(Decimal(float(w)) for w in data.weight) / sum(Decimal(float(w)) for w in claim.train.weight)
        share = Decimal(bound) / Decimal(numerator(target, direction)) if 0 < bound < np.inf else Decimal(0)
        over = Decimal(bound) - Decimal(mass) - pulled * share
    tally.held(bound == 0 or over <= 0, f"min-budget, {claim.problem}: {bound:.17g} for {mass:.17g}, {float(over):.2e}")


def partition(claim: Claim, tally: Tally, rng: np.random.Generator, tries: int = 4) -> None:
    """As many rows as are certified, inserted into the parts, each trained in 60 digits."""
    found = verified(lambda: certify_partition(claim, n_parts=PARTS))
    if found is None:
        return
    rows, bound = claim.demand_rows(), np.asarray(found.bound)
    clean = _votes(claim, split_rows(claim.train, claim.sets, PARTS)[1], rows)
    for j in np.flatnonzero(bound >= 0):
        if clean is not None:
            tally.held(clean[j] == rows.y[j], f"partition, {claim.problem}: not even without poison", clean=True)
        for _ in range(tries if bound[j] > 0 else 0):
            one = rows.take([j])
            spread = np.maximum(np.abs(claim.train.X - claim.train.X.mean(axis=0)).mean(axis=0), 1e-12)
            toward = rng.normal(size=claim.train.d) - 2 * rows.y[j] * (rows.X[j] - claim.train.X.mean(axis=0)) / spread
            y = np.full(int(bound[j]), -rows.y[j]) if rng.random() < 0.7 else rng.choice([-1.0, 1.0], int(bound[j]))
            X = np.array([_inner(claim, k, k * toward / spread) for k in y])
            data = claim.train.mix(Dataset(X, y))
            parts = split_rows(data, claim.sets, PARTS)[1]
            votes = _votes(claim, parts, one)
            if votes is not None:
                tally.held(votes[0] == one.y[0], f"partition, {claim.problem}: {int(bound[j])} rows")


def _inner(claim: Claim, label: float, w: np.ndarray) -> np.ndarray:
    """A point of the set of a class far along `w`, a little inside."""
    middle = np.asarray(claim.train.X[claim.train.y == label].mean(axis=0))
    return np.asarray(middle + (1 - 1e-9) * (claim.sets[int(label)].support(w) - middle))


def _votes(claim: Claim, parts: list[Dataset], rows: Dataset) -> np.ndarray | None:
    """What the majority says of each row, a tie being -1; None where a minimiser is not confirmed."""
    total = np.zeros(rows.n)
    for part in parts:
        only = lone_label(part)
        if only is not None:
            total += only
            continue
        v = digits.minimiser(claim.problem, part)
        if v is None:
            return None
        total += [float(k) * (1.0 if score < 0 else -1.0)
                  for k, score in zip(rows.y, digits.scores(v, rows), strict=True)]  # fmt: skip
    return np.where(total > 0, 1.0, -1.0)


def exact_flags(found: Certificate, tally: Tally) -> None:
    """Where `certify_ridge` says that a bound is attained, its poison does attain it."""
    claim, bound = found.claim, np.asarray(found.bound, dtype=np.float64)
    for j in np.flatnonzero(np.asarray(found.exact)):
        poison = ridge_attack(found, int(j)) if claim.epsilon > 0 else None
        data = claim.train if poison is None or not poison.total else claim.train.mix(poison.as_dataset())
        v = digits.minimiser(claim.problem, data)
        if v is not None:
            left = Decimal(float(bound[j])) - digits.scores(v, claim.demand_rows())[j]
            tally.held(left <= ATTAINED, f"exact flag of ridge, {claim.problem}: {float(left):.2e} short")


def changes(claim: Claim, poisons: list[Poison], tallies: dict[str, Tally], rng: np.random.Generator) -> None:
    """Everything of this module that applies, the dear parts now and then."""
    loss = claim.problem.loss
    if isinstance(loss, Squared):
        ridge_flips(claim, tallies["flips"], 2 if rng.random() < 0.3 else 1)
        ridge_deletions(claim, tallies["deletions of ridge"])
    if isinstance(loss, Hinge) and rng.random() < 0.5:
        flips = bool(rng.random() < 0.5)
        hinge_changes(claim, tallies["flips of the hinge" if flips else "deletions"], flips=flips)
    if isinstance(loss, Logistic | SmoothHinge):
        flips = bool(rng.random() < 0.5)
        smooth_changes(claim, tallies[SMOOTH[flips]], flips=flips)
    if isinstance(loss, Squared | Hinge) and rng.random() < 0.25:
        partition(claim, tallies["partition"], rng)
    for poison in poisons[:2]:
        planted_model(claim, poison, tallies["min-budget"])
