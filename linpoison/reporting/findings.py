"""What an audit found, as plain values: the data that text, page and pictures are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core import UNDEFENDED, InputError, Poison
from .material import Material

SCHEMA = 2
"""Of ``report.json``."""
LATE = "time limit; a longer one lets it run"
"""Why an attack was left out of a run that has a limit."""
ALL = "all"
"""The word for every filter at once: one poison has to pass all of them."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """The most that was done to one defender. Meanings, units and null rules: docs/files.md.

    Parameters
    ----------
    domain : str
        What a poison row may hold.
    behind : str
        ``"all"``: one poison has to pass every filter, as if the defender chose the best of them in hindsight; the
        name of a filter that stands alone; or ``"none"``.
    filter : str
        The filter whose errors these are: `behind` itself, or, for ``"all"``, the one that holds best.
    attack, how : str
        Who made the poison, and how.
    clean_error, test_error : float
        Error on the scored rows behind `filter` without and with the poison.
    low, high : float
        Ends of the interval of what the poison adds (`LEVEL`, matched pairs).
    seen_error, unseen_test_error : float or None
        The same error on rows that the attacker saw, and on those that it did not see.
    holds_best : bool
        Whether no other choice of this defender (a filter alone, or none) errs less beyond chance, each with a
        poison of its own. Several that hold best are tied.
    test_errors, kept : dict
        Of this poison behind every filter and without one: error on the scored rows, and share of its copies that stay.
    n_poison : int
    file : str
        Of the poison, beside the report.
    """

    domain: str
    behind: str
    filter: str
    attack: str
    how: str
    clean_error: float
    test_error: float
    low: float
    high: float
    seen_error: float | None = None
    unseen_test_error: float | None = None
    holds_best: bool = False
    n_poison: int = 0
    test_errors: dict[str, float] = field(default_factory=dict)
    kept: dict[str, float | None] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class AttackEntry:
    """One poison, scored. Meanings, units and null rules: docs/files.md.

    Parameters
    ----------
    name : str
        Of the attack, or of the file that was handed in.
    seconds : float
        Wall time to build it; to score it, for a poison that was handed in.
    n_poison, n_distinct : int
        Rows with copies, and different rows.
    n_allowed : int
        Rows that the budget allows.
    poison_by_class : dict
        Copies with the label ``"+1"`` and ``"-1"``.
    test_error, unseen_test_error, seen_error : dict
        Error by defence on the scored rows, on rows that the attacker did not see, and on rows that
        it did see; null where such rows do not exist or are not known.
    test_error_behind_all, unseen_test_error_behind_all : float
        The least error over the defences run, of this one poison; of the undefended learner if there is none.
    domain, against : str
        What its rows may hold, and whether it was made for ``"all"`` filters at once, for one of them, or ``"none"``.
    kept_fraction, kept_clean_fraction : dict
        Share of the poison copies, and of the clean rows, that each defence keeps.
    """

    name: str
    seconds: float
    n_poison: int
    n_distinct: int
    poison_by_class: dict[str, int]
    test_error: dict[str, float]
    test_error_behind_all: float
    kept_fraction: dict[str, float]
    kept_clean_fraction: dict[str, float]
    n_allowed: int
    within_budget: bool
    domain: str = ""
    against: str = ALL
    domain_violation: float = 0.0
    unseen_test_error: dict[str, float] | None = None
    unseen_test_error_behind_all: float | None = None
    seen_error: dict[str, float] | None = None
    residual: float | None = None
    violation: float | None = None
    gap: float | None = None
    distance_to_decoy: float | None = None
    decoy: str = ""
    relaxed_by_class: dict[str, float] | None = None
    relaxed_distinct: int | None = None
    timeline: list[list[float]] = field(default_factory=list)
    timeline_by_defense: dict[str, list[list[float]]] = field(default_factory=dict)
    seconds_to: dict[str, dict[str, float]] = field(default_factory=dict)
    n_candidates: int = 0
    n_solves: int = 0
    n_failed_solves: int = 0
    info: dict[str, Any] = field(default_factory=dict)
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditFindings:
    """What an `AuditReport` holds. The fields are documented in docs/files.md."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    epsilon: float
    clean: dict[str, Any]
    target: str
    attacks: list[AttackEntry]
    versions: dict[str, str]
    seed: int
    command: str = ""
    onward: str = ""
    metric: str = "error"
    metric_rows: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    threat: dict[str, Any] = field(default_factory=dict)
    reading: list[str] = field(default_factory=list)
    certificates: list[dict[str, Any]] = field(default_factory=list)
    rungs: list[dict[str, Any]] = field(default_factory=list)
    target_rows: list[int] | None = None
    subpopulations: dict[str, Any] | None = None
    damages: list[Damage] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    exposures: list[dict[str, Any]] = field(default_factory=list)
    remedies: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    gate: list[dict[str, Any]] = field(default_factory=list)
    peak_memory_mb: float | None = None
    schema: int = SCHEMA
    poisons: Mapping[str, Poison] = field(default_factory=dict, compare=False, repr=False)
    material: Material | None = field(default=None, compare=False, repr=False)
    tables: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Raw rows of the poison files as comma-separated text, by the name of the file."""

    @property
    def test_error_behind_all(self) -> float:
        """What the defender can be pushed to behind the filter that it would choose in hindsight.

        The greatest error behind every filter at once, of any poison of the run in the widest domain.
        """
        return self.damage().test_error

    def damage(self, behind: str = ALL, domain: str | None = None) -> Damage:
        """The most that was done to one defender: ``"all"`` filters at once, a filter alone, or ``"none"``.

        Parameters
        ----------
        behind : str
        domain : str, optional
            One of `domains`; the first, widest one by default.

        Raises
        ------
        InputError
            If the run has no such figure.
        """
        where = self.domains[0] if domain is None else domain
        for item in self.damages:
            if (item.behind, item.domain) == (behind, where):
                return item
        known = ", ".join(dict.fromkeys(item.behind for item in self.damages))
        raise InputError(f"a defender among {known} and a domain among {', '.join(self.domains)}", f"{behind}, {where}")

    @property
    def files(self) -> list[str]:
        """Names of the poison files, each once."""
        names = [*(item.file for item in self.damages), *(entry.file for entry in self.attacks)]
        return list(dict.fromkeys(name for name in names if name))

    @property
    def filters(self) -> list[str]:
        """Names of the defences, without "none"."""
        return [name for name in self.clean["by_defense"] if name != UNDEFENDED]

    @property
    def strongest(self) -> AttackEntry:
        """The attack whose own poison does most behind every filter at once, the first of equals."""
        return max(self.attacks, key=lambda entry: entry.test_error_behind_all)

    @property
    def ranked(self) -> list[AttackEntry]:
        """The attacks, the strongest on the scored rows first."""
        return sorted(self.attacks, key=lambda entry: -entry.test_error_behind_all)

    @property
    def n_scored(self) -> int:
        """Number of rows that ``test_error`` is a share of; of a split in parts that does not tell, about."""
        if self.metric_rows is not None:
            return self.metric_rows
        if self.target_rows:
            return len(self.target_rows)
        share = float(self.target.partition(":")[2]) if self.target.startswith("split:") else 1.0
        return round(share * int(self.dataset["n_test"]))
