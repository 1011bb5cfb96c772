"""Pictures (and reviews), networks and trainers of the experiments with images; not a script."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pretrained
import torch

from deep import TorchRisk, text
from deep.adam_training import AdamTrainer
from deep.vision import load_vgg16, paper_conv, transfer_risk
from linpoison.risk import Box, Sample
from linpoison.subpopulations import (
    ClusterMatch,
    FeatureMatch,
    Parts,
    RiskPredictor,
    RiskTrainer,
    Study,
    Subpopulation,
)

sys.path.append(str(Path(__file__).resolve().parents[1]))
import written  # noqa: E402

DATA = ("digits", "mnist", "cifar10_small", "cifar10", "utkface", "generated")
TEXT = ("reviews", "sentences")
"""Rows of tokens, which cannot be moved."""
AGES = (30, 45, 60)
"""Borders of the age groups of UTKFace in the paper."""


@dataclass(frozen=True, eq=False)
class Case:
    """Rows, what is learned from them, and where pixels may lie."""

    parts: Parts
    risk: TorchRisk
    trainer: AdamTrainer
    clusters: int
    layers: tuple[str, ...]
    pixels: Box = Box(0.0, 1.0)  # noqa: RUF009

    @property
    def learner(self) -> RiskTrainer:
        """As `study` takes it."""
        return RiskTrainer(self.risk, self.trainer)


def add_options(parser: argparse.ArgumentParser, data: Sequence[str] = DATA) -> None:
    """The options that all experiments with images have."""
    parser.add_argument("--data", choices=data, default="digits")
    parser.add_argument("--folder", help="of UTKFace's pictures, CIFAR-10's binary files, or aclImdb")
    parser.add_argument(
        "--model",
        choices=["conv", "head", "ll", "ft"],
        help="from scratch; a layer on features of the data folder; the last layer of a pretrained network (of texts: "
        "and the last block), or all of it",
    )
    parser.add_argument("--weights", help="state dict of torchvision's vgg16, for utkface and cifar10 "
                        "with ll or ft; folder of a BERT of transformers, for reviews")  # fmt: skip
    parser.add_argument("--step", type=float, help="learning rate")
    parser.add_argument("--rows", type=int, nargs=3, help="of the training, auxiliary and test part")
    parser.add_argument("--width", type=int, help="channels of Conv's first layer")
    parser.add_argument(
        "--size", type=int, default=64, help="of pictures, in pixels, as a pretrained network sees them"
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clusters", type=int, help="clusters that k-means makes")
    parser.add_argument("--split", type=int, default=0, help="seed of the split")
    parser.add_argument("--journal", help="folder for finished steps, so that an interrupted run resumes")
    parser.add_argument("--out", help="file for the table")
    parser.add_argument("--quick", action="store_true", help="small generated pictures, seconds")


def case_of(options: argparse.Namespace) -> Case:
    """What the options ask for; each data set has its defaults."""
    name = "generated" if options.quick else options.data
    train, test, rows = rows_of(name, options)
    model = options.model or {"utkface": "ll", "reviews": "ll", "sentences": "head"}.get(name, "conv")
    classes = int(max(train.y.max(), test.y.max())) + 1
    if name in ("digits", "mnist", "generated") and model != "conv":
        train, test, before = halves(train, test, classes)
        classes -= classes // 2
    else:
        before = None
    order = np.random.default_rng(options.split).permutation(train.n)
    n, m, t = options.rows or rows
    parts = Parts(train.take(order[:n]), train.take(order[n : n + m]), test.take(range(min(t, test.n))))
    if parts.auxiliary.n < m or parts.test.n < 1:
        raise SystemExit(f"{n} + {m} training and auxiliary rows of {train.n}")
    risk, trainer = network(name, model, options, train.X.shape[1:], classes, before)
    names = ("first", "block1", "block2", "block3", "last", "features")
    layers = tuple(layer for layer in names if hasattr(risk.module, layer))
    clusters = options.clusters or {"generated": 8, "digits": 30 if before is None else 15}.get(name, 100)
    return Case(parts, risk, trainer, clusters, layers)


def network(name: str, model: str, options: Any, shape: Any, classes: int, before: Any) -> tuple[TorchRisk, Any]:
    """Risk and trainer, on the device."""
    risk, trainer = network_of(name, model, options, shape, classes, before)
    return risk, trainer if options.step is None else replace(trainer, step=options.step)


def network_of(name: str, model: str, options: Any, shape: Any, classes: int, before: Any) -> tuple[TorchRisk, Any]:
    """With the learning rate of the case."""
    if model == "head":
        return transfer_risk(pretrained.head(*shape, classes), "ll", 1e-4), AdamTrainer(options.epochs or 6, 128, 4e-3)
    if name in TEXT:
        if model == "conv":
            raise SystemExit(f"--model ll or ft for {name}")
        small = name == "sentences"
        module = pretrained.minilm(classes) if small else text.load_bert(options.weights, classes)
        trainer = AdamTrainer(options.epochs or (2 if small else 4), 8, 5e-5 if small else 1e-5)
        return text.text_risk(module.to(options.device), model), trainer
    tiny, small = name in ("digits", "generated"), name in ("digits", "mnist", "generated", "cifar10_small")
    width = options.width or (8 if small else 32)
    epochs = options.epochs or {"digits": 20, "generated": 8}.get(name, 12)
    colour = name in ("cifar10", "cifar10_small")
    batch = 16 if name == "generated" else 32
    trainer = AdamTrainer(epochs, batch, 4e-3 if tiny else 2e-3 if small else 1e-3)
    if model == "conv":
        moves = {"shift": 0.125, "mirror": True} if colour else {}
        return TorchRisk(paper_conv(shape, classes, width).to(options.device)), replace(trainer, **moves)
    if name == "cifar10_small" and options.weights is None:
        module = pretrained.efficientnet(classes, options.size)
        trainer = replace(
            trainer, epochs=options.epochs or (2 if model == "ft" else 6), step=4e-3 if model == "ll" else 5e-4
        )
    elif before is None:
        if options.weights is None:
            raise SystemExit("--weights, the state dict of torchvision's vgg16, is needed for this model")
        module = load_vgg16(options.weights, classes)
        trainer = replace(trainer, step=1e-3 if model == "ll" else 1e-4)
    else:
        module = learned_before(before, paper_conv(shape, before.classes, width), trainer, classes)
        trainer = replace(trainer, step=2e-2) if model == "ll" else trainer
    if model == "ft":
        trainer = replace(trainer, head_l2=0.01)
    return transfer_risk(module.to(options.device), model), trainer


@dataclass(frozen=True, eq=False)
class Before:
    """Rows of other classes, to pretrain on."""

    rows: Sample
    classes: int


def halves(train: Sample, test: Sample, classes: int) -> tuple[Sample, Sample, Before]:
    """The second half of the classes as a task, the first half to pretrain on."""
    cut = classes // 2
    tasks = [rows.take(rows.y >= cut) for rows in (train, test)]
    later = [Sample(rows.X, rows.y - cut, annotations=rows.annotations) for rows in tasks]
    first = train.take(np.flatnonzero(train.y < cut)[:4000])
    return later[0], later[1], Before(first, cut)


def learned_before(before: Before, module: Any, trainer: AdamTrainer, classes: int) -> Any:
    """The blocks of a `paper_conv` learned on other classes, and a new last layer on what the last block gives."""
    from collections import OrderedDict

    learned = trainer.fit(TorchRisk(module), Sample(before.rows.X, before.rows.y), seed=0)
    parts = OrderedDict(learned.risk.module_at(learned.w).named_children())
    channels, pixels = parts.pop("last")[0].in_channels, module.classifier.in_features // 10
    parts["classifier"] = torch.nn.Linear(channels * pixels, classes)
    return torch.nn.Sequential(parts)


def learns_last_layer_alone(case: Case) -> bool:
    """Whether the parameters that are learned are those of a layer called ``classifier``."""
    layer = getattr(case.risk.module, "classifier", None)
    return layer is not None and case.risk.size == layer.weight.numel() + layer.bias.numel()


def features_in(case: Case, rows: Sample) -> Sample:
    """What the last layer is given for rows, if it alone is learned; else the rows."""
    if not learns_last_layer_alone(case):
        return rows
    seen = case.risk.features(case.risk.current, rows.X).cpu().numpy().astype(np.float32)
    return Sample(seen, rows.y, annotations=rows.annotations)


def on_features(case: Case) -> Case:
    """A case that learns the last layer alone, with `features_in` as rows: the same learner, much faster."""
    if not learns_last_layer_alone(case):
        return case
    layer = case.risk.module.classifier
    parts = [features_in(case, part) for part in (case.parts.train, case.parts.auxiliary, case.parts.test)]
    last = torch.nn.Linear(layer.in_features, layer.out_features).to(layer.weight.device)
    risk = TorchRisk(last, reg=case.risk.reg, penalize_intercept=False)
    return replace(case, parts=Parts(*parts), risk=risk, layers=())


def rows_of(name: str, options: argparse.Namespace) -> tuple[Sample, Sample, tuple[int, int, int]]:
    """Rows to train on, rows to test on, and the default sizes of the three parts."""
    if options.model == "head" or (name == "sentences" and options.model is None):
        if name not in pretrained.ARCHIVES:
            raise SystemExit(
                f"--model head for {' and '.join(pretrained.ARCHIVES)}, whose features are in the data folder"
            )
        return *pretrained.features(name), (4000, 4000, 2000)
    if name == "generated":
        rows = generated()
        return rows.take(range(1000)), rows.take(range(1000, 1400)), (200, 200, 200)
    if name == "digits":
        return *digits(options.split), (300, 290, 297) if options.model in ("ll", "ft") else (600, 600, 597)
    if name == "mnist":
        return *mnist(), (4000, 4000, 4000)
    if name == "cifar10_small":
        whole = cifar10_small(small=options.model in (None, "conv"))
        return *whole, (5000, 5000, 2000) if options.model in (None, "conv") else (1500, 4000, 2000)
    if name == "sentences":
        return *pretrained.sentences(), (1000, 4000, 2000)
    if options.folder is None:
        raise SystemExit(f"--folder is needed for {name}")
    from linpoison.datasets.folders import read_cifar10, read_utkface

    if name == "reviews":
        return *reviews(options), (12500, 12500, 25000)
    if name == "cifar10":
        parts = [Sample(as_pixels(X), y) for X, y in read_cifar10(options.folder)]
        return parts[0], parts[1], (25000, 25000, 10000)
    faces = read_utkface(options.folder, options.size)
    whole = Sample(as_pixels(faces.images), faces.gender, annotations={"age": faces.age, "race": faces.race})
    order = np.random.default_rng(options.split).permutation(whole.n)
    sizes = (7000, 7000, 6054) if options.rows is None else tuple(options.rows)
    return whole.take(order[sizes[2] :]), whole.take(order[: sizes[2]]), sizes


def reviews(options: argparse.Namespace) -> tuple[Sample, Sample]:
    """Film reviews as tokens of the BERT in the folder of its weights, in a random order."""
    from linpoison.datasets.folders import read_reviews

    if options.weights is None:
        raise SystemExit("--weights, the folder of a BERT of transformers, is needed for reviews")
    parts = []
    for part in ("train", "test"):
        texts, y = read_reviews(options.folder, part)
        order = np.random.default_rng(options.split).permutation(len(y))
        parts.append(Sample(text.tokenise(options.weights, [texts[row] for row in order]), y[order]))
    return parts[0], parts[1]


def as_pixels(images: Any) -> Any:
    """Bytes of shape (n, height, width, channels) as float32 in [0, 1], channels first."""
    return np.ascontiguousarray(np.moveaxis(images, 3, 1), dtype=np.float32) / np.float32(255)


def halved(X: Any) -> Any:
    """Means of two by two pixels."""
    n, c, height, width = X.shape
    return X.reshape(n, c, height // 2, 2, width // 2, 2).mean(axis=(3, 5)).astype(np.float32)


def digits(seed: int) -> tuple[Sample, Sample]:
    """scikit-learn's 1797 digits of 8 x 8 pixels, a third of them to test on."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    whole = Sample((X / 16).reshape(-1, 1, 8, 8).astype(np.float32)[order], y[order])
    return whole.take(range(1200)), whole.take(range(1200, whole.n))


def mnist() -> tuple[Sample, Sample]:
    """MNIST at 14 x 14 pixels, the training rows in a random order."""
    from linpoison.datasets import load_mnist

    X, y, X_test, y_test = load_mnist()
    order = np.random.default_rng(0).permutation(len(y))[:20000]
    both = [(X[order], y[order]), (X_test, y_test)]
    parts = [Sample(halved(rows.reshape(-1, 1, 28, 28)), labels) for rows, labels in both]
    return parts[0], parts[1]


def cifar10_small(small: bool) -> tuple[Sample, Sample]:
    """The subset of CIFAR-10 under LINPOISON_DATA, at 32 x 32 pixels or at half as many each way."""
    from linpoison.datasets.store import data_folder

    with np.load(data_folder() / "cifar10_small.npz", allow_pickle=False) as archive:
        parts, start = [], 0
        for part in ("train", "test"):
            pixels, y = as_pixels(archive[f"X_{part}"]), archive[f"y_{part}"].astype(np.int64)
            parts.append(Sample(halved(pixels) if small else pixels, y, annotations={"row": start + np.arange(len(y))}))
            start += len(y)
    return parts[0], parts[1]


def generated() -> Sample:
    """1400 pictures of 8 x 8 pixels: a bar across or down, on an even or odd line, in one of two places."""
    rng = np.random.default_rng(0)
    y, place = rng.integers(0, 4, 1400), rng.integers(0, 2, 1400)
    X = 0.45 * rng.random((1400, 1, 8, 8)).astype(np.float32)
    for i, (label, start) in enumerate(zip(y, place, strict=True)):
        line = 1 + 4 * int(start) + int(label) // 2
        X[(i, 0, slice(None), line) if label % 2 else (i, 0, line)] += 0.55
    return Sample(X, y, annotations={"place": place})


class LayerOf:
    """What a layer of a trained network gives: a representation for `ClusterMatch`."""

    def __init__(self, model: RiskPredictor, layer: str | None) -> None:
        self.model, self.layer = model, layer

    def __call__(self, X: Any) -> Any:
        """Shape (n, h)."""
        return self.model.risk.features(self.model.w, X, self.layer)


def clusters_of(case: Case, surrogate: RiskPredictor, layer: str | None = None) -> ClusterMatch:
    """ClusterMatch fitted on the auxiliary rows: on what the last linear layer is given, a layer, or "input"."""
    representation = None if layer == "input" else LayerOf(surrogate, layer)
    return ClusterMatch(representation, n_clusters=case.clusters).fit(case.parts.auxiliary)


def clusters_elsewhere(case: Case, name: str) -> tuple[Case, FeatureMatch]:
    """ClusterMatch on what another network says of the same rows, as the data folder has it: an annotation of all."""
    own = (case.parts.train, case.parts.auxiliary, case.parts.test)
    if "row" not in own[0].annotations:
        raise SystemExit(f"--match elsewhere needs --data {' or '.join(pretrained.ARCHIVES)}")
    X = np.concatenate([rows.X for rows in pretrained.features(name)])
    seen = [Sample(X[rows.annotations["row"]], rows.y) for rows in own]
    found = ClusterMatch(n_clusters=case.clusters).fit(seen[1])
    parts = [
        Sample(rows.X, rows.y, annotations={"cluster": found.assign(far)}) for rows, far in zip(own, seen, strict=True)
    ]
    return replace(case, parts=Parts(*parts)), FeatureMatch(["cluster"]).fit(parts[1])


def features_of(case: Case) -> FeatureMatch:
    """FeatureMatch on UTKFace's race and age groups, among the auxiliary rows."""
    if "race" not in case.parts.auxiliary.annotations:
        raise SystemExit("--match features needs --data utkface, whose rows tell race and age")
    return FeatureMatch(["race", "age"], bins={"age": AGES}).fit(case.parts.auxiliary)


def least_sure(groups: Sequence[Subpopulation], case: Case, surrogate: RiskPredictor, k: int) -> list[Subpopulation]:
    """Of the groups with ten auxiliary rows or more the `k` of least mean confidence on these (all, for 0)."""
    rows = case.parts.auxiliary
    sure = torch.softmax(surrogate.risk.scores(surrogate.w, rows.X), dim=1).max(dim=1).values.cpu().numpy()
    large = [group for group in groups if group.size >= 10] or list(groups)
    return sorted(large, key=lambda group: float(sure[group.mask(rows)].mean()))[: k or None]


def store_at(options: argparse.Namespace, *names: Any) -> Any:
    """The journal of the options, with keys of its own."""
    if options.journal is None:
        return None
    from linpoison.core.journal import FolderJournal

    return FolderJournal(Path(options.journal), "/".join([settings(options), *map(str, names)]) + "/")


def settings(options: argparse.Namespace, *more: str) -> str:
    """What the results depend on, as a part of the journal's keys."""
    names = ("data", "model", "weights", "rows", "width", "size", "step", "epochs", "clusters", "split", "quick", *more)
    return " ".join(f"{name}={getattr(options, name)}" for name in names)


def worst_rows(found: Study, first: str = "", ks: Sequence[int] = (10, 5, 1)) -> list[str]:
    """Lines of a table: the worst groups at each strength beside the null."""
    lines = []
    for alpha in found.alphas:
        for k in ks:
            w = found.worst(k, alpha)
            worst = found.at(alpha)[:k]
            spill = float(np.mean([group.damage.collateral.value for group in worst]))
            numbers = " | ".join(f"{v:.3f}" for v in (w.damage, w.null, w.unseen, w.null_unseen, spill))
            without, poisoned = np.mean([group.rates for group in worst], axis=0)
            lines.append(f"| {first}{alpha:g} | {k} | {numbers} | {without:.3f} to {poisoned:.3f} | {w.size:.0f} |")
    return lines


def write(lines: Sequence[str], path: str | None) -> None:
    """Print lines and what they were measured with, and put them into a file."""
    text = "\n".join([*lines, "", written.provenance(torch=str(torch.__version__))])
    print(text)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text + "\n", encoding="utf-8")
