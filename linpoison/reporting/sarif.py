"""SARIF 2.1.0, the format in which code hosts show findings of tools. OASIS Standard, 27 March 2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from .._version import __version__
from .gates import GATES

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
