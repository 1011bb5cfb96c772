"""Suites: named audits with gates in ``linpoison.toml`` or ``pyproject.toml``, run one after another."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..attacks.run import Progress
from ..core import InputError
from ..core.writing import alone_in, check_folder
from ..reporting.gates import TOLERANCE, WORSE, Gates, check_limit
from ..reporting.report import AuditReport
from ..reporting.suite import SuiteEntry, SuiteReport
from .options import AuditOptions
from .sweeping import run_cell, within

FILES = ("linpoison.toml", "pyproject.toml")
"""Where a suite is looked for, in this order."""
_PATHS = ("estimator", "test")  # options that name files
_OWN = ("data", "gates", "baseline")  # keys that are no options of `audit`
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, eq=False)
class SuiteAudit:
    """One audit of a suite.

    Parameters
    ----------
    name : str
    data : str
        A name, or a file.
    options : AuditOptions
    gates : Gates
    line : int
        Of its table in the file, from 1.
    baseline : Path, optional
        The report, or its folder, that the gates compare with.
    worse : float
        By how much a figure may be above that of a baseline, should one be given later.
    """

    name: str
    data: str
    options: AuditOptions
    gates: Gates
    line: int
    baseline: Path | None = None
    worse: float = TOLERANCE


@dataclass(frozen=True, eq=False)
class Suite:
    """Named audits with gates.

    A file ``linpoison.toml`` holds a table ``[audits.NAME]`` for each audit, with `data`, any option of
    `linpoison.audit` under its Python name, a table `gates` of limits and perhaps a `baseline`, and a table
    ``[defaults]`` of options that all share; ``pyproject.toml`` holds the same below ``tool.linpoison``. Names of files
    are relative to the folder of the file.

    Parameters
    ----------
    path : Path
    audits : tuple of SuiteAudit
    """

    path: Path
    audits: tuple[SuiteAudit, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str] | None = None) -> Suite:
        """Read and check a file, by default the one in this folder.

        Raises
        ------
        InputError
            If there is none, or for anything in it that no audit can use.
        """
        place = _found() if path is None else Path(path)
        try:
            text = place.read_text(encoding="utf-8")
            tables = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError("a suite in TOML", f"{place}: {error}") from None
        if place.name == "pyproject.toml":
            tables = _table(_table(tables, "tool", place), "linpoison", place)
        _known(tables, ("audits", "defaults"), f"tables of {place}")
        audits, defaults = _table(tables, "audits", place), _table(tables, "defaults", place)
        if not audits:
            raise InputError("at least one table [audits.NAME]", f"none in {place}")
        return cls(place, tuple(_audit(name, audits, defaults, place, text) for name in audits))

    def only(self, names: Sequence[str]) -> Suite:
        """The audits of these names; all if there are none."""
        known = [audit.name for audit in self.audits]
        _known(dict.fromkeys(names), known, "audits")
        return self if not names else replace(self, audits=tuple(a for a in self.audits if a.name in names))

    def against(self, baselines: str | os.PathLike[str] | None) -> Suite:
        """With the reports of an earlier run as baselines, where it has one of that name."""
        if baselines is None:
            return self
        folder = Path(baselines)
        if not folder.is_dir():
            raise InputError("the output folder of an earlier check as --baseline", str(folder))
        return replace(self, audits=tuple(_against(audit, folder / audit.name) for audit in self.audits))


def check(
    suite: Suite | str | os.PathLike[str] | None = None,
    *,
    only: Sequence[str] = (),
    baseline: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    told: Callable[[str], None] | None = None,
    redact: bool = False,
) -> SuiteReport:
    """Run the audits of a suite and hold each against its gates.

    An audit that cannot be done is reported and does not stop the others.

    Parameters
    ----------
    suite : Suite or path, optional
        By default ``linpoison.toml`` or ``pyproject.toml`` in this folder, see `Suite`.
    only : sequence of str
        Names of the audits to run; all by default.
    baseline : path, optional
        Output folder of an earlier check: gates then fail only on what got worse, see `Gates`.
    jobs : int, optional
        Worker processes of each audit. Does not change the result.
    out : path, optional
        Folder for ``check.sarif``, ``check.xml`` (JUnit), ``check.md``, ``check.json`` and a folder of each audit. An
        audit whose report is there is read back.
    progress : callable, optional
        Called with (audits done, audits in all, description).
    told : callable, optional
        Called with a sentence for each audit that has ended.
    redact : bool, default False
        Leave the poison rows out of every file, as `audit` does.

    Raises
    ------
    InputError
        For a suite that cannot be read; nothing has run then.
    """
    read = suite if isinstance(suite, Suite) else Suite.read(suite)
    chosen = read.only(only).against(baseline)
    folder = None if out is None else check_folder(out).absolute()
    for audit in chosen.audits:
        check_apart(audit.baseline, None if folder is None else folder / audit.name)
    with alone_in(folder):
        entries: list[SuiteEntry] = []
        for number, audit in enumerate(chosen.audits):
            if progress is not None:
                progress(number, len(chosen.audits), audit.name)
            inside = within(progress, number, len(chosen.audits), audit.name)
            entries.append(_run(audit, jobs, None if folder is None else folder / audit.name, inside, redact))
            if told is not None:
                told(entries[-1].sentence)
        report = SuiteReport(str(chosen.path), tuple(entries))
        if folder is not None:
            report.save(folder)
    return report


def check_apart(baseline: Path | None, folder: Path | None) -> None:
    """Raise if an audit would write over its own baseline: what got worse would be the baseline of the next run."""
    if baseline is None or folder is None:
        return
    if folder.resolve() in (baseline.resolve(), baseline.resolve().parent):
        raise InputError("an output folder apart from the baseline", str(folder), "Copy the baseline elsewhere.")


def _run(
    audit: SuiteAudit, jobs: int | None, folder: Path | None, progress: Progress | None, redact: bool
) -> SuiteEntry:
    options = audit.options if jobs is None else replace(audit.options, jobs=jobs)
    cell = run_cell(audit.data, options, folder, audit.gates, progress, redact)
    return SuiteEntry(audit.name, audit.data, audit.line, cell.report, cell.failure)


def _found() -> Path:
    for name in FILES:
        if Path(name).is_file() and (name != "pyproject.toml" or b"[tool.linpoison" in Path(name).read_bytes()):
            return Path(name)
    raise InputError(
        "linpoison.toml, or [tool.linpoison] in pyproject.toml, in this folder", "none", "Or name a file with --config."
    )


def _audit(name: str, audits: Mapping[str, Any], defaults: Mapping[str, Any], place: Path, text: str) -> SuiteAudit:
    where = f"[audits.{name}] of {place}"
    if not _NAME.fullmatch(name) or name in (".", "..") or name.lower().startswith("check."):
        raise InputError(
            "names of audits of letters, digits, dots and dashes, as they name folders beside check.json", repr(name)
        )
    given = {**defaults, **_table(audits, name, place)}
    _known(given, (*_OWN, *AuditOptions.__dataclass_fields__), f"keys of {where}")
    data, limits, baseline = (given.pop(key, None) for key in _OWN)
    if not isinstance(data, str):
        raise InputError(f"data as a name or a file in {where}", "none" if data is None else repr(data))
    for key in _PATHS:
        if key in given:
            given[key] = str(_beside(place, given[key], key))
    kind, colon, file_of_costs = str(given.get("metric", "")).partition(":")
    if kind == "cost" and colon:
        given["metric"] = f"cost:{_beside(place, file_of_costs, 'metric')}"
    try:
        options = AuditOptions(**given)
        earlier = None if baseline is None else _beside(place, baseline, "baseline")
        before = None if earlier is None else AuditReport.load(earlier)
        limits = {} if limits is None else limits
        worse = TOLERANCE
        if isinstance(limits, dict) and WORSE in limits:
            worse = check_limit(WORSE, limits[WORSE])
            limits = limits if before is not None else {name: limits[name] for name in limits if name != WORSE}
        gates = Gates(limits, before)
        gates.check_asked(
            target=options.target, certify=options.certify, epsilon=options.epsilon, metric=options.metric
        )
    except InputError as error:
        raise type(error)(error.expected, error.got, f"{error.remedy} (In {where}.)".strip()) from None
    file = _beside(place, data, "data")
    return SuiteAudit(name, str(file) if file.is_file() else data, options, gates, _line_of(name, text), earlier, worse)


def _against(audit: SuiteAudit, folder: Path) -> SuiteAudit:
    if not (folder / "report.json").is_file():
        return audit
    limits = {**audit.gates.limits, WORSE: audit.worse}
    return replace(audit, gates=Gates(limits, AuditReport.load(folder)), baseline=folder)


def _table(tables: Mapping[str, Any], name: str, place: Path) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{name} as a table in {place}", repr(table))
    return dict(table)


def _known(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            remedy = f"Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{what} among {', '.join(known)}", repr(name), remedy)


def _beside(place: Path, file: Any, key: str) -> Path:
    if not isinstance(file, str) or "\0" in file:
        raise InputError(f"{key} as the name of a file", repr(file))
    return place.parent / file


def _line_of(name: str, text: str) -> int:
    """The line of an audit's table; the first of the file where it is written in another way."""
    head = re.compile(rf"""^\s*\[(?:tool\.linpoison\.)?audits\.["']?{re.escape(name)}["']?\]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if head.match(line)), 1)
