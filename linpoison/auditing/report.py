"""What an audit found, as plain values that survive a round trip through JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import UNDEFENDED, InputError, Poison
from ..core.writing import Writer, text_writer, write_all
from .damage import ALL, Damage

if TYPE_CHECKING:
    from .material import Material

SCHEMA = 2
_ANOTHER = "Run the audit again; docs/files.md says what changed between schemas."


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
class AuditReport:
    """The outcome of `audit` or `evaluate`.

    `to_json` and `from_json` are inverse for everything but the poison rows and what the pictures
    are drawn from, which live in files of their own. The fields are documented in docs/files.md.
    """

    dataset: dict[str, Any]
    model: dict[str, Any]
    epsilon: float
    clean: dict[str, Any]
    target: str
    attacks: list[AttackEntry]
    versions: dict[str, str]
    seed: int
    command: str = ""
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
    failures: list[dict[str, str]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    peak_memory_mb: float | None = None
    schema: int = SCHEMA
    poisons: Mapping[str, Poison] = field(default_factory=dict, compare=False, repr=False)
    material: Material | None = field(default=None, compare=False, repr=False)

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
        """Number of rows behind ``test_error``; of a split in parts, about."""
        if self.target_rows:
            return len(self.target_rows)
        share = float(self.target.partition(":")[2]) if self.target.startswith("split:") else 1.0
        return round(share * int(self.dataset["n_test"]))

    def to_json(self) -> str:
        """The report as JSON text, as in ``report.json``."""
        values = {"schema": self.schema, **_serial(self, leave=("schema", "poisons", "material"))}
        for name in ("attacks", "damages"):
            values[name] = [_serial(entry) for entry in getattr(self, name)]
        return json.dumps(plain(values), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> AuditReport:
        """Read what `to_json` wrote; fields that this version does not know are left out."""
        try:
            values = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            raise InputError("a report in JSON", "text that is not JSON") from None
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            schema = values.get("schema") if isinstance(values, dict) else None
            raise InputError(f"a report of schema {SCHEMA}", f"schema {schema!r}", _ANOTHER)
        try:
            entries = [_typed(AttackEntry(**_known(AttackEntry, entry))) for entry in values.pop("attacks")]
            damages = [_typed(Damage(**_known(Damage, entry))) for entry in values.pop("damages")]
            return _typed(cls(**_known(cls, values), attacks=entries, damages=damages))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"a report of schema {SCHEMA} with every field", str(error)) from None

    def to_text(self) -> str:
        """The report as a table for people."""
        from .table import report_text

        return report_text(self)

    def to_html(self) -> str:
        """The report as one self-contained page; a report read from JSON has fewer pictures."""
        from .html import report_html

        return report_html(self)

    def _words(self, poison: Poison) -> dict[str, Any]:
        """The user's label values of poison rows, and names of the columns, as arrays of a poison file."""
        words: dict[str, Any] = {}
        if self.material is None:
            return words
        train = self.material.train
        if train.classes is not None:
            words["label"] = np.array(train.label_values(poison.y))
        if train.feature_names is not None:
            words["columns"] = np.array(train.feature_names)
        return words

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``poison.npz`` and the other poisons, ``report.html`` and ``report.json``, all or none."""
        writers: dict[str, Writer] = {
            file: partial(self.poisons[file].write, **self._words(self.poisons[file]))
            for file in self.files
            if file in self.poisons
        }
        writers["report.html"] = text_writer(self.to_html())
        writers["report.json"] = text_writer(self.to_json())
        write_all(Path(folder), writers)


def plain(value: Any) -> Any:
    """Numbers, text, lists and dicts only; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _serial(item: Any, leave: Sequence[str] = ()) -> dict[str, Any]:
    return {entry.name: getattr(item, entry.name) for entry in fields(item) if entry.name not in leave}


_KINDS: dict[str, Any] = {"dict": dict, "list": list, "str": str, "int": int, "float": (int, float), "bool": bool}


def _typed(item: Any) -> Any:
    """`item` itself, if each field holds what it is annotated with.

    Raises
    ------
    TypeError
        For the first that does not.
    """
    for entry in fields(item):
        words = [word.partition("[")[0].strip() for word in str(entry.type).split("|")]
        kinds = [_KINDS[word] for word in words if word in _KINDS]
        value = getattr(item, entry.name)
        if not kinds or (value is None and "None" in words):
            continue
        if not any(isinstance(value, kind) for kind in kinds):
            raise TypeError(f"{entry.name} as {entry.type}, got a {type(value).__name__}")
    return item


def _known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = {entry.name for entry in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
