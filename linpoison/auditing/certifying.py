"""How bad it can get, and how bad it was made: certificates over budgets with attacks beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .. import attacks
from ..attacks.aim import Aim
from ..attacks.scenario import Scenario
from ..certificates import Certificate, Claim
from ..certificates.certificate import Kind, words_of
from ..certificates.test_error import score_certifier
from ..core import (
    AttackResult,
    Budget,
    CertificateInvalid,
    Dataset,
    InputError,
    LinpoisonError,
    Poison,
    check_integer,
)
from ..core.journal import FolderJournal
from ..core.validation import as_count
from ..core.writing import alone_in, check_folder
from ..reporting.certify import CertifyReport
from ..reporting.json_values import plain
from .assemble import command_line, describe_data, describe_model, versions
from .bracket import CERTIFICATES, Bracket, Progress, Rung, build_bracket, share, wrong
from .campaign import Campaign, Task
from .inputs import Setting, prepare
from .options import DEFAULT_DATA, AuditOptions, EvaluateOptions, influences, processors
from .row_kinds import ROW_KINDS, Asked, Held, RowKind, refuse
from .trusted import Trusted, fixed, trusted, unfiltered

DEFAULT_EPSILONS = (0.003, 0.01, 0.03)
DEFAULT_COUNT = (1, 2, 5)
DEFAULT_PARTS = 10
ERROR = "error"
KINDS = (ERROR, *ROW_KINDS)


@dataclass(frozen=True, kw_only=True)
class CertifyOptions(EvaluateOptions):
    """Options of `certify`, which says what each means, checked; `epsilons` are its `epsilon`."""

    epsilons: Any = DEFAULT_EPSILONS
    attacks: Any = ()
    certificates: Any = CERTIFICATES
    jobs: int | None = None
    kind: str = ERROR
    count: Any = None
    parts: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in KINDS:
            raise InputError(f"a kind among {', '.join(KINDS)}", repr(self.kind))
        values = _listed(self.epsilons)
        numbers = tuple(sorted({Budget(_as_number(value)).epsilon for value in values}))
        if not numbers:
            raise InputError("at least one epsilon", "none", "Such as 0.003,0.01,0.03.")
        self._set("epsilons", numbers)
        self._set("attacks", self._attack_names())
        chosen = tuple(str(name) for name in _listed(self.certificates))
        unknown = [name for name in chosen if name not in CERTIFICATES]
        if unknown or not chosen:
            got = ", ".join(map(repr, unknown)) or "none"
            raise InputError(f"certificates among {', '.join(CERTIFICATES)}", got)
        if len(set(chosen)) < len(chosen):
            raise InputError("certificates that are named once", repr(",".join(chosen)), "Remove the repetition.")
        self._set("certificates", chosen)
        self._set("jobs", processors() if self.jobs is None else check_integer(self.jobs, "jobs", at_least=1))
        self._check_kind()
        self.check_certifiable()

    def _check_kind(self) -> None:
        """Options of one kind given to another are refused."""
        kind = ROW_KINDS.get(self.kind)
        if kind is not None and (self.attacks or self.certificates != CERTIFICATES):
            raise InputError(f"neither attacks nor certificates by name with the kind {self.kind}", "some")
        if self.count is not None:
            if kind is None or not kind.counted:
                raise InputError("count with the kinds deletions, flips and partition", f"the kind {self.kind}")
            counts = {check_integer(as_count(value), "count", at_least=1) for value in _listed(self.count)}
            self._set("count", tuple(sorted(counts)))
        if self.parts is not None:
            if self.kind != "partition":
                raise InputError("parts with the kind partition", f"the kind {self.kind}")
            self._set("parts", check_integer(self.parts, "parts", at_least=1))

    def levels(self) -> tuple[float, ...]:
        """What is gone through: numbers of rows, or budgets."""
        kind = ROW_KINDS.get(self.kind)
        return tuple(self.epsilons) if kind is None or not kind.counted else tuple(self.count or DEFAULT_COUNT)

    def _attack_names(self) -> tuple[str, ...]:
        names = list(_listed(self.attacks))
        if "none" in names and len(names) > 1:
            raise InputError("attacks by name, or 'none' alone", repr(",".join(map(str, names))))
        return AuditOptions(attacks=names).attack_names() if names and names != ["none"] else ()


def certify(
    data: Any = DEFAULT_DATA,
    options: CertifyOptions | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **keywords: Any,
) -> CertifyReport:
    """Bound the damage that any poison of a budget can do to a linear classifier, on its own test rows.

    ::

        attack error  <=  max over poison in the fixed sets, of mass epsilon   error(argmin on clean + D_p)  <=  bound

    The defender that is certified fits its filters once, on the clean rows, and holds them fixed; a poison
    row outside is dropped. That is not the defender of `audit`, which fits its filters with the poison in.

    Parameters
    ----------
    data : str, path, Split or tuple, default "breast_cancer"
        As in `audit`.
    options : CertifyOptions, optional
        As an object, in place of keywords.
    out : path, optional
        Folder for ``certify.json``, ``certify.html`` and ``certificates/``, from which an interrupted run resumes.
    progress : callable, optional
    **keywords
        `epsilon`, `attacks`, `certificates` and `jobs` as below, and of `audit` `model`, `reg`, `estimator`,
        `penalize_intercept`, `sample_weight`, `defenses`, `variant`, `remove`, `domain`, `seed`, `label`, `test`,
        `test_fraction`, `header`, `index`, `frozen` and `metric` (error, recall or fpr); no `class_weight`: a bound
        needs a regulariser that no poison moves, as that of an estimator with a fixed C.

    Raises
    ------
    CertificateViolated
        If an attack does more than a certificate allows: a defect of one of the two.
    InputError
        For any option or data that cannot be used.

    Other Parameters
    ----------------
    epsilon : float or sequence of float
        Budgets as fractions of the clean training rows.
    attacks : comma list, or sequence of str and objects
        Attacks to run beside, each held against every bound. They are made against the defender that is certified,
        whose filters no poison moves, and insert as many whole rows as the budget holds. What was left out, and why,
        is in ``failures``.
    certificates : sequence of str or comma list
        "test-error" and "average-loss".
    jobs : int, optional
        Worker processes of the attacks.
    kind : str, default "error"
        Each of the others speaks of single rows, with what turns them by retraining where it is known: "deletions" (of
        `count` clean rows), "flips" (of the labels of `count` clean rows, of ridge exactly),
        "radius" (the mass of inserted poison up to which each row is certified, at most the greatest `epsilon`),
        "partition" (`count` rows inserted into the data of a `PartitionClassifier` of `parts` models, 10 by default).
    count : int, sequence of int or comma list
        1, 2 and 5 by default.

    Examples
    --------
    >>> report = certify("gaussians", epsilon=0.01, model="ridge", reg=0.3, defenses="l2")
    >>> report.rungs[0]["clean_error"] <= report.rungs[0]["bound"] <= 1
    True
    """
    if "epsilon" in keywords:
        keywords["epsilons"] = keywords.pop("epsilon")
    asked = CertifyOptions.of(options, keywords)
    folder = None if out is None else check_folder(out)
    with alone_in(folder):
        return _run(data, asked, folder, progress)


def _run(data: Any, options: CertifyOptions, folder: Path | None, progress: Progress | None) -> CertifyReport:
    start = time.perf_counter()
    setting = prepare(data, options)
    store = _Store(None if folder is None else folder / "certificates")
    if options.kind == ERROR:
        defender, bracket, failures = _errors(setting, options, store, folder, progress)
    else:
        defender, bracket = _rows(setting, options, ROW_KINDS[options.kind], store, progress)
        failures = []
    report = _report(data, options, setting, defender, bracket, failures, time.perf_counter() - start)
    if folder is not None:
        report.save(folder)
        for epsilon in options.epsilons:
            if (journal := _journal(setting, options, folder, epsilon)) is not None:
                journal.discard()
    return report


def _errors(
    setting: Setting, options: CertifyOptions, store: _Store, folder: Path | None, progress: Progress | None
) -> tuple[Trusted, Bracket, list[dict[str, str]]]:
    """Bounds on test error and loss with attacks beside them."""
    if "test-error" in options.certificates:
        score_certifier(setting.problem.loss)  # or refuse, before any work
    for epsilon in options.epsilons:
        Budget(epsilon).count(setting.split.train.n)
    defender = trusted(setting)
    poisons, failures = _attack(setting, defender, options, folder, progress)
    bracket = build_bracket(
        defender, measured_rows(setting), options.epsilons, poisons, names=options.certificates, aim=True,
        stored=store.get, keep=store.put, journal=partial(_journal, setting, options, folder), progress=progress,
    )  # fmt: skip
    return defender, bracket, failures + bracket.left_out


def _rows(
    setting: Setting, options: CertifyOptions, kind: RowKind, store: _Store, progress: Progress | None
) -> tuple[Trusted, Bracket]:
    """What is proved of single rows at each level."""
    levels, rows, n = options.levels(), measured_rows(setting), setting.split.train.n
    refuse(kind, setting.problem, setting.split.train, levels)
    defender = trusted(setting) if kind.filtered else unfiltered(setting)
    parts = DEFAULT_PARTS if options.parts is None else options.parts
    found: dict[str, Certificate] = {}
    rungs = []
    for number, held in enumerate(kind.run(Asked(defender, rows, levels, parts, options.seed, store.get))):
        rungs.append(_row_rung(held, rows, n if kind.counted else None))
        name = f"{options.kind}-{held.level:g}" if options.kind in ("deletions", "flips") else options.kind
        if held.certificate is not None and name not in found:
            found[name] = held.certificate
            store.put(name, held.certificate)
        if progress is not None:
            progress(number + 1, len(levels), f"{options.kind}, {held.level:g}")
    return defender, Bracket(rungs, list(found.values()))


def _row_rung(held: Held, rows: Dataset, n: int | None) -> Rung:
    return Rung(
        epsilon=held.level if n is None else held.level / n,
        count=None if n is None else int(held.level),
        clean_error=share(rows, ~held.clean),
        bound=share(rows, ~held.certified),
        certified_fraction=share(rows, held.certified),
        attack_error=None if held.turned is None else share(rows, held.turned),
    )


def _attack(
    setting: Setting, defender: Trusted, options: CertifyOptions, folder: Path | None, progress: Progress | None
) -> tuple[dict[float, Mapping[str, Poison]], list[dict[str, str]]]:
    """Poisons of each budget by attack; those of a smaller budget count for every greater one too."""
    found: dict[float, Mapping[str, Poison]] = {}
    failures: list[dict[str, str]] = []
    before: dict[str, Poison] = {}
    n = setting.split.train.n
    for epsilon in options.epsilons if options.attacks else ():
        count = int(epsilon * n * (1 + 1e-12))  # never more than the certificate allows, though an audit rounds
        if not count:
            why = f"an attack needs a whole row, and epsilon of {n} rows is {epsilon * n:.3g}"
            failures.append({"name": "every attack", "epsilon": f"{epsilon:g}", "reason": why})
            continue
        mine, failed = _campaign(setting, defender, options, count, folder, progress)
        failures += [{"name": name, "epsilon": f"{epsilon:g}", "reason": reason} for name, reason in failed.items()]
        found[epsilon] = {**{f"{name} at a smaller budget": item for name, item in before.items()}, **mine}
        before |= mine
    return found, failures


def _campaign(
    setting: Setting,
    defender: Trusted,
    options: CertifyOptions,
    count: int,
    folder: Path | None,
    progress: Progress | None,
) -> tuple[dict[str, Poison], dict[str, str]]:
    """Poisons of so many rows by name, made against filters that are fixed, and those that failed."""
    epsilon = count / setting.split.train.n

    journal = None
    if folder is not None:
        digest = setting.key(influences(options), epsilon=epsilon)
        journal = FolderJournal(folder / "journal" / digest)
    filters = {name: fixed(setting.defenses[name], setting.split.train) for name in defender.names}
    aim = Aim(setting.split.test, measure=setting.measure)
    scenario = Scenario(setting.split.train, setting.problem, Budget(epsilon), filters, aim)
    tasks = [Task(name, attacks.make_attack(name), scenario) for name in options.attacks]
    jobs = int(options.jobs or 1)
    found: dict[str, Poison] = {}
    failures: dict[str, str] = {}
    try:
        campaign = Campaign(options.seed, jobs, True, progress, journal)
        campaign.run(tasks)
        failures = dict(campaign.failures)
        found = {
            name: _strongest(result, defender, measured_rows(setting)) for name, result in campaign.results.items()
        }
    except LinpoisonError as error:
        failures = {"every attack": " ".join(str(error).split())}
    return found, failures


def _journal(setting: Setting, options: CertifyOptions, folder: Path | None, epsilon: float) -> FolderJournal | None:
    """What was found for each row at a budget."""
    if folder is None:
        return None
    return FolderJournal(folder / "journal" / setting.key(influences(options), epsilon=epsilon, rows="certificates"))


def measured_rows(setting: Setting) -> Dataset:
    """The test rows whose error the measure is."""
    setting.measure.require(setting.split.test, "test rows")
    return setting.measure.searched(setting.split.test)


def _strongest(result: AttackResult, defender: Trusted, rows: Dataset) -> Poison:
    """The poison of an attack that does most behind the fixed filters; the last word is the defender's."""
    poisons = [item.poison for item in (result.best, *result.candidates) if not item.poison.relaxed]
    return max(poisons, key=lambda poison: wrong(defender.learn(poison)[0], rows))


@dataclass(frozen=True)
class _Store:
    """Certificates in a folder: what was proved once is checked, not proved again."""

    folder: Path | None

    def get(self, name: str, claim: Claim, kind: Kind, says: tuple[str, ...]) -> Certificate | None:
        """The stored certificate of a kind and this very claim, if it is there, holds and has to say so much."""
        if self.folder is None:
            return None
        try:
            found = Certificate.load(self.folder / name, claim.train, claim.rows)
            found.verify(claim=claim)
            said = words_of(found.name, found.claim, found.witness)
        except (InputError, CertificateInvalid, KeyError):
            return None
        return found if found.kind == kind and set(says) <= set(said) else None

    def put(self, name: str, certificate: Certificate) -> None:
        """Store one."""
        if self.folder is not None:
            certificate.save(self.folder / name)


def _report(
    data: Any,
    options: CertifyOptions,
    setting: Setting,
    defender: Trusted,
    bracket: Bracket,
    failures: list[dict[str, str]],
    seconds: float,
) -> CertifyReport:
    words: dict[str, None] = {}
    most = max((item.claim.epsilon for item in bracket.certificates), default=0.0)
    for item in bracket.certificates:  # the budget that the words name is the largest
        words |= dict.fromkeys(item.assumptions) if item.claim.epsilon == most else {}
    return CertifyReport(
        kind=options.kind,
        metric=options.metric,
        dataset=describe_data(setting) | _test_rows(setting),
        model=describe_model(setting),
        rungs=[asdict(rung) for rung in bracket.rungs],
        certificates=bracket.summaries(),
        assumptions=list(words),
        n_trusted=defender.train.n,
        defenses=list(defender.names),
        left_out=dict(defender.left_out),
        versions=versions(),
        seed=options.seed,
        seconds=round(seconds, 3),
        command=command_line("certify", data, options),
        options=plain(influences(options)),
        failures=failures,
    )


def _test_rows(setting: Setting) -> dict[str, Any]:
    """Numbers of the test rows in the user's file, in the order of bounds by row."""
    numbers = measured_rows(setting).row_numbers
    return {} if numbers is None else {"test_rows": numbers.tolist()}


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError("epsilon as numbers such as 0.01,0.03", repr(value)) from None
