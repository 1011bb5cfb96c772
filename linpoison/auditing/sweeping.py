"""Many audits: every combination of budgets, seeds, attacks, defences and targets, on however many workers."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..attacks.parallel import as_finished
from ..attacks.run import Progress
from ..core import Budget, InputError, LinpoisonError, SolverFailed, check_integer
from ..core.writing import alone_in, check_folder
from ..defenses import DEFAULTS
from ..reporting.gates import Gates
from ..reporting.json_values import plain
from ..reporting.report import AuditReport
from ..reporting.sweep import SweepCell, SweepReport
from .assemble import describe_model
from .inputs import prepare
from .journal import run_digest
from .options import PORTFOLIO, AuditOptions, influences, processors
from .run import audit, check_bare
from .target import Target


def sweep(
    data: Any,
    *,
    epsilons: Iterable[float] = (0.03,),
    seeds: Iterable[int] = (0,),
    attacks: str | Iterable[Any] = (PORTFOLIO,),
    defenses: str | Iterable[Any] = (DEFAULTS,),
    targets: Iterable[str] = ("test",),
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SweepReport:
    """Audit every combination of budgets, seeds, targets, defences and attacks.

    The audits do not depend on each other. They run on `jobs` processes of this machine with one thread
    each, or, under ``joblib.parallel_config("dask")`` or ``"ray"``, on the workers of that cluster, which
    then have to see the same files. A sweep of one audit shares out the steps of its attacks instead.

    Parameters
    ----------
    data : str, path, Split or tuple
        As in `audit`. A name or a path is read by each worker; rows travel to it.
    epsilons : iterable of float
    seeds : iterable of int
    attacks : str or iterable
        Each item is the `attacks` of one audit: ``"portfolio"``, a name, an object, a comma list or ``"all"``. A
        string is one item.
    defenses : str or iterable
        Each item is the `defenses` of one audit: a comma list, an object, a sequence of names and objects, or
        ``"none"``. A string is one item.
    targets : iterable of str
    jobs : int, optional
        Audits that run at a time, one for each processor by default. Does not change the result.
    out : path, optional
        Folder for ``sweep.csv``, ``sweep.html``, ``sweep.json`` and for a folder of each audit. An audit whose report
        is there is read back; one that was interrupted resumes. An audit that cannot be done is a row of the table
        with the reason, and does not stop the others.
    progress : callable, optional
        Called with (audits done, audits in all, description).
    **options
        Other options of `audit`, the same for all.

    Raises
    ------
    InputError
        For options that no audit can use; nothing has run then.
    SolverFailed
        If every audit failed.

    Examples
    --------
    >>> result = sweep("gaussians", epsilons=(0.01, 0.05), attacks=("random-flips",), defenses=("l2",), jobs=1)
    >>> [(row["domain"], row["epsilon"], row["n_poison"]) for row in result.records()]
    [('real', 0.01, 4), ('range', 0.01, 4), ('real', 0.05, 20), ('range', 0.05, 20)]
    """
    combinations = combine(
        epsilons=epsilons, seeds=seeds, attacks=attacks, defenses=defenses, targets=targets, **options
    )
    return run_sweep(data, combinations, jobs=jobs, out=out, progress=progress)


def combine(
    *,
    epsilons: Iterable[float],
    seeds: Iterable[int],
    attacks: str | Iterable[Any],
    defenses: str | Iterable[Any],
    targets: Iterable[str],
    **options: Any,
) -> list[AuditOptions]:
    """The checked options of each combination."""
    axes = {"epsilon": epsilons, "seed": seeds, "target": targets, "defenses": defenses, "attacks": attacks}
    lists = {name: _values(name, items) for name, items in axes.items()}
    alone = next((name for name in ("epsilon", "seed", "target") if name in options), None)
    if alone is not None:
        raise InputError(f"{alone}s as a list", f"{alone}={options[alone]!r}", f"Write {alone}s=[...].")
    made = [
        AuditOptions(**dict(zip(lists, values, strict=True)), jobs=1, **options)
        for values in itertools.product(*lists.values())
    ]
    _check_distinct(made)
    return made


def run_sweep(
    data: Any,
    combinations: Sequence[AuditOptions],
    *,
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> SweepReport:
    """`sweep` over options that have been checked."""
    workers = processors() if jobs is None else check_integer(jobs, "jobs", at_least=1)
    folder = None if out is None else check_folder(out).absolute()
    _check(data, combinations)
    with alone_in(folder):
        return _run(data, combinations, workers, folder, progress)


def _run(
    data: Any,
    combinations: Sequence[AuditOptions],
    workers: int,
    folder: Path | None,
    progress: Progress | None,
) -> SweepReport:
    if len(combinations) == 1:
        combinations = [replace(combinations[0], jobs=workers)]
    here = workers == 1 or len(combinations) == 1  # one after another in this process, which can be told of each step
    arguments = [
        (
            data,
            options,
            None if folder is None else folder / cell_name(options),
            None,
            within(progress, number, len(combinations), "audits") if here else None,
        )
        for number, options in enumerate(combinations)
    ]
    done: dict[int, SweepCell] = {}
    _say(progress, 0, len(arguments))
    for number, cell in as_finished(run_cell, list(enumerate(arguments)), workers):
        done[number] = cell
        _say(progress, len(done), len(arguments))
    result = SweepReport(tuple(done[number] for number in range(len(arguments))))
    if not result.reports:
        first = result.cells[0].failure
        raise SolverFailed(f"expected an audit of the sweep that ends, got {len(done)} that failed: {first}")
    if folder is not None:
        result.save(folder)
    return result


def run_cell(
    data: Any,
    options: AuditOptions,
    folder: Path | None,
    gates: Gates | None = None,
    progress: Progress | None = None,
    redact: bool = False,
) -> SweepCell:
    """One audit, read back if it is done; a failure is told, not raised.

    Parameters
    ----------
    data : str, path, Split or tuple
    options : AuditOptions
    folder : Path, optional
    gates : Gates, optional
    progress : callable, optional
        See `audit`.
    redact : bool, default False
        See `audit`.
    """
    name = "" if folder is None else folder.name
    try:
        if redact:
            check_bare(folder)
        report = None if folder is None else finished(data, options, folder, redact)
        if report is None:
            made = audit(data, options, out=folder, progress=progress, gates=gates, redact=redact)
            report = replace(made, material=None)
        elif gates is not None:
            report = report.judged(gates)
    except (LinpoisonError, MemoryError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return SweepCell(options, None, reason, name)
    return SweepCell(options, report, "", name)


def within(progress: Progress | None, number: int, total: int, what: str) -> Progress | None:
    """Progress of one of several audits: it says what that one does, beside the number of those that are done."""
    if progress is None:
        return None
    return lambda done, whole, step: progress(number, total, f"{what}, {100 * done // whole} %: {step}")


def finished(data: Any, options: AuditOptions, folder: Path, redact: bool = False) -> AuditReport | None:
    """The report in a folder, if it answers this very question, was written by this version and has its poison."""
    try:
        report = AuditReport.from_json((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, InputError, UnicodeDecodeError):
        return None
    setting = prepare(data, options, many=True)
    same = (
        not report.unfinished
        and (redact or all(damage.file for damage in report.damages))
        and report.versions.get("linpoison") == __version__
        and report.dataset.get("digest") == setting.digest()
        and report.model == plain(describe_model(setting))
        and _untimed(report.options) == _untimed(plain(influences(options)))
        and (report.target_rows or []) == list(Target.parse(options.target).index)
    )
    return report if same else None


def _untimed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without the time limit, which does not matter to a report of attacks that all came to their end."""
    return {name: value for name, value in options.items() if name != "time_limit"}


def cell_name(options: AuditOptions) -> str:
    """A name for a cell's folder: its axes in words, and a hash of all its options."""
    names = ("+".join(options.defenses) or "none", "+".join(options.attacks))
    words = (f"eps{options.epsilon:g}", f"seed{options.seed}", options.target, *names)
    text = re.sub(r"[^\w+.-]+", "-", "_".join(words))[:80]
    return f"{text}_{run_digest(options=influences(options))[:8]}"


def _check(data: Any, combinations: Sequence[AuditOptions]) -> None:
    """Raise for data, budgets and target rows that no audit can use, before any worker starts."""
    setting = prepare(data, combinations[0], many=True)
    for options in combinations:
        Budget(options.epsilon).count(setting.split.train.n)
        Target.parse(options.target).rows(setting.split, options.seed, setting.measure)


def _values(name: str, items: Any) -> list[Any]:
    if name in ("attacks", "defenses") and (isinstance(items, str) or hasattr(items, "get_params")):
        return [items]
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise InputError(f"a list of values for {name} in a sweep", repr(items), "Put it into a list.")
    try:
        values = list(items)
    except (TypeError, NotImplementedError):  # such as of a sparse matrix or a scalar array
        raise InputError(f"a list of values for {name} in a sweep", repr(items), "Put it into a list.") from None
    if not values:
        raise InputError(f"at least one value for {name} in a sweep", "none")
    return values


def _check_distinct(made: Sequence[AuditOptions]) -> None:
    seen: set[str] = set()
    for options in made:
        key = json.dumps(plain(influences(options)), sort_keys=True)
        if key in seen:
            raise InputError("combinations that differ", f"one twice: {cell_name(options)}", "Remove the repetition.")
        seen.add(key)


def _say(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total, "audits")
