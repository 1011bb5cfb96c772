"""The attacks of the command line, from its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from linpoison.attacks import Attack, RandomFlips
from linpoison.attacks.gradient import (
    TGDA,
    AlternatingMinMax,
    BackGradient,
    Canceler,
    GradPC,
    MetaPoison,
    Pixels,
    Relabeled,
    SpectralCap,
)
from linpoison.attacks.minmax_paper import AdaGradLoop
from linpoison.core import CapabilityError, Domain, InputError, check_integer, check_number
from linpoison.risk.descent import LBFGS, Adam, ProjectedGradient
from linpoison.risk.samples import Sample
from linpoison.risk.solvers import SOLVERS

from .cli_data import Task
from .leaders import LeaderNetwork, pretrain
from .learner import Mass, NetworkLearner
from .models import ConvLeader, DenseLeader
from .need_torch import torch
from .pgan import PGAN
from .recolor import Recoloring, bounds_of
from .torch_modules import Layout


def flip(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """Clean rows with wrong labels."""
    return RandomFlips(draws=1, rule=arguments.rule)


def gc(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """Gradient canceling at a target of GradPC. With ``--optimiser lbfgs`` it keeps nothing in its middle."""
    names = _names(arguments.params)
    Layout(learner.risk.module, names)
    return Canceler(_optimiser(arguments), targets=target_rule(arguments), params=names)


def tgda(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """A game on a part of the training rows; the rest is the attacker's to measure by."""
    check_integer(arguments.pretrain, "--pretrain", at_least=0)
    learner.risk = learner.risk.stepping_in(arguments.follower_precision)
    source: Any = Pixels()
    if arguments.leader == "network":
        source = Autoencoder(task.shape, task.train.k, arguments.pretrain, arguments.chunk)
        with torch.device("meta"):
            source.network(task.low, task.high)
    return TGDA(
        epochs=arguments.epochs,
        leader_steps=arguments.leader_steps,
        follower_steps=arguments.follower_steps,
        leader_step=arguments.leader_step,
        follower_step=arguments.follower_step,
        rule=arguments.rule,
        batch_size=arguments.batch_size,
        solver=SOLVERS[arguments.solver](relative_damping=arguments.damping, maxiter=arguments.solver_steps),
        order=arguments.order,
        start=arguments.start,
        game=arguments.game,
        validation=arguments.validation,
        source=source,
        cap=None if arguments.past_sever is None else SpectralCap(arguments.past_sever, share_of(arguments)),
    )


def share_of(arguments: Any) -> float:
    """Of the poison in all rows, which a defender is told."""
    epsilon = check_number(arguments.epsilon, "epsilon", above=0)
    return epsilon / (1 + epsilon)


def back_gradient(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """The derivative through one training."""
    return BackGradient(
        arguments.unrolled,
        start=arguments.start,
        optimiser=Adam(arguments.step, steps=arguments.steps),
        flipped=arguments.labels == "flipped",
        **_unrolled(arguments),
    )


def metapoison(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """The derivative through a few steps of an ensemble; against some rows with ``--target``."""
    options = _unrolled(arguments)
    if arguments.target is not None:
        options |= {"labels": "adversary", "validation": None}
    source: Any = Pixels(near=arguments.near)
    if arguments.colour is not None:
        source = Recoloring(arguments.near or 0.0, arguments.colour)
    return MetaPoison(
        arguments.models,
        arguments.unrolled,
        arguments.epochs,
        optimiser=Adam(arguments.step, steps=arguments.steps, signed=arguments.signed),
        source=source,
        flipped=arguments.labels == "flipped",
        **options,
    )


def min_max(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """Rows of greatest loss, with a decoy or without."""
    decoys = {"none": None, "relabeled": Relabeled(), "gradpc": GradPC(relative_radius=0.5)}
    return AlternatingMinMax(
        AdaGradLoop(arguments.rate, arguments.repeats),
        labels=arguments.labels,
        tries=arguments.tries,
        ascent=arguments.ascent,
        step=arguments.step,
        batch_size=arguments.batch_size,
        decoy=decoys[arguments.decoy],
        most_loss=arguments.most_loss,
    )


def pgan(arguments: Any, task: Task, learner: NetworkLearner) -> Attack:
    """A generator against a discriminator and the learner."""
    names = ("alpha", "share", "epochs", "batch_size", "step", "follower_step")
    return PGAN(**{name: getattr(arguments, name) for name in names})


def _unrolled(arguments: Any) -> dict[str, Any]:
    """What the attacks through training have in common."""
    return {
        "training_step": arguments.unrolled_step,
        "batch_size": arguments.unrolled_batch,
        "validation": arguments.validation,
    }


def gradpc(arguments: Any, task: Task, learner: NetworkLearner) -> GradPC:
    """No attack, but what one is to plant."""
    return target_rule(arguments)


ATTACKS: dict[str, Callable[[Any, Task, NetworkLearner], Any]] = {
    "gc": gc, "tgda": tgda, "gradpc": gradpc, "flip": flip, "back-gradient": back_gradient, "min-max": min_max,
    "metapoison": metapoison, "pgan": pgan,
}  # fmt: skip
"""Command -> the attack, all of its arguments checked."""


def attack_of(arguments: Any, task: Task, learner: NetworkLearner) -> Any:
    """The attack of a command, or the rule of ``gradpc``; its budget is checked too."""
    if hasattr(arguments, "epsilon"):
        Mass(arguments.epsilon).count(task.train.n)
    return ATTACKS[arguments.command](arguments, task, learner)


@dataclass(frozen=True)
class Autoencoder:
    """A `Source` of TGDA: the weights of a network that is given clean rows, and at first returns them.

    Parameters
    ----------
    shape : tuple of int
        Of a row.
    classes : int
    epochs : int, default 10
        Of learning to return rows; 0 for random weights.
    chunk : int, default 2048
        Rows at a time.
    """

    shape: tuple[int, ...]
    classes: int
    epochs: int = 10
    chunk: int = 2048

    def network(self, low: float, high: float) -> Any:
        """The attacker's, with weights from torch's generator."""
        kind = ConvLeader if len(self.shape) == 3 and self.shape[0] > 1 else DenseLeader
        return kind(self.shape, self.classes, low, high)

    def begin(self, view: Any, domain: Domain, seeds: Sample, train: Sample, seed: int, middle: Any) -> Any:
        """The leader, and its weights."""
        first = view.risk.layout.first
        ends = bounds_of(domain, "for the attacker's network")
        low, high = float(ends[0].min()), float(ends[1].max())
        with torch.random.fork_rng(devices=[first.device.index or 0] if first.is_cuda else []):
            torch.manual_seed(seed)
            module = self.network(low, high).to(first.device, first.dtype)
        leader = LeaderNetwork(module, seeds, chunk=self.chunk)
        if self.epochs == 0:
            return leader, leader.current
        told = lambda epoch, loss: middle.say(epoch, self.epochs, "pretraining the attacker")  # noqa: E731
        return leader, pretrain(leader, train, epochs=self.epochs, seed=seed, progress=told)


def _names(text: str | None) -> tuple[str, ...] | None:
    """The parameters of a comma list; None for all of them."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        remedy = "Leave --params out for all."
        raise InputError("--params as names of parameters with commas between them", repr(text), remedy)
    return names


def target_rule(arguments: Any) -> GradPC:
    """The rule of the parameters to plant."""
    relative = arguments.relative_radius
    if relative is None and arguments.radius is None:
        relative = 0.5
    return GradPC(radius=arguments.radius, relative_radius=relative, steps=arguments.target_steps)


def _optimiser(arguments: Any) -> Any:
    step = {} if arguments.step is None else {"step": arguments.step}
    if arguments.optimiser == "lbfgs":
        if step:
            raise CapabilityError("no --step with lbfgs", f"{arguments.step:g}")
        return LBFGS(steps=arguments.steps)
    return (Adam if arguments.optimiser == "adam" else ProjectedGradient)(steps=arguments.steps, **step)
