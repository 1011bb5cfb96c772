"""One whole cluster of clean pictures with another label, and poison optimised from there, within [0, 1], on an NN.

    LINPOISON_DATA=FOLDER python experiments/limits/cluster_start.py --out DIR [--seeds 10] [--quick]

6000 rows of MNIST, the NN 784-128-10, 30 epochs of SGD in batches of 100 with step 0.1, 3 % of poison (180 rows). The
attacker has the training rows, 2000 more of the training file to judge by, and networks of its own seeds; never a test
row.

* cluster: the rows of a class are clustered by k-means on what the last layer is given; the 112 rows around the center
  that is taken most often for another class get that label, and are repeated to 180.
* canceling: gradient canceling from there of the parameters learned with three times as much of the cluster.
* matching: gradient matching from there with the reversed loss (labels "true"), at what is learned with the cluster.
* unrolled: Adam on the pixels through four steps of training, from checkpoints of a training with the cluster, against
  the loss of the attacker's rows.

The attacker rehearses each with three seeds of its own on its own rows. The best optimised one of the rehearsal is
compared with the cluster on the test rows by new seeds of the learner, paired by seed: the interval is Student's, of
95 %, of the mean difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limits_lab import confused_cluster, interval, rows_of, write

from deep import TorchRisk, make_model
from linpoison.attacks.gradient import Canceler, GradientMatching
from linpoison.core.journal import FolderJournal
from linpoison.risk import Adam, Box, Sample

nn, functional = torch.nn, torch.nn.functional
EPSILON, RATIO, STEP, TAIL = 0.03, 1.6, 0.1, 5
"""Budget, copies of a row of the cluster, the learner's step, and the last epochs that accuracies are a mean of."""
Rows = tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Lab:
    """The rows of all who are in the game, and how the defender learns."""

    train: Rows
    mine: Rows
    test: Rows
    epochs: int
    batch: int
    steps: int
    journal: FolderJournal

    @property
    def budget(self) -> int:
        """Rows of poison."""
        return round(EPSILON * len(self.train[0]))

    def learn(self, poison: Rows | None, seed: int, kept: list[Any] | None = None) -> tuple[Any, Any]:
        """The network from scratch, and its accuracies in percent, last and tail, on test and attacker's rows."""
        X, y = self.train if poison is None else tuple(torch.cat(pair) for pair in zip(self.train, poison, strict=True))
        torch.manual_seed(seed)
        module, found = self.network(), []
        rule, order = torch.optim.SGD(module.parameters(), lr=STEP), torch.Generator().manual_seed(seed)
        for epoch in range(self.epochs):
            if kept is not None:
                kept.append({name: value.detach().clone() for name, value in module.named_parameters()})
            for part in torch.randperm(len(X), generator=order).split(self.batch):
                rule.zero_grad()
                functional.cross_entropy(module(X[part]), y[part]).backward()
                rule.step()
            if epoch >= self.epochs - TAIL:
                found.append([accuracy(module, rows) for rows in (self.test, self.mine)])
        return module, np.array([found[-1], np.mean(found, axis=0)])

    def network(self) -> Any:
        """784-128-10."""
        return make_model("gc-nn", self.train[0].shape[1:], 10)

    def measured(self, name: str, poison: Rows | None, seed: int) -> Any:
        """The accuracies of `learn`, from the journal if they are there."""
        key = f"{name}, learner {seed}"
        found = self.journal.get(key)
        if found is None:
            print(key, file=sys.stderr, flush=True)
            found = {"accuracy": self.learn(poison, seed)[1]}
            self.journal.put(key, found)
        return found["accuracy"]

    @cached_property
    def cluster(self) -> Rows:
        """The cluster that the attacker's network takes most often for another class, under that label."""
        (X, y), (module, _) = self.train, self.learn(None, 0)
        part, label = confused_cluster(module, X, y, self.budget, RATIO)
        return X[part], torch.full((self.budget,), label)


def accuracy(module: Any, rows: Rows) -> float:
    """In percent."""
    with torch.no_grad():
        return 100 * float((module(rows[0]).argmax(dim=1) == rows[1]).float().mean())


def canceling(lab: Lab) -> Rows:
    """The parameters that more of the cluster teaches, planted."""
    X, y = lab.cluster
    risk = TorchRisk(lab.network(), chunk=3000)
    w = risk.learned(lab.learn((X.repeat(3, 1, 1, 1), y.repeat(3)), 0)[0]).current
    found = Canceler(Adam(0.02, lab.steps), Box(0.0, 1.0)).cancel(
        risk, w, Sample(*lab.train), EPSILON, start=Sample(X, y)
    )
    return found.poison.X, y


def matching(lab: Lab) -> Rows:
    """Gradients of the poison against those of the attacker's rows."""
    X, y = lab.cluster
    risk = TorchRisk(lab.network(), chunk=3000)
    w = risk.learned(lab.learn((X, y), 0)[0]).current
    attack = GradientMatching(Adam(0.02, lab.steps), Box(0.0, 1.0), labels="true")
    return attack.craft(risk, w, Sample(*lab.train), Sample(X, y), Sample(*lab.mine)).poison.X, y


def unrolled(lab: Lab, inner: int = 4) -> Rows:
    """Pixels moved through steps of training, from where a training with the cluster came by."""
    (X, y), (Z, labels), module = lab.train, lab.cluster, lab.network()
    kept: list[Any] = []
    lab.learn((Z, labels), 0, kept)
    Z, drawn = Z.clone().requires_grad_(), torch.Generator().manual_seed(0)
    rule = torch.optim.Adam([Z], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(rule, lab.steps)
    n, m = len(X), len(Z)
    for _ in range(lab.steps):
        w = {
            name: value.requires_grad_()
            for name, value in kept[int(torch.randint(len(kept), (1,), generator=drawn))].items()
        }
        for _ in range(inner):
            part = torch.randint(n, (lab.batch,), generator=drawn)
            loss = n * loss_of(module, w, X[part], y[part]) + m * loss_of(module, w, Z, labels)
            slopes = torch.autograd.grad(loss / (n + m), list(w.values()), create_graph=True)
            w = {name: value - STEP * slope for (name, value), slope in zip(w.items(), slopes, strict=True)}
        part = torch.randint(len(lab.mine[0]), (500,), generator=drawn)
        Z.grad = -torch.autograd.grad(loss_of(module, w, lab.mine[0][part], lab.mine[1][part]), Z)[0]
        rule.step()
        schedule.step()
        Z.data.clamp_(0.0, 1.0)
    return Z.detach(), labels


def loss_of(module: Any, w: Any, X: Any, y: Any) -> Any:
    """The mean loss at parameters."""
    return functional.cross_entropy(torch.func.functional_call(module, w, (X,)), y)


def cluster(lab: Lab) -> Rows:
    """The baseline."""
    return lab.cluster


ATTACKS: dict[str, Callable[[Lab], Rows]] = {
    "cluster": cluster, "canceling": canceling, "matching": matching, "unrolled": unrolled,
}  # fmt: skip


def kept_poison(lab: Lab, name: str) -> Rows:
    """The rows of an attack, from the journal if they are there."""
    found = lab.journal.get(name)
    if found is None:
        print(name, file=sys.stderr, flush=True)
        X, y = ATTACKS[name](lab)
        lab.journal.put(name, {"X": np.asarray(X, dtype=np.float32), "y": np.asarray(y)})
        found = lab.journal.get(name) or {}
    return torch.as_tensor(found["X"]), torch.as_tensor(found["y"])


def lab_of(out: Path, quick: bool) -> Lab:
    """The rows: of MNIST, or a few digits."""
    train, test = rows_of(quick)
    order = np.random.default_rng(0).permutation(train.n)
    n, m = (120, 80) if quick else (6000, 2000)
    rows = [
        (
            torch.as_tensor(np.asarray(part.X), dtype=torch.float32),
            torch.as_tensor(np.asarray(part.y), dtype=torch.int64),
        )
        for part in (train.take(order[:n]), train.take(order[n : n + m]), test)
    ]
    sizes = (8, 20, 5) if quick else (30, 100, 150)
    return Lab(*rows, *sizes, FolderJournal(out / "journal", f"cluster/{quick}/{sizes}/"))  # type: ignore[arg-type]


HEADER = (
    "poison",
    "rehearsed drop",
    "drop, last epoch",
    "drop, mean of the last 5",
    "beyond the cluster, mean of the last 5",
)


def table(lab: Lab, seeds: int, rehearsals: int) -> list[list[str]]:
    """A line for each attack; drops are paired by the learner's seed."""

    def drops(name: str, first: int, count: int) -> Any:
        """By seed: last and tail, test and the attacker's rows."""
        poison = kept_poison(lab, name)
        return np.array(
            [lab.measured("clean", None, s) - lab.measured(name, poison, s) for s in range(first, first + count)]
        )

    tried = {name: drops(name, 101, rehearsals)[:, 1, 1] for name in ATTACKS}
    optimised = [name for name in ATTACKS if name != "cluster"]
    chosen, lines = max(optimised, key=lambda name: tried[name].mean()), []
    base = drops("cluster", 1, seeds)[:, :, 0]
    for name in ATTACKS:
        own = drops(name, 1, seeds)[:, :, 0]
        more = "" if name == "cluster" else interval((own - base)[:, 1])
        title = f"{name}, chosen" if name == chosen else name
        lines.append([title, f"{tried[name].mean():.2f}", interval(own[:, 0]), interval(own[:, 1]), more])
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; a run there resumes")
    parser.add_argument(
        "--seeds", type=int, default=10, metavar="N", help="learners of the test (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="120 digits, two seeds")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    seeds, rehearsals = (2, 1) if given.quick else (given.seeds, 3)
    write(given.out, "cluster_start", HEADER, table(lab_of(given.out, given.quick), seeds, rehearsals))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
