"""Poison by a generator against a discriminator and the learner at once: pGAN."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from linpoison.attacks import Attack, Run, Scenario
from linpoison.attacks.gradient.stage import Stage, steps_of_draws
from linpoison.core import CapabilityError, SolverFailed, check_integers, check_number
from linpoison.core.results import Candidate
from linpoison.risk.arrays import per_row
from linpoison.risk.descent import Progress, silent
from linpoison.risk.protocols import Vector
from linpoison.risk.ranks import Alone
from linpoison.risk.samples import Held, Sample

from .need_torch import torch
from .recolor import bounds_of
from .torch_modules import fresh

nn, functional = torch.nn, torch.nn.functional
_DIVERGED = "the game diverges: its numbers are not finite. Take smaller steps."


@dataclass(frozen=True)
class PGAN(Attack):
    """A generator of poison that a discriminator takes for clean rows of their label, and a learner gets wrong.

    ::

        min_G max_(D, w)   alpha V(D, G)  +  (1 - alpha) W(w, G)

        V = E log D(x, y) + E log(1 - D(G(z, y), y)),      W = - share E l(G(z, y), y; w) - (1 - share) E l(x, y; w)

    with x, y a clean row and its label, drawn by weight, and z uniform noise. D and G take steps of Adam, the learner
    steps of length `follower_step`. `alpha` weighs detectability against damage: at 1 poison is what a GAN makes of
    clean rows, at 0 whatever has the greatest loss. The generator's slope of V is that of ``-log D``, as usual; that of
    W is without the factor `share`, so that `alpha` alone weighs the two.

    Parameters
    ----------
    alpha : float, default 0.5
    share : float, default 0.5
        Of poison in the learner's steps during the game.
    epochs : int, default 20
        Passes over the training rows.
    batch_size : int, default 100
    step : float, default 2e-4
        Of Adam, for both networks.
    follower_step : float, default 0.1
        Of the learner's gradient descent.
    noise : int, default 32
        Entries of z.
    width : int, default 256
        Of two hidden layers of each network.
    draws : int, default 1
        Games with other random numbers; the best poison is kept.

    References
    ----------
    Munoz-Gonzalez, Pfitzner, Russo, Carnerero-Cano, Lupu, "Poisoning attacks with generative adversarial nets", 2019,
    equations (1) to (4). There the label of the poison is one class; here labels are those of drawn clean rows.

    Examples
    --------
    >>> from deep import NetworkLearner, SGDTrainer, TorchRisk
    >>> from linpoison.core import Dataset, Domain
    >>> X = np.random.default_rng(0).uniform(size=(60, 2))
    >>> rows = Dataset.coded(X, (X[:, 0] > 0.5).astype(int), domain=Domain.box(0.0, 1.0, 2))
    >>> learner = NetworkLearner(TorchRisk(nn.Linear(2, 2)), SGDTrainer(epochs=2))
    >>> result = PGAN(epochs=2, batch_size=20).run(learner.scenario(rows, rows, 0.1))
    >>> result.poison.total, result.name
    (6.0, 'pgan')
    """

    name: ClassVar[str] = "pgan"
    many_classes: ClassVar[bool] = True
    alpha: float = 0.5
    share: float = 0.5
    epochs: int = 20
    batch_size: int = 100
    step: float = 2e-4
    follower_step: float = 0.1
    noise: int = 32
    width: int = 256
    draws: int = 1

    def __post_init__(self) -> None:
        check_number(self.alpha, "alpha", at_least=0, at_most=1)
        check_number(self.share, "share", above=0, below=1)
        for name in ("step", "follower_step"):
            check_number(getattr(self, name), name, above=0)
        check_integers(self, "epochs", "batch_size", "noise", "width", "draws", at_least=1)

    def _check(self, scenario: Scenario) -> None:
        super()._check(scenario)
        if not hasattr(Stage(scenario).risk, "module"):
            raise CapabilityError("a network as the learner, for pgan", type(Stage(scenario).risk).__name__)

    def _search(self, scenario: Scenario, run: Run) -> list[Candidate]:
        """One game for each draw."""
        return steps_of_draws(self, generated, scenario, run)

    def play(
        self,
        risk: Any,
        w: Vector,
        clean: Sample,
        bounds: tuple[Any, Any],
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Game:
        """The game from untrained networks and the parameters `w`.

        Parameters
        ----------
        risk : TorchRisk
            Of the learner; of cross-entropy or a loss of the margin.
        w : tensor
        clean : Sample
        bounds : pair of float or ndarray of shape (d,)
            The range of the generator's entries.
        seed : int, default 0
        progress : callable, optional
            Called with the epoch and the mean loss of generated rows under the learner.

        Raises
        ------
        SolverFailed
            If the numbers stop being finite.
        """
        held, rng = risk.held(clean), torch.Generator().manual_seed(seed)
        game = Game(self, risk, held, risk.vector(w), bounds, seed)
        with risk.steady():
            for epoch in range(self.epochs):
                losses = [game.turn(part, rng) for part in _parts(len(held.mass), self.batch_size, rng)]
                loss = float(torch.stack(losses).mean())
                if not np.isfinite(loss):
                    raise SolverFailed(_DIVERGED)
                progress(epoch + 1, loss)
        return game


class Game:
    """Generator, discriminator and learner, and a turn of each.

    Parameters
    ----------
    attack : PGAN
    risk : TorchRisk
    clean : Held
    w : tensor
    bounds, seed
        As for `PGAN.play`.
    """

    def __init__(self, attack: PGAN, risk: Any, clean: Held, w: Any, bounds: tuple[Any, Any], seed: int) -> None:
        self.attack, self.risk, self.clean, self.w = attack, risk, clean, w
        self.shape, kind = tuple(clean.X.shape[1:]), clean.X
        self.low, self.high = (torch.as_tensor(end).to(kind) for end in bounds)
        self.codes = 2 if risk.margin_loss is not None else int(clean.y.max()) + 1
        d, ends = prod(self.shape), (attack.noise + self.codes, prod(self.shape) + self.codes)
        made = [_network(ends[0], attack.width, d), _network(ends[1], attack.width, 1)]
        nets = [
            fresh(part, seed + place, [name for name, _ in part.named_parameters()]) for place, part in enumerate(made)
        ]
        self.generator, self.discriminator = (net.to(kind.device, kind.dtype).train() for net in nets)
        rules = (torch.optim.Adam(net.parameters(), lr=attack.step, betas=(0.5, 0.999)) for net in nets)
        self.generator_rule, self.discriminator_rule = rules

    def rows(self, y: Any, rng: Any) -> Any:
        """Generated rows with labels `y`, with their graph."""
        z = (2 * torch.rand(len(y), self.attack.noise, generator=rng) - 1).to(self.clean.X)
        squashed = torch.tanh(self.generator(torch.cat([z, self._coded(y)], dim=1)))
        return (self.low + (self.high - self.low) * (squashed + 1) / 2).reshape(-1, *self.shape)

    def turn(self, part: Any, rng: Any) -> Any:
        """A step of the discriminator, one of the learner and one of the generator; the loss of its rows."""
        X, y = self.clean.X[part], self.clean.y[part]
        share = (self.clean.mass[part] * (len(self.clean.mass) / self.clean.total / len(part))).to(X)
        with torch.enable_grad():
            made = self.rows(y, rng)
            self._discriminate(X, made.detach(), y, share)
        self._learn(X, made.detach(), y, share)
        return self._generate(made, y, share)

    def _discriminate(self, X: Any, made: Any, y: Any, share: Any) -> None:
        real, false = self.logits(X, y), self.logits(made, y)
        loss = share @ (functional.softplus(-real) + functional.softplus(false))
        self.discriminator_rule.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_rule.step()

    def _learn(self, X: Any, made: Any, y: Any, share: Any) -> None:
        weights = torch.cat([(1 - self.attack.share) * share, self.attack.share * share])
        both, labels = torch.cat([X, made]), torch.cat([y, y])
        options: Any = {"steps": 1, "length": self.attack.follower_step, "ranks": Alone()}
        self.w = self.risk.descended(self.w, both, labels, weights, **options)

    def _generate(self, made: Any, y: Any, share: Any) -> Any:
        """The slope of the learner's loss in the rows comes from the risk, that of the discriminator from its graph."""
        alpha, rows = self.attack.alpha, made.detach()
        up = per_row(share, rows) * self.risk.row_grad(self.w, rows, y)
        seen = rows.clone().requires_grad_()
        with torch.enable_grad():
            (fooled,) = torch.autograd.grad(share @ functional.softplus(-self.logits(seen, y)), seen)
        self.generator_rule.zero_grad(set_to_none=True)
        made.backward(alpha * fooled - (1 - alpha) * up)
        self.generator_rule.step()
        return share.double() @ self.risk.loss(self.w, rows, y)

    def logits(self, X: Any, y: Any) -> Any:
        """Of the probability with which the discriminator takes rows for clean ones of their labels."""
        return self.discriminator(torch.cat([X.flatten(1), self._coded(y)], dim=1))[:, 0]

    def _coded(self, y: Any) -> Any:
        codes = (y > 0).long() if self.risk.margin_loss is not None else y
        return functional.one_hot(codes, self.codes).to(self.clean.X)


def _network(inputs: int, width: int, outputs: int) -> Any:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


def _parts(n: int, size: int, rng: Any) -> Any:
    return torch.randperm(n, generator=rng).split(size)


def generated(started: float, attack: PGAN, stage: Stage, middle: Any, seed: int) -> Any:
    """One game, and as many of the generator's rows as the budget buys, with labels of clean rows."""
    began, bounds = time.perf_counter(), bounds_of(stage.scenario.train.domain, "for the generator")
    game = attack.play(
        stage.risk, stage.w, stage.train, bounds, seed=seed,
        progress=lambda epoch, loss: middle.say(epoch, attack.epochs, attack.name),
    )  # fmt: skip
    seeds = stage.drawn(seed)
    y = stage.risk.targets(seeds.y, seeds.X)
    with torch.no_grad():
        X = game.rows(y, torch.Generator().manual_seed(seed))
        taken = float(torch.sigmoid(game.logits(X, y)).mean())
    if not np.isfinite(taken):
        raise SolverFailed(_DIVERGED)
    facts = {"attack_seconds": time.perf_counter() - began, "taken_for_clean": taken}
    return stage.step(started, Sample(X, seeds.y), seed, f"a game of {attack.epochs} epochs", facts=facts)
