"""A checked audit: its attacks, and the report of what they have found, whenever it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..attacks.deadline import CUT, Deadline, OutOfTime
from ..attacks.run import Progress
from ..core import LinpoisonError, Poison, SolverFailed
from ..core.journal import FolderJournal
from ..defender import Evaluation
from ..defenses import class_exposures
from ..reporting.findings import ALL, LATE, AttackEntry, Damage
from ..reporting.report import AuditReport
from .assemble import assemble
from .bracket import Bracket, build_bracket
from .campaign import Campaign
from .curve import SHORT, curve_rows, find_curve, surprises
from .damage import Scored, find_damages
from .entries import attack_entry
from .groups import Division, hurt
from .inputs import Setting
from .options import AuditOptions
from .overall import ATTACKS, WHOLE
from .plan import Plan, work_size
from .pool import Pool
from .remedies import Remedy, find_remedies
from .trusted import trusted

MEASURED = 60.0
"""Size of a retraining (`work_size`) up to which a report measures what stops far rows and what fewer rows do."""
CHEAP = 10.0
"""One up to which all smaller poisons are scored that the curve asks for."""
PROVED = 3
"""Of the numbers of rows of the curve, the first so many, every other of which is certified."""
RESERVE = 2.0
"""Seconds of a time limit that are kept for the report, beside half of those of scoring the clean rows: a poison, which
an attack scores at its end, takes less than they do, whose neighbours are known by then."""


@dataclass(frozen=True, eq=False)
class Work:
    """A checked audit, ready to run."""

    options: AuditOptions
    setting: Setting
    settings: Mapping[str, Setting]
    n_poison: int
    clean: Evaluation
    plan: Plan
    campaign: Campaign
    journal: FolderJournal | None
    pool: Pool
    deadline: Deadline | None = None
    division: Division | None = None
    redact: bool = False

    def scale_hint(self) -> str:
        """What to try where a solver failed on features of an extreme size; empty for ordinary ones."""
        X = self.setting.split.train.X
        largest = max(abs(float(X.max())), abs(float(X.min())))
        if 1e-3 <= largest <= 1e4:
            return ""
        return f"Or rescale the features, such as by their standard deviations: the largest is {largest:.3g}."

    def forget(self) -> None:
        """Leave no journal behind."""
        if self.journal is not None:
            self.journal.discard()

    def saved_early(self, data: Any, folder: Path) -> bool:
        """Write a report of what is known after Ctrl-C, without further work but for the score of one poison."""
        self.pool.hurried = lambda: True
        try:
            self.report(data, None, early=True).save(folder)
        except LinpoisonError:
            return False
        return True

    def report(self, data: Any, progress: Progress | None, *, early: bool = False) -> AuditReport:
        """Score the poisons, hold them against certificates where that is asked for, put everything together."""
        if progress is not None:
            progress(ATTACKS, WHOLE, "scoring")
        scored, entries, failures = self._scored()
        if not (scored or early):
            raise SolverFailed(f"expected a poison that can be scored, got none ({'; '.join(failures.values())})")
        found, curve = self._damages(scored, early or self.pool.hurried())
        domains = list(dict.fromkeys(damage.domain for damage, _ in found))  # not one in which nothing has ended
        left_out = [*self.plan.left_out, *({"name": self._title(key), "reason": LATE} for key in self.campaign.late)]
        bracket = None
        if self.options.certify and not early:
            bracket = self._bracket(scored, curve, progress)
            left_out += [{"name": "certify", "reason": LATE}] if bracket is None else []
        rungs, n = [] if bracket is None else bracket.rungs, self.setting.split.train.n
        report = assemble(
            "audit", data, self.options, self.setting, clean=self.clean, rows=self.pool.rows, entries=entries,
            found=found, target=self.options.target, epsilon=self.options.epsilon,
            failures={self._title(key): reason for key, reason in failures.items()}, left_out=left_out,
            unfinished=self._unfinished(failures), bracket=bracket,
            subpopulations=self._hurt(found) if found else None, domains=domains, exposures=self._exposures(domains),
            remedies=[] if early or self.pool.hurried() else self._remedies(found[0][1].poison),
            curve=curve_rows(curve, found, self.clean.error["scored"], rungs, n),
        )  # fmt: skip
        return report.redacted() if self.redact else report

    def _damages(
        self, scored: list[Scored], hurried: bool
    ) -> tuple[list[tuple[Damage, Scored]], dict[str, dict[int, Scored]]]:
        """The most that was done to each defender, and the best poisons of fewer rows."""
        domains, rows = list(self.settings), self.pool.rows
        found = find_damages(scored, self.clean, domains, rows)
        if hurried or (size := self._size) > MEASURED:
            return found, {}
        far = [task for task in self.plan.tasks if task.against == ALL and task.name == SHORT.name]
        scenarios = {task.domain: task.scenario for task in far if size <= CHEAP}
        curve = find_curve(self.pool, found, scenarios, self.n_poison, self.options.seed)
        if more := surprises(curve, found, rows):
            scored += more
            found = find_damages(scored, self.clean, domains, rows)
        return found, curve

    @property
    def _size(self) -> float:
        """Of a retraining behind every filter, see `work_size`."""
        return work_size(self.setting.split.train, len(self.setting.defenses))

    def _unfinished(self, failures: Mapping[str, str]) -> list[str]:
        """Attacks that have not come to their end, by Ctrl-C or the time limit."""
        results = self.campaign.results
        ended = {key for key, result in results.items() if CUT not in result.info}
        ended |= {*failures, *self.campaign.late}
        return [task.title for task in self.plan.tasks if task.key not in ended]

    def _scored(self) -> tuple[list[Scored], list[tuple[AttackEntry, Poison]], dict[str, str]]:
        """The poisons by the exact learner, the entry of each attack, and failures; what is not scored if hurried."""
        pool = self.pool
        entries: list[tuple[AttackEntry, Poison]] = []
        scored: list[Scored] = []
        failures = dict(self.campaign.failures)
        for task in self.plan.tasks:
            if (result := self.campaign.results.get(task.key)) is None:
                continue
            best = pool.best((result.best, *result.candidates), task.against)
            scores = None if best is None else pool.score(best.poison)
            if best is None or scores is None:
                failures[task.key] = "none of its poisons can be scored by the exact learner"
                continue
            entries.append((attack_entry(task, result, best, scores), best.poison))
            scored += [*pool.finalists(task, result), Scored.of(best, scores, task.domain, task.name)]
        return scored, entries, failures

    def _exposures(self, domains: Sequence[str]) -> list[dict[str, Any]]:
        """What the budget can do to filters that are fitted with the poison in, by domain and class."""
        return [
            {"domain": domain, **asdict(item)}
            for domain in domains
            for one in (self.settings[domain],)
            for item in class_exposures(one.split.train, self.n_poison, one.defenses).values()
        ]

    def _remedies(self, poison: Poison) -> list[Remedy]:
        if not self.setting.defenses or self._size > MEASURED:
            return []
        return find_remedies(self.setting, self.pool.rows.scored, self.n_poison, poison)

    def _title(self, key: str) -> str:
        return next(task.title for task in self.plan.tasks if task.key == key)

    def _hurt(self, found: Sequence[tuple[Damage, Scored]]) -> dict[str, Any] | None:
        if self.division is None:
            return None
        damage, best = found[0]
        models = (self.clean.models, best.scores.models)
        words = str(self.options.subpopulation)
        errors = best.scores.error["scored"]
        return hurt(self.division, self.pool.rows.measured, models, (damage.attack, errors), words=words)

    def _bracket(
        self, scored: Sequence[Scored], curve: Mapping[str, Mapping[int, Scored]], progress: Progress | None
    ) -> Bracket | None:
        """Certificates of a few numbers of rows of the curve and of the budget; None where time is up before."""
        deadline = self.deadline

        def told(done: int, total: int, what: str) -> None:
            if deadline is not None and deadline.over:
                raise OutOfTime
            if progress is not None:
                progress(done, total, what)

        poisons = {item.attack if not k else f"{item.attack} {k + 1}": item.poison for k, item in _numbered(scored)}
        train, rows = self.setting.split.train, self.setting.measure.searched(self.pool.rows.scored)
        # An audit rounds its budget to whole rows: what is certified has to hold them all.
        epsilon = max(self.options.epsilon, self.n_poison / train.total)
        fewer = {
            m / train.total: {item.attack: item.poison for best in curve.values() if (item := best.get(m))}
            for m in list(next(iter(curve.values()), ()))[:PROVED:2]
        }
        try:
            defender = trusted(self.setting)
            last = build_bracket(defender, rows, [epsilon], {epsilon: poisons}, progress=told)
            first = build_bracket(defender, rows, list(fewer), fewer, names=("test-error",), progress=told)
        except OutOfTime:
            return None
        return Bracket(first.rungs + last.rungs, first.certificates + last.certificates)


def _numbered(scored: Sequence[Scored]) -> list[tuple[int, Scored]]:
    """Each poison with its number among those of its attack."""
    seen: dict[str, int] = {}
    numbered = []
    for item in scored:
        number = seen.get(item.attack, 0)
        seen[item.attack] = number + 1
        numbered.append((number, item))
    return numbered
