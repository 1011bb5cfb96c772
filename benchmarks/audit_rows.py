"""The default audit as rows grow, and in its users' units: processor seconds, their exponent and their ratio.

    python benchmarks/audit_rows.py [--rows 16000 130000] [--columns 22] [--words] [--time-limit S] [--units] [--quick]

Two Gaussian classes of 22 columns, 30 % of the rows in one, 2,000 test rows, svm with reg = 0.01 behind five defences.
For each number of rows: processor seconds of one process until the first figure and in all, the least error over the
defences of the strongest poison, and peak memory so far; then the exponent between the first number and the last. With
`--words` the rows are texts of some 20 words of as many as there are rows, in sparse counts. With `--units` the same
table of 2,100 rows twice, with columns of incomes and debts beside columns of 0 and 1, and standardised: their ratio.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

import linpoison

COLUMNS, TEST = 22, 2_000
HEAD = "| rows | first figure, s | in all, s | error without poison | behind every filter | GB |"
Rows = tuple[Any, np.ndarray, Any, np.ndarray]


def gaussians(n: int, columns: int = COLUMNS) -> Rows:
    """Training and test rows of two Gaussian classes."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(n + TEST) < 0.3, 1, -1)
    w = rng.normal(size=columns) / np.sqrt(columns)
    X = rng.normal(size=(n + TEST, columns))
    X += 1.2 * y[:, None] * w
    return X[:n], y[:n], X[n:], y[n:]


def texts(n: int) -> Rows:
    """Counts of n words, frequent ones first; of those from the eleventh on each class uses every other one more."""
    rng, total = np.random.default_rng(0), n + TEST
    y = np.where(rng.random(total) < 0.3, 1, -1)
    share = np.log(n) * rng.random((total, 20))  # a word of rank r has a share of about 1 / r
    word = np.minimum(np.exp(share).astype(np.int64) - 1, n - 1)
    swapped = (word >= 10) & (rng.random(word.shape) < 0.3)
    word = np.where(swapped, np.minimum(word - word % 2 + (y[:, None] > 0), n - 1), word)
    places = np.arange(0, 20 * total + 1, 20)
    X = sp.csr_array((np.ones(word.size), word.ravel(), places), shape=(total, n))
    X.sum_duplicates()
    return X[:n], y[:n], X[n:], y[n:]


def table(n: int, standardised: bool) -> Rows:
    """A table in its users' units, or standardised."""
    rng, total = np.random.default_rng(0), n + 3 * n // 7
    y = np.where(rng.random(total) < 0.3, 1, -1)
    income = rng.lognormal(10.2, 0.5, total) * (1 - 0.1 * y)
    debt = rng.lognormal(8, 1, total) * (1 + 0.2 * y)
    flags = (rng.random((total, 15)) < 0.3 + 0.1 * (y[:, None] > 0)).astype(float)
    X = np.column_stack([income, rng.normal(42, 12, total), debt, flags, rng.normal(size=(total, 4))])
    if standardised:
        X = (X - X[:n].mean(axis=0)) / X[:n].std(axis=0)
    return X[:n], y[:n], X[n:], y[n:]


def audited(data: Rows, **options: object) -> tuple[float, float, float, float]:
    """Seconds until the first figure and in all, the error without poison, and the strongest behind every filter."""
    began, figures = time.process_time(), []
    report = linpoison.audit(
        data, model="svm", reg=0.01, jobs=1, found=lambda _: figures.append(time.process_time() - began), **options
    )
    spent = time.process_time() - began
    return figures[0], spent, report.clean["test_error"], report.strongest.test_error_behind_all


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[16_000, 35_000, 130_000])
    parser.add_argument("--columns", type=int, default=COLUMNS, help="of numbers")
    parser.add_argument("--words", action="store_true", help="sparse counts of as many words as rows instead")
    parser.add_argument("--time-limit", type=float, help="of an audit, in seconds of wall time; none by default")
    parser.add_argument("--units", action="store_true", help="the table in two kinds of units instead")
    parser.add_argument("--quick", action="store_true", help="toy size")
    args = parser.parse_args(argv)
    options: dict[str, Any] = {} if args.time_limit is None else {"time_limit": args.time_limit}
    options |= {"attacks": "random-flips"} if args.quick else {}
    sizes = [200, 400] if args.quick else args.rows
    made = texts if args.words else partial(gaussians, columns=args.columns)
    cases: dict[str, Callable[[], Rows]] = {str(n): partial(made, n) for n in sizes}
    if args.units:
        n = 210 if args.quick else 2_100
        cases = {f"{n}, standardised": partial(table, n, True), f"{n}, in units": partial(table, n, False)}
    print(f"{HEAD}\n{'|---' * 6}|")
    spent = []
    for name, case in cases.items():
        first, whole, clean, error = audited(case(), **options)
        spent.append(whole)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {name} | {first:.1f} | {whole:.1f} | {clean:.3f} | {error:.3f} | {memory:.2f} |", flush=True)
    if args.units:
        print(f"\nin units / standardised: {spent[-1] / spent[0]:.2f}")
    elif len(sizes) > 1:
        print(f"\nexponent: {np.log(spent[-1] / spent[0]) / np.log(sizes[-1] / sizes[0]):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
