"""The baselines of Lu's thesis on networks, within the range of pixels: Tables 2.2, 2.3, 2.10 and Figure 2.4.

    LINPOISON_DATA=FOLDER python experiments/limits/baselines.py --out DIR [--data mnist] [--model nn]
        [--attacks NAME ...] [--epsilon 0.03 ...] [--victims N] [--onto MODEL ...] [--behind] [--name TABLE]
        [--full] [--quick]

Every poison is made once, by an attacker with the training rows, further ones to judge by, and learners of seed 0;
then learners of other seeds train from scratch on clean rows and poison. Drops are of the accuracy on all test rows at
the last epoch, paired by the learner's seed, with Student's interval of 95 %. All poison is in [0, 1].

flip
    labels 9 - y (thesis: 10 - y), clean rows drawn at random.
random flip
    any other label.
cluster
    not in the thesis: the rows of a class around the center that is taken most often for another class, with
    that label (`limits_lab.confused_cluster`); 1.6 copies of each.
min-max, i-min-max
    `AlternatingMinMax`, without and with a decoy (`Relabeled`, of six the one that costs logistic regression most on
    the attacker's rows).
back-gradient
    `BackGradient` from flipped rows; as published from 100 steps of training that begin anew.
TGDA
    the pixels moved, in a game with the learner.
TGDA past SEVER, TGDA past SEVER 0.1
    the same, but the attacker pays for rows whose gradients SEVER would find (`SpectralCap`, of weight 1 and 0.1):
    thesis, 2.6.6 (b), where it is proposed and not tried.
MetaPoison, MetaPoison free
    `MetaPoison` untargeted, pixels within 8/255 and colours within 0.04 as published; anywhere in [0, 1].
pGAN 0.1, pGAN 0.9
    `deep.PGAN` with two weights of not being detected.

"behind loss" (``--behind``, of the attacks in `DEFENDED`, two learners): the loss defence drops as many rows as there
is poison, those of greatest loss under what is learned from all (TRIM, one round). "taken" is the share of the poison
that this takes. "change" is the largest change of a pixel from the clean row that it came from, then the mean.

``--defences`` (a second table, NAME-behind; every attack and learner): loss, as above; SEVER, of each class as large a
share as the poison is of all rows, one round; influence, the same share of each class by what a row does to the loss of
the first 5 % of the clean rows, in one solve; MaxUp, nothing is dropped and the worst of four copies of each row of a
batch is learned, moved by normal numbers of deviation 0.1. "more than without" is the drop less that without a defence,
"clean rows alone" what the defence costs where there is no poison; all differences are paired by the learner's seed.

Sizes are those of two CPU cores (`SIZES`); ``--full`` is the thesis' (60000 rows, 100 epochs in batches of 1000, 200
epochs of TGDA, 24 models of MetaPoison, NN 784-784-784-10). Not run; estimated at half an hour of an H200 for LR and NN
each, at two hours for the CNN, and at a day for ResNet-18, for which the thesis took 162 hours of eight older ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limits_lab import confused_cluster, interval, rows_of, spread, write
from thesis_figures import BEHIND, THESIS, TRANSFER, WITH, thesis_of

from deep import PGAN, NetworkLearner, Recoloring, SGDTrainer, TorchRisk, make_model
from linpoison.attacks import Attack, RandomFlips
from linpoison.attacks.gradient import (
    TGDA,
    AlternatingMinMax,
    BackGradient,
    MetaPoison,
    Relabeled,
    SpectralCap,
)
from linpoison.attacks.gradient.stage import Stage
from linpoison.core import Dataset, Domain, Poison
from linpoison.core.journal import FolderJournal, Scoped
from linpoison.defenses import SEVER, TRIM, Defense, InfluenceDefense
from linpoison.risk import MINRES, Adam

RATIO = 1.6
"""Copies of a row of the cluster."""
NETWORKS = {"lr": "lr", "nn": "gc-nn", "cnn": "cnn", "cifar-cnn": "lenet", "resnet": "resnet18-thin"}
"""Of `make_model`."""
WHOLE_NETWORKS = {**NETWORKS, "nn": "nn", "resnet": "resnet18"}
"""With ``--full``: the thesis' own."""
COLOURED = ("cifar-cnn", "resnet")
"""Those that the thesis learns from CIFAR-10."""


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    rows: int
    epochs: int
    batch: int
    unrolled: int = 100
    descent: int = 30
    game: int = 40
    models: int = 8
    crafting: int = 30
    generator: int = 40
    tries: int = 32
    judges: int = 1000

    def trainer(self) -> SGDTrainer:
        """The learner's recipe."""
        return SGDTrainer(self.epochs, self.batch, step=0.1)


SIZES = {
    "lr": Size(3000, 20, 100, unrolled=60, descent=20),
    "nn": Size(3000, 20, 100, unrolled=40, descent=15, game=10, models=4, crafting=20, generator=20),
    "cnn": Size(1000, 6, 50, unrolled=12, descent=6, game=2, models=2, crafting=6, generator=20, tries=8, judges=500),
    "cifar-cnn": Size(
        2000, 20, 50, unrolled=12, descent=6, game=2, models=3, crafting=8, generator=20, tries=8, judges=500
    ),
    "resnet": Size(600, 8, 50, unrolled=4, descent=4, game=2, models=2, crafting=4, generator=5, tries=8, judges=200),
}
FULL = Size(60000, 100, 1000, unrolled=200, descent=60, game=200, models=24, crafting=60, generator=100)
QUICK = Size(120, 3, 40, unrolled=3, descent=2, game=1, models=2, crafting=1, generator=2, tries=4, judges=60)

DEFENDED = ("flip", "cluster", "TGDA", "pGAN 0.1", "pGAN 0.9")
HEADER = ("model", "epsilon", "attack", "clean", "drop", "thesis", "change", "behind loss", "thesis, behind", "taken",
          "CPU s", "victims")  # fmt: skip
SECOND = ("model", "epsilon", "attack", "defence", "drop", "more than without", "clean rows alone",
          "more than the first attack", "thesis", "taken", "victims")  # fmt: skip


def attacks_of(size: Size) -> dict[str, Attack]:
    """The attacks by name, but the cluster."""
    adam, signed = Adam(0.05, steps=size.descent), Adam(0.02, steps=size.crafting, signed=True)
    meta = MetaPoison(size.models, epochs=min(size.epochs, 20), batch_size=size.batch, optimiser=signed)
    pgan = PGAN(epochs=size.generator, batch_size=size.batch)
    walk = AlternatingMinMax(tries=size.tries, batch_size=2 * size.batch)
    game = TGDA(
        epochs=size.game, rule="adam", leader_step=0.02, follower_steps=5, batch_size=500, solver=MINRES(maxiter=8)
    )
    return {
        "flip": RandomFlips(draws=1, rule="reverse"),
        "random flip": RandomFlips(draws=1),
        "min-max": walk,
        "i-min-max": replace(walk, decoy=Relabeled(0.4, copies=4, steps=300, step=0.3), most_loss=0.5),
        "back-gradient": BackGradient(size.unrolled, batch_size=size.batch, optimiser=adam),
        "TGDA": game,
        "TGDA past SEVER": replace(game, cap=SpectralCap(1.0)),
        "TGDA past SEVER 0.1": replace(game, cap=SpectralCap(0.1)),
        "MetaPoison": replace(meta, source=Recoloring(8 / 255, 0.04)),
        "MetaPoison free": meta,
        "pGAN 0.1": replace(pgan, alpha=0.1),
        "pGAN 0.9": replace(pgan, alpha=0.9),
    }


NAMES = ["flip", "random flip", "cluster", *list(attacks_of(QUICK))[2:]]


class Lab:
    """Rows, learners and poisons of one model, all kept in a folder.

    Parameters
    ----------
    model : str
    data : {"mnist", "cifar10_small"}
    out : Path
    size : Size
    quick, full : bool
    """

    def __init__(self, model: str, data: str, out: Path, size: Size, *, quick: bool, full: bool) -> None:
        self.model, self.size = model, size
        self.thesis = model if (model in COLOURED) == (data == "cifar10_small") else ""  # no figures of other pairs
        train, self.test, shape = rows(data, size, quick)
        self.train, self.judges = train.take(np.arange(size.rows)), train.take(np.arange(size.rows, train.n))
        torch.manual_seed(0)
        network = make_model((WHOLE_NETWORKS if full else NETWORKS)[model], shape, 10)
        self.risk, self.shape = TorchRisk(network, chunk=4096), shape
        self.journal = FolderJournal(out / "journal", f"{model}/{data}/{size}/")

    def learner(self, seed: int, trainer: SGDTrainer | None = None) -> NetworkLearner:
        """Of a seed, by the recipe unless told."""
        kept = Scoped(self.journal, "learner/")
        return NetworkLearner(self.risk, trainer or self.size.trainer(), shape=self.shape, seed=seed, journal=kept)

    def accuracy(self, data: Dataset, seed: int) -> float:
        """In percent, on the test rows, of what a seed learns."""
        return 100 * (1 - self.learner(seed).fit(data).error(self.test))

    def poison(self, name: str, epsilon: float) -> tuple[Poison, float]:
        """The poison of an attack and its processor time, from the journal if it is there."""
        key = f"poison/{name}/{epsilon:g}"
        found = self.journal.get(key)
        if found is None:
            print(f"{self.model}: {name}, {epsilon:g}", file=sys.stderr, flush=True)
            began = time.process_time()
            made = self.cluster(epsilon) if name == "cluster" else self.attacked(name, epsilon)
            seconds = time.process_time() - began
            self.journal.put(key, {"X": made.X, "y": made.y, "count": made.count, "seconds": np.array(seconds)})
            found = self.journal.get(key) or {}
        return Poison(found["X"], found["y"], found["count"], 10), float(found["seconds"])

    def attacked(self, name: str, epsilon: float) -> Poison:
        """By `Attack.run`, in the order in which its rows were made."""
        learner = self.learner(0)
        scenario = learner.scenario(self.train, self.judges, epsilon)
        return attacks_of(self.size)[name].run(scenario, seed=0).best.relaxed

    def cluster(self, epsilon: float) -> Poison:
        """The baseline without a derivative."""
        module = self.learner(0).fit(self.train).trained.risk.module
        X = torch.tensor(self.train.X, dtype=torch.float32).reshape(-1, *self.shape)
        part, label = confused_cluster(
            module, X, torch.as_tensor(self.train.codes), round(epsilon * self.train.n), RATIO
        )
        return Poison(self.train.X[part], np.full(len(part), float(label)), np.ones(len(part)), 10)

    def change(self, name: str, epsilon: float, poison: Poison) -> str:
        """The largest and the mean change of a pixel, of attacks that move clean rows."""
        if name in ("flip", "random flip", "cluster"):
            return "0"
        rows = attacks_of(self.size)[name].first_rows(
            Stage(self.learner(0).scenario(self.train, self.judges, epsilon)), 0
        )
        if rows is None:
            return "-"
        moved = np.abs(poison.X - np.asarray(rows.X).reshape(poison.X.shape))
        return f"{moved.max():.2f}, {moved.mean():.3f}"

    def behind(self, name: str, epsilon: float, seed: int, defence: str = "loss") -> tuple[float, float]:
        """Accuracy behind a defence, and the share of the poison that it takes; of the attack "" there is none."""
        key = f"behind {defence}/{name}/{epsilon:g}/{seed}"
        found = self.journal.get(key)
        if found is None:
            print(f"{self.model}: {name or 'clean'} behind {defence}, learner {seed}", file=sys.stderr, flush=True)
            copies, learner = round(epsilon * self.train.n), self.learner(seed)
            mixed = self.train.mix(self.poison(name, epsilon)[0].expanded()) if name else self.train
            kept = np.arange(mixed.n)
            if defence == "MaxUp":
                learner = self.learner(seed, replace(self.size.trainer(), copies=4, noise=0.1))
            else:
                kept = self.rule(defence, copies, learner).fit(mixed.X, mixed.y).sample_indices_
            taken = 1 - (kept >= self.train.n).sum() / copies if name else 0.0
            reached = 100 * (1 - learner.fit(mixed.take(kept)).error(self.test))
            self.journal.put(key, {"accuracy": np.array(reached), "taken": np.array(taken)})
            found = self.journal.get(key) or {}
        return float(found["accuracy"]), float(found["taken"])

    def rule(self, defence: str, copies: float, learner: NetworkLearner) -> Defense:
        """A defence that is told how many rows are poison."""
        share, rows = copies / (self.train.n + copies), learner.row_learner()
        if defence == "loss":
            return TRIM(share, rows, rounds=1)
        if defence == "SEVER":
            return SEVER(share, rows, rounds=1)
        known = self.train.take(np.arange(max(round(0.05 * self.train.n), 10)))
        return InfluenceDefense(share, rows, (known.X, known.y))

    def lines_behind(
        self, name: str, first: str, epsilon: float, victims: Sequence[int], defences: Sequence[str]
    ) -> list[Any]:
        """Of the second table: what is lost to learners on clean rows without a defence, first without one.

        And how much more than by the `first` attack.
        """
        lost = self.drops(self.poison(name, epsilon)[0], victims)
        lines = [[self.model, f"{epsilon:g}", name, "none", interval(lost), *"-----", str(len(victims))]]
        for defence in defences:
            found = [self.behind(name, epsilon, seed, defence) for seed in victims]
            rival = [self.behind(first, epsilon, seed, defence)[0] for seed in victims]
            ahead = interval([other - reached for other, (reached, _) in zip(rival, found, strict=True)])
            behind = [self.clean[seed] - reached for seed, (reached, _) in zip(victims, found, strict=True)]
            gained = interval([after - before for after, before in zip(behind, lost, strict=True)])
            alone = interval([self.clean[seed] - self.behind("", epsilon, seed, defence)[0] for seed in victims])
            taken = f"{100 * np.mean([share for _, share in found]):.0f} %"
            thesis = thesis_of(WITH[defence], self.thesis, name, epsilon)
            lines.append([self.model, f"{epsilon:g}", name, defence, interval(behind), gained, alone,
                          "-" if name == first else ahead, thesis, taken, str(len(victims))])  # fmt: skip
        return lines

    @cached_property
    def clean(self) -> dict[int, float]:
        """Accuracies by seed, as far as they were asked for."""
        return {}

    def drops(self, poison: Poison, victims: Sequence[int]) -> list[float]:
        """Paired by seed."""
        mixed, found = self.train.mix(poison.expanded()), []
        for seed in victims:
            if seed not in self.clean:
                self.clean[seed] = self.accuracy(self.train, seed)
            found.append(self.clean[seed] - self.accuracy(mixed, seed))
        return found

    def line(self, name: str, epsilon: float, victims: Sequence[int], *, behind: bool) -> list[str]:
        """Of the table."""
        poison, seconds = self.poison(name, epsilon)
        drops = self.drops(poison, victims)
        told = ["-", "-", "-"]
        if behind and name in DEFENDED:
            found = [self.behind(name, epsilon, seed) for seed in victims[:2]]
            lost = [self.clean[seed] - reached for seed, (reached, _) in zip(victims, found, strict=False)]
            taken = f"{100 * np.mean([share for _, share in found]):.0f} %"
            told = [f"{np.mean(lost):.2f}", thesis_of(BEHIND, self.thesis, name, epsilon), taken]
        clean = spread([self.clean[seed] for seed in victims])
        thesis = thesis_of(THESIS, self.thesis, name, epsilon)
        change = self.change(name, epsilon, poison)
        return [self.model, f"{epsilon:g}", name, clean, interval(drops), thesis, change, *told, f"{seconds:.0f}",
                str(len(victims))]  # fmt: skip


def rows(data: str, size: Size, quick: bool) -> tuple[Dataset, Dataset, tuple[int, ...]]:
    """Training rows, as many as the size has and those to judge by, and test rows; pixels in [0, 1]."""
    shape: tuple[int, ...]
    if data == "cifar10_small" and not quick:
        from linpoison.datasets.store import data_folder

        with np.load(data_folder() / "cifar10_small.npz") as stored:
            X, y, X_test, y_test = (stored[name] for name in ("X_train", "y_train", "X_test", "y_test"))
        X, X_test = (np.moveaxis(part, 3, 1) / 255 for part in (X, X_test))
    else:
        train, test = rows_of(quick)
        (X, y), (X_test, y_test) = ((np.asarray(part.X), np.asarray(part.y)) for part in (train, test))
    shape = X.shape[1:]
    order = np.random.default_rng(0).permutation(len(X))[: size.rows + size.judges]
    flat = [part.reshape(len(part), -1).astype(np.float64) for part in (X[order], X_test)]
    box = Domain.box(0.0, 1.0, flat[0].shape[1])
    labels = (y[order].astype(int), y_test.astype(int))
    made = [Dataset.coded(part, codes, n_classes=10, domain=box) for part, codes in zip(flat, labels, strict=True)]
    return made[0], made[1], shape


def main(argv: Sequence[str] | None = None) -> int:
    """Make the poisons, learn, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; a run there resumes")
    parser.add_argument("--data", choices=("mnist", "cifar10_small"), default="mnist")
    parser.add_argument("--model", choices=list(SIZES), default="nn")
    parser.add_argument("--attacks", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--epsilon", nargs="+", type=float, default=[0.03], metavar="E")
    parser.add_argument("--victims", type=int, default=4, metavar="N", help="learners (default: %(default)s)")
    parser.add_argument("--onto", nargs="*", choices=("lr", "nn", "cnn"), default=[], help="other models that learn it")
    parser.add_argument("--behind", action="store_true", help="the loss defence too")
    parser.add_argument("--defences", nargs="*", choices=list(WITH), default=[], help="those of the second table")
    parser.add_argument("--name", default=None, help="of the table (default: baselines-MODEL)")
    parser.add_argument("--full", action="store_true", help="the thesis' sizes, for a GPU")
    parser.add_argument("--quick", action="store_true", help="120 digits")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    kinds = {"quick": given.quick, "full": given.full}
    size = QUICK if given.quick else FULL if given.full else SIZES[given.model]
    lab = Lab(given.model, given.data, given.out, size, **kinds)
    victims, name = range(1, given.victims + 1), given.name or f"baselines-{given.model}"
    lines = []
    for epsilon in given.epsilon:
        for attack in given.attacks:
            lines.append(lab.line(attack, epsilon, victims, behind=given.behind))
            write(given.out, name, HEADER, lines)
    lines = []
    for epsilon in given.epsilon if given.defences else ():
        for attack in given.attacks:
            lines += lab.lines_behind(attack, given.attacks[0], epsilon, victims, given.defences)
            write(given.out, f"{name}-behind", SECOND, lines)
    moved: list[list[str]] = []
    for other in given.onto:
        onto = Lab(other, given.data, given.out, replace(SIZES[other], rows=size.rows, judges=size.judges)
                   if not (given.quick or given.full) else size, **kinds)  # fmt: skip
        for attack in given.attacks:
            drops = onto.drops(lab.poison(attack, given.epsilon[0])[0], victims)
            thesis = TRANSFER.get(lab.thesis, {}).get(other, "-") if attack == "TGDA" else "-"
            moved.append([given.model, other, attack, interval(drops), thesis, str(len(victims))])
            write(given.out, f"{name}-onto", ("poison of", "learner", "attack", "drop", "thesis", "victims"), moved)
    return 0


if __name__ == "__main__":
    sys.exit(main())
