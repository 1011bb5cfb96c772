"""What an attack costs as its data grow: CPU seconds and peak memory against n, d, nnz and eps, with exponents.

    python benchmarks/attack_costs.py [--attacks NAME ...] [--axes NAME ...] [--doublings 3] [--repeat 3] [--out DIR]

Every axis starts at one base size and doubles one quantity, the others held: rows `n`, columns `d` (stored entries of a
row fixed), stored entries `nnz` (n and d fixed) and the budget `eps` on generated word counts, and rows and columns of
dense Gaussians. Attacks run with one process and with reduced options (`REDUCED`), a fixed number of decoys and steps
wherever they have one, so that what grows is the cost of a step.

Seconds are the CPU time of the process, the median of the repeats, each on another draw of the data and in a forked
process of its own. Memory is the peak of what Python and NumPy allocate (tracemalloc) above the data, in a further run:
resident memory (ru_maxrss) of the same runs grows by that and some 8 MB of library pages whatever the size, which would
hide the exponents. Exponents are slopes of least squares in logarithms; "last" is the slope of the last doubling, where
fixed costs weigh least.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gc
import multiprocessing
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
from scipy.optimize import brentq

from linpoison import Budget, LinpoisonError, Problem, Split, __version__, make_defense
from linpoison.attacks import ATTACKS, Attack, DecoyCanceler, LabelFlipDecoys, RandomFlips, SaddleProgram, Scenario
from linpoison.datasets import counts, gaussians
from linpoison.losses import Hinge

DEFENSES = ("l2", "slab", "loss")
REG, N_TARGET = 0.05, 200
LEFT_OUT = ("kkt-grid",)
DECOYS = LabelFlipDecoys(quantiles=(0.2, 0.4), repeats=(2, 8), prune=False)
REGROWN = LabelFlipDecoys(quantiles=(0.2,), repeats=(2, 8), prune=False)

REDUCED: dict[str, tuple[Any, str]] = {
    "decoys": (DECOYS, "4 decoys"),
    "regrown": (REGROWN, "2 decoys in a generation"),
    "generations": (1, "1 generation"),
    "reach": ((1.1,), "1 reach"),
    "chains": (1, "1 chain"),
    "refits": (1, "1 refit"),
    "tries": (4, "4 tries"),
    "most_decoys": (1, "1 decoy tried"),
    "program": (SaddleProgram(tol=1e-2, max_rounds=20), "gap 1e-2 or 20 rounds"),
    "canceler": (DecoyCanceler(steps=50), "50 steps"),
    "start": (RandomFlips(draws=2), "starts from random flips"),
    "starts": (1, "1 start"),
    "most": ((1, 3), "1 and 3 copies"),
    "rounds": (2, "2 rounds"),
    "steps": (10, "10 steps"),
    "check": (5, "checks every 5"),
    "repeats": ((2,), "2 copies"),
    "draws": (2, "2 draws"),
    "finalists": (2, "2 finalists"),
}
"""Options by name, in the place of the defaults of every attack that has them, and what they are in words."""


class Size(NamedTuple):
    """One point of a curve: generated data and a budget."""

    data: str
    n: int
    d: int
    entries: int
    epsilon: float


BASE = {"counts": Size("counts", 1000, 1000, 16, 0.02), "gaussians": Size("gaussians", 1000, 50, 50, 0.02)}
QUICK = {"counts": Size("counts", 40, 20, 2, 0.05), "gaussians": Size("gaussians", 40, 4, 4, 0.05)}
AXES = {
    "n": ("counts", "n"),
    "d": ("counts", "d"),
    "nnz": ("counts", "entries"),
    "eps": ("counts", "epsilon"),
    "dense-n": ("gaussians", "n"),
    "dense-d": ("gaussians", "d"),
}
"""The data of each axis and the field of `Size` that doubles."""


class Cost(NamedTuple):
    """One measured point; NaN and a reason where the attack gave none."""

    attack: str
    axis: str
    x: float
    size: Size
    nnz: int
    seconds: float
    megabytes: float
    note: str = ""


class Power(NamedTuple):
    """``y = c x^exponent``: the slope in logarithms, its R^2, and the slope of the last two points."""

    exponent: float
    r2: float
    last: float


def power(x: Sequence[float], y: Sequence[float]) -> Power:
    """Least squares in logarithms; NaN where fewer than two points are positive, R^2 where all are equal."""
    points = sorted((a, b) for a, b in zip(x, y, strict=True) if np.isfinite([a, b]).all() and min(a, b) > 0)
    if len({a for a, _ in points}) < 2:
        return Power(np.nan, np.nan, np.nan)
    u, v = np.log(np.array(points).T)
    slope, offset = np.polyfit(u, v, 1)
    spread = float(((v - v.mean()) ** 2).sum())
    r2 = 1 - float(((v - slope * u - offset) ** 2).sum()) / spread if spread > 1e-20 else np.nan
    return Power(float(slope), r2, float((v[-1] - v[-2]) / (u[-1] - u[-2])))


def sizes(axis: str, base: dict[str, Size], doublings: int) -> list[Size]:
    """The base size and its doublings along an axis."""
    data, field = AXES[axis]
    start = base[data]
    return [start._replace(**{field: getattr(start, field) * 2**power}) for power in range(doublings + 1)]


@cache
def generate(size: Size, seed: int) -> Split:
    """The rows of a size, kept for the next attack."""
    if size.data == "gaussians":
        return gaussians(size.n, size.d, n_test=N_TARGET, seed=seed)
    return counts(size.n, size.d, length=length_for(size.entries, size.d), n_test=N_TARGET, seed=seed)


def length_for(entries: float, d: int) -> float:
    """Words of a row of `counts` (without its contrast) of which `entries` are distinct on average."""
    share = 1 / np.arange(1, d + 1)
    share /= share.sum()
    return float(brentq(lambda words: -np.expm1(-words * share).sum() - entries, entries / 2, 1e4 * d))


def reduced(name: str) -> tuple[Attack, str]:
    """An attack with the reduced options that it has, and those in words."""
    fields = dataclasses.fields(ATTACKS[name])  # type: ignore[arg-type]
    chosen = {field.name: REDUCED[field.name] for field in fields if field.name in REDUCED and lowers(field)}
    attack = ATTACKS[name](**{option: value for option, (value, _) in chosen.items()})
    return attack, ", ".join(words for _, words in chosen.values())


def lowers(field: dataclasses.Field[Any]) -> bool:
    """Whether the reduced option is less than the default, or, where options share a name, of its kind."""
    value, _ = REDUCED[field.name]
    if isinstance(value, int) and isinstance(field.default, int):
        return value < field.default
    return field.name != "program" or type(value).__name__ in str(field.type)


def scenario_of(size: Size, split: Split, defenses: Sequence[str]) -> Scenario:
    """A linear SVM behind some defences."""
    problem = Problem(Hinge(), REG)
    guards = {name: make_defense(name, problem=problem) for name in defenses}
    return Scenario(split.train, problem, Budget(size.epsilon), guards, split.test)


def seconds_of(attack: Attack, scenario: Scenario, seed: int) -> float:
    """CPU seconds of a run."""
    start = time.process_time()
    attack.run(scenario, seed=seed, n_jobs=1)
    return time.process_time() - start


def megabytes_of(attack: Attack, scenario: Scenario, seed: int) -> float:
    """Peak of the memory that a run allocates."""
    gc.collect()
    tracemalloc.start()
    try:
        attack.run(scenario, seed=seed, n_jobs=1)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def apart(question: Callable[..., float], *given: Any) -> float:
    """The answer of a forked process.

    Raises
    ------
    LinpoisonError
        What the question raised, or that the process ended without an answer.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(there, question, given))
    gc.freeze()  # the child would walk through all that the parent holds, and copy it
    process.start()
    gc.unfreeze()
    there.close()
    try:
        outcome = here.recv()
    except EOFError:
        outcome = "the process ended without an answer"
    process.join()
    if isinstance(outcome, str):
        raise LinpoisonError(outcome)
    return float(outcome)


def answer(there: Connection, question: Callable[..., float], given: tuple[Any, ...]) -> None:
    """In the forked process."""
    try:
        there.send(question(*given))
    except LinpoisonError as error:
        there.send(f"{type(error).__name__}: {error}")


def measure(name: str, size: Size, defenses: Sequence[str], repeat: int, seed: int) -> tuple[float, float, int, str]:
    """Seconds, megabytes, stored entries of the rows and a note."""
    attack, _ = reduced(name)
    times, nnz, peak, note = [], 0, float("nan"), ""
    for draw in range(seed, seed + repeat):
        scenario = scenario_of(size, generate(size, draw), defenses)
        X = scenario.train.X
        nnz = nnz or int(X.nnz if scenario.train.is_sparse else X.size)
        try:
            times.append(apart(seconds_of, attack, scenario, draw))
            if draw == seed:
                peak = apart(megabytes_of, attack, scenario, draw)
        except LinpoisonError as error:
            note = str(error)
    return statistics.median(times) if times else float("nan"), peak, nnz, note


def curves(
    name: str,
    axes: Sequence[str],
    base: dict[str, Size],
    doublings: int,
    defenses: Sequence[str],
    repeat: int,
    seed: int,
) -> Iterator[Cost]:
    """The points of an attack; sizes that several axes share are measured once."""
    known: dict[Size, tuple[float, float, int, str]] = {}
    reduced(name)[0].run(scenario_of(QUICK["counts"], generate(QUICK["counts"], seed), defenses), seed=seed)
    for axis in axes:
        for size in sizes(axis, base, doublings):
            if size not in known:
                known[size] = measure(name, size, defenses, repeat, seed)
            seconds, megabytes, nnz, note = known[size]
            x = nnz if axis == "nnz" else getattr(size, AXES[axis][1])
            yield Cost(name, axis, float(x), size, nnz, seconds, megabytes, note)


def table(costs: Sequence[Cost]) -> str:
    """One row for each attack and axis, in Markdown."""
    lines = [
        "| attack | axis | from | to | CPU s | exponent (R^2) | last | peak MB | exponent (R^2) | last |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, axis in dict.fromkeys((cost.attack, cost.axis) for cost in costs):
        own = [cost for cost in costs if (cost.attack, cost.axis) == (name, axis)]
        x = [cost.x for cost in own]
        cells = [words([cost.seconds for cost in own], x), words([cost.megabytes for cost in own], x)]
        lines.append(f"| {name} | {axis} | {x[0]:g} | {x[-1]:g} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def words(y: Sequence[float], x: Sequence[float]) -> str:
    """First and last figure of a curve, its exponent and the slope of its last doubling."""
    fit = power(x, y)
    return f"{y[0]:.3g} ... {y[-1]:.3g} | {fit.exponent:.2f} ({fit.r2:.2f}) | {fit.last:.2f}"


def options(names: Sequence[str]) -> str:
    """The reduced options, in Markdown."""
    return "\n".join(["| attack | options |", "|---|---|", *(f"| {name} | {reduced(name)[1]} |" for name in names)])


def summary(costs: Sequence[Cost], setting: str) -> str:
    """All that was measured, in Markdown."""
    notes = dict.fromkeys(f"{cost.attack}, {cost.axis} = {cost.x:g}: {cost.note}" for cost in costs if cost.note)
    parts = [setting, table(costs), options(list(dict.fromkeys(cost.attack for cost in costs))), *notes]
    return "\n\n".join(parts) + "\n"


def write_csv(path: Path, costs: Sequence[Cost]) -> None:
    """Every point."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["attack", "axis", "x", *Size._fields, "nnz", "seconds", "megabytes", "note"])
        writer.writerows([c.attack, c.axis, c.x, *c.size, c.nnz, c.seconds, c.megabytes, c.note] for c in costs)


def draw_figure(path: Path, costs: Sequence[Cost]) -> None:
    """One panel for each axis: seconds above, megabytes below."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(cost.axis for cost in costs))
    figure = Figure(figsize=(3.2 * len(axes) + 1.5, 6.5), layout="constrained")
    panels = figure.subplots(2, len(axes), squeeze=False, sharey="row")
    for number, name in enumerate(dict.fromkeys(cost.attack for cost in costs)):
        style = {"color": f"C{number % 10}", "marker": "os^"[number // 10 % 3], "markersize": 4, "label": name}
        for column, axis in enumerate(axes):
            own = [cost for cost in costs if (cost.attack, cost.axis) == (name, axis)]
            for panel, field in zip(panels[:, column], ("seconds", "megabytes"), strict=True):
                panel.loglog([cost.x for cost in own], [getattr(cost, field) for cost in own], **style)
    for column, axis in enumerate(axes):
        panels[0, column].set_title(axis)
        panels[1, column].set_xlabel(axis)
    panels[0, 0].set_ylabel("CPU seconds")
    panels[1, 0].set_ylabel("peak MB")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=110)


def save(out: Path, costs: Sequence[Cost], setting: str) -> None:
    """Table, points and figure of what has been measured so far."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(summary(costs, setting), encoding="utf-8")
    write_csv(out / "costs.csv", costs)
    draw_figure(out / "figure.png", costs)


def setting_of(given: argparse.Namespace, base: dict[str, Size]) -> str:
    """Sizes, seed and versions in a sentence or two."""
    text, dense = base["counts"], base["gaussians"]
    return (
        f"Base: counts n = {text.n}, d = {text.d}, about {text.entries} entries a row; Gaussians n = {dense.n}, "
        f"d = {dense.d}; eps = {text.epsilon:g}; {N_TARGET} target rows; hinge, reg = {REG}; defences "
        f"{', '.join(given.defenses) or 'none'}; {given.doublings} doublings, median of {given.repeat} draws, "
        f"seed {given.seed}. linpoison {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}."
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    usual = [name for name in ATTACKS if name not in LEFT_OUT]
    line.add_argument(
        "--attacks", nargs="+", metavar="NAME", choices=tuple(ATTACKS), default=usual, help="default: all but kkt-grid"
    )
    line.add_argument("--axes", nargs="+", metavar="NAME", choices=tuple(AXES), default=list(AXES), help="default: all")
    line.add_argument("--defenses", nargs="*", metavar="NAME", default=list(DEFENSES), help="default: l2 slab loss")
    line.add_argument("--quick", action="store_true", help="toy sizes")
    line.add_argument("--doublings", type=int, default=3, help="sizes of a curve less one (default: 3)")
    line.add_argument(
        "--repeat", type=int, default=3, help="draws of the data, of which the median counts (default: 3)"
    )
    line.add_argument("--seed", type=int, default=0)
    line.add_argument("--out", type=Path, help="a folder for table.md, costs.csv and figure.png")
    return line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    given = parser().parse_args(argv)
    base = QUICK if given.quick else BASE
    costs: list[Cost] = []
    for name in given.attacks:
        for cost in curves(name, given.axes, base, given.doublings, given.defenses, given.repeat, given.seed):
            costs.append(cost)
            print(f"{name} {cost.axis} {cost.x:g}: {cost.seconds:.3f} s, {cost.megabytes:.2f} MB", file=sys.stderr)
        if given.out is not None:
            save(given.out, costs, setting_of(given, base))
    print(summary(costs, setting_of(given, base)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
