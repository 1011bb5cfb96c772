"""What each command does once its arguments have been parsed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._frame import BAD_INPUT, say, tell
from .._progress import ProgressLine
from ..auditing import (
    AuditOptions,
    CertifyOptions,
    EvaluateOptions,
    LearnerOptions,
    audit,
    budget,
    certify,
    certify_rows,
    check,
    evaluate,
    inspect,
    sanitize,
)
from ..auditing.hardening import HardenOptions, harden
from ..auditing.subpop import SubpopOptions, run_subpop
from ..auditing.suites import check_apart
from ..auditing.sweeping import combine, run_sweep
from ..core import MissingDependency, check_number, check_once
from ..core.validation import as_count
from ..reporting import AuditReport
from ..reporting.base import Report
from ..reporting.cells import aligned
from ..reporting.gates import Gates
from .parser import build_parser

_AXES = {"epsilon": "epsilons", "seed": "seeds", "attacks": "attacks", "defenses": "defenses", "target": "targets"}
"""Arguments of which a sweep takes several, and what it calls the list."""


def run(arguments: Any) -> int:
    """Dispatch on the command; returns the exit code."""
    commands = {
        "audit": _audit, "sweep": _sweep, "certify": _certify, "budget": _budget, "evaluate": _evaluate,
        "sanitize": _sanitize, "inspect": _inspect, "subpop": _subpop, "check": _check, "harden": _harden,
        "datasets": _datasets, "completion": _completion,
    }  # fmt: skip
    return commands[arguments.command](arguments)


def _audit(arguments: Any) -> int:
    gates, options = _gates(arguments), _options(AuditOptions, arguments)
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        report = audit(
            arguments.data, options, out=arguments.out, progress=progress, found=progress.note, gates=gates,
            redact=arguments.redact,
        )  # fmt: skip
    return _finish(report, arguments)


def _sweep(arguments: Any) -> int:
    shared = {name: value for name, value in _given(AuditOptions, arguments).items() if name not in ("jobs", *_AXES)}
    axes = {axis: getattr(arguments, name) for name, axis in _AXES.items()}
    combinations = combine(**axes, **shared)
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        result = run_sweep(arguments.data, combinations, jobs=arguments.jobs, out=arguments.out, progress=progress)
    _print(result, arguments, "a folder of each audit")
    return 0


def _answers(arguments: Any) -> int:
    """Answers for the rows of a file."""
    kind: Any = "deletions" if arguments.kind == "error" else arguments.kind
    most = as_count(100 if arguments.count is None else arguments.count)
    options = _options(LearnerOptions, arguments)
    report = certify_rows(arguments.data, arguments.rows, options, kind=kind, most=most, out=arguments.out)
    _print(report, arguments)
    return 0


def _certify(arguments: Any) -> int:
    if arguments.rows is not None:
        return _answers(arguments)
    limit = _limit(arguments)
    if arguments.attacks is None:
        arguments.attacks = "kkt" if arguments.kind == "error" else "none"
    options = _options(CertifyOptions, arguments)
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        report = certify(arguments.data, options, out=arguments.out, progress=progress)
    _print(report, arguments, "certificates")
    return int(limit is not None and max(rung["bound"] for rung in report.rungs) > limit)


def _budget(arguments: Any) -> int:
    options = _options(LearnerOptions, arguments)
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        report = budget(arguments.data, arguments.target, options, out=arguments.out, progress=progress)
    _print(report, arguments, "certificates")
    return 0


def _subpop(arguments: Any) -> int:
    options = SubpopOptions(
        LearnerOptions(**_given(LearnerOptions, arguments), defenses="none"), attack=arguments.attack,
        match=arguments.match, clusters=arguments.clusters, components=arguments.components, groups=arguments.groups,
        alphas=tuple(arguments.alpha), collateral=arguments.collateral, map=arguments.map,
    )  # fmt: skip
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        report = run_subpop(arguments.data, options, out=arguments.out, progress=progress)
    _print(report, arguments, "map.png", "map.npz")
    return 0


def _print(report: Report, arguments: Any, *more: str) -> None:
    if arguments.json:
        say(report.to_json())
    elif not arguments.quiet:
        say(report.to_text())
        if arguments.out is not None:
            say(f"\nWritten to {arguments.out}: {', '.join((*report.writers(), *more))}\n")


def _evaluate(arguments: Any) -> int:
    gates, options = _gates(arguments), _options(EvaluateOptions, arguments)
    report = evaluate(
        arguments.data, arguments.poison, options, epsilon=arguments.epsilon, out=arguments.out, gates=gates,
        redact=arguments.redact,
    )  # fmt: skip
    return _finish(report, arguments)


def _sanitize(arguments: Any) -> int:
    report = sanitize(arguments.data, _options(LearnerOptions, arguments), out=arguments.out)
    if arguments.json:
        say(report.to_json())
    elif not arguments.quiet:
        say(f"{report.to_text()}\nWritten to {arguments.out}\n")
    return 0


def _inspect(arguments: Any) -> int:
    options = _options(LearnerOptions, arguments)
    report = inspect(arguments.data, options, top=arguments.top, share=arguments.share, out=arguments.out)
    _print(report, arguments)
    return 0


def _check(arguments: Any) -> int:
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        report = check(
            arguments.config, only=arguments.only, baseline=arguments.baseline, jobs=arguments.jobs, out=arguments.out,
            progress=progress, told=progress.note, redact=arguments.redact,
        )  # fmt: skip
    _print(report, arguments, "a folder of each audit")
    if arguments.quiet:
        for entry in (*report.failed, *report.broken):
            tell(f"linpoison: {entry.sentence}")
    return BAD_INPUT if report.failed else int(bool(report.broken))


def _harden(arguments: Any) -> int:
    options = _options(HardenOptions, arguments)
    with ProgressLine(sys.stderr, quiet=arguments.quiet) as progress:
        report = harden(arguments.data, options, out=arguments.out, progress=progress)
    _print(report, arguments)
    return 0


def _completion(arguments: Any) -> int:
    say(completion(arguments.shell))
    return 0


def _datasets(arguments: Any) -> int:
    from ..datasets import names

    rows = [("name", "train", "test", "features", "domain", "here")]
    notes = ["what"]
    for info in names():
        here = "yes" if info.available else "no"
        rows.append((info.name, str(info.n_train), str(info.n_test), str(info.n_features), info.domain, here))
        notes.append(info.description)
    lines = aligned(rows).splitlines()
    width = max(map(len, lines))
    table = [f"{line.ljust(width)}  {note}" for line, note in zip(lines, notes, strict=True)]
    say("\n".join(table) + "\n")
    return 0


def _given(kind: Any, arguments: Any) -> dict[str, Any]:
    """What was said of the fields of a class of options."""
    return {name: value for name, value in vars(arguments).items() if name in kind.__dataclass_fields__}


def _options(kind: Any, arguments: Any) -> Any:
    return kind(**_given(kind, arguments))


def _limit(arguments: Any) -> float | None:
    if arguments.fail_above is None:
        return None
    return check_number(
        arguments.fail_above, "--fail-above", at_least=0, at_most=1, remedy="It is an error rate: 0.2 means 20 %."
    )


def _gates(arguments: Any) -> Gates:
    """What was said by ``--gate``, ``--fail-above`` and ``--baseline``."""
    limit = _limit(arguments)
    given = arguments.gate + ([] if limit is None else [("error", limit)])
    check_once([name for name, _ in given], "gates")
    if arguments.baseline is None:
        return Gates(dict(given))
    check_apart(Path(arguments.baseline), None if arguments.out is None else Path(arguments.out))
    return Gates(dict(given), AuditReport.load(arguments.baseline))


def _finish(report: AuditReport, arguments: Any) -> int:
    _print(report, arguments)
    for reason in report.broken:
        tell(f"linpoison: gate not met: {reason}")
    return int(bool(report.broken))


_FILES = {"FILE", "FILE.npz", "DATA"}


def completion(shell: str) -> str:
    """The script for ``bash`` or ``zsh``.

    Raises
    ------
    MissingDependency
        If the package ``shtab`` is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise MissingDependency("shtab", "to print the script of a shell", "completion") from None
    parser = build_parser()
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of a parser and of all its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
