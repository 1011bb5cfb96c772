"""The attacks of the command line: from arguments and a clean model to poison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linpoison.attacks.gradient.canceling import Canceler, Canceling
from linpoison.attacks.gradient.flips import flip_labels
from linpoison.attacks.gradient.targets import GradPC
from linpoison.attacks.gradient.tgda import TGDA, Game
from linpoison.core import CapabilityError, InputError, check_integer, check_number
from linpoison.core.writing import write_file
from linpoison.risk.arrays import norm, to_numpy
from linpoison.risk.descent import LBFGS, Adam, ProjectedGradient
from linpoison.risk.parameters import DirectRows
from linpoison.risk.projections import Box, Everywhere
from linpoison.risk.samples import Sample
from linpoison.risk.solvers import CG
from linpoison.risk.thresholds import reachability
from linpoison.risk.training import Trained

from .cli_lab import Lab, output_of
from .leaders import LeaderNetwork, pretrain
from .models import ConvLeader, DenseLeader
from .torch_modules import Layout
from .torch_risk import TorchRisk

Tick = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an attack gives.

    Parameters
    ----------
    poison : Sample or None
    seeds : array, optional
        The clean rows that it came from.
    notes : dict
        Numbers for the report.
    constraint : str
        On the rows.
    target : Vector, optional
        Parameters that were to be planted.
    """

    poison: Sample | None
    notes: dict[str, Any]
    seeds: Any = None
    constraint: str = "none"
    target: Any = None


Run = Callable[[Trained, int, Path, Tick], Outcome]
"""An attack whose arguments have been checked: of the clean model, the seed and the folder."""


def flip(lab: Lab, arguments: Any) -> Run:
    """Clean rows with wrong labels."""
    classes = None if lab.risk.margin_loss is not None else lab.task.classes

    def poison(seed: int) -> Sample:
        return flip_labels(lab.task.train, arguments.epsilon, classes=classes, rule=arguments.rule, seed=seed)

    def run(clean: Trained, seed: int, out: Path, tick: Tick) -> Outcome:
        found = poison(seed)
        return Outcome(found, {"epsilon": found.total / lab.train.total}, found.X, "clean rows, wrong labels")

    poison(0)
    return run


def gradpc(lab: Lab, arguments: Any) -> Run:
    """A target, and what is known of it."""
    rule = _target_rule(arguments)

    def run(clean: Trained, seed: int, out: Path, tick: Tick) -> Outcome:
        target, notes = _target(lab, rule, clean, tick)
        write_file(out / f"target-{seed}.npy", lambda stream: np.save(stream, to_numpy(target)))
        return Outcome(None, notes)

    return run


def gc(lab: Lab, arguments: Any) -> Run:
    """Gradient canceling at a target of GradPC. With ``--optimiser lbfgs`` it has no checkpoint."""
    rule, count = _target_rule(arguments), _budget(lab, arguments.epsilon)
    names = _names(arguments.params)
    Layout(lab.risk.module, names)
    sets = Everywhere() if arguments.free else Box(lab.task.low, lab.task.high)
    attack, steps = Canceler(_optimiser(arguments), sets), arguments.steps

    def run(clean: Trained, seed: int, out: Path, tick: Tick) -> Outcome:
        target, notes = _target(lab, rule, clean, tick)
        module = clean.risk.module_at(target)
        options = {"reg": arguments.reg, "chunk": arguments.chunk, "output": output_of(arguments.output)}
        risk = TorchRisk(module, arguments.loss, params=names, **options)
        start = lab.task.train.drawn(count, seed)
        told = f"seed {seed}: gradient canceling, step "
        found = attack.run(
            risk,
            risk.current,
            lab.train,
            start.total / lab.train.total,
            start=start,
            checkpoint=None if arguments.optimiser == "lbfgs" else out / f"canceling-{seed}.npz",
            progress=lambda t, value: tick(f"{told}{t}/{steps}: residual {(2 * value) ** 0.5:.5f}"),
        )
        notes |= _canceled(found, risk)
        box = "none" if arguments.free else f"box [{lab.task.low:g}, {lab.task.high:g}]"
        return Outcome(found.poison, notes, start.X, box, target if names is None else None)

    return run


def tgda(lab: Lab, arguments: Any) -> Run:
    """A game on a part of the training rows; the rest is the attacker's to measure by."""
    count, rule = _budget(lab, arguments.epsilon), _game(arguments)
    lab.task.train.held_out(arguments.validation, 0)
    check_integer(arguments.pretrain, "--pretrain", at_least=0)
    if arguments.leader == "network":
        with torch.device("meta"):
            _network(lab)

    def run(clean: Trained, seed: int, out: Path, tick: Tick) -> Outcome:
        train, validation = lab.train.held_out(arguments.validation, seed)
        start = lab.task.train.drawn(count, seed)
        seeds = Sample(start.X, start.y, np.full(start.n, train.total / lab.train.total))
        generator, phi = _generator(lab, arguments, seeds, train, seed, tick)
        game = rule.run(
            clean.risk,
            clean.w,
            train,
            validation,
            generator,
            phi,
            seeds,
            seed=seed,
            checkpoint=out / f"game-{seed}.npz",
            progress=lambda e, loss: tick(f"seed {seed}: epoch {e}/{arguments.epochs}: validation loss {loss:.4f}"),
        )
        box = f"box [{lab.task.low:g}, {lab.task.high:g}]"
        notes = _played(game, clean) | {"epsilon": start.total / lab.train.total}
        return Outcome(Sample(game.poison.X, start.y), notes, start.X, box)

    return run


ATTACKS: dict[str, Callable[[Lab, Any], Run]] = {"gc": gc, "tgda": tgda, "gradpc": gradpc, "flip": flip}
"""Command -> a function that checks all of its arguments, before anything is learned, and gives the attack."""


def _names(text: str | None) -> list[str] | None:
    """The parameters of a comma list; None for all of them."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        remedy = "Leave --params out for all."
        raise InputError("--params as names of parameters with commas between them", repr(text), remedy)
    return names


def _budget(lab: Lab, epsilon: float) -> int:
    rows = round(check_number(epsilon, "epsilon", above=0, at_most=1000) * lab.train.total)
    if not rows:
        raise InputError("a budget of at least one row", f"{epsilon:g} of {lab.train.n} rows")
    return rows


def _target_rule(arguments: Any) -> GradPC:
    relative = arguments.relative_radius
    if relative is None and arguments.radius is None:
        relative = 0.5
    return GradPC(radius=arguments.radius, relative_radius=relative, steps=arguments.target_steps)


def _target(lab: Lab, rule: GradPC, clean: Trained, tick: Tick) -> tuple[Any, dict[str, Any]]:
    tick("looking for parameters to plant")
    target = rule.target(clean.risk, clean.w, lab.train)
    found = reachability(clean.risk, target, lab.train)
    length = norm(target - clean.w)
    notes = {"target_accuracy": lab.accuracy(clean, target), "threshold": found.threshold, "threshold_kind": found.kind}
    return target, {**notes, "target_distance": length, "target_relative_length": length / norm(clean.w)}


def _game(arguments: Any) -> TGDA:
    return TGDA(
        epochs=arguments.epochs,
        leader_steps=arguments.leader_steps,
        follower_steps=arguments.follower_steps,
        leader_step=arguments.leader_step,
        follower_step=arguments.follower_step,
        rule=arguments.rule,
        batch_size=arguments.batch_size,
        solver=CG(relative_damping=arguments.damping, maxiter=arguments.cg_steps),
        order=arguments.order,
        start=arguments.start,
        game=arguments.game,
    )


def _played(game: Game, clean: Trained) -> dict[str, Any]:
    notes = {name: float(np.nanmean(column)) for name, column in game.history.items() if name != "validation_loss"}
    length = norm(game.w - clean.w)
    last = float(game.history["validation_loss"][-1])
    return {**notes, "validation_loss": last, "distance": length, "relative_length": length / norm(clean.w)}


def _canceled(found: Canceling, risk: TorchRisk) -> dict[str, Any]:
    return {
        "epsilon": found.epsilon,
        "residual": found.residual,
        "residual_without_poison": found.clean_residual,
        "residual_lower_bound": found.lower_bound,
        "parameters": list(risk.layout.names),
        "parameters_size": risk.size,
        "steps": len(found.history) - 1,
    }


def _optimiser(arguments: Any) -> Any:
    step = {} if arguments.step is None else {"step": arguments.step}
    if arguments.optimiser == "lbfgs":
        if step:
            raise CapabilityError("no --step with lbfgs", f"{arguments.step:g}")
        return LBFGS(steps=arguments.steps)
    return (Adam if arguments.optimiser == "adam" else ProjectedGradient)(steps=arguments.steps, **step)


def _generator(lab: Lab, arguments: Any, seeds: Sample, train: Sample, seed: int, tick: Tick) -> tuple[Any, Any]:
    """What is optimised, and where it starts."""
    low, high = lab.task.low, lab.task.high
    if arguments.leader == "pixels":
        rows = lab.risk.rows(seeds.X).double()
        return DirectRows(tuple(rows.shape), Box(low, high)), rows.reshape(-1)
    first = lab.risk.layout.first
    with torch.random.fork_rng(devices=[first.device.index or 0] if first.is_cuda else []):
        torch.manual_seed(seed)
        module = _network(lab).to(first.device, first.dtype)
    leader = LeaderNetwork(module, seeds, chunk=arguments.chunk)
    if arguments.pretrain == 0:
        return leader, leader.current
    told = f"seed {seed}: pretraining the attacker, epoch "
    phi = pretrain(
        leader,
        train,
        epochs=arguments.pretrain,
        seed=seed,
        progress=lambda e, loss: tick(f"{told}{e}/{arguments.pretrain}: error {loss:.5f}"),
    )
    return leader, phi


def _network(lab: Lab) -> Any:
    """The attacker's, with weights from torch's generator."""
    task = lab.task
    kind = ConvLeader if len(task.shape) == 3 and task.shape[0] > 1 else DenseLeader
    return kind(task.shape, task.classes, task.low, task.high)
