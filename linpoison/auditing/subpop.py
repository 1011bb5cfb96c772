"""Attack the subpopulations of a data set and say which of them are hurt."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._printable import printable
from ..attacks.groups import ConvexAttack, Directed, GroupAttack, GroupFlips
from ..core import CapabilityError, Dataset, InputError, check_integer, check_integers, check_number
from ..core.archives import arrays_writer
from ..core.journal import FolderJournal
from ..core.wording import quiet_fonts
from ..core.writing import Writer, alone_in, check_folder, write_all
from ..reporting.base import Report, Table
from ..reporting.cells import aligned, counted, difference, percent, wrapped
from ..reporting.page import plain_page
from ..reporting.words import label_words
from ..subpopulations import (
    ClusterMatch,
    ColumnMatch,
    Matcher,
    Parts,
    ProblemTrainer,
    Sample,
    Study,
    column_numbers,
    group_map,
    poison_count,
    study,
)
from ..subpopulations.mapping import METHODS, GroupMap, Recording
from .inputs import Setting, prepare
from .options import LearnerOptions, influences

ATTACKS: dict[str, GroupAttack] = {"label-flip": GroupFlips(surrogate="aim"), "convex": ConvexAttack()}
_WORST = 5  # subpopulations that a caption tells the mean of
MOST_ALPHA = 1000.0
"""Poison rows for each of the attacker's rows."""


@dataclass(frozen=True)
class SubpopOptions:
    """What to attack, and how.

    Parameters
    ----------
    attack : {"label-flip", "convex"}
    match : str
        "clusters", or column names or numbers in a comma list: all rows that agree in these, see `ColumnMatch`.
    clusters, components : int
        Of `ClusterMatch`.
    groups : int
        How many of the largest subpopulations are attacked; 0 for all.
    collateral : float
        For "convex".
    map : {"pca", "tsne"}
        Of the picture of the subpopulations.
    """

    learner: LearnerOptions
    attack: str = "label-flip"
    match: str = "clusters"
    clusters: int = 20
    components: int = 10
    groups: int = 10
    alphas: tuple[float, ...] = (0.5, 1.0, 2.0)
    collateral: float = 0.01
    map: str = "pca"

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise InputError(f"an attack among {', '.join(ATTACKS)}", repr(self.attack))
        if self.map not in METHODS:
            raise InputError(f"a map by {' or '.join(METHODS)}", repr(self.map))
        check_integers(self, "clusters", "components", at_least=1)
        check_integer(self.groups, "groups", at_least=0)
        if not self.alphas:
            raise InputError("at least one alpha", "none")
        for alpha in self.alphas:
            check_number(alpha, "alpha", above=0, at_most=MOST_ALPHA)
        if len(set(self.alphas)) < len(self.alphas):
            raise InputError(
                "strengths that differ", f"alpha {' '.join(map(str, self.alphas))}", "Remove the repetition."
            )


@dataclass(frozen=True, eq=False)
class SubpopReport(Report, stem="subpop"):
    """A study with its heading; a row of `to_frame` is a subpopulation at one strength.

    Parameters
    ----------
    labels : str
        The user's label column and values in words, empty for data sets that have a name.
    """

    data: str
    options: SubpopOptions
    study: Study
    labels: str = ""

    @property
    def verdict(self) -> str:
        """What the greatest strength does to the subpopulation that is hurt most, and to everybody else."""
        alpha = max(self.study.alphas)
        group = self.study.at(alpha)[0]
        target, collateral = group.damage.target, group.damage.collateral
        who = f"{group.name} ({counted(group.damage.n_target, 'test row')})"
        planted = f"{counted(group.n_poison, 'poison row')}, {alpha:g} for each of its rows that the attacker has"
        if target.value <= 0:
            return (
                f"No subpopulation loses accuracy, not even to {alpha:g} poison rows for each of the attacker's rows."
            )
        chance = " (within chance)" if target.low <= 0 else ""
        return (
            f"Hurt most is {who}: {planted}, take {difference(target.value)} of accuracy from it{chance} and "
            f"{difference(collateral.value)} from everybody else."
        )

    def summary(self) -> list[Table]:
        """One for each strength, the most damaged subpopulation first: who would be hurt."""
        return [(self._caption(alpha), self._rows(alpha)) for alpha in self.study.alphas]

    def records(self) -> list[dict[str, Any]]:
        """Each subpopulation at each strength."""
        return [
            {
                "name": group.name, "alpha": group.alpha, "n_auxiliary": group.n_auxiliary, "n_poison": group.n_poison,
                "clean_accuracy": group.clean_accuracy, "damage": group.damage.target.value,
                "low": group.damage.target.low, "high": group.damage.target.high,
                "collateral": group.damage.collateral.value,
            }
            for group in self.study.groups
        ]  # fmt: skip

    def _rows(self, alpha: float) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("subpopulation", "poison", "test rows", "clean acc.", "damage", "95 % interval", "collateral")
        ]
        for group in self.study.at(alpha):
            target, collateral = group.damage.target, group.damage.collateral
            interval = f"{percent(target.low)} to {percent(target.high)}"
            counts = (group.name, str(group.n_poison), str(group.damage.n_target), percent(group.clean_accuracy))
            rows.append((*counts, percent(target.value), interval, percent(collateral.value)))
        return rows

    def _caption(self, alpha: float) -> str:
        most = min(_WORST, len(self.study.at(alpha)))
        worst = self.study.worst(most, alpha)
        return (
            f"alpha {alpha:g}: worst {most} {percent(worst.damage)}, on rows that did not choose them "
            f"{percent(worst.unseen)}, without poison {percent(worst.null)}"
        )

    def _heading(self) -> str:
        clean = percent(self.study.clean_accuracy)
        return f"{self.data}: {self.options.attack} on subpopulations, clean accuracy {clean}"

    def to_text(self) -> str:
        """A table for each strength, the most damaged subpopulation first: who would be hurt."""
        heading = "\n".join(filter(None, [self._heading(), self.labels]))
        tables = [f"{caption}\n\n{aligned(rows)}" for caption, rows in self.summary()]
        return printable("\n\n".join([wrapped(self.verdict, ""), heading, *tables])) + "\n"

    def to_html(self) -> str:
        """The same as a page."""
        return plain_page(self, f"Subpopulations of {self.data}", (self._heading(), self.labels), [])

    def values(self) -> dict[str, Any]:
        """All numbers, as in ``subpop.json``."""
        own = {name: value for name, value in vars(self.options).items() if name != "learner"}
        return {"data": self.data, "labels": self.labels, "options": own, **asdict(self.study)}

    def writers(self) -> dict[str, Writer]:
        """``damage.png`` besides."""
        from ..subpopulations import pictures

        def drawn(stream: BinaryIO) -> None:
            with quiet_fonts():
                pictures.damage_figure(self.study).savefig(stream, format="png")

        return {"damage.png": drawn, **super().writers()}


def run_subpop(
    data: Any,
    options: SubpopOptions,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> SubpopReport:
    """Attack one subpopulation after another; training rows are halved into the defender's and the attacker's.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`.
    out : path, optional
        Folder for subpop.json, damage.png, map.png and map.npz; an interrupted run resumes there.
    """
    with alone_in(None if out is None else check_folder(out)):
        return _run(data, options, out, progress)


def _run(
    data: Any,
    options: SubpopOptions,
    out: str | os.PathLike[str] | None,
    progress: Callable[[int, int, str], None] | None,
) -> SubpopReport:
    setting = prepare(data, options.learner)
    if options.learner.sample_weight is not None:
        raise CapabilityError(
            "no sample weights with subpop", "some", "Its attacks count rows: repeat rows by whole weights instead."
        )
    train, test = Sample.of(setting.split.train), Sample.of(setting.split.test)
    order = np.random.default_rng(options.learner.seed).permutation(train.n)
    parts = Parts(train.take(order[::2]), train.take(order[1::2]), test)
    matcher = _matcher(options, setting.split.train).fit(parts.auxiliary)
    problem = setting.problem.pinned(float(parts.train.n))
    attack = Directed(ATTACKS[options.attack], problem, parts.train, setting.split.train.domain, options.collateral)
    store = None if out is None else FolderJournal(Path(out) / "journal" / _key(options, setting))
    recorded, trainer = Recording(attack), ProblemTrainer(problem)
    measured = study(
        parts, matcher, recorded, trainer, alphas=options.alphas, seeds=1, store=store,
        groups=matcher.subpopulations()[: options.groups or None], progress=progress,
    )  # fmt: skip
    report = SubpopReport(setting.split.name, options, measured, label_words(setting.split.train))
    if out is not None:
        found = _mapped(report, matcher, parts, recorded, trainer)
        _write(report, matcher, found, setting.split.test.numbers[found.index], Path(out))
        if isinstance(store, FolderJournal):
            store.discard()
    return report


def _key(options: SubpopOptions, setting: Setting) -> str:
    own = {name: value for name, value in vars(options).items() if name not in ("learner", "alphas", "groups", "map")}
    return setting.key(influences(options.learner), **own)


def _matcher(options: SubpopOptions, train: Dataset) -> Matcher:
    if options.match == "clusters":
        return ClusterMatch(n_components=options.components, n_clusters=options.clusters)
    words = [word.strip() for word in options.match.split(",")]
    names = train.feature_names
    return ColumnMatch(column_numbers(words, names, train.d, "Or 'clusters'."), names)


def _mapped(
    report: SubpopReport, matcher: Matcher, parts: Parts, recorded: Recording, trainer: ProblemTrainer
) -> GroupMap:
    """The test rows, and the poison of the greatest strength against each group; what a journal had is made again."""
    alpha, surrogate, poison = max(report.options.alphas), None, {}
    attacked = {group.name for group in report.study.groups}
    for group in matcher.subpopulations():
        if group.name not in attacked:
            continue
        count = poison_count(alpha, group, parts.auxiliary)
        made = recorded.made.get(group.code)
        if made is None or made.n != count:
            surrogate = trainer.fit(parts.auxiliary, 0) if surrogate is None else surrogate
            made = recorded.poison(parts.auxiliary, group, count, surrogate, 0)
        poison[group.code] = made
    seed = report.options.learner.seed
    return group_map(matcher, parts.auxiliary, parts.test, poison, method=report.options.map, random_state=seed)


def _write(report: SubpopReport, matcher: Matcher, found: GroupMap, numbers: Any, folder: Path) -> None:
    from ..subpopulations import pictures

    last = {group.name: group.damage.target.value for group in report.study.at(max(report.study.alphas))}
    damage = {code: last[name] for code, name in enumerate(matcher.names_) if name in last}

    def mapped(stream: BinaryIO) -> None:
        with quiet_fonts():
            pictures.map_figure(found, matcher.names_, damage).savefig(stream, format="png", dpi=130)

    own = {"names": np.array(matcher.names_), "row_numbers": numbers}
    places = arrays_writer({**own, **found.arrays()}, compressed=False)
    write_all(folder, {"map.png": mapped, "map.npz": places, **report.writers()})
