"""Poison by the derivative through steps of training: along one training, or over an ensemble of models of all ages."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from ...core import InputError, check_among, check_integer, check_integers, check_number, check_seed
from ...core.results import Candidate
from ...risk.arrays import like, movable, row_shape
from ...risk.descent import Adam, Descent, Optimiser, Progress, silent
from ...risk.parameters import Allowed
from ...risk.protocols import PoisonParameters, Risk, Vector
from ...risk.ranks import Alone
from ...risk.samples import Sample
from ...risk.unrolled import Outer, Unrolled, loss_on
from ..base import Attack
from ..run import Middle, Run, Step
from ..scenario import Scenario
from .flips import flip_labels
from .matching import Crafted, sign_of, wanted_rows
from .source import Pixels, Source
from .stage import Stage, steps_of_draws


class TrainingPath(NamedTuple):
    """Of the training that is differentiated through: its steps, the loss behind them, and what makes the poison.

    `w` is learned from clean rows, ``start(seed)`` gives parameters that are drawn anew.
    """

    unrolled: Unrolled
    outer: Outer
    generator: PoisonParameters
    w: Vector
    start: Callable[[int], Vector]
    seed: int


class ThroughTraining(Attack):
    """Poison rows are moved along the derivative of a loss after steps of training on them."""

    many_classes: ClassVar[bool] = True
    training_step: float
    batch_size: int | None
    optimiser: Optimiser
    source: Source
    labels: Literal["true", "adversary"]
    validation: float | None
    flipped: bool
    draws: int

    def __post_init__(self) -> None:
        sign_of(self.labels)
        check_number(self.training_step, "training_step", above=0)
        check_integer(self.draws, "draws", at_least=1)
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size", at_least=1)
        if self.validation is not None:
            check_number(self.validation, "the fraction validation", above=0, below=1)
            if self.labels == "adversary":
                remedy = "Give validation=None: the labels that are wanted are those of the rows to be misclassified."
                raise InputError("true labels of validation rows", "labels='adversary'", remedy)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One descent for each draw of clean rows to begin with."""
        return steps_of_draws(self, moved, scenario, run)

    def first_rows(self, stage: Stage, seed: int) -> Sample:
        """As many clean rows as the budget buys, with their own labels or with any others."""
        if not self.flipped:
            return stage.drawn(seed)
        classes = stage.scenario.train.k if stage.risk.margin_loss is None else None
        share = stage.scenario.n_poison / stage.train.total
        return flip_labels(stage.train, share, classes=classes, rule="random", seed=seed)

    def craft(
        self,
        risk: Risk,
        w: Vector,
        train: Sample,
        judges: Sample,
        generator: PoisonParameters,
        phi: Vector,
        seeds: Sample,
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Crafted:
        """Move the rows that `generator` makes of `phi`.

        Parameters
        ----------
        risk : Risk
        w : Vector
            Parameters learned from clean rows.
        train : Sample
            Clean rows that are learned from.
        judges : Sample
            Rows whose loss after training is to grow (labels "true") or to fall ("adversary").
        generator : PoisonParameters
        phi : Vector
            Where it starts.
        seeds : Sample
            Labels and copies of the poison rows, in the generator's order.
        seed : int, default 0
            Of parameters to start training from, and of the order of rows.
        progress : callable, optional
            Called with the step and the value of the objective.

        Raises
        ------
        SolverFailed
            If training diverges.
        """
        clean, held = risk.held(train), risk.held(Sample(seeds.X, seeds.y, seeds.weights))
        movable(held.X)
        unrolled = Unrolled(risk, clean, held.y, held.mass, held.total, self.training_step)
        outer = loss_on(risk, risk.held(judges), -sign_of(self.labels))
        start = lambda number: risk.init(number, prod(row_shape(clean.X)))  # noqa: E731
        objective = self._objective(TrainingPath(unrolled, outer, generator, risk.vector(w), start, check_seed(seed)))
        first = generator.restrict(1.0 * phi)
        with risk.steady():
            found = self.optimiser.minimise(
                objective, first, Allowed(generator), tol=-np.inf, ranks=Alone(), progress=progress
            )
        rows = generator.points(self._kept(found))
        return Crafted(Sample(rows, seeds.y, seeds.weights), found.history, None)

    @abstractmethod
    def _objective(self, path: TrainingPath) -> Callable[[Vector], tuple[float, Vector]]:
        """What is minimised, with its gradient in `phi`."""

    def _kept(self, found: Descent) -> Vector:
        """Which of the parameters that were met are the answer."""
        return found.X


@dataclass(frozen=True)
class BackGradient(ThroughTraining):
    """Poison against the loss at the end of one training, differentiated through all of its steps.

    ::

        maximise_(z_1 .. z_m in Z)  L_v(w_T),     w_(t+1) = w_t - training_step grad L(clean rows and poison; w_t)

    by exact reverse mode over the T steps (`linpoison.risk.unrolled.Unrolled`), all rows at once. What it climbs is the
    loss after so few steps, not that of a learner at its end: its `training_steps` and `training_step` are the
    attacker's guess of the learner's path.

    Parameters
    ----------
    training_steps : int, default 100
        T. Memory holds ``2 sqrt(T)`` vectors of parameters, time grows with T: about five gradients of the
        training loss for each of the T steps, in each step of the optimiser.
    training_step : float, default 0.1
        Their length.
    batch_size : int, optional
        Clean rows of a step, all by default. Batches are drawn once, so that the objective is a function of the rows.
    start : {"scratch", "learned"}, default "scratch"
        Training starts from parameters that are drawn anew, or from those learned from clean rows.
    optimiser : Optimiser, default Adam(0.05, steps=30)
    source : Source, default Pixels()
        Of a scenario: what is optimised, the rows themselves or what makes them.
    labels : {"true", "adversary"}, default "true"
        Of the rows whose loss counts: it is to grow, or, with labels that the attacker wants, to fall.
    validation : float, optional
        Of a scenario: the share of the clean rows, 0.3 by default, that the attacker judges by and does not train on.
        None: it judges by the rows to be misclassified.
    flipped : bool, default True
        Of a scenario: poison starts as clean rows with another label; otherwise with their own.
    draws : int, default 1
        Of a scenario: sets of rows to begin with; the best poison is kept.

    References
    ----------
    Munoz-Gonzalez, Biggio, Demontis, Paudice, Wongrassamee, Lupu, Roli, "Towards poisoning of deep learning algorithms
    with back-gradient optimization", 2017, Algorithm 2. There rows are added one after another, and the steps are gone
    back approximately.

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> from linpoison.risk import DirectRows, LinearRisk
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> train, held = Sample(X, np.where(X[:, 0] > 0, 1.0, -1.0)).held_out(0.3, seed=0)
    >>> risk, seeds = LinearRisk(Logistic(), 0.1), train.drawn(4, seed=0)
    >>> attack = BackGradient(training_steps=20, optimiser=Adam(0.2, steps=10))
    >>> found = attack.craft(risk, np.zeros(3), train, held, DirectRows((4, 2)), seeds.X.ravel(), seeds)
    >>> bool(found.history[-1] < found.history[0])
    True
    """

    name: ClassVar[str] = "back-gradient"
    training_steps: int = 100
    training_step: float = 0.1
    batch_size: int | None = None
    start: Literal["scratch", "learned"] = "scratch"
    optimiser: Optimiser = field(default_factory=lambda: Adam(0.05, steps=30))
    source: Source = field(default_factory=Pixels)
    labels: Literal["true", "adversary"] = "true"
    validation: float | None = 0.3
    flipped: bool = True
    draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self.training_steps, "training_steps", at_least=1)
        check_among(self.start, "start", "scratch", "learned")

    def _objective(self, path: TrainingPath) -> Callable[[Vector], tuple[float, Vector]]:
        first = path.w if self.start == "learned" else path.start(path.seed)
        batches = [*path.unrolled.batches(self.batch_size, self.training_steps, np.random.default_rng(path.seed))]

        def objective(phi: Vector) -> tuple[float, Vector]:
            rows, pull = path.generator.vjp(phi)
            value, slope, _ = path.unrolled.after(first, like(rows, path.unrolled.clean.X), batches, path.outer)
            return float(value), pull(slope)

        return objective


@dataclass(frozen=True)
class MetaPoison(ThroughTraining):
    """Poison that turns a few steps of training, whatever the age of the model that takes them.

    ::

        minimise_(Z)  (1 / M) sum_m  s L_t( w_m - K steps of training on clean rows and Z )

    over an ensemble of M models, from just begun to the last epoch. After each step of the optimiser each of them is
    trained for an epoch on clean rows and the poison as it is, and begins anew after `epochs`. With ``s = -1`` and the
    true labels of validation rows the attack is indiscriminate, with ``s = 1`` and wanted labels targeted.

    The objective is another one at each step, so that the last rows are the answer, and line searches have no meaning.

    Parameters
    ----------
    models : int, default 24
        M. Their epochs at the start are spread evenly over `epochs`.
    unrolled : int, default 2
        K.
    epochs : int, default 20
        After which a model begins anew.
    training_step : float, default 0.1
        Length of a step of training.
    batch_size : int, default 200
        Clean rows of a step of training; every step sees all of the poison, as heavy as among all rows.
    optimiser : Optimiser, default Adam(0.02, steps=60)
        ``Adam(signed=True)`` moves each entry by the same length.
    source : Source, default Pixels()
        Of a scenario: what is optimised. ``Pixels(near=...)`` bounds the change of a pixel, and `deep.Recoloring` has a
        bound on colours beside it.
    labels, validation, flipped, draws
        As for `BackGradient`; labels "adversary", with ``validation=None``, is the targeted attack. By default poison
        keeps the labels of its rows.

    References
    ----------
    Huang, Geiping, Fowl, Taylor, Goldstein, "MetaPoison: practical general-purpose clean-label data poisoning", 2020,
    Algorithm 1. There the loss is Carlini and Wagner's, here the learner's.

    Examples
    --------
    >>> from linpoison.losses import Logistic
    >>> from linpoison.risk import DirectRows, LinearRisk
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> train, held = Sample(X, np.where(X[:, 0] > 0, 1.0, -1.0)).held_out(0.3, seed=0)
    >>> risk, seeds = LinearRisk(Logistic(), 0.1), train.drawn(4, seed=0)
    >>> attack = MetaPoison(models=3, epochs=6, batch_size=20, optimiser=Adam(0.2, steps=10))
    >>> found = attack.craft(risk, np.zeros(3), train, held, DirectRows((4, 2)), seeds.X.ravel(), seeds)
    >>> found.poison.n, len(found.history)
    (4, 11)
    """

    name: ClassVar[str] = "metapoison"
    models: int = 24
    unrolled: int = 2
    epochs: int = 20
    training_step: float = 0.1
    batch_size: int = 200
    optimiser: Optimiser = field(default_factory=lambda: Adam(0.02, steps=60))
    source: Source = field(default_factory=Pixels)
    labels: Literal["true", "adversary"] = "true"
    validation: float | None = 0.3
    flipped: bool = False
    draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integers(self, "models", "unrolled", "epochs", at_least=1)

    def _objective(self, path: TrainingPath) -> Callable[[Vector], tuple[float, Vector]]:
        return Ensemble(self, path)

    def _kept(self, found: Descent) -> Vector:
        return found.last


class Ensemble:
    """Models of different epochs, and the mean of the objective over them; each is an epoch older after every call.

    Parameters
    ----------
    attack : MetaPoison
    path : TrainingPath
    """

    def __init__(self, attack: MetaPoison, path: TrainingPath) -> None:
        self.attack, self.path, self.unrolled = attack, path, path.unrolled
        self.rng = np.random.default_rng(path.seed)
        self.ages = [number * attack.epochs // attack.models for number in range(attack.models)]
        self.models: list[Vector] = []

    def __call__(self, phi: Vector) -> tuple[float, Vector]:
        rows, pull = self.path.generator.vjp(phi)
        X = like(rows, self.unrolled.clean.X)
        if not self.models:
            self.models = [self._trained(self._drawn(), X, age) for age in self.ages]
        value, slope, size = 0.0, 0.0 * X, self.attack.batch_size
        for w in self.models:
            batches = [*self.unrolled.batches(size, self.attack.unrolled, self.rng)]
            part, change, _ = self.unrolled.after(w, X, batches, self.path.outer)
            value, slope = value + float(part) / len(self.models), slope + change / len(self.models)
        for number, w in enumerate(self.models):
            self._grow(number, w, X)
        return value, pull(slope)

    def _grow(self, number: int, w: Vector, X: Any) -> None:
        self.ages[number] += 1
        if self.ages[number] < self.attack.epochs:
            self.models[number] = self._trained(w, X, 1)
        else:
            self.ages[number], self.models[number] = 0, self._drawn()

    def _drawn(self) -> Vector:
        return self.path.start(int(self.rng.integers(2**31)))

    def _trained(self, w: Vector, X: Any, epochs: int) -> Vector:
        count = epochs * ceil(len(self.unrolled.clean.mass) / self.attack.batch_size)
        for batch in self.unrolled.batches(self.attack.batch_size, count, self.rng):
            w = self.unrolled.step(w, X, batch)
        return w


def moved(started: float, attack: ThroughTraining, stage: Stage, middle: Middle, seed: int) -> Step:
    """One descent from clean rows, with their own labels or with others."""
    began, train = time.perf_counter(), stage.train
    if attack.validation is not None:
        train, judges = stage.train.held_out(attack.validation, seed)
    else:
        judges = stage.target if attack.labels == "true" else wanted_rows(stage)
    rows = attack.first_rows(stage, seed)
    seeds = Sample(rows.X, rows.y, np.full(rows.n, train.total / stage.train.total))
    generator, phi = attack.source.begin(stage.view, stage.scenario.train.domain, seeds, train, seed, middle)
    found = attack.craft(
        stage.risk, stage.w, train, judges, generator, phi, seeds, seed=seed,
        progress=lambda step, value: middle.say(step, attack.optimiser.steps, attack.name),
    )  # fmt: skip
    facts = {"attack_seconds": time.perf_counter() - began, "objective": float(found.history[-1])}
    label = f"{len(found.history) - 1} steps through training"
    return stage.step(started, Sample(found.poison.X, rows.y), seed, label, facts=facts)
