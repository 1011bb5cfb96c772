"""Conditions on a report: what is measured, what it may be at most, and whether that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import InputError, check_number
from .cells import difference, percent
from .findings import ALL, AuditFindings, Damage
from .words import measured

_ERROR = "test error"
WORSE = "worse"
"""The gate that compares with a baseline."""
TOLERANCE = 0.01
"""By how much a figure may be above that of a baseline if nothing else is said: 1 point."""


@dataclass(frozen=True)
class Kind:
    """A figure of a report that a gate can hold.

    Parameters
    ----------
    title : str
        In words, for people and rule lists.
    measure : callable
        From a report to the figure, or None where the run has none.
    lacking : str
        What a run without the figure has to be asked for.
    code : str
        Identifier in SARIF files.
    words : callable
        From the figure to its words.
    """

    title: str
    measure: Callable[[AuditFindings], float | None]
    lacking: str
    code: str
    words: Callable[[float], str] = percent


def _hardest(report: AuditFindings) -> Damage:
    return report.damage(ALL)


def _certified(report: AuditFindings) -> float | None:
    return max((float(rung["bound"]) for rung in report.rungs), default=None)


GATES: dict[str, Kind] = {
    "error": Kind("test error behind every filter at once", lambda report: _hardest(report).test_error, "", "LP001"),
    "unseen": Kind(
        "test error behind every filter at once on rows that the attacker did not see",
        lambda report: _hardest(report).unseen_test_error,
        "a target with unseen rows, such as split:0.5 or train",
        "LP002",
    ),
    "damage": Kind(
        "growth of the test error behind every filter at once",
        lambda report: _hardest(report).test_error - _hardest(report).clean_error,
        "",
        "LP003",
        difference,
    ),
    "certified": Kind("certified bound on the test error behind fixed filters", _certified, "certify", "LP004"),
    WORSE: Kind("growth of a figure over the baseline", lambda report: None, "a baseline", "LP005"),
}
"""Gates by name. Every figure is a share: 0.1 is 10 per cent, or 10 points."""


@dataclass(frozen=True)
class Verdict:
    """One gate held against one report.

    Parameters
    ----------
    gate : str
        One of `GATES`.
    limit, measured : float
        The greatest figure that is allowed, and the figure.
    met : bool
    reason : str
        In one sentence.
    baseline : float or None
        The figure of the baseline, if there is one.
    """

    gate: str
    limit: float
    measured: float
    met: bool
    reason: str
    baseline: float | None = None


@dataclass(frozen=True, eq=False)
class Gates:
    """What a report has to keep to.

    With a baseline a figure that is above its limit fails only if it is worse than the baseline's by more than the
    limit of ``worse`` (`TOLERANCE` by default), and no damage to any defender may grow by more than that.

    Parameters
    ----------
    limits : dict of float
        Greatest figure by name of the gate, see `GATES`.
    baseline : AuditFindings, optional
        A report of an earlier audit that asked the same.

    Raises
    ------
    InputError
        For an unknown gate, a limit that is no share, or ``worse`` without a baseline.

    Examples
    --------
    >>> Gates({"error": 0.2}).limits
    {'error': 0.2}
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    baseline: AuditFindings | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.limits, Mapping):
            raise InputError("gates as a mapping from names to limits, such as {'error': 0.2}", repr(self.limits))
        for name in self.limits:
            if name not in GATES:
                raise InputError(f"gates among {', '.join(GATES)}", repr(name))
        limits = {name: check_limit(name, limit) for name, limit in self.limits.items()}
        if self.baseline is not None:
            limits.setdefault(WORSE, TOLERANCE)
        elif WORSE in limits:
            raise InputError("a baseline for the gate 'worse'", "none", "Give the report.json of an earlier audit.")
        object.__setattr__(self, "limits", limits)

    def check_asked(self, *, target: str, certify: bool, **question: Any) -> None:
        """Raise before any work if the audit will lack a figure of a gate, or the baseline answers another question.

        Beside its options `target` and `certify` come those of `COMPARED` that are known by then.
        """
        if self.baseline is not None:
            check_same({**question, "target": target}, self.baseline)
        lacks = {"unseen": target in ("test", "given"), "certified": not certify}
        got = {"unseen": f"target {target}", "certified": "an audit without certificates"}
        for name in self.limits:
            if lacks.get(name):
                raise InputError(f"{GATES[name].lacking}, for the gate {name!r}", got[name])

    def judge(self, report: AuditFindings) -> list[Verdict]:
        """The verdict of each gate."""
        if self.baseline is not None:
            check_comparable(report, self.baseline)
        return [
            self._growth(report) if name == WORSE else self._figure(name, limit, report)
            for name, limit in self.limits.items()
        ]

    def _figure(self, name: str, limit: float, report: AuditFindings) -> Verdict:
        kind = GATES[name]
        figure = kind.measure(report)
        if figure is None:
            raise InputError(f"a report with a figure for the gate {name!r}", "none", f"It needs {kind.lacking}.")
        before = None if self.baseline is None else kind.measure(self.baseline)
        allowed = limit if before is None else max(limit, before + self.limits[WORSE])
        met = figure <= allowed + 1e-12
        title = kind.title.replace(_ERROR, measured(report.metric, _ERROR))
        words = f"{title}: {kind.words(figure)}, limit {kind.words(limit)}"
        if before is not None:
            words += f"; {kind.words(before)} in the baseline"
        return Verdict(name, limit, figure, met, words, before)

    def _growth(self, report: AuditFindings) -> Verdict:
        """The figure that has grown most since the baseline."""
        before = figures(self.baseline or report)
        now = figures(report)
        grown = {name: value - before[name] for name, value in now.items() if name in before}
        name, most = max(grown.items(), key=lambda item: item[1])
        limit = self.limits[WORSE]
        moved = f"{name}, from {percent(before[name])} to {percent(now[name])}"
        words = f"{GATES[WORSE].title}: {100 * most:+.1f} points ({moved}), limit {100 * limit:+.1f}"
        return Verdict(WORSE, limit, most, most <= limit + 1e-12, words, 0.0)


def check_limit(name: str, limit: Any) -> float:
    """A limit of a gate, or an `InputError` if it is no share."""
    remedy = "It is a share: 0.2 is 20 %, or 20 points."
    return check_number(limit, f"the gate {name!r}", at_least=0, at_most=1, remedy=remedy)


def figures(report: AuditFindings) -> dict[str, float]:
    """All that a baseline is compared by: damage to each defender, clean error, certified bound."""
    found = {f"behind {item.behind}, {item.domain}": item.test_error for item in report.damages}
    found["clean"] = float(report.clean["test_error"])
    bound = _certified(report)
    return found if bound is None else {**found, "certified": bound}


COMPARED = ("epsilon", "target", "metric", "filters", "domains")
"""Fields by which two reports answer the same question."""


def check_comparable(report: AuditFindings, baseline: AuditFindings) -> None:
    """Raise unless two reports answer the same question: budget, rows that may be looked at, metric, filters, domains.

    All figures of the baseline must be shares, and figures of the report as well.
    """
    check_same({name: getattr(report, name) for name in COMPARED}, baseline)
    found, before = figures(report), figures(baseline)
    for name, value in before.items():
        if name not in found or not 0 <= value <= 1:
            got = "none" if name not in found else f"{value:g} in the baseline"
            raise InputError(f"a figure between 0 and 1 for {name!r}, as the baseline has it", got, _ANEW)


def check_same(question: Mapping[str, Any], baseline: AuditFindings) -> None:
    """Raise if a baseline answers another question, or none."""
    if not baseline.damages:
        raise InputError("a baseline with figures", "one of an audit that was interrupted before any", _ANEW)
    for name, here in question.items():
        there = getattr(baseline, name)
        if list(here) != list(there) if isinstance(here, (tuple, list)) else here != there:
            raise InputError(f"a baseline of the same {name}, {here}", str(there), _ANEW)


_ANEW = "Make the baseline anew by the same audit."


def failed(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Reasons of the gates that are not met, of the field `gate` of a report."""
    return [str(item["reason"]) for item in verdicts if not item["met"]]
