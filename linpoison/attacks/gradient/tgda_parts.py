"""What the players of TGDA share, what changes while they play, and what they may not be given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core import InputError
from ...core.validation import Array
from ...risk.arrays import like, to_numpy
from ...risk.protocols import HVP, PoisonParameters, Risk, Rows, Vector
from ...risk.ranks import Alone, Ranks
from ...risk.samples import Sample


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows to learn from, rows to judge by, and which of the poison rows."""

    train: Sample
    validation: Sample
    poison: Any


@dataclass(frozen=True, eq=False)
class Table:
    """All that the players share and do not change."""

    risk: Risk
    train: Sample
    validation: Sample
    poison: Sample
    generator: PoisonParameters
    ranks: Ranks = Alone()

    def count(self, size: int | None) -> int:
        """Number of batches of at most `size` training rows."""
        return 1 if size is None else min(-(-self.train.n // size), self.validation.n)

    def batches(self, size: int | None, rng: np.random.Generator) -> Iterator[Batch]:
        """Training, validation and poison rows in random order, each in the same number of parts."""
        count = self.count(size)
        parts = [np.array_split(rng.permutation(s.n), count) for s in (self.train, self.validation, self.poison)]
        for train, validation, poison in zip(*parts, strict=True):
            yield Batch(self.train.take(train), self.validation.take(validation), poison)

    def poison_rows(self, phi: Vector, index: Any) -> tuple[Rows, Any, Array]:
        """Rows, labels and copies of some of the poison."""
        own = self.poison.take(index)
        return self.risk.rows(self.generator.points(phi, index)), own.y, own.mass

    def own(self, data: Sample) -> Sample:
        """This process's part of some rows."""
        return data.take(self.ranks.shard(data.n)) if self.ranks.size > 1 else data

    def mixed(self, phi: Vector, batch: Batch) -> tuple[Share, Any, Any]:
        """Training rows and poison of a batch that are this process's; its poison rows, and their index."""
        index = batch.poison[self.ranks.shard(len(batch.poison))]
        total = batch.train.total + float(self.poison.mass[batch.poison].sum())
        train = self.own(batch.train)
        if not len(index):
            return Share(train, total), None, index
        made = Sample(*self.poison_rows(phi, index))
        return Share(train.joined(made, self.risk), total), made, index

    def grad(self, w: Vector, share: Share) -> Vector:
        """Gradient of the mean loss of rows that the processes share, without the regulariser."""
        rows = share.rows
        part = (rows.total / share.total) * self.risk.data_grad(w, rows.X, rows.y, rows.weights)
        return self.ranks.sum(part)

    def hessian(self, w: Vector, share: Share) -> HVP:
        """Products with the Hessian of the objective on rows that the processes share."""
        rows = share.rows

        def product(v: Vector) -> Vector:
            whole = self.risk.hvp(w, rows.X, rows.y, v, rows.weights)
            if self.ranks.size == 1:
                return whole
            penalty = self.risk.penalty_grad(v)
            return self.ranks.sum((rows.total / share.total) * (whole - penalty)) + penalty

        return product

    def mean_loss(self, w: Vector, data: Sample) -> float:
        """Of rows that the processes share."""
        own = self.own(data)
        part = float(to_numpy(self.risk.loss(w, own.X, own.y)) @ own.mass)
        return float(self.ranks.sum(np.array([part]))[0]) / data.total


@dataclass(frozen=True, eq=False)
class Share:
    """This process's part of some rows, and the mass of the whole."""

    rows: Sample
    total: float


@dataclass(eq=False)
class State:
    """What changes."""

    w: Vector
    phi: Vector
    first: Vector
    second: Vector
    steps: int
    history: list[Any]

    @classmethod
    def restored(cls, stored: dict[str, Any] | None, w: Vector, phi: Vector, most: int) -> State:
        """Where an earlier run of at most `most` epochs stood, or the beginning."""
        fresh = cls(w, phi, 0.0 * phi, 0.0 * phi, 0, [])
        if stored is None or len(stored["history"]) > most:
            return fresh
        kinds = {"w": w, "phi": phi, "first": phi, "second": phi}
        found = {name: 0.0 * kind + like(stored[name], kind) for name, kind in kinds.items()}
        return cls(**found, steps=int(stored["steps"]), history=[tuple(row) for row in stored["history"]])

    @property
    def epoch(self) -> int:
        return len(self.history)

    def arrays(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        names = ("w", "phi", "first", "second", "steps", "history")
        return {name: getattr(self, name) for name in names}

    def climb(self, slope: Vector, length: float, rule: str) -> None:
        """Move `phi` uphill."""
        if rule == "ascent":
            self.phi = self.phi + length * slope
            return
        self.steps += 1
        self.first, self.second = 0.9 * self.first + 0.1 * slope, 0.999 * self.second + 0.001 * slope * slope
        mean, spread = self.first / (1 - 0.9**self.steps), (self.second / (1 - 0.999**self.steps)) ** 0.5
        largest = float(abs(spread).max())
        if largest > 0:
            self.phi = self.phi + length * mean / (spread + 1e-8 * largest)

    def note(self, loss: float, notes: list[Any]) -> None:
        """Add an epoch to the history."""
        means = np.mean(np.array(notes, dtype=np.float64), axis=0) if notes else np.full(4, np.nan)
        self.history.append((loss, *means))


def held(risk: Risk, data: Sample) -> Sample:
    """The rows in the kind, precision and place of the risk, so that batches need no conversion."""
    rows = data.take(range(data.n))
    return Sample(risk.rows(rows.X), rows.y, rows.weights)


def check_disjoint(train: Sample, validation: Sample) -> None:
    """Refuse validation rows most of which were trained on; single duplicates are in many data sets."""
    own = {row.tobytes() for row in to_numpy(train.X)}
    shared = sum(row.tobytes() in own for row in to_numpy(validation.X))
    if shared > validation.n / 2:
        got = f"{shared} of {validation.n} rows that are training rows"
        raise InputError("validation rows that are not trained on", got, "Use Sample.held_out.")


def check_together(ranks: Ranks, epoch: int) -> None:
    """Wait for all processes, and refuse to go on from different epochs."""
    last, first = ranks.max(epoch), -ranks.max(-epoch)
    if last != first:
        raise InputError("the same checkpoint for all processes", f"epoch {epoch} in process {ranks.rank}")


def check_shares(ranks: Ranks, train: Sample, validation: Sample, count: int) -> None:
    """Refuse batches of fewer rows than there are processes."""
    least = min(train.n, validation.n) // count
    if least < ranks.size:
        raise InputError(f"batches of at least one row for each of {ranks.size} processes", f"{least} rows")
