"""The outcome of a suite of audits: a table for people, and what build servers read."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from .._printable import printable
from .._version import __version__
from ..core.writing import Writer, text_writer
from .base import Report, Table
from .cells import counted, joined, percent
from .gates import GATES
from .page import plain_page
from .report import AuditReport

SARIF_VERSION = "2.1.0"


@dataclass(frozen=True, eq=False)
class Finding:
    """One gate of an audit, or an audit that could not be done.

    Parameters
    ----------
    audit : str
    line : int
        Of the audit in the file of the suite, from 1.
    verdict : mapping or None
        Of the gate, as in the field `gate` of a report.
    message : str
    threat : sequence of str
        Identifiers of the threat in the taxonomies of NIST and MITRE.
    """

    audit: str
    line: int
    verdict: Mapping[str, Any] | None
    message: str
    threat: Sequence[str] = field(default_factory=tuple)


def sarif_log(suite: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The log of one run."""
    failed = [finding for finding in findings if finding.verdict is None]
    driver = {"name": "linpoison", "semanticVersion": __version__, "rules": _rules()}
    invocation = {
        "executionSuccessful": not failed,
        "toolExecutionNotifications": [
            {"level": "error", "message": {"text": item.message}, "locations": [_location(suite, item)]}
            for item in failed
        ],
    }
    results = [_result(suite, item, item.verdict) for item in findings if item.verdict is not None]
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return {"version": SARIF_VERSION, "runs": [run]}


def _rules() -> list[dict[str, Any]]:
    return [
        {"id": kind.code, "name": name, "shortDescription": {"text": f"{kind.title} above its limit"}}
        for name, kind in GATES.items()
    ]


def _result(suite: str, finding: Finding, verdict: Mapping[str, Any]) -> dict[str, Any]:
    names = list(GATES)
    measures = {name: verdict[name] for name in ("measured", "limit", "baseline") if verdict[name] is not None}
    return {
        "ruleId": GATES[verdict["gate"]].code,
        "ruleIndex": names.index(verdict["gate"]),
        "kind": "pass" if verdict["met"] else "fail",
        "level": "none" if verdict["met"] else "error",
        "message": {"text": finding.message},
        "locations": [_location(suite, finding)],
        "partialFingerprints": {"linpoison/gate": f"{finding.audit}/{verdict['gate']}"},
        "properties": {"audit": finding.audit, **measures, "tags": list(finding.threat)},
    }


def _location(suite: str, finding: Finding) -> dict[str, Any]:
    place = {"uri": quote(PurePath(suite).as_posix())}
    return {"physicalLocation": {"artifactLocation": place, "region": {"startLine": finding.line}}}


SCHEMA = 1
"""Of ``check.json``."""
MET, BROKEN, FAILED = "met", "not met", "failed"
"""What became of an audit: all gates met, one not met, or it could not be done."""


@dataclass(frozen=True, eq=False)
class SuiteEntry:
    """One audit of a suite.

    Parameters
    ----------
    name, data : str
    line : int
        Of its table in the file of the suite.
    report : AuditReport or None
        None if it could not be done.
    failure : str
        The reason in one line; empty if there is a report.
    """

    name: str
    data: str
    line: int
    report: AuditReport | None
    failure: str = ""

    @property
    def state(self) -> str:
        """`MET`, `BROKEN` or `FAILED`."""
        if self.report is None:
            return FAILED
        return BROKEN if self.report.broken else MET

    @property
    def reasons(self) -> list[str]:
        """Why it is not met; empty if it is."""
        return [self.failure] if self.report is None else self.report.broken

    @property
    def sentence(self) -> str:
        """Name, state and reasons in a line."""
        return f"{self.name}: {self.state}" + "".join(f"; {reason}" for reason in self.reasons)

    def cells(self) -> tuple[str, ...]:
        """Name, state, clean error, error behind every filter at once, and the same on unseen rows."""
        if self.report is None:
            return (self.name, self.state, "-", "-", "-")
        hardest = self.report.damage()
        errors = (hardest.clean_error, hardest.test_error, hardest.unseen_test_error)
        return (self.name, self.state, *(percent(error) for error in errors))


_HEAD = ("audit", "gates", "clean", "behind all", "unseen")


@dataclass(frozen=True, eq=False)
class SuiteReport(Report, stem="check"):
    """The outcome of `linpoison.check`; a row of `to_frame` is an audit.

    Parameters
    ----------
    path : str
        The file of the suite.
    entries : tuple of SuiteEntry
    """

    path: str
    entries: tuple[SuiteEntry, ...]

    @property
    def broken(self) -> list[SuiteEntry]:
        """Audits of which a gate is not met."""
        return [entry for entry in self.entries if entry.state == BROKEN]

    @property
    def failed(self) -> list[SuiteEntry]:
        """Audits that could not be done."""
        return [entry for entry in self.entries if entry.state == FAILED]

    @property
    def verdict(self) -> str:
        """How many audits meet their gates, and which do not."""
        met = len(self.entries) - len(self.broken) - len(self.failed)
        told = [f"{joined([entry.name for entry in some])} {what}" for some, what in (
            (self.broken, "not"), (self.failed, "could not be done")) if some]  # fmt: skip
        return f"{met} of {counted(len(self.entries), 'audit')} met all gates{''.join(f', {words}' for words in told)}."

    def summary(self) -> list[Table]:
        """What became of each audit, and its errors."""
        return [("Audits", [_HEAD, *(entry.cells() for entry in self.entries)])]

    def records(self) -> list[dict[str, Any]]:
        """The audits."""
        return [dict(zip(_HEAD, entry.cells(), strict=True)) for entry in self.entries]

    def to_text(self) -> str:
        """A table and the reasons, for people."""
        return "\n".join([str(self), "", *self._reasons()])

    def to_html(self) -> str:
        """The same as one page."""
        return plain_page(self, f"Suite {self.path}", (), [("Gates that are not met", self._reasons())])

    def _reasons(self) -> list[str]:
        return [entry.sentence for entry in self.entries if entry.reasons]

    def to_markdown(self) -> str:
        """The same for the summary of a build."""
        rows = [_HEAD, ("---",) * len(_HEAD), *(entry.cells() for entry in self.entries)]
        table = "\n".join(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows)
        told = [entry for entry in self.entries if entry.reasons]
        reasons = [f"- **{_escaped(entry.name)}**: {_escaped('; '.join(entry.reasons))}" for entry in told]
        blocks = ["### linpoison check", table, *(["\n".join(reasons)] if reasons else [])]
        return "\n\n".join(blocks) + "\n"

    def values(self) -> dict[str, Any]:
        """State, reasons and verdicts of each audit, as in ``check.json``."""
        audits = [
            {
                "name": entry.name, "data": entry.data, "state": entry.state, "reasons": entry.reasons,
                "gate": [] if entry.report is None else entry.report.gate,
            }
            for entry in self.entries
        ]  # fmt: skip
        return {"schema": SCHEMA, "suite": self.path, "audits": audits}

    def to_sarif(self) -> str:
        """A SARIF 2.1.0 log: a result for every gate, and a notification for an audit that could not be done."""
        return json.dumps(sarif_log(self.path, list(self._findings())), indent=2, allow_nan=False) + "\n"

    def _findings(self) -> Iterator[Finding]:
        for entry in self.entries:
            if entry.report is None:
                yield Finding(entry.name, entry.line, None, entry.failure)
                continue
            threat = [str(item["id"]) for item in entry.report.threat.get("identifiers", [])]
            for verdict in entry.report.gate:
                yield Finding(entry.name, entry.line, verdict, f"{entry.name}: {verdict['reason']}", threat)

    def to_junit(self) -> str:
        """JUnit XML: a test case for every gate; an audit without gates is one case, which it passes if it ends."""
        states = [entry.state for entry in self.entries]
        cases = [case for entry in self.entries for case in _cases(entry)]
        suite = ET.Element(
            "testsuite", name="linpoison", tests=str(len(cases)), errors=str(states.count(FAILED)),
            failures=str(sum(case.find("failure") is not None for case in cases)),
        )  # fmt: skip
        suite.extend(cases)
        root = ET.Element("testsuites")
        root.append(suite)
        ET.indent(root)
        return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"

    def writers(self) -> dict[str, Writer]:
        """``check.sarif``, ``check.xml`` and ``check.md`` besides."""
        texts = {"check.sarif": self.to_sarif, "check.xml": self.to_junit, "check.md": self.to_markdown}
        return {**{name: text_writer(text) for name, text in texts.items()}, **super().writers()}


def _cases(entry: SuiteEntry) -> list[ET.Element]:
    if entry.report is None:
        case = ET.Element("testcase", classname="linpoison", name=entry.name)
        ET.SubElement(case, "error", message=printable(entry.failure))
        return [case]
    cases = []
    for verdict in entry.report.gate:
        case = ET.Element("testcase", classname=f"linpoison.{entry.name}", name=str(verdict["gate"]))
        if not verdict["met"]:
            ET.SubElement(case, "failure", message=printable(str(verdict["reason"])))
        cases.append(case)
    return cases or [ET.Element("testcase", classname="linpoison", name=entry.name)]


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
