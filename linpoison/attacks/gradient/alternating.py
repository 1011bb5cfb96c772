"""Min-max of any learner by turns: the row of greatest loss is planted, the model takes a step on clean rows and it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ...core import SolverFailed, check_among, check_integers, check_number, check_seed
from ...core.results import Candidate
from ...core.validation import Array
from ...risk.arrays import copy_of, like, per_row, places, signs, to_numpy
from ...risk.descent import Progress, silent
from ...risk.projections import Everywhere
from ...risk.protocols import Projection, Risk, TargetGenerator, Vector
from ...risk.samples import Held, Sample
from ...rounding import copies_of
from ..base import Attack
from ..minmax_paper import AdaGradLoop
from ..run import Middle, Run, Step
from ..scenario import Scenario
from .stage import Stage, steps_of_draws


@dataclass(frozen=True)
class AlternatingMinMax(Attack):
    """Min-max for learners of any kind, networks too.

    From the model of the clean rows, repeat: plant ``loop.repeats`` copies of

    ::

        argmax_(x in Z, y)  l(x, y; w)      where  l(x, y; w_d) <= most_loss, if there is a decoy w_d,

    then take one AdaGrad step on ``L(clean batch; w) + epsilon l(x, y; w)`` and the regulariser. Rows of the first
    turns are thrown away, see `AdaGradLoop`. With a decoy it is the improved attack of Koh et al., the thesis'
    i-Min-max.

    A linear model has its worst row in closed form, which `linpoison.attacks.MinMax` uses. Here it is looked for: from
    `tries` clean rows by steps along the sign of the gradient, that of ``- l(x, y; w_d)`` wherever the decoy's loss is
    too great, so that what is found is a local maximum.

    Parameters
    ----------
    loop : AdaGradLoop, default AdaGradLoop()
    labels : {"chosen", "fixed"}, default "chosen"
        A row gets the label of greatest loss, with a decoy the one that the decoy gives it; or it keeps its own.
    tries : int, default 32
        Clean rows from which a worst row is looked for in each turn.
    ascent : int, default 10
        Steps of each.
    step : float, default 0.1
        Their length in each entry, in the units of the rows.
    batch_size : int, default 500
        Clean rows of a step of the model.
    decoy : TargetGenerator, optional
        Of parameters under which the planted rows are to look right, such as `Relabeled` or `GradPC`.
    most_loss : float, default 0.25
        Under the decoy.
    projection : Projection, default Everywhere()
        ``Z``, beside the domain of a scenario.
    draws : int, default 1
        Of a scenario: runs with other random numbers; the best poison is kept.

    References
    ----------
    Steinhardt, Koh, Liang, "Certified defenses for data poisoning attacks", 2017, Algorithm 1; Koh, Steinhardt, Liang,
    Algorithm 5 and section 4.3; for networks, Lu, Kamath, Yu (2022), Table 2.2.

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> from linpoison.risk import Box, LinearRisk
    >>> rows = Sample([[0.2], [0.8]], [-1.0, 1.0])
    >>> attack = AlternatingMinMax(tries=2, projection=Box(0.0, 1.0))
    >>> found = attack.craft(LinearRisk(Logistic(), 0.1), np.array([1.0, -0.3]), rows, 2)
    >>> found.X.ravel().tolist(), found.y.tolist()
    ([1.0, 1.0], [-1.0, -1.0])
    """

    name: ClassVar[str] = "alternating-min-max"
    many_classes: ClassVar[bool] = True
    loop: AdaGradLoop = field(default_factory=AdaGradLoop)
    labels: Literal["chosen", "fixed"] = "chosen"
    tries: int = 32
    ascent: int = 10
    step: float = 0.1
    batch_size: int = 500
    decoy: TargetGenerator | None = None
    most_loss: float = 0.25
    projection: Projection = field(default_factory=Everywhere)
    draws: int = 1

    def __post_init__(self) -> None:
        check_integers(self, "tries", "ascent", "batch_size", "draws", at_least=1)
        check_number(self.step, "step", above=0)
        check_number(self.most_loss, "most_loss", at_least=0)
        check_among(self.labels, "labels", "chosen", "fixed")

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One run of the loop for each draw."""
        return steps_of_draws(self, planted_worst, scenario, run)

    def craft(
        self, risk: Risk, w: Vector, clean: Sample, total: int, *, seed: int = 0, progress: Progress = silent
    ) -> Sample:
        """The poison of `total` rows.

        Parameters
        ----------
        risk : Risk
        w : Vector
            Parameters learned from clean rows.
        clean : Sample
        total : int
            Rows of poison.
        seed : int, default 0
            Of the rows to start from and of batches.
        progress : callable, optional
            Called with the turn and the loss of the row that is planted.

        Raises
        ------
        SolverFailed
            If the numbers stop being finite.
        """
        decoy = None if self.decoy is None else self.decoy.target(risk, risk.vector(w), clean)
        burned = self.loop.burned(total / clean.total, total)
        walk = Walk(self, risk, risk.held(clean), risk.vector(w), decoy, total / clean.total, check_seed(seed))
        rows, labels = [], []
        with risk.steady():
            for turn in range(burned + len(copies_of(total, self.loop.repeats))):
                row, label, loss = walk.turn()
                progress(turn + 1, loss)
                if turn >= burned:
                    rows += [to_numpy(row)] * self.loop.repeats
                    labels += [to_numpy(label)] * self.loop.repeats
        y = np.concatenate(labels)[:total]
        codes = (y if risk.margin_loss is None else y > 0).astype(int)
        names = getattr(risk, "classes_", None)
        if names is not None:
            y = names[codes]
        elif risk.margin_loss is None:
            y = codes
        return Sample(like(np.concatenate(rows)[:total], walk.clean.X), y)


class Walk:
    """The model's iterate.

    Parameters
    ----------
    attack : AlternatingMinMax
    risk : Risk
    clean : Held
    w : Vector
    decoy : Vector or None
    epsilon : float
        Poison rows for each clean one.
    seed : int
    """

    def __init__(
        self, attack: AlternatingMinMax, risk: Risk, clean: Held, w: Vector, decoy: Any, epsilon: float, seed: int
    ) -> None:
        self.attack, self.risk, self.clean, self.w, self.decoy, self.epsilon = attack, risk, clean, w, decoy, epsilon
        self.rng, self.squares, self.n = np.random.default_rng(seed), 1.0 + 0.0 * w, len(clean.mass)

    def turn(self) -> tuple[Any, Any, float]:
        """The worst row that is found, its label and its loss, before the model takes a step on it."""
        X, y = self._started()
        row, label, loss = self._worst(X, y)
        if not np.isfinite(loss):
            raise SolverFailed("the model diverges: the loss of a planted row is not finite. Take a lower rate.")
        batch = self._drawn(self.attack.batch_size)
        slope = self.risk.loss_vjp(self.w, batch.X, batch.y, batch.mass / batch.mass.sum())
        pull = self.risk.loss_vjp(self.w, row, label, like([self.epsilon], batch.mass))
        slope = slope + pull + (1 + self.epsilon) * self.risk.penalty_grad(self.w)
        self.squares = self.squares + slope * slope
        self.w = self.w - self.attack.loop.rate * slope / self.squares**0.5
        return row, label, loss

    def _drawn(self, size: int) -> Held:
        index = self.rng.choice(self.n, size=min(size, self.n), replace=False)
        return self.clean.take(places(index, self.clean.mass), float(len(index)))

    def _started(self) -> tuple[Any, Any]:
        """Clean rows to climb from, and the labels that they are planted with."""
        rows = self._drawn(self.attack.tries)
        if self.attack.labels == "fixed":
            return rows.X, rows.y
        if self.risk.margin_loss is not None:
            return rows.X, -rows.y
        if self.decoy is not None:
            return rows.X, like(self.risk.scores(self.decoy, rows.X).argmax(1), rows.y)
        return rows.X, like(self.risk.scores(self.w, rows.X).argmin(1), rows.y)

    def _worst(self, X: Any, y: Any) -> tuple[Any, Any, float]:
        """The best of what steps along signs of slopes come by; of the rows that the decoy allows, if there are any."""
        attack = self.attack
        X = attack.projection.project(copy_of(X))
        best, values = copy_of(X), np.full(len(X), -np.inf)
        for number in range(attack.ascent + 1):
            losses, over = to_numpy(self.risk.loss(self.w, X, y)), self._excess(X, y)
            value = np.where(over > 0, -over, losses)  # losses are not negative: what is not allowed comes last
            better = value > values
            best[places(np.flatnonzero(better), best)] = X[places(np.flatnonzero(better), X)]
            values = np.maximum(values, value)
            if number < attack.ascent:
                X = attack.projection.project(X + attack.step * signs(self._slope(X, y, over > 0)))
        top = int(values.argmax())
        row, label = best[top : top + 1], y[top : top + 1]
        return row, label, float(self.risk.loss(self.w, row, label)[0])

    def _excess(self, X: Any, y: Any) -> Array:
        if self.decoy is None:
            return np.zeros(len(X))
        return np.maximum(to_numpy(self.risk.loss(self.decoy, X, y)) - self.attack.most_loss, 0.0)

    def _slope(self, X: Any, y: Any, outside: Any) -> Any:
        up = self.risk.row_grad(self.w, X, y)
        if not outside.any():
            return up
        down = per_row(outside, X) * self.risk.row_grad(self.decoy, X, y)
        return per_row(~outside, X) * up - down


def planted_worst(started: float, attack: AlternatingMinMax, stage: Stage, middle: Middle, seed: int) -> Step:
    """One run of the loop, and how much the rows cost the clean model."""
    began, total = time.perf_counter(), stage.scenario.n_poison
    turns = attack.loop.burned(total / stage.train.total, total) + len(copies_of(total, attack.loop.repeats))
    within = replace(attack, projection=stage.within(attack.projection))
    found = within.craft(
        stage.risk, stage.w, stage.train, total, seed=seed,
        progress=lambda turn, loss: middle.say(turn, turns, attack.name),
    )  # fmt: skip
    losses = to_numpy(stage.risk.loss(stage.w, found.X, found.y))
    facts = {"attack_seconds": time.perf_counter() - began, "clean_model_loss": float(losses.mean())}
    return stage.step(started, found, seed, f"{turns} turns", facts=facts)
