"""The default audit as rows grow, and in its users' units: processor seconds, their exponent and their ratio.

    python benchmarks/audit_rows.py [--rows 16000 130000] [--units] [--quick]

Two Gaussian classes of 22 columns, 30 % of the rows in one, 2,000 test rows, svm with reg = 0.01 behind five defences.
For each number of rows: processor seconds of one process until the first figure and in all, and the least error over
the defences of the strongest poison; then the exponent between the first number and the last. With `--units` the same
table of 2,100 rows twice, with columns of incomes and debts beside columns of 0 and 1, and standardised: their ratio.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

import linpoison

COLUMNS, TEST = 22, 2_000
HEAD = "| rows | first figure, s | in all, s | error without poison | behind every filter |"
Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def gaussians(n: int) -> Rows:
    """Training and test rows of two Gaussian classes."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(n + TEST) < 0.3, 1, -1)
    w = rng.normal(size=COLUMNS) / np.sqrt(COLUMNS)
    X = rng.normal(size=(n + TEST, COLUMNS)) + 1.2 * y[:, None] * w
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
    parser.add_argument("--units", action="store_true", help="the table in two kinds of units instead")
    parser.add_argument("--quick", action="store_true", help="toy size")
    args = parser.parse_args(argv)
    options = {"attacks": "random-flips"} if args.quick else {}
    sizes = [200, 400] if args.quick else args.rows
    cases = {str(n): gaussians(n) for n in sizes}
    if args.units:
        n = 210 if args.quick else 2_100
        cases = {f"{n}, standardised": table(n, True), f"{n}, in units": table(n, False)}
    print(f"{HEAD}\n{'|---' * 5}|")
    spent = []
    for name, data in cases.items():
        first, whole, clean, error = audited(data, **options)
        spent.append(whole)
        print(f"| {name} | {first:.1f} | {whole:.1f} | {clean:.3f} | {error:.3f} |", flush=True)
    if args.units:
        print(f"\nin units / standardised: {spent[-1] / spent[0]:.2f}")
    elif len(sizes) > 1:
        print(f"\nexponent: {np.log(spent[-1] / spent[0]) / np.log(sizes[-1] / sizes[0]):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
