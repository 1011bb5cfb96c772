"""Poison against certificates: random, adversarial, and by every attack of the library; no bound may be exceeded.

    python experiments/theory/fuzz.py --poisons 2000 --seed 0 --out DIR

Each case draws a small data set (weights now and then, clean rows outside the sets now and then), a loss, a kind of
sets (balls; balls and slabs; boxes; balls and a cap on the loss), an intercept (penalised, free, none), a scaling, a
regulariser and a budget, and proves every certificate that applies. Then poison is planted: random points of the sets
of random masses up to the budget, points that are the worst for the models before, the poison that certificates
suggest, and, in every tenth case, that of all attacks of `linpoison.attacks`, moved into the sets. The learner is
trained on each, and everything that was proved is held against the model: scores, average loss, test error, radius,
least budget; with a row left out, deletions; with whole rows in parts, partition aggregation. A violation counts if the
reference learner confirms it.

``table.md`` has, for each certificate, how often it was tested, the violations, and how much of what it allows an
attack achieved at most: ``(attack - clean) / (bound - clean)`` (budget: bound over the mass that did it).

Expected: no violation; the greatest ratio near 1 for ridge, exact and min-budget. A few minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tables import tell_violations

from linpoison.attacks import ATTACKS, Scenario, make_attack
from linpoison.certificates import (
    Certificate,
    Claim,
    PartitionClassifier,
    certify_average_loss,
    certify_ball,
    certify_deletions,
    certify_margin,
    certify_partition,
    certify_ridge,
    certify_test_error,
    deletions_ridge,
    deletions_smooth,
    min_budget,
    radius,
    ridge_attack,
)
from linpoison.certificates.saddle.certify import average_value
from linpoison.certificates.theory import certify_exact, certify_naive, certify_steinhardt
from linpoison.core import Budget, Dataset, LinearModel, LinpoisonError, Poison
from linpoison.defenses import make_defense
from linpoison.learners import make_learner
from linpoison.losses import Hinge, Logistic, Problem, SmoothHinge, Squared, SquaredHinge
from linpoison.sets import Ball, Box, ByLabel, Slab, intersect, loss_cap

LOSSES = (Hinge(), Logistic(), SmoothHinge(0.3), Squared(), SquaredHinge())
INTERCEPTS: tuple[dict[str, bool], ...] = ({}, {"penalize_intercept": False}, {"fit_intercept": False})
SCALINGS: tuple[dict[str, Any], ...] = ({}, {"scaling": "sum", "n_reference": 25.0})
SETS = ("balls", "slabs", "boxes", "loss caps")
TOL = 2e-5
"""Excess over a bound that is put down to the learner."""
SCORES = (Hinge, Logistic, SmoothHinge)


@dataclass
class Tally:
    """What became of one kind of certificate."""

    checks: int = 0
    violations: list[str] = field(default_factory=list)
    closest: float = 0.0


@dataclass(frozen=True)
class Case:
    """A claim, and what is proved of it."""

    name: str
    claim: Claim
    proved: dict[str, Certificate]
    clean: np.ndarray


def combinations(seed: int) -> Iterator[tuple[Any, ...]]:
    """Loss, sets, intercept and scaling: all of them in random order, again and again."""
    rng = np.random.default_rng(seed)
    every = list(product(LOSSES, SETS, INTERCEPTS, SCALINGS))
    while True:
        for index in rng.permutation(len(every)):
            yield every[index]


def draw_claim(choice: tuple[Any, ...], rng: np.random.Generator) -> Claim:
    """A claim of the chosen kind on random data."""
    loss, kind, intercept, scaling = choice
    n, d = int(rng.integers(14, 26)), int(rng.integers(1, 4))
    y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    weight = rng.integers(1, 4, size=n).astype(float) if rng.random() < 0.2 else None
    train = Dataset(rng.normal(size=(n, d)) + 0.8 * y[:, None], y, weight)
    reg = float(rng.choice([0.05, 0.2, 0.8]))
    problem = Problem(loss, reg, **intercept, **scaling)
    reach = float(rng.choice([1.3, 2.0, 4.0]))
    sets = draw_sets(kind, train, problem, reach)
    if rng.random() < 0.3:
        inside = np.asarray(sets.contains(train.X, train.y))
        train = train.take(inside) if np.unique(train.y[inside]).size == 2 else train
    tests = Dataset(rng.normal(size=(4, d)) + 1.2 * y[:4, None], y[:4])
    return Claim(train, problem, sets, float(rng.choice([0.02, 0.1, 0.4])), tests)


def draw_sets(kind: str, train: Dataset, problem: Problem, reach: float) -> ByLabel:
    """Sets of a kind around the class means."""
    means = {k: train.X[train.y == k].mean(axis=0) for k in (1, -1)}
    balls = {k: Ball(mean, reach) for k, mean in means.items()}
    if kind == "boxes":
        return ByLabel({k: Box(mean - reach / 2, mean + reach / (1.5 + 0.2 * k)) for k, mean in means.items()})
    if kind == "slabs":
        w = means[1] - means[-1]
        width = 0.5 * reach * float(np.linalg.norm(w))
        return ByLabel({k: intersect(balls[k], Slab(w, float(w @ means[k]), width)) for k in (1, -1)})
    if kind == "loss caps" and not isinstance(problem.loss, Squared):
        model = make_learner(problem).fit(train)
        at = {k: float(problem.loss.value(model.decision_function(means[k][None]) * k)[0]) for k in (1, -1)}
        return ByLabel({k: intersect(balls[k], loss_cap(model, k, problem.loss, at[k] + 0.7)) for k in (1, -1)})
    return ByLabel(balls)


def prove(choice: tuple[Any, ...], claim: Claim, heavy: bool) -> Case:
    """Every certificate that applies; `heavy` ones now and then."""
    loss = claim.problem.loss
    made: dict[str, Any] = {"average-loss": certify_average_loss(claim, rounds=30)}
    made["average-objective"] = certify_average_loss(claim, plain=False, rounds=30)
    if isinstance(loss, SCORES):
        made |= {"ball": certify_ball(claim), "naive": certify_naive(claim)}
        made["outer fast"] = certify_margin(claim, method="fast")
        made["steinhardt"] = certify_steinhardt(claim)
        made["steinhardt, strong"] = certify_steinhardt(claim, strong_convexity=True)
        made["outer conic"] = certify_margin(claim, method="conic", rounds=1)
        made["test-error"] = certify_test_error(claim, lambda it: certify_margin(it, method="fast"), rounds=1)
        made["radius"] = radius(certify_ball, claim, tol=1 / 4)
    if isinstance(loss, Logistic | SmoothHinge) and (claim.train.weight == 1).all():
        made["deletions, smooth"] = deletions_smooth(claim, 1)
    if isinstance(loss, Squared):
        made |= {"ridge": certify_ridge(claim), "test-error": certify_test_error(claim, rounds=1)}
        made["radius"] = radius(certify_ridge, claim, tol=1 / 4)
        if (claim.train.weight == 1).all():
            made["deletions of ridge"] = deletions_ridge(claim, 1)
    if isinstance(loss, Hinge) and heavy:
        about = claim.about(claim.demand_rows().take([0]))
        made["exact"] = certify_exact(about, tol=0.02, max_nodes=40, rounds=0)
        made["deletions"] = certify_deletions(about, 1, rounds=0)
    name = f"{loss.name}, {choice[1]}, {choice[2]}, {claim.problem.scaling}, eps {claim.epsilon:g}"
    return Case(name, claim, made, trained(claim, claim.train))


def trained(claim: Claim, data: Dataset, method: Any = "auto") -> np.ndarray:
    return np.asarray(make_learner(claim.problem, method=method).fit(data).vector)


def planted(claim: Claim, X: np.ndarray, y: np.ndarray, mass: np.ndarray) -> Poison:
    """Rows of the sets with masses per clean row."""
    return Poison(X, y, mass * claim.mass)


def mass_of(claim: Claim, rng: np.random.Generator, points: int) -> np.ndarray:
    """Masses of at most the budget in all, mostly all of it."""
    total = claim.epsilon * (1.0 if rng.random() < 0.6 else rng.random())
    return total * rng.dirichlet(np.ones(points))


def wild(case: Case, rng: np.random.Generator, count: int) -> Iterator[tuple[str, Poison]]:
    """Random points, then points that are the worst for a row or for the model before; `count` in all."""
    claim, rows, done = case.claim, case.claim.demand_rows(), 0
    while done < count:
        k = int(rng.integers(1, 4))
        y = rng.choice([-1.0, 1.0], size=k)
        aim = rows.y[(j := int(rng.integers(rows.n)))] * rows.X[j]
        toward = [rng.normal(size=(k, claim.train.d)), -y[:, None] * aim, -y[:, None] * case.clean[:-1]]
        directions = toward[int(rng.integers(3))]
        for step in range(3):
            if done == count:
                return
            X = np.array([claim.sets[int(label)].support(w) for label, w in zip(y, directions, strict=True)])
            if step == 0 and rng.random() < 0.3:
                X = inner(claim, X, y, rng)
            poison = planted(claim, X, y, mass_of(claim, rng, k))
            yield ("random" if step == 0 else "worst case"), poison
            done += 1
            v = trained(claim, claim.train.mix(poison.as_dataset()))[:-1]
            directions = -y[:, None] * (v + 0.1 * rng.normal(size=X.shape) * np.abs(v).max())


def inner(claim: Claim, X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points drawn towards random ones: the inside of the sets."""
    moved = X + rng.normal(size=X.shape)
    return np.vstack([claim.sets[int(label)].project(row[None]) for label, row in zip(y, moved, strict=True)])


def suggested(case: Case) -> Iterator[tuple[str, Poison]]:
    """What the certificates themselves say to be the worst."""
    if "ridge" in case.proved:
        yield from (("ridge", ridge_attack(case.proved["ridge"], j)) for j in range(case.claim.demand_rows().n))
    named = case.proved["exact"].info["poison"] if "exact" in case.proved else ()
    yield from (("exact", Poison(it["X"], it["y"], it["count"])) for it in named if it is not None)


def attacks(case: Case) -> Iterator[tuple[str, Poison]]:
    """The poison of every attack of the library against an L2 defence, moved into the sets."""
    claim = case.claim
    if claim.train.weight.max() > 1 or claim.epsilon * claim.mass < 1:
        return
    defense = {"l2": make_defense("l2", remove=0.05, variant="paper", problem=claim.problem)}
    scenario = Scenario(claim.train, claim.problem, Budget(claim.epsilon), defense, claim.demand_rows())
    for name in ATTACKS:
        try:
            poison = make_attack(name).run(scenario, seed=0).poison
        except LinpoisonError:
            continue
        dense = np.asarray(poison.X.toarray() if hasattr(poison.X, "toarray") else poison.X)
        X = np.vstack([claim.sets[int(k)].project(x[None]) for x, k in zip(dense, poison.y, strict=True)])
        share = min(1.0, claim.epsilon * claim.mass / poison.total)
        yield f"attack {name}", Poison(X, poison.y, poison.count * share)


def hold(case: Case, how: str, poison: Poison, tallies: dict[str, Tally], budget: bool) -> None:
    """Everything that is proved of a case against one poison."""
    claim = case.claim
    mixed = claim.train.mix(poison.as_dataset())
    v = trained(claim, mixed)
    judged = list(judgements(case, v, poison.total / claim.mass))
    sure: np.ndarray | None = None
    for name, excess, ratio in judged:
        tallies[name].checks += 1
        tallies[name].closest = max(tallies[name].closest, ratio)
        if excess > TOL:
            sure = trained(claim, mixed, "reference") if sure is None else sure
            again = {key: left for key, left, _ in judgements(case, sure, poison.total / claim.mass)}
            if again[name] > TOL:
                tallies[name].violations.append(f"{case.name}: {how}, {excess:.2e}")
    for name in case.proved:
        if name.startswith("deletions"):
            deleted(case, name, how, poison, tallies)
    if budget:
        least(case, how, poison, tallies)


def judgements(case: Case, v: np.ndarray, mass: float) -> Iterator[tuple[str, float, float]]:
    """Name, excess over the bound, and how much of the bound is used."""
    claim = case.claim
    rows = claim.demand_rows()
    score, before = signed(rows, v), signed(rows, case.clean)
    for name, found in case.proved.items():
        bound = np.asarray(found.bound)
        if name.startswith("deletions"):
            continue
        if found.kind == "score":
            m = bound.size
            yield name, float(np.max(score[:m] - bound)), share(score[:m] - before[:m], bound - before[:m])
        elif found.kind == "loss":
            plain = name == "average-loss"
            now, then = (average_value(claim, w, plain=plain) for w in (v, case.clean))
            yield name, now - float(bound), share(now - then, float(bound) - then)
        elif found.kind == "error":
            wrong = float(np.mean(score > TOL))
            yield name, wrong - float(bound), wrong / max(float(bound), 1e-9)
        else:
            broken = np.where((mass <= bound * (1 + 1e-12)) & (bound > 0), score, -1.0)
            yield name, float(broken.max()), 0.0


def signed(rows: Dataset, v: np.ndarray) -> np.ndarray:
    return np.asarray(-rows.y * (rows.X @ v[:-1] + v[-1]))


def share(gained: Any, allowed: Any) -> float:
    """The greatest share of what is allowed, where it is finite and not next to nothing."""
    gained, allowed = np.atleast_1d(gained), np.atleast_1d(allowed)
    fine = np.isfinite(allowed) & (allowed > 1e-3)
    return float(np.max(gained[fine] / allowed[fine], initial=0.0))


def deleted(case: Case, name: str, how: str, poison: Poison, tallies: dict[str, Tally]) -> None:
    """The same poison with one clean row less."""
    claim, found = case.claim, case.proved[name]
    rows, bound = claim.demand_rows().take([0]), float(np.ravel(found.bound)[0])
    margins = claim.train.y * (claim.train.X @ case.clean[:-1] + case.clean[-1])
    gone = int(np.argmin(np.abs(margins - 1)))
    weight = claim.train.weight.copy()
    weight[gone] -= 1
    left = replace(claim.train, weight=weight).take(weight > 0)
    data = left.mix(poison.as_dataset())
    if np.unique(data.y).size < 2:  # the row was the last of its class: there is no model
        return
    value, tally = float(signed(rows, trained(claim, data))[0]), tallies[name]
    tally.checks += 1
    before = float(signed(rows, case.clean)[0])
    tally.closest = max(tally.closest, share(value - before, bound - before))
    if value - bound > TOL and float(signed(rows, trained(claim, data, "reference"))[0]) - bound > TOL:
        tally.violations.append(f"{case.name}: {how} without row {gone}, {value - bound:.2e}")


def least(case: Case, how: str, poison: Poison, tallies: dict[str, Tally]) -> None:
    """No model may cost more than the poison that made it."""
    claim, tally = case.claim, tallies["min-budget"]
    mixed, mass = claim.train.mix(poison.as_dataset()), poison.total / claim.mass
    try:
        bound = min(float(budget_of(claim, trained(claim, mixed, method)).bound) for method in ("auto", "reference"))
    except LinpoisonError:
        return
    tally.checks += 1
    tally.closest = max(tally.closest, min(bound / mass, 1.0) if mass > 1e-6 else 0.0)
    if bound > mass * (1 + 1e-3) + 1e-4:
        tally.violations.append(f"{case.name}: {how}, {bound:.6f} for {mass:.6f}")


def budget_of(claim: Claim, v: np.ndarray) -> Certificate:
    return min_budget(claim.train, claim.problem, claim.sets, LinearModel(v[:-1], float(v[-1])))


def partition(rng: np.random.Generator, tallies: dict[str, Tally]) -> int:
    """Whole rows inserted into the parts of a partition, as many as are certified; how many poisons were tried."""
    y = np.where(np.arange(45) % 2 == 0, 1.0, -1.0)
    train = Dataset(rng.normal(size=(45, 2)) + y[:, None], y)
    sets = ByLabel({k: Ball(train.X[y == k].mean(axis=0), 1.5) for k in (1, -1)})
    loss = (Squared(), Hinge())[int(rng.integers(2))]
    tests = Dataset(rng.normal(size=(4, 2)) + 1.5 * y[:4, None], y[:4])
    claim = Claim(train, Problem(loss, 0.3), sets, 0.0, tests)
    bound = np.asarray(certify_partition(claim, n_parts=3, base="auto").bound)
    tally, tried = tallies["partition"], 0
    for j in np.flatnonzero(bound > 0):
        for _ in range(6):
            k = int(bound[j])
            labels = np.full(k, -tests.y[j]) if rng.random() < 0.7 else rng.choice([-1.0, 1.0], size=k)
            aim = tests.y[j] * tests.X[j] + 0.3 * rng.normal(size=(k, 2))
            X = np.array([sets[int(c)].support(-c * w) for c, w in zip(labels, aim, strict=True)])
            X = X * (1 - 1e-9 * rng.random(X.shape))
            judge = PartitionClassifier(3, loss, 0.3, sets=sets)
            judge.fit(np.vstack([train.X, X]), np.append(y, labels))
            tried, tally.checks = tried + 1, tally.checks + 1
            if judge.predict(tests.X[j : j + 1])[0] != tests.y[j]:
                tally.violations.append(f"partition, {loss.name}: {k} rows")
    return tried


def fuzz(poisons: int, seed: int = 0, *, each: int = 12, every: int = 10) -> tuple[dict[str, Tally], int]:
    """At least so many poisons; attacks of the library in every so many cases. Tallies, and poisons planted."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    rng, done = np.random.default_rng(seed), 0
    for number, choice in enumerate(combinations(seed)):
        if done >= poisons:
            return dict(tallies), done
        if number % 8 == 7:
            done += partition(rng, tallies)
        case = prove(choice, draw_claim(choice, rng), heavy=number % 3 == 0)
        sources = [*wild(case, rng, each), *suggested(case), *(attacks(case) if every and number % every == 0 else ())]
        for index, (how, poison) in enumerate(sources):
            hold(case, how, poison, tallies, budget=index == 0)
            if how.startswith("attack"):
                tallies[how].checks += 1
            done += 1
    raise AssertionError


def table(tallies: dict[str, Tally], done: int) -> str:
    """The tallies as Markdown."""
    lines = [
        f"{done} poisons.\n",
        "| certificate | checks | violations | greatest attack / bound |",
        "|---|---|---|---|",
    ]
    for name, tally in sorted(tallies.items()):
        closest = "" if name.startswith("attack") else f"{tally.closest:.4f}"
        lines.append(f"| {name} | {tally.checks} | {len(tally.violations)} | {closest} |")
    worst = [words for tally in tallies.values() for words in tally.violations]
    return "\n".join([*lines, *(["", *worst] if worst else []), ""])


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit status is 1 if a certificate was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poisons", type=int, default=2000, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tallies, done = fuzz(options.poisons, options.seed)
    return tell_violations(table(tallies, done), tallies, options.out, "table")


if __name__ == "__main__":
    sys.exit(main())
