"""What the scripts of this folder share: data and defender of an experiment, attacks that resume, options."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from linpoison import Poison, Split, load
from linpoison.attacks import Attack, LabelFlipDecoys, Scenario, make_attack
from linpoison.auditing.target import Target
from linpoison.core import Budget, Candidate, worst_case
from linpoison.core.journal import FolderJournal
from linpoison.defender import Defender
from linpoison.defenses import Defense, make_defense
from linpoison.losses import Hinge, Problem

DEFENSES = ("l2", "slab", "loss", "svd", "knn")
REG = {"enron1": 0.09, "imdb": 0.01, "mnist17": 0.01, "breast_cancer": 0.01}
"""The regularisers of Koh et al., Table 1 (the last is not theirs)."""


@dataclass(frozen=True)
class Case:
    """Data, learner, budget and defences of one experiment."""

    name: str
    split: Split
    problem: Problem
    epsilon: float
    defenses: Mapping[str, Defense]
    domain: str | None = None

    @property
    def key(self) -> str:
        """What distinguishes the case, as the start of a folder's name."""
        where = "" if self.domain is None else f"-{self.domain}"
        return f"{self.name}-{self.epsilon:g}-{'+'.join(self.defenses)}{where}"


def case_of(
    name: str, quick: bool, defenses: Sequence[str] = DEFENSES, epsilon: float = 0.03, domain: str | None = None
) -> Case:
    """Data as in the paper by name; a small generated set of word counts where `quick`; perhaps in another domain."""
    if quick:
        from linpoison.datasets import counts

        name, epsilon, reg = "quick", max(epsilon, 0.1), 0.05
        split = counts(n=60, d=8, contrast=0.8, n_test=40, seed=4)
    else:
        split, reg = load(name), REG[name]
    problem = Problem(Hinge(), reg)
    split = split if domain is None else split.in_domain(domain)
    return Case(name, split, problem, epsilon, against(problem, defenses), domain)


def against(problem: Problem, names: Sequence[str]) -> dict[str, Defense]:
    """The defences of a defender who minimises `problem`."""
    return {name: make_defense(name, problem=problem) for name in names}


def defender_of(case: Case) -> Defender:
    """The defender of a case."""
    return Defender(case.split.train, case.problem, case.defenses)


def clean_errors(case: Case) -> dict[str, float]:
    """Test error without poison, behind each defence."""
    return defender_of(case).score(None, {"test": case.split.test}).error["test"]


@dataclass(frozen=True)
class Outcome:
    """One attack, measured: errors by defence are shares."""

    attack: str
    target: str
    seed: int
    seconds: float
    seen: dict[str, float]
    scored: dict[str, float]
    unseen: dict[str, float] | None
    kept: dict[str, float]
    timeline: dict[str, list[list[float]]] = field(default_factory=dict)
    gap: float | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        """Least error over the defences on the scored rows."""
        return worst_case(self.scored)

    @property
    def worst_seen(self) -> float:
        """The same on the rows that the attacker saw."""
        return worst_case(self.seen)

    @property
    def worst_unseen(self) -> float | None:
        """The same on rows that it did not see; None if it saw all."""
        return None if self.unseen is None else worst_case(self.unseen)

    def seconds_to(self, level: float, defense: str) -> float | None:
        """Seconds until the error behind a defence first reached a level."""
        return next((seconds for seconds, error in self.timeline.get(defense, []) if error >= level), None)


def measure(
    case: Case, label: str, attack: Attack, out: Path, *, target: str = "test", seed: int = 0, jobs: int = 1
) -> tuple[Outcome, Poison]:
    """Run an attack and score its poison; what an earlier call has finished is read back.

    `label` must name the attack with its options: under one folder `out`, outcomes are told apart by
    case, label, target and seed.
    """
    folder = out / "runs" / re.sub(r"[^\w.+-]+", "-", f"{case.key}-{label}-{target}-{seed}")
    if (folder / "outcome.json").is_file():
        stored = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        return Outcome(**stored), Poison.load(folder / "poison.npz")
    print(f"{case.name}: {label}, target {target}, seed {seed}", file=sys.stderr)
    rows = Target.parse(target).rows(case.split, seed)
    scenario = Scenario(case.split.train, case.problem, Budget(case.epsilon), case.defenses, rows.aim)
    folder.mkdir(parents=True, exist_ok=True)
    journal = FolderJournal(folder / "journal")
    result = attack.run(scenario, seed=seed, n_jobs=jobs, journal=journal)
    parts = {"seen": rows.seen, "scored": rows.scored, "unseen": rows.unseen}
    scores = defender_of(case).score(result.poison, {key: part for key, part in parts.items() if part is not None})
    gap = float(result.best.gap)
    outcome = Outcome(
        attack=label, target=target, seed=seed, seconds=result.seconds,
        seen=scores.error["seen"], scored=scores.error["scored"], unseen=scores.error.get("unseen"),
        kept={name: float(share or 0.0) for name, share in scores.kept_fraction.items()},
        timeline=timeline(result.candidates), gap=None if gap != gap else gap,
        info={key: value for key, value in result.info.items() if isinstance(value, (int, float, str))},
    )  # fmt: skip
    result.poison.save(folder / "poison.npz")
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome), default=float), encoding="utf-8")
    journal.discard()
    return outcome, result.poison


def timeline(candidates: Sequence[Candidate]) -> dict[str, list[list[float]]]:
    """Best error so far behind each defence, against seconds."""
    lines: dict[str, list[list[float]]] = {}
    for item in sorted(candidates, key=lambda each: each.seconds):
        for name, error in item.test_error.items():
            line = lines.setdefault(name, [])
            if not line or error > line[-1][1]:
                line.append([float(item.seconds), float(error)])
    return lines


def arguments(doc: str | None, data: str = "enron1", **more: Any) -> argparse.ArgumentParser:
    """The options that every script has, and comma lists by name."""
    parser = argparse.ArgumentParser(description=str(doc).splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder; a rerun resumes")
    parser.add_argument("--data", default=data, metavar="NAME", help=f"data set (default: {data})")
    parser.add_argument("--quick", action="store_true", help="a small generated set, without the paper's figures")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="worker processes (default: 2)")
    for name, default in more.items():
        parser.add_argument(f"--{name}", default=default, metavar="NAMES", help=f"comma list (default: {default})")
    return parser


AS_PUBLISHED = ":paper"
"""Behind the name of an attack: as Koh et al. describe it (`linpoison.attacks.make_attack`)."""


def attack_of(name: str) -> str:
    """The attack whose published version a name asks for."""
    return name.removesuffix(AS_PUBLISHED)


def made(name: str, **options: Any) -> Attack:
    """An attack by name, such as ``influence`` or ``influence:paper``."""
    return make_attack(attack_of(name), "paper" if name.endswith(AS_PUBLISHED) else "library", **options)


def small(name: str, quick: bool, **options: Any) -> Attack:
    """An attack by name; where `quick` with a small grid of decoys and few steps."""
    if quick:
        grid = LabelFlipDecoys((0.5,), (1, 3))
        shrunk: dict[str, Any] = {"decoys": grid, "regrown": grid, "generations": 1, "reach": (1.1,), "refits": 1}
        shrunk |= {"tries": 2, "starts": 1, "steps": 4, "check": 2, "rounds": 1, "chains": 1, "finalists": 1}
        shrunk |= {"draws": 1, "repeats": (2,)}
        if name.endswith(AS_PUBLISHED):
            shrunk = {key: value for key, value in shrunk.items() if key not in ("generations", "refits")}
        if name == "refined":
            shrunk["start"] = small("kkt", quick)
        known = {item.name for item in fields(made(name))}  # type: ignore[arg-type]
        options = {key: value for key, value in shrunk.items() if key in known} | options
    return made(name, **options)
