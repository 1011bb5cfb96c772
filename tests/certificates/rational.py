"""Ridge classification in rational numbers: floats are exact fractions, so that nothing is rounded."""

from fractions import Fraction

import numpy as np


def ridge_vector(problem, X, y, weight):
    """The exact minimiser ``(theta, b)``; mean scaling."""
    rows = [[*map(Fraction, map(float, x)), Fraction(int(problem.fit_intercept))] for x in X]
    size = len(rows[0])
    total = sum(map(Fraction, map(float, weight)))
    share = [Fraction(float(w)) / total for w in weight]
    mask = problem.penalty_mask(size - 1)
    H = [[sum(q * e[a] * e[b] for q, e in zip(share, rows, strict=True)) for b in range(size)] for a in range(size)]
    m = [sum(q * Fraction(float(k)) * e[a] for q, k, e in zip(share, y, rows, strict=True)) for a in range(size)]
    for a in range(size):
        H[a][a] += Fraction(problem.reg) * int(mask[a])
    if not problem.fit_intercept:
        H[-1][-1] = Fraction(1)
    return solved(H, m)


def solved(A, b):
    """Gauss and Jordan."""
    rows = [[*row, right] for row, right in zip(A, b, strict=True)]
    for i in range(len(rows)):
        pivot = next(r for r in range(i, len(rows)) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for r in range(len(rows)):
            if r != i and rows[r][i]:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[-1] for row in rows]


def excess(claim, bound, poison=None):
    """Exact negative margins of the rows less a bound, as fractions: none may be positive."""
    train = claim.train
    X, y, weight = train.X, train.y, train.weight
    if poison is not None:
        X, y, weight = np.vstack([X, poison.X]), np.append(y, poison.y), np.append(weight, poison.count)
    v = ridge_vector(claim.problem, X, y, weight)
    found = []
    for z, k, most in zip(claim.rows.X, claim.rows.y, np.asarray(bound, dtype=float), strict=True):
        score = -int(k) * (sum(Fraction(float(a)) * t for a, t in zip(z, v[:-1], strict=True)) + v[-1])
        found.append(score - Fraction(float(most)))
    return found
