"""Gradient canceling: poison under which given parameters are a stationary point of the learner."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ...core import CapabilityError, InputError, check_among, check_integer, check_number
from ...core.journal import Journal
from ...core.results import Candidate
from ...core.validation import Array
from ...risk.arrays import movable, norm
from ...risk.checkpoints import Checkpoint, digest_of
from ...risk.descent import Adam, Keeper, Optimiser, Progress, silent
from ...risk.fields import Cancel, PoisonObjective
from ...risk.measuring import accuracy, peak_memory
from ...risk.projections import Everywhere
from ...risk.protocols import Projection, Risk, TargetGenerator, Vector
from ...risk.ranks import Alone, Ranks
from ...risk.samples import Sample
from ...risk.thresholds import Condition, Reachability, reachability
from ..base import Attack
from ..run import Middle, Run, Step
from ..scenario import Scenario
from .free import FreeObjective, FreeSet
from .stage import Stage, seeds_of
from .targets import GradPC


@dataclass(frozen=True, eq=False)
class Canceling:
    """What gradient canceling found.

    Parameters
    ----------
    poison : Sample or Poison
        Rows of the kind of the risk, labels, and copies of each row; a `Poison` from `DecoyCanceler`.
    epsilon : float
        Mass of the poison as a fraction of the clean rows.
    residual : float
        ``|r|`` at the end, recomputed from `poison` in the way a learner would.
    clean_residual : float
        ``|r|`` without any poison.
    reachability : Reachability
        Of the target.
    history : ndarray
        ``|r|`` at the start and after each step.
    seconds : float
    memory : float
        Greatest memory in use so far in MiB: of the device for a CUDA module, else of the process.
    """

    poison: Any
    epsilon: float
    residual: float
    clean_residual: float
    reachability: Reachability
    history: Array
    seconds: float
    memory: float

    @property
    def lower_bound(self) -> float:
        """No poison of this mass, wherever it lies, has a smaller residual."""
        if np.isnan(self.reachability.threshold):
            return 0.0
        return self.reachability.lower_bound(self.epsilon)


@dataclass(frozen=True)
class Canceler(Attack):
    """Move poison rows until the gradient at the target parameters vanishes, for a learner of any kind.

    ::

        minimise_(z_1 .. z_m in Z)  |r|^2 / 2,    r = g + (1 + e) reg P w + (e / m) sum_j d/dw l(z_j, y_j; w)

    with g the gradient of the mean clean loss over *all* parameters of the risk (give the risk `params` to cancel
    some of them only), w the target and e the mass of the poison. Labels stay. Each row follows
    ``(e / m) C(z_j)' r``, so memory does not grow with the number of rows. Derivatives are those of evaluation
    mode.

    Parameters
    ----------
    optimiser : Optimiser, default Adam()
    projection : Projection, default Everywhere()
        ``Z``. The papers project; the published code does not.
    rows : int, optional
        Number m of distinct rows; each then carries ``e n / m`` copies. By default ``round(epsilon n)`` rows of one
        copy each, which is what can be deployed as it is.
    reduction : {"mean", "sum"}, default "mean"
        With "sum" the objective is that of gradients summed over rows, ``n^2`` times as large, for step sizes as
        published code has them (there without the factor 1/2).
    tol : float, default 0
        Residual at which to stop.
    free_weights : bool, default False
        Move copies between the rows; otherwise each keeps its share. For a `LinearRisk`.
    targets : TargetGenerator, default GradPC(relative_radius=0.5)
        Of a scenario: the parameters to plant, near those that the defender learns from clean rows.
    draws : int, default 1
        Of a scenario: sets of clean rows to begin with, each a descent; the best poison is kept.
    params : tuple of str, optional
        Of a scenario of a network: names of the parameters to cancel; all by default, the first in published code.

    References
    ----------
    Lu, Kamath, Yu, "Exploring the limits of model-targeted indiscriminate data poisoning attacks", 2023, equation (4)
    and Algorithm 1; equation (3.14) and Algorithm 2 of Lu's thesis.

    Examples
    --------
    >>> from linpoison.risk import LBFGS, LinearRisk
    >>> from linpoison.losses import Logistic
    >>> clean = Sample([[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0]], [1.0, 1.0, -1.0])
    >>> risk, w = LinearRisk(Logistic(), fit_intercept=False), np.array([0.0, 2 * np.log(2)])
    >>> found = Canceler(LBFGS(), rows=1).cancel(risk, w, clean, 0.52)
    >>> round(found.residual ** 2, 8), round(found.lower_bound ** 2, 8), round(found.reachability.threshold, 6)
    (0.00083412, 0.00083412, 0.66378)
    """

    name: ClassVar[str] = "canceling"
    many_classes: ClassVar[bool] = True
    optimiser: Optimiser = field(default_factory=Adam)
    projection: Projection = field(default_factory=Everywhere)
    rows: int | None = None
    reduction: Literal["mean", "sum"] = "mean"
    tol: float = 0.0
    free_weights: bool = False
    targets: TargetGenerator = field(default_factory=lambda: GradPC(relative_radius=0.5))
    draws: int = 1
    params: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rows is not None:
            check_integer(self.rows, "rows", at_least=1)
        check_among(self.reduction, "the reduction", "mean", "sum")
        check_number(self.tol, "tol", at_least=0)
        check_integer(self.draws, "draws", at_least=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One descent for each draw of rows to begin with."""
        stage, middle = Stage(scenario), run.middle(self.name, self.draws)
        seeds = seeds_of(run.seed, self.draws)
        return run.steps(self.name, planted, [(self, stage, middle, i, seed) for i, seed in enumerate(seeds)])

    def first_rows(self, stage: Stage, seed: int) -> Sample:
        return stage.drawn(seed, self.rows)

    def cancel(
        self,
        risk: Risk,
        w: Vector,
        clean: Sample,
        epsilon: float,
        *,
        start: Sample | None = None,
        condition: Condition | None = None,
        seed: int = 0,
        ranks: Ranks = Alone(),  # noqa: B008
        journal: Journal | None = None,
        progress: Progress = silent,
    ) -> Canceling:
        """Cancel the gradient at `w`.

        Parameters
        ----------
        risk : Risk
        w : Vector
            The target.
        clean : Sample
            Clean training rows.
        epsilon : float
            Mass of the poison as a fraction of the clean rows; may exceed 1.
        start : Sample, optional
            Rows and labels to begin with, which set their number; by default clean rows drawn with `seed`.
        condition : Condition, optional
            What is to be canceled, where it is not that of a smooth risk with a mean: `Condition.of` by default. Its
            multipliers of rows on a kink move along; for a `LinearRisk`.
        ranks : Ranks
            Processes that share the rows; give each the same arguments.
        journal : Journal, optional
            Where it stands is written there every 50 steps, and read at the start if it is of the same settings and
            data. By `Adam` and `ProjectedGradient` in one process; the result is that of a run without interruption.
        progress : callable, optional
            Called with the step and the value of the objective.

        Raises
        ------
        InputError
            If the budget is of no row, or of fewer rows than there are processes.
        CapabilityError
            With a journal, for several processes.
        """
        began, target = time.perf_counter(), risk.vector(w)
        seeds, mass = self._start(clean, check_number(epsilon, "epsilon", above=0), start, seed)
        unit = clean.total if self.reduction == "sum" else 1.0
        condition = Condition.of(risk, target, clean) if condition is None else condition
        if seeds.n < ranks.size:
            raise InputError(f"at least one row for each of {ranks.size} processes", f"{seeds.n} rows")
        own = ranks.shard(seeds.n)
        part, sets = risk.held(seeds.take(own)), self.projection.take(own)
        shares = (unit * mass / seeds.total) * part.mass
        rest = Cancel(unit * (condition.rest + mass * condition.growth))
        fixed = PoisonObjective(risk, target, rest, part.y, shares, ranks)
        first, tol = sets.project(movable(part.X)), 0.5 * (unit * self.tol) ** 2
        objective: Any = fixed
        if self.free_weights or condition.n_kinks:
            objective = FreeObjective(fixed, condition, unit, mass, first.shape, self.free_weights)
            first, sets = objective.joined(first), FreeSet(objective, sets)
        more: dict[str, Any] = {}
        if journal is not None and self.optimiser.resumes:
            more["kept"] = self._keeper(journal, risk, ranks, target, clean, seeds, mass)
        with risk.steady():
            found = self.optimiser.minimise(objective, first, sets, tol=tol, ranks=ranks, progress=progress, **more)
        X, copies = found.X, seeds.mass / seeds.total
        if objective is not fixed:
            X, copies, _ = objective.split(found.X)
        return Canceling(
            poison=Sample(ranks.gather(X), seeds.y, mass * clean.total * copies),
            epsilon=mass,
            residual=(2 * objective.value(found.X)) ** 0.5 / unit,
            clean_residual=norm(condition.rest),
            reachability=reachability(risk, target, clean, condition),
            history=(2 * found.history) ** 0.5 / unit,
            seconds=time.perf_counter() - began,
            memory=peak_memory(first),
        )

    def _keeper(self, journal: Journal, risk: Risk, ranks: Ranks, *parts: Any) -> Keeper:
        if ranks.size > 1:
            raise CapabilityError("one process with a journal", f"{ranks.size} processes")
        return Keeper(Checkpoint(journal, "descent", digest_of(self, risk.reg, risk.reach, *parts)))

    def _start(self, clean: Sample, epsilon: float, start: Sample | None, seed: int) -> tuple[Sample, float]:
        """Rows to begin with, and their mass as a fraction of the clean rows."""
        if start is not None:
            return start.take(range(start.n)), epsilon
        m = round(epsilon * clean.total) if self.rows is None else self.rows
        if m == 0:
            raise InputError("a budget of at least one row", f"{epsilon:g} of {clean.total:g} rows")
        return clean.drawn(m, seed), m / clean.total if self.rows is None else epsilon


def planted(started: float, attack: Canceler, stage: Stage, middle: Middle, number: int, seed: int) -> Step:
    """One descent from clean rows towards the parameters to plant."""
    began = time.perf_counter()
    target = attack.targets.target(stage.risk, stage.w, stage.train)
    risk, w = (stage.risk, target) if attack.params is None else stage.risk.only(target, attack.params)
    found = replace(attack, projection=stage.within(attack.projection)).cancel(
        risk,
        w,
        stage.train,
        stage.scenario.n_poison / stage.train.total,
        seed=seed,
        journal=middle.of(number),
        progress=lambda step, value: middle.say(step, attack.optimiser.steps, "gradient canceling"),
    )
    facts = _facts(stage, target, found) | {"attack_seconds": time.perf_counter() - began}
    label = "planted parameters"
    return stage.step(started, found.poison, seed, label, target=target, residual=found.residual, facts=facts)


def _facts(stage: Stage, target: Vector, found: Canceling) -> dict[str, float]:
    return {
        "residual_without_poison": found.clean_residual,
        "residual_lower_bound": found.lower_bound,
        "threshold": found.reachability.threshold,
        "target_accuracy": accuracy(stage.risk, target, stage.target),
        "target_distance": stage.moved(target),
        "target_relative_length": stage.moved(target) / (norm(stage.w) or 1.0),
        "steps": len(found.history) - 1.0,
    }
