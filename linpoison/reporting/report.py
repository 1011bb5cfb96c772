"""The report of `audit` and `evaluate`: what was found, as JSON, text, page and files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core import InputError, Poison
from ..core.writing import Writer, text_writer
from .advice import advice
from .base import Report, Table
from .findings import SCHEMA, AttackEntry, AuditFindings, Damage
from .gates import Gates, failed
from .html import report_html
from .json_values import known, serial, typed
from .table import damage_tables, report_text
from .verdict import audit_verdict

_ANOTHER = "Run the audit again; docs/files.md says what changed between schemas."


@dataclass(frozen=True, kw_only=True)
class AuditReport(AuditFindings, Report):
    """The outcome of `audit` or `evaluate`; a row of `to_frame` is one of `damages`.

    `to_json` and `from_json` are inverse for everything but the poison rows and what the pictures
    are drawn from, which live in files of their own. The fields are documented in docs/files.md.
    """

    @property
    def verdict(self) -> str:
        """By how much, with how many rows, past which filters, on which rows, and what is proved at most."""
        return audit_verdict(self)

    @property
    def advice(self) -> list[str]:
        """What to do about it, the measure that leaves the least error first."""
        return advice(self)

    def summary(self) -> list[Table]:
        """How bad it gets, in each domain."""
        return damage_tables(self)

    def records(self) -> list[dict[str, Any]]:
        """The damages."""
        return [serial(item, leave=("test_errors", "kept")) for item in self.damages]

    def redacted(self) -> AuditReport:
        """The report without poison rows, and without the pictures and tables that show them."""
        return replace(
            self, poisons={}, tables={}, material=None, damages=[replace(item, file="") for item in self.damages],
            attacks=[replace(entry, file=None) for entry in self.attacks],
        )  # fmt: skip

    def values(self) -> dict[str, Any]:
        """What to do, and all fields, as in ``report.json``."""
        values = {"advice": self.advice, "schema": self.schema}
        values |= serial(self, leave=("schema", "poisons", "material", "tables"))
        for name in ("attacks", "damages"):
            values[name] = [serial(entry) for entry in getattr(self, name)]
        return values

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AuditReport:
        """Read a ``report.json``, or that of a folder."""
        place = Path(path) / "report.json" if Path(path).is_dir() else Path(path)
        try:
            return cls.from_json(place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the report.json of an audit", f"{place}: {error}") from None

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
            entries = [typed(AttackEntry(**known(AttackEntry, entry))) for entry in values.pop("attacks")]
            damages = [typed(Damage(**known(Damage, entry))) for entry in values.pop("damages")]
            return typed(cls(**known(cls, values), attacks=entries, damages=damages))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"a report of schema {SCHEMA} with every field", str(error)) from None

    def judged(self, gates: Gates) -> AuditReport:
        """The report with the verdict of each gate in its field `gate`."""
        return replace(self, gate=[asdict(verdict) for verdict in gates.judge(self)])

    @property
    def broken(self) -> list[str]:
        """The gates that are not met, a sentence each."""
        return failed(self.gate)

    def to_text(self) -> str:
        """The verdict, what to do, the tables behind it, and how to read them."""
        return report_text(self, self.verdict)

    def to_html(self) -> str:
        """The report as one self-contained page; a report read from JSON has fewer pictures."""
        return report_html(self, self.verdict)

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

    def writers(self) -> dict[str, Writer]:
        """``poison.npz`` and the other poisons, and their tables besides."""
        poisons = {
            file: partial(self.poisons[file].write, **self._words(self.poisons[file]))
            for file in self.files
            if file in self.poisons
        }
        return {**poisons, **{file: text_writer(text) for file, text in self.tables.items()}, **super().writers()}
