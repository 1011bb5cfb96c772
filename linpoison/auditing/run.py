"""The audit: attacks on one side, every defence on the other, one report."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..attacks.deadline import Deadline
from ..attacks.run import Progress
from ..attacks.scenario import Scenario
from ..core import AttackResult, Budget, InputError, LinpoisonError, SolverFailed
from ..core.journal import FolderJournal
from ..core.writing import alone_in, check_folder
from ..reporting.gates import Gates
from ..reporting.report import AuditReport
from .campaign import Campaign, Task
from .domains import settings_of
from .groups import Grouping
from .inputs import prepare, warn_of_sets
from .options import DEFAULT_DATA, AuditOptions, influences
from .overall import WHOLE
from .plan import affordable, make_plan
from .pool import Pool
from .target import Target
from .telling import Teller
from .work import RESERVE, Work


def audit(
    data: Any = DEFAULT_DATA,
    options: AuditOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    found: Callable[[str], None] | None = None,
    gates: Gates | None = None,
    redact: bool = False,
    **keywords: Any,
) -> AuditReport:
    """Attack a linear classifier within a budget, and score the poison past every defence.

    ::

        max over poison D_p, |D_p| = round(epsilon n)   min over defences   error(argmin on kept(clean + D_p))

    What comes back is the best poison found: a lower bound on the damage, never a proof of safety.

    Parameters
    ----------
    data : str, path, data frame, Split or tuple, default "breast_cancer"
        A name, a file, a frame with a `label` column, or rows as a `Split` or ``(X_train, y_train, X_test, y_test)``.
    options : AuditOptions, optional
        All options as an object, in place of keywords.
    out : path, optional
        Folder for ``report.json``, ``report.html``, ``poison.npz`` and, of raw rows, ``poison.csv``. An interrupted run
        keeps its finished steps in ``journal`` there; the same call resumes it. What has been found by then is written
        as a report too.
    progress : callable, optional
        Called with (per cent of the planned work, 100, description with the best error so far and the time left).
    found : callable, optional
        Called with a sentence whenever an attack ends: the best figure so far.
    gates : Gates, optional
        Limits that the figures are held against; the verdicts are the field `gate` of the report.
    redact : bool, default False
        Leave the poison rows, and what shows them, out of the report and of every file of it. The journal of a run
        that has not ended holds them.
    **keywords
        One for each field of `AuditOptions`, as below.

    Raises
    ------
    InputError
        For any option or data that cannot be used; nothing has been written then.

    Other Parameters
    ----------------
    model : {"svm", "logistic", "ridge"}, name of a loss or learner, MarginLoss or Learner, optional
        ``svm`` by default: hinge loss, penalised intercept. The other two leave the intercept free.
    reg : float, optional
        ``lambda > 0`` of the objective, 0.01 by default.
    epsilon : float, default 0.03
        Poison rows as a fraction of the clean training rows, in (0, 1].
    attacks : comma list, or sequence of str and objects, or mapping of str to object, default ("portfolio",)
        ``"portfolio"``: flips, far rows, min-max, kkt, influence and local search, from cheap to dear, as far as a
        count of the work (rows, columns, defences; no clock) allows; also one attack for each filter alone. What is
        left out stands in the report. Many dense rows are searched by a sample, and what is found is scored on all.
        Or attacks by name or as objects (`linpoison.attacks.Attack`), or ``"all"``:
        every one but kkt-grid, the paper's baseline of kkt. `refined` runs last and starts from the poison of the
        others that is strongest on the rows the attacker looks at. Under both words an attack that fails is reported
        under ``failures`` and does not stop the rest.
    defenses : comma list, or sequence of str and objects, or mapping of str to object
        Sanitisers that the poison has to pass; empty or ``"none"`` for an undefended learner. Names, or objects: a
        `linpoison.defenses.Defense`, an outlier detector of scikit-learn, or a sampler of imbalanced-learn
        (`linpoison.defenses.as_defense`). The default five are without those that take minutes to fit, by a count of
        the work, or more than a tenth of `time_limit`; the report names these.
    target : {"test", "train", "split:F", "rows:I,J,..."}, default "test"
        Which rows the attacker may look at; with ``rows:`` (numbers, or a file of them) the test rows
        that it wants misclassified.
    estimator : estimator or path, optional
        A fitted scikit-learn linear classifier, or its ``.skops`` file, instead of `model`. Of a pipeline the steps
        before it are taken as they are: they say what a poison row may hold, and the report has the poison as raw rows
        too, where they can be gone back through.
    penalize_intercept : bool, optional
        Overrides the convention of `model`.
    variant : {"paper", "reference"}, default "paper"
        Definition of the sanitisers.
    remove : float, default 0.05
        Share of each class that a sanitiser removes.
    domain : {"real", "box", "counts", "counts:N", "unit", "range", "range:F"}, optional
        What a poison row may hold. By default the report answers twice, for no range check and for rows within the
        range of each column (or the box of the data, or counts up to the largest of each column).
        ``counts:inf`` are counts without a limit.
    seed : int, default 0
    distinct : bool, default False
        Ask for poison rows of which no two of one class are near-copies of each other, or of clean rows: they differ by
        more than the defence ``duplicates`` takes for a copy. Where that defence is chosen they do so anyway.
    certify : bool, default False
        Also bound what any poison of this budget could do, as `linpoison.certify` does, and hold the poisons against
        the bound: the same learner behind filters that are fitted on the clean rows and held fixed.
    solver : str, optional
        A conic solver of cvxpy (CLARABEL, ECOS, OSQP, SCS) for the programs, supports and projections of the attacks
        that have them (kkt, min-max, influence and their kin). By default, and for ``"structured"``, the library's
        structured solvers, which are faster by orders of magnitude.
    attack_variant : {"library", "paper"}, default "library"
        The library's own attacks, or those of Koh et al. as published, see `linpoison.attacks.make_attack`.
    metric : {"error", "balanced", "recall:CLASS", "fpr:CLASS", "auc", "cost:FILE"}, default "error"
        What attacks maximise, defences are judged by and gates hold, a figure between 0 and 1: the share of
        misclassified rows; the mean over the classes of that share; the share of a class that is missed (1 less its
        recall); the share of the other rows taken for a class; 1 less the area under the ROC curve; the mean cost by
        a table of costs (docs/files.md), in units of the greatest. CLASS is a value of the label column. With
        `certify` error, recall or fpr. Wherever a report says error it is this figure.
    subpopulation : {"clusters", "clusters:K", "columns:A,B,..."}, optional
        Also report who would be hurt: the damage of the strongest poison to each subpopulation, behind each defence.
        Clusters of the training rows, or rows that agree in some columns (by name or number; one of more than six
        values is cut at its quartiles). All columns hold numbers. The poison itself is not made against any of them;
        `linpoison subpop` does that.
    jobs : int, optional
        Worker processes, one for each processor by default. Does not change the result.
    time_limit : float, optional
        Seconds of wall time for the whole audit, loading and report included: attacks end at their next step with what
        they have, no others begin, and the report says which (overrun by a step, or some seconds). A first attack
        always begins. What is found then depends on the machine; without a limit it does not. With `out`, the same call
        goes on from there.
    label, test, test_fraction, header, index : optional
        How a file is read, see `linpoison.load`, or a data frame, whose test rows may be another frame.
    frozen : comma list or sequence of str, optional
        Raw columns before the steps of an estimator that the attacker cannot change: a poison row takes the values of
        all of them from one clean row.
    sample_weight : str or array_like of shape (n_train,), optional
        Weights of the training rows in the learner's objective, as an estimator was fitted with: a column of the file,
        or numbers. They are divided by their mean, and a poison row weighs as much as the average row.
    class_weight : "balanced", mapping or str, optional
        Weights of the classes by label value beside `model`, such as ``{"spam": 4}``; poison rows carry them as well.
    """
    asked = AuditOptions.of(options, keywords)
    folder = None if out is None else check_folder(out)
    with alone_in(folder):
        return _run(data, asked, folder, progress, found, Gates() if gates is None else gates, redact)


def _run(
    data: Any,
    options: AuditOptions,
    folder: Path | None,
    progress: Progress | None,
    found: Callable[[str], None] | None,
    gates: Gates,
    redact: bool,
) -> AuditReport:
    gates.check_asked(target=options.target, certify=options.certify, epsilon=options.epsilon, metric=options.metric)
    if redact:
        check_bare(folder)
    work = replace(_begin(data, options, folder, progress, found), redact=redact)
    attacked = False
    try:
        work.campaign.run(work.plan.tasks)
        attacked = True
        report = work.report(data, progress).judged(gates)
        if folder is not None:
            _saved(report, folder)
        if progress is not None:
            progress(WHOLE, WHOLE, "report")
    except LinpoisonError as error:
        if not attacked:  # finished attacks stay in the journal, such as for a call without `certify`
            work.forget()
        if isinstance(error, SolverFailed) and (hint := work.scale_hint()):
            raise SolverFailed(f"{error} {hint}") from None
        raise
    except KeyboardInterrupt:
        if folder is None or not work.saved_early(data, folder):
            raise
        raise KeyboardInterrupt(f"What the attacks have found is in {folder}/report.html.") from None
    if not (report.unfinished or work.campaign.late):
        work.forget()
    return report


def _saved(report: AuditReport, folder: Path) -> None:
    """Write the files, and remove poison files of the report that was there before: they would lie beside another."""
    before = _poison_files(folder)
    report.save(folder)
    for name in before - _with_tables(report.files):
        (folder / name).unlink(missing_ok=True)


def _poison_files(folder: Path) -> set[str]:
    """Names of the poison files of the report in a folder, and of the tables beside them; none without a report."""
    try:
        named = AuditReport.load(folder).files
    except InputError:
        return set()
    return _with_tables([name for name in named if re.fullmatch(r"poison[\w.-]*\.npz", name)])


def _with_tables(files: Sequence[str]) -> set[str]:
    return {*files, *(f"{Path(name).stem}.csv" for name in files)}


def check_bare(folder: Path | None) -> None:
    """Raise if a folder holds the poison of an earlier run, which would lie beside a report that shows none."""
    held = sorted(path.name for path in folder.glob("poison*.*")) if folder is not None and folder.is_dir() else []
    if held:
        raise InputError(
            "an output folder without poison files beside redact", f"{', '.join(held[:3])} in {folder}",
            "Remove them, or name another folder.",
        )  # fmt: skip


_NOT_IN_STEPS = ("certify", "subpopulation", "time_limit")
"""Options that no step of an attack depends on."""


def _begin(
    data: Any,
    options: AuditOptions,
    folder: Path | None,
    progress: Progress | None,
    found: Callable[[str], None] | None,
) -> Work:
    deadline = None if options.time_limit is None else Deadline.after(options.time_limit)
    setting, too_dear = affordable(prepare(data, options, many=True), options)
    if options.certify:
        setting.split.train.require_both_classes("rows to certify")
    warn_of_sets(setting)
    settings = settings_of(setting, options.domain)
    budget = Budget(options.epsilon)
    n_poison = budget.count(setting.split.train.n)
    target = Target.parse(options.target)
    rows = target.rows(setting.split, options.seed, setting.measure)
    division = None
    if options.subpopulation is not None:  # mistakes are told before hours of attacks, not after
        division = Grouping.parse(options.subpopulation).divide(setting.split.train, rows.measured[1], options.seed)
    journal = None
    if folder is not None:
        told = {name: value for name, value in influences(options).items() if name not in _NOT_IN_STEPS}
        if too_dear:  # which filters are left depends on the time limit
            told["defenses"] = tuple(setting.defenses)
        digest = setting.key(told, rows=rows.index)
        journal = FolderJournal(folder / "journal" / digest)
    scenarios = {}
    for domain, one in settings.items():
        parts = target.rows(one.split, options.seed, one.measure)
        scenarios[domain] = Scenario(
            one.split.train,
            one.problem,
            budget,
            one.defenses,
            parts.aim,
            distinct=options.distinct,
            learner=setting.own,
            defender=setting.defender,
        )
    plan = make_plan(options, scenarios)
    plan = replace(plan, left_out=(*too_dear, *plan.left_out))
    clock = time.monotonic if deadline is None else deadline.clock
    began = clock()
    clean = setting.defender.score(None, rows.parts)
    reserve = RESERVE + (clock() - began) / 2
    pool = Pool(setting.defender, rows, lambda: deadline is not None and deadline.left < reserve / 2)
    tell = None if found is None else Teller(found, wide=next(iter(settings)))

    def ended(task: Task, result: AttackResult) -> None:
        """Score and tell."""
        pool.ended(task, result)
        if tell is not None:
            tell(task, result)

    tolerant, jobs = options.every or options.portfolio, int(options.jobs or 1)
    until = None if deadline is None else deadline.sooner(min(reserve, (options.time_limit or 0.0) / 2))
    campaign = Campaign(options.seed, jobs, tolerant, progress, journal, ended, until)
    return Work(options, setting, settings, n_poison, clean, plan, campaign, journal, pool, deadline, division)
