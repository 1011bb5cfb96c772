"""What the players of TGDA share, what changes while they play, and what they may not be given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...core import InputError
from ...core.validation import Array
from ...risk.arrays import add_to, count_shared, like, places, to_numpy
from ...risk.protocols import HVP, PoisonParameters, Risk, Rows, Vector
from ...risk.ranks import Alone, Ranks
from ...risk.samples import Held, Sample
from .spectral_cap import Frame


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows to learn from, rows to judge by, and numbers, labels and copies of some of the poison rows."""

    train: Held
    validation: Held
    poison: Held

    @property
    def total(self) -> float:
        """Rows that are learned from, copies counted."""
        return self.train.total + self.poison.total


@dataclass(frozen=True, eq=False)
class Table:
    """All that the players share and do not change.

    Parameters
    ----------
    risk : Risk
    train, validation : Held
    poison : Held
        The numbers of the rows in the place of rows.
    generator : PoisonParameters
    ranks : Ranks
    """

    risk: Risk
    train: Held
    validation: Held
    poison: Held
    generator: PoisonParameters
    ranks: Ranks = Alone()

    @classmethod
    def of(
        cls, risk: Risk, train: Sample, validation: Sample, seeds: Sample, generator: PoisonParameters, ranks: Ranks
    ) -> Table:
        """From rows of any kind, and labels and copies of the poison."""
        rows, judges = risk.held(train), risk.held(validation)
        copies = like(seeds.mass, rows.mass)
        numbers, labels = places(np.arange(seeds.n), copies), risk.targets(seeds.y, rows.X)
        return cls(risk, rows, judges, Held(numbers, labels, copies, seeds.total), generator, ranks)

    @cached_property
    def _copies(self) -> list[Array]:
        """Of training, validation and poison rows, on the host."""
        return [to_numpy(data.mass) for data in (self.train, self.validation, self.poison)]

    def count(self, size: int | None) -> int:
        """Number of batches of at most `size` training rows."""
        return 1 if size is None else min(-(-len(self.train.mass) // size), len(self.validation.mass))

    def batches(self, size: int | None, rng: np.random.Generator) -> Iterator[Batch]:
        """Training, validation and poison rows in random order, each in the same number of parts."""
        count = self.count(size)
        whole = zip((self.train, self.validation, self.poison), self._copies, strict=True)
        parts = [_parts(data, copies, count, rng) for data, copies in whole]
        for train, validation, poison in zip(*parts, strict=True):
            yield Batch(train, validation, poison)

    def own(self, data: Held) -> Held:
        """This process's part of some rows; `total` is that of all."""
        if self.ranks.size == 1:
            return data
        part = self.ranks.shard(len(data.mass))
        return data.take(slice(part[0], part[-1] + 1) if len(part) else slice(0, 0), data.total)

    def learned_from(self, phi: Vector, batch: Batch) -> Held:
        """Training rows and poison of a batch that are this process's."""
        return self._with(batch, self.generator.points(phi, self.own(batch.poison).X))

    def moved(self, phi: Vector, batch: Batch) -> tuple[Held, Held, Callable[[Rows], Vector]]:
        """The same, its poison by itself, and what takes a gradient in the poison to one in `phi`."""
        rows, pull = self.generator.vjp(phi, self.own(batch.poison).X)
        both = self._with(batch, rows)
        return both, both.take(slice(len(both.X) - len(rows), None), batch.poison.total), pull

    def _with(self, batch: Batch, rows: Rows) -> Held:
        train, poison = self.own(batch.train), self.own(batch.poison)
        return train.joined(replace(poison, X=like(rows, train.X)))

    def pull(self, w: Vector, data: Held) -> Vector:
        """Gradient of the mean loss of rows that the processes share, without the regulariser."""
        return self.ranks.sum(self.risk.loss_vjp(w, data.X, data.y, data.mass / data.total))

    def hessian(self, w: Vector, data: Held, *, gauss_newton: bool) -> HVP:
        """Products with the Hessian of the objective on rows that the processes share."""
        coefficients = data.mass / data.total
        part = self.risk.curvature(w, data.X, data.y, coefficients, gauss_newton=gauss_newton)
        whole = part if self.ranks.size == 1 else lambda v: self.ranks.sum(part(v))
        return (lambda v: whole(v) + self.risk.penalty_grad(v)) if self.risk.reg else whole

    def mean_loss(self, w: Vector, data: Held) -> Any:
        """Of rows that the processes share, as a vector of one number."""
        own = self.own(data)
        return self.ranks.sum((self.risk.loss(w, own.X, own.y) @ own.mass).reshape(1)) / data.total


def _parts(data: Held, copies: Array, count: int, rng: np.random.Generator) -> list[Held]:
    """The rows in random order in so many parts: their numbers are handed over at once."""
    order = rng.permutation(len(copies))
    if count == 1:
        return [data]
    there, ends = places(order, data.mass), np.cumsum([len(part) for part in np.array_split(order, count)])
    cuts = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [data.take(there[cut], float(copies[order[cut]].sum())) for cut in cuts]


@dataclass(eq=False)
class State:
    """What changes."""

    w: Vector
    phi: Vector
    first: Vector
    second: Vector
    steps: int
    history: list[Any]
    frames: Sequence[Frame] = ()

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
            add_to(self.phi, length, slope)
            return
        self.steps += 1
        self.first, self.second = 0.9 * self.first + 0.1 * slope, 0.999 * self.second + 0.001 * slope * slope
        mean, spread = self.first / (1 - 0.9**self.steps), (self.second / (1 - 0.999**self.steps)) ** 0.5
        largest = abs(spread).max()
        guard = 1e-8 * largest + (largest == 0)
        self.phi = self.phi + length * mean / (spread + guard)

    def note(self, loss: float, notes: Array) -> None:
        """Add an epoch to the history: its validation loss, and what its leader steps noted, a line each."""
        if not len(notes):
            self.history.append((loss, *[np.nan] * 5))
            return
        slope, residual, iterations, curvature, _ = notes.T
        means = [float(column.mean()) for column in (slope, residual, iterations, curvature <= 0)]
        self.history.append((loss, *means, float(curvature.min())))


def check_disjoint(train: Held, validation: Held) -> None:
    """Refuse validation rows most of which were trained on; single duplicates are in many data sets."""
    shared, n = count_shared(validation.X, train.X), len(validation.X)
    if shared > n / 2:
        got = f"{shared} of {n} rows that are training rows"
        raise InputError("validation rows that are not trained on", got, "Use Sample.held_out.")


def check_together(ranks: Ranks, epoch: int) -> None:
    """Wait for all processes, and refuse to go on from different epochs."""
    last, first = ranks.max(epoch), -ranks.max(-epoch)
    if last != first:
        raise InputError("the same checkpoint for all processes", f"epoch {epoch} in process {ranks.rank}")


def check_shares(ranks: Ranks, train: Held, validation: Held, count: int) -> None:
    """Refuse batches of fewer rows than there are processes."""
    least = min(len(train.X), len(validation.X)) // count
    if least < ranks.size:
        raise InputError(f"batches of at least one row for each of {ranks.size} processes", f"{least} rows")
