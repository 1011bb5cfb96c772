"""Total gradient descent ascent: poison against what a learner becomes, without solving for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ...core import InputError, SolverFailed, check_integer, check_number, check_seed
from ...core.journal import Journal
from ...core.results import Candidate
from ...core.validation import Array
from ...risk.arrays import gathered, length, like, per_row, to_numpy
from ...risk.checkpoints import Checkpoint, digest_of
from ...risk.descent import Progress, silent
from ...risk.measuring import peak_memory
from ...risk.protocols import InverseHVP, PoisonParameters, Risk, Solution, Vector
from ...risk.ranks import Alone, Ranks
from ...risk.samples import Sample
from ...risk.solvers import MINRES
from ..base import Attack
from ..run import Middle, Run, Step
from ..scenario import Scenario
from .source import Pixels, Source
from .spectral_cap import SpectralCap
from .stage import Stage
from .tgda_parts import Batch, State, Table, check_disjoint, check_shares, check_together

COLUMNS = ("validation_loss", "leader_norm", "residual", "iterations", "negative_curvature", "curvature")
"""What is noted of each epoch: at its end, means over its leader steps, and of these the least curvature."""


@dataclass(frozen=True, eq=False)
class Game:
    """How a game of TGDA ended.

    Parameters
    ----------
    poison : Sample
        The rows at `phi`, made once from the seeds, with the seeds' labels and copies.
    phi : Vector
    w : Vector
        The follower at the end; what a learner makes of the poison is to be learned from scratch.
    history : dict of ndarray
        `COLUMNS`, one number for each epoch. "residual" is the relative residual of the linear systems,
        "negative_curvature" the share of them in which the damped matrix was not positive, and "curvature" the least
        that was met.
    solver : str
        Name of what solved them.
    seconds : float
        Without those of epochs that an earlier run had done.
    memory : float
        Greatest memory in use so far in MiB: of the device for a CUDA module, else of the process.
    """

    poison: Sample
    phi: Vector
    w: Vector
    history: dict[str, Array]
    solver: str
    seconds: float
    memory: float


@dataclass(frozen=True)
class TGDA(Attack):
    """A leader moves the poison, a follower learns from it, in turns.

    ::

        leader, m times:     phi <- phi + alpha D,   D = - sum_j (c_j / N) [d x_j / d phi]' C(x_j)' H^(-1) grad L_v(w)
        follower, n times:   w <- w - beta grad L(training rows and poison; w)

    with H the Hessian of the follower's objective and `L_v` the mean loss of validation rows, on the batch at hand: an
    epoch splits training rows, poison rows and validation rows anew into the same number of batches. Derivatives are
    those of evaluation mode.

    Parameters
    ----------
    epochs : int, default 200
    leader_steps, follower_steps : int, default 1 and 20
        m and n.
    leader_step, follower_step : float, default 0.01 and 0.1
        alpha and beta.
    rule : {"ascent", "adam"}, default "ascent"
        How the leader uses D: as above, as in the papers; or through Adam, in which case alpha is the length of a
        step in each entry of `phi`, whatever the scale of D.
    batch_size : int, optional
        Training rows of a batch, 1000 by default; None for all.
    solver : InverseHVP, default MINRES(maxiter=16)
        Of ``H u = grad L_v``: damped, and with a residual that the history has. `CG` is for convex objectives,
        `GaussNewton` leaves out the network's own curvature, and ``NormalCG(relative_damping=0, maxiter=16)`` is that
        of the published code.
    order : {"attacker", "defender"}, default "attacker"
        Who moves first in each turn. (To let the defender *lead*, in the sense of a total derivative through the
        attacker's answer, has no meaning here: at fixed w the validation loss does not depend on the poison.)
    start : {"warm", "cold"}, default "warm"
        Whether the follower goes on from where it is, or begins each turn at the given parameters again.
    game : {"non-zero-sum", "zero-sum"}, default "non-zero-sum"
        In a zero-sum game the leader raises the follower's own objective: `L` in place of `L_v`, with the direct term
        ``sum_j (c_j / N) [d x_j / d phi]' d/dx_j l``. Validation rows are then only measured.
    validation : float, default 0.3
        Of a scenario: the share of the clean rows that the attacker judges by, and the follower does not learn from.
    source : Source, default Pixels()
        Of a scenario: what is optimised, the rows themselves or what makes them.
    cap : SpectralCap, optional
        What the leader pays for rows that SEVER would see: D is then of the validation loss less this.

    References
    ----------
    Lu, Kamath, Yu, "Indiscriminate data poisoning attacks on neural networks", 2022, Algorithm 1. Unlike the published
    code: validation rows are no training rows, the solver works on H itself, damped, and the rows that are returned
    come from one pass over the seeds.

    Examples
    --------
    >>> from linpoison.risk import DirectRows, LBFGSTrainer, LinearRisk
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> train, held = Sample(X, (X[:, 0] > 0).astype(int)).held_out(0.3, seed=0)
    >>> risk, seeds = LinearRisk(2, 0.1), train.drawn(4, seed=0)
    >>> w = LBFGSTrainer().fit(risk, train).w
    >>> tgda = TGDA(epochs=5, leader_step=0.1, rule="adam", batch_size=None)
    >>> game = tgda.play(risk, w, train, held, DirectRows((4, 2)), seeds.X.ravel(), seeds)
    >>> bool(game.history["validation_loss"][-1] > game.history["validation_loss"][0])
    True
    """

    name: ClassVar[str] = "tgda"
    many_classes: ClassVar[bool] = True
    epochs: int = 200
    leader_steps: int = 1
    follower_steps: int = 20
    leader_step: float = 0.01
    follower_step: float = 0.1
    rule: Literal["ascent", "adam"] = "ascent"
    batch_size: int | None = 1000
    solver: InverseHVP = field(default_factory=lambda: MINRES(maxiter=16))
    order: Literal["attacker", "defender"] = "attacker"
    start: Literal["warm", "cold"] = "warm"
    game: Literal["non-zero-sum", "zero-sum"] = "non-zero-sum"
    validation: float = 0.3
    source: Source = field(default_factory=Pixels)
    cap: SpectralCap | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("leader_steps", 1), ("follower_steps", 0)):
            check_integer(getattr(self, name), name, at_least=least)
        for name in ("leader_step", "follower_step"):
            check_number(getattr(self, name), name, above=0)
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size", at_least=1)
        for name, one, other in (
            ("rule", "ascent", "adam"),
            ("order", "attacker", "defender"),
            ("start", "warm", "cold"),
            ("game", "non-zero-sum", "zero-sum"),
        ):
            if getattr(self, name) not in (one, other):
                raise InputError(f"{name} {one!r} or {other!r}", repr(getattr(self, name)))
        check_number(self.validation, "the fraction validation", above=0, below=1)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One game."""
        return run.steps(self.name, played, [(self, Stage(scenario), run.middle(self.name, 1), run.seed)])

    def first_rows(self, stage: Stage, seed: int) -> Sample:
        return stage.drawn(seed)

    def play(
        self,
        risk: Risk,
        w: Vector,
        train: Sample,
        validation: Sample,
        generator: PoisonParameters,
        phi: Vector,
        seeds: Sample,
        *,
        seed: int = 0,
        journal: Journal | None = None,
        ranks: Ranks = Alone(),  # noqa: B008
        progress: Progress = silent,
    ) -> Game:
        """Play.

        Parameters
        ----------
        risk : Risk
            Of the follower.
        w : Vector
            Parameters learned from clean rows.
        train, validation : Sample
            Disjoint rows, as `Sample.held_out` gives them.
        generator : PoisonParameters
            `DirectRows` or a `LeaderNetwork`.
        phi : Vector
            Where it starts: the seeds' entries, or weights of a pretrained network.
        seeds : Sample
            Labels and copies of the poison rows, in the generator's order.
        seed : int, default 0
            Of the order of rows.
        journal : Journal, optional
            Where it stands is written there after each epoch, and read at the start if it is of the same settings and
            data.
        ranks : Ranks
            Processes that share the rows of each batch, such as `Torchrun()`; give each the same arguments. The first
            one writes to the journal.
        progress : callable, optional
            Called with the epoch and the validation loss.

        Raises
        ------
        InputError
            If most validation rows are training rows, or a batch has fewer rows than there are processes.
        SolverFailed
            If the follower or the leader diverges.
        """
        check_seed(seed)
        table = Table.of(risk, train, validation, seeds, generator, ranks)
        check_disjoint(table.train, table.validation)
        check_shares(ranks, table.train, table.validation, table.count(self.batch_size))
        kept, began = self._checkpoint(journal, table, w, phi, seed), time.perf_counter()
        state = State.restored(kept.load(), risk.vector(w), generator.restrict(1.0 * phi), self.epochs)
        check_together(ranks, state.epoch)
        anchor = risk.vector(w)
        for epoch in range(state.epoch, self.epochs):
            loss, notes = self._epoch(table, state, anchor, np.random.default_rng([seed, epoch]))
            state.note(loss, notes)
            if ranks.rank == 0:
                kept.store(state.arrays())
            progress(epoch + 1, loss)
        check_together(ranks, state.epoch)  # the checkpoint is there for all when this returns
        poison = Sample(generator.points(state.phi), seeds.y, seeds.weights)
        history = dict(zip(COLUMNS, np.array(state.history).T, strict=True))
        seconds = time.perf_counter() - began
        return Game(poison, state.phi, state.w, history, self.solver.name, seconds, peak_memory(table.train.X))

    def _checkpoint(self, journal: Journal | None, table: Table, *parts: Any) -> Checkpoint:
        """Of these settings and data, of which nothing is looked at without a journal."""
        if journal is None:
            return Checkpoint(None, "game", "")
        risk, settings = table.risk, replace(self, epochs=1)
        digest = digest_of(settings, table.train, table.validation, table.poison, *parts, risk.reg, risk.reach)
        return Checkpoint(journal, "game", digest)

    def _epoch(self, table: Table, state: State, anchor: Vector, rng: np.random.Generator) -> tuple[float, Array]:
        """One pass over the batches: the validation loss after it, and what each leader step noted, a line each.

        These numbers come to the host together, at the end.
        """
        notes: list[Any] = []
        with table.risk.steady():
            if self.cap is not None:
                poison = replace(table.poison, X=like(table.generator.points(state.phi), table.train.X))
                state.frames = self.cap.frames(table.risk, state.w, table.train, poison)
            for batch in table.batches(self.batch_size, rng):
                if self.order == "defender":
                    self._follow(table, state, batch, anchor)
                notes += self._lead(table, state, batch)
                if self.order == "attacker":
                    self._follow(table, state, batch, anchor)
            last = [table.mean_loss(state.w, table.validation)[0], length(state.phi)]
        told = to_numpy(gathered([*last, *notes], state.w))
        if not np.isfinite(told[:2]).all():
            raise SolverFailed("the game diverges: its numbers are not finite. Take smaller steps.")
        return float(told[0]), told[2:].reshape(-1, 5)

    def _lead(self, table: Table, state: State, batch: Batch) -> list[Any]:
        notes: list[Any] = []
        for _ in range(self.leader_steps if len(batch.poison.X) else 0):
            slope, solution = self._total(table, state, batch)
            notes += [length(slope), *solution.facts]
            state.climb(slope, self.leader_step, self.rule)
            state.phi = table.generator.restrict(state.phi)
        return notes

    def _total(self, table: Table, state: State, batch: Batch) -> tuple[Vector, Solution]:
        """``D`` on a batch, and the solution behind it."""
        risk, w = table.risk, state.w
        both, made, pull = table.moved(state.phi, batch)
        zero_sum = self.game == "zero-sum"
        slope = table.pull(w, both if zero_sum else table.own(batch.validation))
        if zero_sum:
            slope = slope + risk.penalty_grad(w)
        solution = self.solver.solve(table.hessian(w, both, gauss_newton=self.solver.gauss_newton), slope)
        if not len(made.X):
            return table.ranks.sum(0.0 * state.phi), solution
        rows = -1.0 * risk.mixed_product(w, made.X, made.y, solution.x)
        if zero_sum:
            rows = rows + risk.row_grad(w, made.X, made.y)
        if self.cap is not None:
            rows = rows - self.cap.slope(risk, w, made.X, made.y, state.frames)
        return table.ranks.sum(pull(per_row(made.mass / both.total, rows) * rows)), solution

    def _follow(self, table: Table, state: State, batch: Batch, anchor: Vector) -> None:
        both = table.learned_from(state.phi, batch)
        state.w = table.risk.descended(
            anchor if self.start == "cold" else state.w, both.X, both.y, both.mass / both.total,
            steps=self.follower_steps, length=self.follower_step, ranks=table.ranks,
        )  # fmt: skip


def played(started: float, attack: TGDA, stage: Stage, middle: Middle, seed: int) -> Step:
    """One game from clean rows; the poison has whole copies, however few of the clean rows the follower is given."""
    began = time.perf_counter()
    train, validation = stage.train.held_out(attack.validation, seed)
    rows = attack.first_rows(stage, seed)
    seeds = Sample(rows.X, rows.y, np.full(rows.n, train.total / stage.train.total))
    generator, phi = attack.source.begin(stage.view, stage.scenario.train.domain, seeds, train, seed, middle)
    game = attack.play(
        stage.risk,
        stage.w,
        train,
        validation,
        generator,
        phi,
        seeds,
        seed=seed,
        journal=middle.of(0),
        progress=lambda epoch, loss: middle.say(epoch, attack.epochs, "game"),
    )
    facts = {name: float(np.nanmean(column)) for name, column in game.history.items()}
    facts |= {"validation_loss": float(game.history["validation_loss"][-1]), "distance": stage.moved(game.w)}
    facts |= {"attack_seconds": time.perf_counter() - began}
    return stage.step(
        started, Sample(game.poison.X, rows.y), seed, f"a game of {attack.epochs} epochs by {game.solver}", facts=facts
    )
