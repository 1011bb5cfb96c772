"""Structured support and projection against cvxpy's solvers: time, agreement and vertices, over all sets.

    python benchmarks/oracles.py [--quick] [--data enron1 imdb] [--repeat 5] [--solvers CLARABEL ...] [--out FILE]

The sets are those of fitted defences on the rows of one class, with a decoy's loss cap. Without the files of Enron and
IMDB under LINPOISON_DATA, generated counts of the same width stand in. "first" builds all that a question needs, "kept"
asks an oracle, or a compiled program, that has answered a similar question before.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cvxpy  # imported here so that no race pays for it
import numpy as np

from linpoison import Dataset, LinearModel, LinpoisonError, Problem, load, make_defense
from linpoison.convex import solve
from linpoison.datasets import counts, names
from linpoison.learners import make_learner
from linpoison.losses import Hinge
from linpoison.sets import (
    Ball,
    CountBall,
    FeasibleSet,
    Intersection,
    NearestProgram,
    NonNegative,
    Oracle,
    SubspaceTube,
    SupportProgram,
    loss_cap,
)

SOLVERS = ("CLARABEL", "ECOS", "HIGHS", "SCS")
WIDTH = {"enron1": 5116, "imdb": 89_527}
REG = {"enron1": 0.09, "imdb": 0.01}
LABEL, SHARE = 1.0, 0.94
WIDE = 20_000


class Timing(NamedTuple):
    """Milliseconds of a solver with its build and without, and the objective that it reached."""

    first: float
    kept: float
    value: float


class Row(NamedTuple):
    """One combination and question: medians over the directions or points."""

    data: str
    sets: str
    question: str
    own: Timing
    rivals: dict[str, Timing]
    disagreement: float
    fractional: int
    fallbacks: int

    def ratio(self, field: str) -> float:
        """How many times faster than the fastest solver."""
        fastest = min((getattr(rival, field) for rival in self.rivals.values()), default=float("nan"))
        return float(fastest / getattr(self.own, field))


def rows_of(name: str, quick: bool) -> Dataset:
    """Rows by name, or generated ones of their width."""
    if quick:
        return counts(n=120, d=60, seed=0).train
    here = {info.name for info in names() if info.available}
    return load(name).train if name in here else counts(n=600, d=WIDTH[name], seed=0).train


def models(train: Dataset, problem: Problem) -> tuple[LinearModel, LinearModel]:
    """The clean model and a decoy; on wide data mean differences stand in for them."""
    flipped = np.where(np.random.default_rng(0).random(train.n) < 0.1, -train.y, train.y)
    if train.d > WIDE:
        return mean_difference(train.X, train.y), mean_difference(train.X, flipped)
    learner = make_learner(problem)
    return learner.fit(train), learner.fit(Dataset(train.X, flipped, domain=train.domain))


def mean_difference(X: Any, y: Any) -> LinearModel:
    """The difference of the class means, scaled to margins of about 1."""
    coef = np.asarray(X.T @ y).ravel() / y.size
    margins = np.abs(X @ coef)
    return LinearModel(coef / margins.mean(), 0.0)


def parts_of(train: Dataset, problem: Problem, decoy: LinearModel) -> dict[str, FeasibleSet]:
    """The set of each defence for one class, with the threshold that keeps most of its rows."""
    rows = train.of_class(LABEL)
    names = ("l2", "slab") if train.d > WIDE else ("l2", "slab", "svd")
    parts: dict[str, FeasibleSet] = {}
    for name in names:
        defense = make_defense(name, problem=problem).fit(train.X, train.y)
        parts[name] = defense.feasible_set(LABEL, float(np.quantile(defense.decision_function(rows.X, rows.y), SHARE)))
    cap = max(float(np.quantile(problem.loss.value(decoy.margins(rows)), SHARE)), 1e-6)
    return parts | {"cap": loss_cap(decoy, LABEL, problem.loss, cap), "non-negative": NonNegative(train.d)}


def combinations(train: Dataset, parts: dict[str, FeasibleSet]) -> Iterator[tuple[str, Intersection]]:
    """Ball or counts, with and without slab, cap, sign, and the subspace tube."""
    ball = parts["l2"]
    if not isinstance(ball, Ball) or train.domain.upper is None:
        raise TypeError("counts and their ball")
    cores = {"ball": ball, "counts": CountBall(ball.center, ball.radius, train.domain.upper)}
    extras = [()] + [("slab",), ("cap",), ("slab", "cap")]
    choices = [(core, (*extra, *sign)) for core in cores for extra in extras for sign in ((), ("non-negative",))]
    if "svd" in parts:
        choices += [("ball", ("slab", "cap", "non-negative", "svd")), ("counts", ("slab", "cap", "svd"))]
    for core, extra in choices:
        if extra and (core == "ball" or "non-negative" not in extra or len(extra) == 1):
            yield " + ".join((core, *extra)), Intersection((cores[core], *(parts[name] for name in extra)))


def questions(train: Dataset, problem: Problem, model: LinearModel, center: Any) -> dict[str, list[Any]]:
    """Directions: random, the model's, a residual of its optimality. Points: noise, a row, far away."""
    rng = np.random.default_rng(0)
    active = model.margins(train) < 1
    residual = problem.reg * model.coef - np.asarray(train.X[active].T @ train.y[active]).ravel() / train.n
    noise = rng.normal(size=train.d)
    row = np.asarray(train.of_class(-LABEL).X[[0]].todense()).ravel()
    return {"support": [noise, -LABEL * model.coef, residual], "project": [center + noise, row, center + 20 * noise]}


def own_time(feasible: Intersection, question: str, given: Any, repeat: int) -> tuple[Timing, Any, int]:
    """The structured solver: fresh, and kept after a similar question."""
    rng = np.random.default_rng(1)
    first = fastest(lambda: getattr(Oracle(feasible), question)(given), repeat)
    oracle, kept = Oracle(feasible), []
    for _ in range(repeat):
        getattr(oracle, question)(given * (1 + 0.01 * rng.normal(size=given.size)))
        kept.append(fastest(lambda: getattr(oracle, question)(given), 1))
    x = getattr(oracle, question)(given)
    return Timing(first, min(kept), value_of(question, given, x)), x, oracle.fallbacks


def rival_time(feasible: Intersection, question: str, given: Any, solver: str, repeat: int) -> Timing | None:
    """A conic solver; None where it gives no answer that passes the checks."""
    try:
        start = time.perf_counter()
        program = compiled(feasible, question, given)
        x = program(given, solver)
        first = 1e3 * (time.perf_counter() - start)
        kept = fastest(lambda: program(given, solver), repeat)
    except LinpoisonError:
        return None
    return Timing(first, kept, value_of(question, given, x))


def compiled(feasible: FeasibleSet, question: str, given: Any) -> Callable[[Any, str], Any]:
    """The library's program with a parameter, or on wide data, where cvxpy cannot hold one, with constants."""
    if feasible.d <= WIDE:
        return SupportProgram(feasible) if question == "support" else NearestProgram(feasible)
    x = cvxpy.Variable(feasible.d)
    aim = cvxpy.Maximize(given @ x) if question == "support" else cvxpy.Minimize(cvxpy.sum_squares(x - given))
    problem = cvxpy.Problem(aim, feasible.constraints(x))

    def call(_: Any, solver: str) -> Any:
        solve(problem, solver=solver, check=lambda: float(feasible.violation(x.value[None, :])[0]))
        return np.array(x.value)

    return call


def fastest(call: Callable[[], Any], repeat: int) -> float:
    """Least milliseconds of some calls."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def value_of(question: str, given: Any, x: Any) -> float:
    """The objective of an answer."""
    return float(given @ x) if question == "support" else float(np.linalg.norm(x - given))


def race(
    data: str,
    name: str,
    feasible: Intersection,
    question: str,
    given: Sequence[Any],
    solvers: Sequence[str],
    repeat: int,
) -> Row:
    """One row of the table."""
    own, off, fractional, fallbacks = [], [], [], 0
    rivals: dict[str, list[Timing]] = {solver: [] for solver in solvers}
    radius = getattr(feasible.sets[0], "radius", 1.0)
    for vector in given:
        timing, x, failed = own_time(feasible, question, vector, repeat)
        own.append(timing)
        fallbacks += failed
        fractional.append(int(np.sum(np.abs(x - np.rint(x)) > 1e-7)))
        unit = max(abs(timing.value), radius * (float(np.linalg.norm(vector)) if question == "support" else 1.0))
        tries = {solver: rival_time(feasible, question, vector, solver, max(repeat // 2, 1)) for solver in solvers}
        off.append(min((abs(t.value - timing.value) / unit for t in tries.values() if t), default=float("nan")))
        for solver, attempt in tries.items():
            rivals[solver] += [attempt] if attempt else []
    complete = {solver: middle(times) for solver, times in rivals.items() if len(times) == len(given)}
    return Row(data, name, question, middle(own), complete, max(off), max(fractional), fallbacks)


def middle(times: Sequence[Timing]) -> Timing:
    """Medians of each field."""
    return Timing(*(float(np.median(column)) for column in zip(*times, strict=True)))


def suitable(feasible: Intersection, question: str, solvers: Sequence[str]) -> list[str]:
    """HiGHS for linear programs only, and no ECOS where a basis makes programs large."""
    kinds = {type(part) for part in feasible.sets}
    linear = question == "support" and not kinds & {Ball, SubspaceTube}
    slow = {"ECOS"} if SubspaceTube in kinds else set()
    return [solver for solver in solvers if (solver != "HIGHS" or linear) and solver not in slow]


def races(data: str, quick: bool, solvers: Sequence[str], repeat: int) -> Iterator[Row]:
    """All combinations of one data set; on wide data few, with the quicker solvers, one direction each."""
    train = rows_of(data, quick)
    problem = Problem(Hinge(), REG.get(data, 0.05))
    model, decoy = models(train, problem)
    parts = parts_of(train, problem, decoy)
    asked = questions(train, problem, model, parts["l2"].center)  # type: ignore[attr-defined]
    wide = train.d > WIDE
    for name, feasible in combinations(train, parts):
        if wide and not ("slab + cap" in name and ("counts" in name or "non-negative" in name)):
            continue
        for question, given in asked.items():
            chosen = suitable(feasible, question, [s for s in solvers if not wide or s in ("CLARABEL", "HIGHS")])
            tube = "svd" in name
            yield race(
                data,
                name,
                feasible,
                question,
                given[:1] if tube and not quick else given,
                chosen,
                1 if wide or tube else repeat,
            )


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, medians of the ratios last."""
    lines = [
        "| data | set | question | structured ms: first / kept | cvxpy ms: first / kept | ratio first | ratio kept "
        "| disagreement | fractional | fall-backs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rivals = "; ".join(f"{name} {t.first:.0f} / {t.kept:.1f}" for name, t in row.rivals.items())
        lines.append(
            f"| {row.data} | {row.sets} | {row.question} | {row.own.first:.2f} / {row.own.kept:.2f} | {rivals} "
            f"| {row.ratio('first'):.0f} | {row.ratio('kept'):.0f} | {row.disagreement:.1e} "
            f"| {row.fractional if 'counts' in row.sets and row.question == 'support' else '-'} | {row.fallbacks} |"
        )
    shapes = dict.fromkeys(row.data for row in rows)
    lines += [f"\n{data}: " + "; ".join(medians([row for row in rows if row.data == data])) for data in shapes]
    return "\n".join(lines)


def medians(rows: Sequence[Row]) -> Iterator[str]:
    """Median ratios and the worst disagreement, in words."""
    for question in ("support", "project", "both"):
        chosen = [row for row in rows if question in (row.question, "both")]
        first, kept = (float(np.nanmedian([row.ratio(field) for row in chosen])) for field in ("first", "kept"))
        yield f"{question}: median ratio {first:.0f} with build, {kept:.0f} without"
    yield f"worst disagreement {max(row.disagreement for row in rows):.1e}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small generated set")
    parser.add_argument("--data", nargs="+", metavar="NAME", choices=tuple(WIDTH), default=["enron1", "imdb"])
    parser.add_argument("--repeat", type=int, default=5, help="calls of which the fastest counts (default: 5)")
    parser.add_argument(
        "--solvers", nargs="+", metavar="NAME", default=None, help="cvxpy solvers (default: those here)"
    )
    parser.add_argument("--out", type=Path, help="write the table here too")
    given = parser.parse_args(argv)
    installed = cvxpy.installed_solvers()
    solvers = given.solvers or [solver for solver in SOLVERS if solver in installed]
    rows: list[Row] = []
    for data in ["enron1"] if given.quick else given.data:
        rows += races("counts" if given.quick else data, given.quick, solvers, 1 if given.quick else given.repeat)
    print(table(rows))
    if given.out is not None:
        given.out.write_text(table(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
