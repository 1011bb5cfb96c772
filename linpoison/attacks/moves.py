"""Small changes of a poison: what a local search tries next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from ..core import Array, Domain, InfeasibleSet, Matrix, Poison, SolverFailed
from ..core.parts import dense
from ..sets import ByLabel

CHOICE = 200
"""How many of the most promising words an added word is drawn from, and a tenth of it for a dropped one."""


@dataclass(frozen=True, eq=False)
class Slots:
    """A poison as rows of a few copies each, the units that moves act on.

    Parameters
    ----------
    X : ndarray or csr_array, shape (k, d)
    y : ndarray of shape (k,)
    count : ndarray of int, shape (k,)
        Copies of each slot, which no move changes.
    """

    X: Matrix
    y: Array
    count: np.ndarray

    @classmethod
    def of(cls, poison: Poison, copies: int) -> Slots:
        """The rows of a poison in slots of at most `copies` copies."""
        rows, count = [], []
        for row, total in enumerate(poison.count.astype(int)):
            full, rest = divmod(int(total), copies)
            sizes = [copies] * full + ([rest] if rest else [])
            rows += [row] * len(sizes)
            count += sizes
        return cls(poison.X[rows], poison.y[rows], np.array(count, dtype=int))

    @property
    def poison(self) -> Poison:
        """The poison, one row for each slot."""
        return Poison(self.X, self.y, self.count.astype(np.float64))

    def row(self, index: int) -> Array:
        """A copy of the row of one slot, dense, shape (d,)."""
        return dense(self.X[[index]])[0]

    def put(self, rows: np.ndarray, changed: Iterable[Array], y: Array | float | None = None) -> Slots:
        """With other rows (dense, one by one) in some slots, and other labels."""
        if sp.issparse(self.X):
            place = np.arange(self.y.size)
            place[rows] = self.y.size + np.arange(rows.size)
            X = sp.csr_array(sp.vstack([self.X, *(sp.csr_array(row[None, :]) for row in changed)]))[place]
        else:
            X = self.X.copy()
            X[rows] = list(changed)
        labels = self.y
        if y is not None:
            labels = labels.copy()
            labels[rows] = y
        return replace(self, X=X, y=labels)

    def same(self, other: Slots) -> bool:
        """Whether rows and labels are those of another one."""
        if not np.array_equal(self.y, other.y):
            return False
        return (self.X != other.X).nnz == 0 if sp.issparse(self.X) else np.array_equal(self.X, other.X)


@dataclass(frozen=True, eq=False)
class Compass:
    """Where the damage grows.

    Parameters
    ----------
    slope : ndarray of shape (d,)
        ``s = H^(-1) grad T``: a copy of a row (x, y) with an active loss adds ``y s . x / N`` to the
        damage, up to a constant, to first order.
    best : dict of ndarray
        For each label a feasible row of the greatest ``y s . x``, where there is one.
    """

    slope: Array
    best: dict[float, Array]


@dataclass
class Moves:
    """Draws moves; kinds that succeed are drawn more often, and in larger steps.

    Kinds: ``words`` (change a few coordinates of a few rows along the slope), ``blend`` (take a part of
    the best row into many rows), ``mend`` (the same for one row), ``swap`` (replace a row, perhaps
    of the other class, by the best row), ``copy`` (replace a row by another).
    """

    domain: Domain
    rng: np.random.Generator
    size: dict[str, float] = field(default_factory=lambda: {"words": 4.0, "blend": 0.01, "mend": 0.1})
    credit: dict[str, float] = field(
        default_factory=lambda: {"words": 0.5, "blend": 0.2, "mend": 0.2, "swap": 0.1, "copy": 0.1}
    )

    def propose(self, slots: Slots, compass: Compass, sets: ByLabel) -> tuple[str, Slots | None]:
        """A kind and the changed poison; None if this draw changes nothing, or finds no feasible row."""
        kinds = [kind for kind in self.credit if compass.best or kind in ("words", "copy")]
        odds = np.array([0.05 + self.credit[kind] for kind in kinds])
        kind = str(self.rng.choice(kinds, p=odds / odds.sum()))
        try:
            changed = getattr(self, f"_{kind}")(slots, compass, sets)
        except (InfeasibleSet, SolverFailed):
            return kind, None
        return kind, None if changed is None or changed.same(slots) else changed

    def learn(self, kind: str, success: bool) -> None:
        """Take note of how a move of a kind went."""
        self.credit[kind] = 0.9 * self.credit[kind] + 0.1 * float(success)
        if kind in self.size:
            low, high = (1.0, 400.0) if kind == "words" else (1e-3, 0.5)
            self.size[kind] = float(np.clip(self.size[kind] * (1.3 if success else 0.92), low, high))

    def _words(self, slots: Slots, compass: Compass, sets: ByLabel) -> Slots:
        """Change coordinates of some rows where the slope, perturbed at random, is steepest."""
        total = 1 + self.rng.poisson(self.size["words"] * self.rng.random() * 2)
        rows = self.rng.choice(slots.count.size, size=min(slots.count.size, 1 + int(total) // 5), replace=False)
        number = max(1, round(total / rows.size))
        return slots.put(rows, (self._reworded(slots, int(row), number, compass, sets) for row in rows))

    def _reworded(self, slots: Slots, row: int, number: int, compass: Compass, sets: ByLabel) -> Array:
        x, gain = slots.row(row), slots.y[row] * compass.slope
        noisy = gain + self.rng.gumbel(size=gain.size) * (0.5 * np.std(gain))
        if self.domain.integral:
            return self._exchange(x, noisy, number)
        return self._step(x, gain, noisy, number, sets, float(slots.y[row]))

    def _exchange(self, x: Array, gain: Array, number: int) -> Array:
        """Add `number` words of large gain and drop as many of small gain, in place."""
        upper = np.inf if self.domain.upper is None else self.domain.upper
        free = np.where(x < upper, gain, -np.inf)
        width = min(CHOICE, max(2 * number, free.size // 10), free.size)
        pool = np.argpartition(-free, width - 1)[:width]
        pool = pool[np.isfinite(free[pool])]
        added = self.rng.choice(pool, min(number, pool.size), replace=False)
        present = np.flatnonzero(x > (0 if self.domain.lower is None else self.domain.lower))
        if present.size:
            worst = present[np.argsort(gain[present])[: max(width // 10, number)]]
            x[self.rng.choice(worst, min(number, worst.size), replace=False)] -= 1
        x[added] += 1
        return x

    def _step(self, x: Array, gain: Array, noisy: Array, number: int, sets: ByLabel, label: float) -> Array:
        """A step along some coordinates of the slope, then the nearest feasible row."""
        chosen = np.argsort(-np.abs(noisy))[: min(gain.size, 4 * number)]
        step = np.zeros_like(x)
        step[chosen] = gain[chosen]
        scale = max(float(np.linalg.norm(x)), 1.0) * 10 ** self.rng.uniform(-2.5, -0.3)
        moved = x + step * (scale / max(float(np.linalg.norm(step)), 1e-300))
        nearest = sets[label].project(moved[None, :])[0]
        if not np.isfinite(nearest).all():
            raise InfeasibleSet("expected a feasible row near a moved one, got none.")
        return self.domain.clip(nearest)

    def _blend(self, slots: Slots, compass: Compass, sets: ByLabel) -> Slots | None:
        share = self.size["blend"] * 10 ** self.rng.uniform(-0.5, 0.5)
        rows = np.flatnonzero(np.isin(slots.y, list(compass.best)))
        return self._towards(slots, compass, rows, share) if rows.size else None

    def _mend(self, slots: Slots, compass: Compass, sets: ByLabel) -> Slots | None:
        rows = self.rng.integers(slots.count.size, size=1)
        share = self.size["mend"] * 10 ** self.rng.uniform(-0.5, 0.5)
        return self._towards(slots, compass, rows, share) if float(slots.y[rows[0]]) in compass.best else None

    def _towards(self, slots: Slots, compass: Compass, rows: np.ndarray, share: float) -> Slots:
        """Whole coordinates of the best row where rows are counts, a step towards it otherwise."""
        share = min(share, 1.0)

        def moved(row: int) -> Array:
            x, goal = slots.row(row), compass.best[float(slots.y[row])]
            if self.domain.integral:
                return np.where(self.rng.random(x.size) < share, goal, x)
            return self.domain.clip(np.asarray(x + share * (goal - x)))

        return slots.put(rows, (moved(int(row)) for row in rows))

    def _swap(self, slots: Slots, compass: Compass, sets: ByLabel) -> Slots:
        row = self.rng.integers(slots.count.size, size=1)
        label = float(self.rng.choice(list(compass.best)))
        return slots.put(row, [compass.best[label]], label)

    def _copy(self, slots: Slots, compass: Compass, sets: ByLabel) -> Slots:
        into, source = self.rng.integers(slots.count.size, size=(2, 1))
        return slots.put(into, [slots.row(int(source[0]))], slots.y[source])
