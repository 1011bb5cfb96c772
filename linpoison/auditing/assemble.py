"""Put scores, settings and pictures together into a report."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from .._version import __version__
from ..core import UNDEFENDED, Array, CapabilityError, Dataset, Poison, label_texts
from ..core.plugins import Named
from ..defender import Evaluation
from ..defenses import Defense
from ..reporting.findings import ALL, AttackEntry, Damage
from ..reporting.group_tables import caution
from ..reporting.json_values import plain
from ..reporting.material import Material
from ..reporting.report import AuditReport
from ..reporting.words import WEIGHTED, class_weight_words, label_words, measure_words, reading, threat
from .bracket import Bracket
from .damage import Scored, fingerprint, with_files
from .entries import clean_entry
from .inputs import Setting
from .options import LearnerOptions, influences
from .remedies import Remedy
from .target import TargetRows

PACKAGES = ("numpy", "scipy", "scikit-learn", "cvxpy", "clarabel", "osqp", "ecos", "scs", "joblib", "matplotlib")


def assemble(
    verb: str,
    data: Any,
    options: LearnerOptions,
    setting: Setting,
    *,
    clean: Evaluation,
    rows: TargetRows,
    entries: Sequence[tuple[AttackEntry, Poison]],
    found: Sequence[tuple[Damage, Scored]],
    domains: Sequence[str],
    target: str,
    epsilon: float,
    failures: Mapping[str, str] | None = None,
    left_out: Sequence[Mapping[str, str]] = (),
    unfinished: Sequence[str] = (),
    bracket: Bracket | None = None,
    subpopulations: Mapping[str, Any] | None = None,
    exposures: Sequence[Mapping[str, Any]] = (),
    remedies: Sequence[Remedy] = (),
    curve: Sequence[Mapping[str, Any]] = (),
) -> AuditReport:
    """The report of one run, with pictures of the poison that passes every filter in the widest domain."""
    damages, poisons = with_files(found)
    named = _with_files(entries, poisons, next(iter(domains), ""))
    tables, raw_words = raw_tables(setting, poisons)
    return AuditReport(
        dataset=describe_data(setting),
        model=describe_model(setting),
        epsilon=epsilon,
        clean=clean_entry(clean),
        target=target,
        metric=setting.measure.name,
        metric_rows=setting.measure.counted(rows.scored),
        target_rows=list(rows.index) or None,
        attacks=named,
        damages=damages,
        domains=list(domains),
        versions=versions(),
        seed=options.seed,
        command=command_line(verb, data, options),
        onward=_hardening(data, options, setting),
        options=plain(influences(options)),
        threat=threat(len(rows.index), setting.measure.words),
        reading=measure_words(setting.measure, setting.split.train)
        + reading(
            target,
            setting.problem,
            setting.defenses,
            options.remove,
            blind(setting.split.train, clean.scores, setting.defenses),
            certified=bracket is not None,
        )
        + class_weight_words(setting.problem)
        + ([] if (setting.split.train.weight == 1).all() else [WEIGHTED])
        + ([] if setting.handed is None else [setting.handed.words()])
        + raw_words
        + ([] if subpopulations is None else [caution(subpopulations)]),
        subpopulations=None if subpopulations is None else plain(subpopulations),
        certificates=[] if bracket is None else bracket.summaries(),
        rungs=[] if bracket is None else [asdict(rung) for rung in bracket.rungs],
        exposures=[plain(dict(item)) for item in exposures],
        remedies=[plain(asdict(item)) for item in remedies],
        curve=[plain(dict(row)) for row in curve],
        failures=[{"name": name, "reason": reason} for name, reason in (failures or {}).items()],
        left_out=[dict(item) for item in left_out],
        unfinished=list(unfinished),
        peak_memory_mb=peak_memory_mb(),
        poisons=poisons,
        material=_material(setting.split.train, found[0][1], clean) if found else None,
        tables=tables,
    )


def raw_tables(setting: Setting, poisons: Mapping[str, Poison]) -> tuple[dict[str, str], list[str]]:
    """The raw rows of poison files as text, by the name of their file, and what a report says of them."""
    raw, train = setting.raw, setting.split.train
    if raw is None or not raw.origins:
        return {}, [] if raw is None else [raw.words()]
    tables: dict[str, str] = {}
    lost = ""
    for file, poison in poisons.items():
        try:
            labels = train.label_values(poison.y)
            tables[str(PurePath(file).with_suffix(".csv"))] = raw.csv(
                poison.X, labels, poison.count, train.label_name or "label"
            )
        except CapabilityError as error:
            lost = f"{file} holds rows of features and no raw ones: {error}"
    return tables, [raw.words()] * bool(tables) + [lost] * bool(lost)


def _material(train: Dataset, best: Scored, clean: Evaluation) -> Material:
    """What the pictures of a poison are drawn from."""
    scores = best.scores
    return Material(
        train=train,
        poison=best.poison,
        relaxed=best.relaxed,
        clean_model=clean.models[UNDEFENDED],
        poisoned_model=scores.models[UNDEFENDED],
        scores=scores.scores,
        thresholds=scores.thresholds,
        kept_fraction=scores.kept_fraction,
    )


def _with_files(
    entries: Sequence[tuple[AttackEntry, Poison]], poisons: dict[str, Poison], first: str
) -> list[AttackEntry]:
    """The entries with the names of their poison files; those that no damage has brought along are added."""
    names = {fingerprint(poison): file for file, poison in poisons.items()}
    named = []
    for entry, poison in entries:
        where = "" if entry.domain == first else entry.domain.partition(":")[0]
        words = ["poison", PurePath(entry.name).name, where, entry.against]
        file = "-".join(word for word in words if word and word != ALL) + ".npz"
        file = names.setdefault(fingerprint(poison), file)
        poisons[file] = poison
        named.append(replace(entry, file=file))
    return named


def blind(train: Dataset, scores: Mapping[str, Array], defenses: Mapping[str, Defense]) -> tuple[str, ...]:
    """Defences whose scores of the clean rows are all the same up to rounding, so that they tell no row from another.

    Scores that are distances are held against the length of the rows.
    """
    X = train.X.data if train.is_sparse else train.X
    rounding = 1e-9 * float(np.linalg.norm(X)) / np.sqrt(train.n)
    return tuple(
        name
        for name, values in scores.items()
        if np.ptp(values[: train.n]) <= (rounding if defenses[name].measures_distance else 0.0)
    )


def describe_data(setting: Setting) -> dict[str, Any]:
    """The `dataset` part of the report."""
    split = setting.split
    return {
        "name": split.name,
        "n_train": split.train.n,
        "n_test": split.test.n,
        "n_features": split.train.d,
        "domain": split.train.domain.kind,
        "sparse": split.train.is_sparse,
        "train_by_class": {
            text: int((split.train.y == label).sum()) for label, text in label_texts(split.train.n_classes).items()
        },
        "digest": setting.digest(),
        **_own_words(split.train),
    }


def _own_words(train: Dataset) -> dict[str, Any]:
    """Label column and label values of the user's file."""
    if train.classes is None:
        return {}
    texts = label_texts(train.n_classes)
    values = {texts[label]: plain(value) for label, value in zip(train.labels, train.classes, strict=True)}
    classes = {text: values[text] for text in texts.values()}
    return {"label": train.label_name, "classes": classes, "labels": label_words(train)}


def describe_model(setting: Setting) -> dict[str, Any]:
    """The `model` part of the report."""
    problem = setting.problem
    return {
        "loss": problem.loss.name,
        "reg": problem.reg,
        "penalize_intercept": bool(problem.penalize_intercept and problem.fit_intercept),
        "fit_intercept": problem.fit_intercept,
        "scaling": problem.scaling,
        "learner": setting.learner,
        **setting.measure.facts,
        **({} if problem.class_weight is None else {"class_weight": plain(problem.class_weight)}),
        **({} if setting.handed is None else {"handed_in": asdict(setting.handed)}),
    }


def peak_memory_mb() -> float | None:
    """Most resident memory so far of this process or of one of its workers, in MiB.

    Workers that still wait for work are seen on Linux only; None where the system tells nothing at all.
    """
    try:
        import resource
    except ImportError:
        return None
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ended = largest / (2**20 if platform.system() == "Darwin" else 2**10)
    return round(max(ended, *(_peak_of(child.pid) for child in multiprocessing.active_children()), 0.0), 1)


def _peak_of(pid: int | None) -> float:
    """Most resident memory so far of a running process, in MiB; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) / 2**10 if found else 0.0


def versions() -> dict[str, str]:
    """Versions of the library, of Python and of the installed packages that results depend on."""
    found = {name: _installed(name) for name in PACKAGES}
    own = {"linpoison": __version__, "python": platform.python_version()}
    return own | {name: version for name, version in found.items() if version}


@cache
def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _hardening(data: Any, options: LearnerOptions, setting: Setting) -> str:
    """The command that looks for a setting that suffers less, where there is one: of two classes and their error."""
    if setting.split.train.n_classes is not None or setting.measure.name != "error" or options.learner is not None:
        return ""
    return command_line("harden", data, options, {*LearnerOptions.__dataclass_fields__, "epsilon"} - {"metric"})


def command_line(verb: str, data: Any, options: LearnerOptions, only: Collection[str] | None = None) -> str:
    """The command that repeats this run, or `only` with some options; what comes from Python shows as ``<data>``."""
    words = ["linpoison", verb, os.fspath(data) if isinstance(data, (str, os.PathLike)) else "<data>"]
    for name, value in influences(options).items():
        if only is not None and name not in only:
            continue
        if name == "penalize_intercept" and value is not None:
            words.append("--penalize-intercept" if value else "--no-penalize-intercept")
        elif name == "estimator" and value is not None and not isinstance(options.estimator, (str, os.PathLike)):
            words += ["--estimator", "<estimator>"]
        elif name == "test" and not isinstance(options.test, (str, os.PathLike, type(None))):
            words += ["--test", "<frame>"]
        elif name == "sample_weight" and not isinstance(options.sample_weight, str):
            words += ["--weight", "<weights>"]
        elif name in ("defenses", "attacks"):
            words += [f"--{name}", _word(tuple(map(_named, getattr(options, name))))]
        elif name == "model" and value is not None:
            words += ["--model", _named(options.model)]
        elif isinstance(value, bool):
            words += ["--" + name.replace("_", "-")] if value else []
        elif value is not None:
            words += [_OPTION.get(name, "--" + name.replace("_", "-")), _word(value)]
    return shlex.join(words)


def _named(name: str) -> str:
    return f"<{name}>" if isinstance(name, Named) else name


_OPTION = {"epsilons": "--epsilon", "sample_weight": "--weight"}


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value) or "none"
    return str(value)
