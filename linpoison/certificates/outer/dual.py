"""Pointwise bounds for the hinge and logistic losses at scale, by a first-order method on the dual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import xlogy

from ...core.errors import InputError, SolverFailed
from ...core.parts import dense
from ...core.validation import Array
from ..claim import Claim
from ..clean.anchor import anchor, clean_vector
from ..clean.losses import soft_hinge
from ..clean.rows import extended, one, signed_rows, signed_scores
from ..clean.screen import Screening, screen
from .lbfgs import BatchLBFGS
from .smooth import Cap, CleanSide, OuterDual, PoisonSide
from .witness import ENTRIES, Flags, sides
from .witness import witness_bound as witness_bound

Places = np.ndarray[Any, np.dtype[np.intp]]
Progress = Callable[[int, int], None]

WIDTHS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
"""Widths over which the hinge is smoothed, in the unit of the margin."""
STAGES = 6
"""How many of them are gone through, from the first that the budget has room for."""
STEPS = 32
"""Steps between two evaluations of the bound; at some of them a row only tries a shorter length."""
LADDER = (1e-9, 1.0, 0.3, 0.1, 0.03)
"""Weights `s` of the start, relative to the one at which a row and the poison cost the same; the first is the ball."""
PROSPECT = 0.25
"""Share of a positive bound that a stage, from the second on, must take off it for the row to go on."""
_FLOOR = 0.2
"""Part of the smoothing that does not shrink with `s`, in the unit of `LADDER`."""
_LEAST = (1.0, 0.5, 0.1, 0.02, 0.01, 0.005)
"""Least `s` of each stage, in the unit of the floor. At ``s = 0`` the multipliers of the losses have no slope."""
_LARGE = 2_000_000
_TURNED = 2_000


def minimise_bound(
    claim: Claim,
    rows_index: Any = None,
    *,
    iterations: int = 192,
    tol: float = 1e-4,
    stop_when_decided: bool = True,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Multipliers that make the dual bound of the outer set small, for many rows at once.

    Minimises, over ``(p, s, b, r, gam, del)`` and for each row, the bound of
    `linpoison.certificates.outer.bound.evaluate`. The multipliers of the clean rows are functions of a guess
    `e` of the worst parameters (`outer.witness.multipliers`), so that 2 (d + 1) + 1 numbers are searched for,
    whatever n. The hinge is smoothed over widths that shrink, each smooth function minimised by L-BFGS side by side for
    the rows of a batch, each step two products with the clean rows whose multiplier is open. What comes back
    is a witness whatever its quality: no bound rests on convergence.

    Parameters
    ----------
    claim : Claim
        With rows; loss hinge, smooth hinge or logistic.
    rows_index : array_like of int, optional
        Which of the rows; all by default.
    iterations : int
        Steps for each width, at most.
    tol : float
        A row is left alone once `STEPS` steps lower its bound by less than ``tol |z|``.
    stop_when_decided : bool
        Leave a row once its bound is negative, or once it has no prospect of becoming so: misclassified by the
        clean model, or hardly brought nearer to zero by a whole width (`PROSPECT`). Its bound is then valid, but not
        the least.
    n_jobs : int
        Threads.
    progress : callable, optional
        Called with the number of rows done and of all rows.

    Returns
    -------
    dict
        ``a0`` (n,), multipliers of the clean rows for the screening, and for each row ``p`` and ``e`` (N, d + 1),
        ``s`` (N,) and ``width`` (N,). `outer.witness.witness_bound` is the bound that they prove.
    """
    return _Search(claim, rows_index, iterations, tol, stop_when_decided).run(n_jobs, progress)


def _entries(rows: Any) -> int:
    return int(rows.nnz if sp.issparse(rows) else rows.size)


@dataclass(frozen=True, eq=False)
class _Search:
    """What all rows share."""

    claim: Claim
    rows_index: Any
    iterations: int
    tol: float
    stop: bool

    def run(self, n_jobs: int, progress: Progress | None) -> dict[str, Array]:
        from joblib import Parallel, delayed

        N = self.index.size
        found = {
            "a0": self.a0,
            "p": np.zeros((N, self.v.size)),
            "e": np.tile(self.v, (N, 1)),
            "s": np.zeros(N),
            "width": np.full(N, WIDTHS[-1]),
        }
        parts = self._parts(N, n_jobs)
        jobs = (delayed(self.batch)(part) for part in parts)
        done = 0
        results = Parallel(n_jobs=n_jobs, backend="threading", return_as="generator")(jobs)
        for part, result in zip(parts, results, strict=True):
            for name, values in result.items():
                found[name][part] = values
            done += part.size
            if progress is not None:
                progress(done, N)
        return found

    def _parts(self, N: int, n_jobs: int) -> list[Places]:
        """Places of the rows of each batch: few enough for the memory, enough for all threads."""
        widest = max(self.stages[0].clean.weight.size, 2 * BatchLBFGS.memory * self.v.size // 20)
        size = int(np.clip(ENTRIES // max(1, widest), 8, 128))
        size = max(1, min(size, -(-N // max(1, n_jobs))))
        return [np.arange(start, min(start + size, N)) for start in range(0, N, size)]

    @cached_property
    def index(self) -> Places:
        n = self.claim.demand_rows().n
        return np.arange(n) if self.rows_index is None else np.asarray(self.rows_index, dtype=np.intp)

    @cached_property
    def a0(self) -> Array:
        return anchor(self.claim)

    @cached_property
    def screening(self) -> Screening:
        return screen(self.claim, self.a0)

    @cached_property
    def v(self) -> Array:
        return self.screening.center if self.screening.capped else clean_vector(self.claim)

    @cached_property
    def basis(self) -> Array | None:
        """Features in which the clean rows are uncorrelated, where that is affordable."""
        X = self.claim.train.X
        if X.shape[1] > _TURNED or (sp.issparse(X) and X.shape[0] * X.shape[1] > _LARGE):
            return None
        X = dense(X)
        return np.asarray(np.linalg.eigh(X.T @ (X * self.claim.share[:, None]))[1])

    @cached_property
    def stages(self) -> list[OuterDual]:
        """The smooth functions that are gone through."""
        claim, loss = self.claim, soft_hinge(self.claim.problem.loss)
        capped = self.screening.capped
        reach = self.screening.reach if capped else dict.fromkeys((1, -1), 0.0)
        poison = PoisonSide(claim.sets, self.basis, one(claim), reach)
        mask = np.where(one(claim), claim.mask, 1.0)
        cap = Cap(self.turn(self.v[None, :])[0], self.screening.slack) if capped else None
        first = OuterDual(self._clean_side(), poison, claim.reg, claim.epsilon, mask, loss, cap)
        if not loss.sharp:
            return [replace(first, width=width, least=least) for width, least in ((0.1, 0.1), (0.01, 0.02))]
        spares = [(width, self._spare(width)) for width in WIDTHS]
        roomy = [item for item in spares if item[1] <= claim.epsilon / 2] or spares[-1:]
        return [
            replace(first, width=width, spare=max(0.0, gap - claim.epsilon / 4) * capped, least=least)
            for (width, gap), least in zip(roomy[:STAGES], _LEAST, strict=False)
        ]

    @cached_property
    def sides(self) -> tuple[Flags, Flags, Array, Array]:
        """What the screening says of the clean rows; of a smooth loss it fixes no multiplier."""
        ones, open_, below, above = sides(self.screening)
        if soft_hinge(self.claim.problem.loss).sharp:
            return ones, open_, below, above
        return np.zeros_like(ones), np.ones_like(open_), below, above

    def _clean_side(self) -> CleanSide:
        ones, open_, below, above = self.sides
        weight, rows = self.claim.share, signed_rows(self.claim)
        fixed = np.asarray(rows[ones].T @ weight[ones]).ravel()
        kept = rows[open_]
        if self.basis is not None:
            kept = self.turn(dense(kept))
        kept = kept.astype(np.float32) if _entries(kept) > _LARGE else kept
        return CleanSide(kept, weight[open_], self.turn(fixed[None, :])[0], below[open_], above[open_])

    def _spare(self, width: float) -> float:
        """How far the clean dual point is from optimal for the smoothed loss."""
        a, open_ = self.a0, self.sides[1]
        margins = signed_scores(self.claim, self.v)
        entropy = xlogy(a, a) + xlogy(1 - a, 1 - a)
        gaps = width * (np.logaddexp(0, (1 - margins) / width) + entropy) - a * (1 - margins)
        return float(self.claim.share[open_] @ gaps[open_])

    def turn(self, rows: Array) -> Array:
        """Rows (x, 1) in the basis of the search."""
        return rows if self.basis is None else np.column_stack([rows[:, :-1] @ self.basis, rows[:, -1]])

    def turn_back(self, rows: Array) -> Array:
        return rows if self.basis is None else np.column_stack([rows[:, :-1] @ self.basis.T, rows[:, -1]])

    @cached_property
    def spectrum(self) -> Array:
        clean = self.stages[0].clean
        squares = clean.rows.multiply(clean.rows) if sp.issparse(clean.rows) else clean.rows**2
        return np.asarray(squares.T @ clean.weight).ravel().astype(np.float64)

    def batch(self, part: Places) -> dict[str, Array]:
        """A witness for some of the rows."""
        return _Batch(self, self.index[part]).run()


class _Batch:
    """Rows that are searched for side by side."""

    def __init__(self, search: _Search, index: Places) -> None:
        self.search = search
        poison = replace(search.stages[0].poison)
        self.stages = [replace(stage, poison=poison) for stage in search.stages]
        self.rows = search.claim.demand_rows().take(index)
        goals = extended(search.claim, self.rows.X, self.rows.y)
        self.kz = search.turn(goals)
        self.size = np.linalg.norm(goals, axis=1)
        self.hopeless = goals @ search.v <= 0
        self.best = np.full(len(goals), np.inf)
        self.at = self._start(LADDER[0])
        self.found = self._as_witness(self.at, self.at[:, -1], WIDTHS[-1])

    def run(self) -> dict[str, Array]:
        """The best multipliers of each row."""
        live = np.arange(self.rows.n)
        for share in LADDER:
            if not live.size:
                return self.found
            start = self._start(share)[live]
            self._record(start, start[:, -1], live, self.stages[0].width)
            live = live[~self._decided(live)]
        for number, stage in enumerate(self.stages):
            if not live.size:
                break
            before = self.best[live]
            try:
                self._minimise(stage, live)
            except (InputError, SolverFailed):  # a support is infinite or was not found: what we have remains valid
                break
            if number:
                self.hopeless[live] |= before - self.best[live] < PROSPECT * self.best[live]
            live = live[~self._decided(live)]
        return self.found

    def _unit(self, rows: Places) -> Array:
        """The `s` at which the square of a row and the poison cost the same."""
        claim = self.search.claim
        return np.asarray(self.size[rows] / (2 * np.sqrt(claim.reg * max(claim.epsilon, 1e-6))))

    def _start(self, share: float) -> Array:
        """The clean model as comparator and as parameters: for a small share of `s` the ball."""
        search = self.search
        s = share * self._unit(np.arange(self.rows.n))
        v = search.turn(search.v[None, :])[0]
        return np.column_stack([-s[:, None] * v, np.tile(v, (len(s), 1)), np.maximum(s, 1e-12 * (1 + self.size))])

    def _as_witness(self, x: Array, s: Array, width: float) -> dict[str, Array]:
        D = self.kz.shape[1]
        return {
            "p": self.search.turn_back(x[:, :D]),
            "e": self.search.turn_back(x[:, D:-1]),
            "s": s,
            "width": np.full(len(s), width),
        }

    def _record(self, x: Array, s: Array, rows: Places, width: float) -> None:
        """Evaluate the bound of some rows, and keep what is best."""
        search = self.search
        witness = self._as_witness(x, s, width)
        bound = witness_bound(search.claim.about(self.rows.take(rows)), {"a0": search.a0, **witness}, search.screening)
        better = bound < self.best[rows]
        chosen = rows[better]
        self.best[chosen], self.at[chosen] = bound[better], np.column_stack([x[:, :-1], s])[better]
        for name, values in witness.items():
            self.found[name][chosen] = values[better]

    def _decided(self, rows: Places) -> Flags:
        if not self.search.stop:
            return np.zeros(rows.size, bool)
        return np.asarray((self.best[rows] < 0) | self.hopeless[rows])

    def _minimise(self, stage: OuterDual, live: Places) -> None:
        """Go through one stage with the rows `live`."""
        steps, tol = STEPS, self.search.tol
        x = self.at[live].copy()
        floor, pivot = _FLOOR * self._unit(live), x[:, -2].copy()
        least = stage.least * floor
        x[:, -1] = np.log(np.maximum(x[:, -1] - least, 0.3 * least))
        kz = self.kz[live]

        def evaluate_rows(points: Array) -> tuple[Array, Array]:
            return stage.value_and_gradient(points, kz, floor, pivot)

        solver = BatchLBFGS(evaluate_rows, x, stage.metric(x, kz, floor, self.search.spectrum))
        for _ in range(0, self.search.iterations, steps):
            before = solver.value
            for _ in range(steps):
                solver.step()
            self._record(solver.x, stage.scale(solver.x, floor), live, stage.width)
            off = self._decided(live)
            idle = before - solver.value < tol * self.size[live]
            stay = np.flatnonzero(~off & ~idle & ~solver.stalled)
            live, kz, floor, pivot = live[stay], kz[stay], floor[stay], pivot[stay]
            if not live.size:
                break
            solver.keep(stay)
