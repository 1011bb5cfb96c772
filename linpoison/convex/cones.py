"""Cone programs given by their matrices: small ones that are solved by the hundred, without a modelling language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp

from ..core.errors import LinpoisonError
from ..core.validation import Array
from .program import solve

Index = np.ndarray[Any, np.dtype[Any]]
Term = tuple[slice, Any]
"""Variables, and their coefficients: a matrix, a vector as the diagonal or as the only row, or a number."""
BRISK, TIGHT = 1e-6, 1e-9
"""Gap and residuals at which Clarabel ends with one step of iterative refinement, and with as many as it takes."""
FARTHEST = 200
"""Greatest scale of a row or a column, as a power of two."""
NEAR = 12
"""The same of the greatest entries of rows and columns up to which a program is left to the solver's own scaling."""
MEANS, PEAKS = 10, 2
"""How often the rows and the columns of a program are scaled by what their entries are in the mean, and at most."""
NEARLY = 1e-4
"""Residuals, as the solver measures them, up to which an answer that it gives up on is one."""
_ANSWERED = ("Solved", "AlmostSolved")
_EMPTY = ("PrimalInfeasible", "DualInfeasible")


class Solution(NamedTuple):
    """Variables (n,), multipliers (m,), and the value of a program."""

    x: Array
    z: Array
    value: float


class Cones:
    """``min c . x`` where affine functions of `x` lie in cones.

    ::

        M x + offset in K        and, of the multipliers,        c = M' z,    z in the dual cone of K

    so that the multipliers of inequalities are at least 0, and those of a second-order cone lie in it. What is built
    can be copied and added to, which costs next to nothing beside a solve.

    Examples
    --------
    >>> program = Cones()
    >>> x = program.variable(2)
    >>> program.minimise(x, [1.0, 0.0])
    >>> ball = program.soc([(x, np.vstack([np.zeros(2), np.eye(2)]))], [1.0, 0.0, 0.0])
    >>> found = program.solve()
    >>> found.x.round(6) + 0.0, found.z[ball].round(6) + 0.0, round(found.value, 6)
    (array([-1.,  0.]), array([1., 1., 0.]), -1.0)
    """

    def __init__(self) -> None:
        self.width = self.height = 0
        self._costs: list[tuple[slice, Array]] = []
        self._entries: list[tuple[Index, Index, Array]] = []
        self._offsets: list[Array] = []
        self._kinds: list[tuple[str, int]] = []

    def copy(self) -> Cones:
        """Another one, to add to."""
        twin = Cones()
        twin.width, twin.height = self.width, self.height
        for name in ("_costs", "_entries", "_offsets", "_kinds"):
            setattr(twin, name, list(getattr(self, name)))
        return twin

    def variable(self, size: int) -> slice:
        """So many variables more, and where they are."""
        self.width += size
        return slice(self.width - size, self.width)

    def minimise(self, where: slice, cost: Any) -> None:
        """Add ``cost . x[where]`` to the objective."""
        self._costs.append((where, np.broadcast_to(np.asarray(cost, dtype=np.float64), (where.stop - where.start,))))

    def zero(self, terms: Sequence[Term], offset: Any) -> slice:
        """Sums that are zero, and where their multipliers are."""
        return self._add("zero", terms, offset)

    def nonneg(self, terms: Sequence[Term], offset: Any) -> slice:
        """Sums that are at least zero."""
        return self._add("nonneg", terms, offset)

    def soc(self, terms: Sequence[Term], offset: Any) -> slice:
        """One sum that is no less than the length of the others."""
        return self._add("soc", terms, offset)

    def square(self, terms: Sequence[Term], offset: Any, room: Sequence[Term], base: float, size: float = 1.0) -> slice:
        """``|S|^2 <= R``, as the cone of ``(size + R, 2 sqrt(size) S, size - R)``.

        Parameters
        ----------
        terms : sequence of Term
        offset : array_like, shape (m,)
            The m sums S are of `terms`, and this.
        room : sequence of Term
        base : float
            The sum R is of `room`, and this.
        size : float, default 1
            About that of `R`, which spares the solver digits.
        """
        m, root = np.size(offset), 2 * np.sqrt(size)
        for where, coefficients in terms:
            row, column, value = _entries(coefficients, m, _size(where))
            self._put(row + 1, column, root * value, where)
        for where, coefficients in room:
            row, column, value = _entries(coefficients, 1, _size(where))
            self._put(np.append(row, row + m + 1), np.tile(column, 2), np.append(value, -value), where)
        return self.soc([], np.concatenate([[size + base], root * np.asarray(offset), [size - base]]))

    def exponential(self, terms: Sequence[Term]) -> slice:
        """Three sums ``(x, y, z)`` with ``y exp(x / y) <= z``."""
        return self._add("exp", terms, np.zeros(3))

    def cone(self, part: Any, u: slice, t: slice) -> None:
        """``(u, t)`` in the closed cone over a feasible set."""
        over = _cone_over(part)
        columns = np.concatenate([_places(u), _places(t), _places(self.variable(over.matrix.shape[1] - over.d - 1))])
        found = over.matrix.tocoo()
        self._entries.append((found.row + self.height, columns[found.col], found.data))
        self._offsets.append(over.offset)
        self._kinds += over.kinds
        self.height += over.offset.size

    def _add(self, kind: str, terms: Sequence[Term], offset: Any) -> slice:
        offset = np.atleast_1d(np.asarray(offset, dtype=np.float64))
        m = offset.size
        for where, coefficients in terms:
            self._put(*_entries(coefficients, m, _size(where)), where)
        self._offsets.append(offset)
        self._kinds += [(kind, m)] if m else []
        self.height += m
        return slice(self.height - m, self.height)

    def _put(self, row: Index, column: Index, value: Array, where: slice) -> None:
        self._entries.append((row + self.height, column + where.start, value))

    def matrices(self) -> tuple[Array, Any, Array, list[tuple[str, int]]]:
        """``c, A, b`` and the cones of ``min c . x,  A x + s = b,  s in K``."""
        cost = np.zeros(self.width)
        for where, values in self._costs:
            cost[where] += values
        row, column, value = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        matrix = sp.csc_matrix((-value, (row, column)), shape=(self.height, self.width))
        return cost, matrix, np.concatenate(self._offsets), self._kinds

    def solve(self, solver: str | None = None, brisk: bool = False) -> Solution | None:
        """A solution by Clarabel, or by the chain of `linpoison.convex.solve` where it has none.

        None where no solver answers. A solver is not taken at its word: whoever asks looks at what it says.

        Parameters
        ----------
        solver : str, optional
            The only one to try, as of `linpoison.convex.solve`.
        brisk : bool, default False
            Let Clarabel try with one step of iterative refinement first, to `BRISK`: it saves a third of the time where
            what it says is only looked at.
        """
        level = Level.of(*self.matrices())
        if solver is None or solver.upper() == "CLARABEL":
            found, final = _by_clarabel(*level.data, brisk)
            if found is not None or final or solver is not None:
                return level.back(found)
        return level.back(_by_cvxpy(*level.data, solver))


class Level(NamedTuple):
    """A program in units of its own, so that a solver's tolerances mean the same whatever the units of the columns.

    ::

        min c . x,  A x + s = b,  s in K      with    x = beta S x',  s = beta R^-1 s',  z = R z' / gamma

    is ``min c' . x',  A' x' + s' = b'`` with ``c' = gamma S c``, ``A' = R A S`` and ``b' = R b / beta``. All scales are
    powers of two, so that nothing is rounded; rows of a cone that is not a product of half-lines have one scale, so
    that `R` maps the cone onto itself. Solvers scale by themselves, too, but by 1e4 at most: what they do not reach is
    scaled here, and all else left to them.

    With ``|A_ij| = exp2(l_ij)`` the scales ``exp2(r_i)`` and ``exp2(t_j)`` first minimise ``sum (l_ij + r_i + t_j)^2``
    over the entries that are not zero, by turns [1]_. Other units add to `l` what `r` and `t` take away: the minimum
    is at the same ``A'``. Two steps towards greatest entries of 1 in all rows and columns [2]_ begin there. Of ``b'``
    and ``c'`` the entries are 1 in the mean: a gap is measured against 1 where the value is less.

    References
    ----------
    .. [1] Curtis and Reid, "On the automatic scaling of matrices for Gaussian elimination", 1972.
    .. [2] Ruiz, "A scaling algorithm to equilibrate both rows and columns norms in matrices", 2001.
    """

    data: tuple[Array, Any, Array, list[tuple[str, int]]]
    cost: Array
    columns: Array
    rows: Array

    @classmethod
    def of(cls, cost: Array, A: Any, b: Array, kinds: list[tuple[str, int]]) -> Level:
        """Of ``min cost . x,  A x + s = b``."""
        each, wide = {"zero", "nonneg"}, {"psd": lambda n: n * (n + 1) // 2}
        sizes = np.concatenate([np.ones(n, int) if kind in each else [wide.get(kind, int)(n)] for kind, n in kinds])
        block = np.repeat(np.arange(sizes.size), sizes)
        entries = A.tocoo()
        entries.eliminate_zeros()
        size, its_row = np.log2(np.abs(entries.data)), block[entries.row]
        row, column = (_half(size, group, n) for group, n in ((its_row, sizes.size), (entries.col, cost.size)))
        if 2 * max(np.abs(row).max(), np.abs(column).max()) <= NEAR:
            return cls((cost, A, b, kinds), cost, np.ones(cost.size), np.ones(b.size))
        column = np.zeros(cost.size)
        for _ in range(MEANS):
            row = -_mean(size + column[entries.col], its_row, row.size)
            column = -_mean(size + row[its_row], entries.col, column.size)
        for _ in range(PEAKS):
            now = size + row[its_row] + column[entries.col]
            row, column = row - _half(now, its_row, row.size), column - _half(now, entries.col, column.size)
        rows, columns = (np.exp2(np.rint(np.clip(scale, -FARTHEST, FARTHEST))) for scale in (row[block], column))
        values = entries.data * rows[entries.row] * columns[entries.col]
        scaled = sp.csc_matrix((values, (entries.row, entries.col)), A.shape)
        beta, gamma = _power(rows * b), 1 / _power(columns * cost)
        return cls((gamma * columns * cost, scaled, rows * b / beta, kinds), cost, beta * columns, rows / gamma)

    def back(self, found: Solution | None) -> Solution | None:
        """A solution in the units of the program."""
        if found is None:
            return None
        x = self.columns * found.x
        return Solution(x, self.rows * found.z, float(self.cost @ x))


def _mean(size: Array, group: Index, n: int) -> Array:
    """The mean of each of `n` groups, zero for an empty one."""
    return np.bincount(group, size, n) / np.maximum(np.bincount(group, minlength=n), 1)


def _half(size: Array, group: Index, n: int) -> Array:
    """Half of the greatest of each of `n` groups; zero for one without a finite one."""
    most = np.full(n, -np.inf)
    np.maximum.at(most, group, size)
    return np.where(np.isfinite(most), 0.5 * most, 0.0)


def _power(values: Array) -> float:
    """The power of two nearest to the mean magnitude of the entries; 1 if they are all zero."""
    known = values[values != 0]
    return float(np.exp2(np.rint(np.log2(np.abs(known)).mean()))) if known.size else 1.0


def _size(where: slice) -> int:
    return int(where.stop - where.start)


def _places(where: slice) -> Index:
    return np.arange(where.start, where.stop)


def _entries(coefficients: Any, m: int, n: int) -> tuple[Index, Index, Array]:
    """Rows, columns and values of the coefficients of `m` sums in `n` variables."""
    if sp.issparse(coefficients):
        found = coefficients.tocoo()
        return found.row, found.col, found.data
    array = np.asarray(coefficients, dtype=np.float64)
    if array.ndim == 2:
        row, column = np.nonzero(array)
        return row, column, array[row, column]
    places = np.arange(n)
    return np.zeros_like(places) if m == 1 else places, places, np.broadcast_to(array, (n,))


class _Over(NamedTuple):
    """The cone over a set of `d` features, in ``(u, t)`` and further variables."""

    d: int
    matrix: Any
    offset: Array
    kinds: list[tuple[str, int]]


_known: WeakKeyDictionary[Any, _Over] = WeakKeyDictionary()


def _cone_over(part: Any) -> _Over:
    try:
        if part not in _known:
            _known[part] = _compiled(part)
        return _known[part]
    except TypeError:  # a class of someone else, that has no hash
        return _compiled(part)


def _compiled(part: Any) -> _Over:
    """What cvxpy makes of the constraints of a set; costs that are all different tell which column is which."""
    import cvxpy as cp

    d = part.d
    u, t = cp.Variable(d), cp.Variable()
    problem = cp.Problem(cp.Minimize(np.arange(1.0, d + 1) @ u + (d + 1.0) * t), part.constraints(u, t))
    data = problem.get_problem_data("CLARABEL")[0]
    cost, dims = np.asarray(data["c"]), data["dims"]
    kinds = [("zero", dims.zero), ("nonneg", dims.nonneg), *(("soc", n) for n in dims.soc)]
    kinds += [*(("psd", n) for n in dims.psd), *(("exp", 3) for _ in range(dims.exp))]
    kinds = [(kind, int(n)) for kind, n in kinds if n]
    if dims.p3d or len(np.flatnonzero(cost)) != d + 1:
        raise LinpoisonError(
            f"expected a set of linear, second-order, semidefinite and exponential cones, got {part!r}. "
            "Write its constraints with these alone."
        )
    own = np.flatnonzero(cost)
    own = own[np.argsort(cost[own])]
    others = np.setdiff1d(np.arange(cost.size), own)
    return _Over(d, -sp.csc_matrix(data["A"])[:, np.concatenate([own, others])], np.asarray(data["b"]), kinds)


@cache
def _settings(brisk: bool) -> Any:
    """Of Clarabel: without any refinement, every fourth small program would fail and be solved twice."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.iterative_refinement_max_iter = 1 if brisk else 10
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = BRISK if brisk else TIGHT
    return settings


def _clarabel_cones(kinds: list[tuple[str, int]]) -> list[Any]:
    import clarabel

    made: dict[str, Callable[[int], Any]] = {
        "zero": clarabel.ZeroConeT, "nonneg": clarabel.NonnegativeConeT, "soc": clarabel.SecondOrderConeT,
        "psd": clarabel.PSDTriangleConeT, "exp": lambda n: clarabel.ExponentialConeT(),
    }  # fmt: skip
    return [made[kind](n) for kind, n in kinds]


def _by_clarabel(
    cost: Array, A: Any, b: Array, kinds: list[tuple[str, int]], brisk: bool
) -> tuple[Solution | None, bool]:
    """An answer, and whether no other solver could have one."""
    import clarabel

    nothing, cones = sp.csc_matrix((cost.size, cost.size)), _clarabel_cones(kinds)
    for first in (True, False) if brisk else (False,):
        found = clarabel.DefaultSolver(nothing, cost, A, b, cones, _settings(first)).solve()
        x, z, status = np.array(found.x), np.array(found.z), str(found.status)
        fine = status in _ANSWERED or (not first and max(found.r_prim, found.r_dual) <= NEARLY)
        if fine and status not in _EMPTY and np.isfinite(x).all() and np.isfinite(z).all():
            return Solution(x, z, float(cost @ x)), True
    return None, status in _EMPTY


def _by_cvxpy(cost: Array, A: Any, b: Array, kinds: list[tuple[str, int]], solver: str | None) -> Solution | None:
    import cvxpy as cp

    x, rules, start = cp.Variable(cost.size), [], 0
    if any(kind == "psd" for kind, _ in kinds):
        return None
    for kind, n in kinds:
        part = slice(start, start + n)
        rules.append(_rule(kind, b[part] - A[part] @ x))
        start += n
    try:
        solve(cp.Problem(cp.Minimize(cost @ x), rules), solver=solver, check=lambda: 0.0)
    except LinpoisonError:
        return None
    z = np.concatenate([_multipliers(kind, rule) for (kind, _), rule in zip(kinds, rules, strict=True)])
    return Solution(np.asarray(x.value), z, float(cost @ x.value))


def _rule(kind: str, inside: Any) -> Any:
    import cvxpy as cp

    if kind == "zero":
        return inside == 0
    if kind == "nonneg":
        return inside >= 0
    if kind == "soc":
        return cp.SOC(inside[0], inside[1:])
    return cp.ExpCone(inside[0], inside[1], inside[2])


def _multipliers(kind: str, rule: Any) -> Array:
    """With the signs of `Cones`: cvxpy's of equations are those of minus what is zero."""
    found = rule.dual_value
    if kind == "soc":
        return np.concatenate([np.ravel(part) for part in found])
    if kind == "exp":
        return np.array([np.ravel(part)[0] for part in found])
    return np.ravel(found) * (-1.0 if kind == "zero" else 1.0)
