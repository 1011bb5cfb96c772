"""The report of `harden`: settings by what they cost and what an attacker does to them, and the one to take."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any, BinaryIO

from ..core.writing import Writer, text_writer
from .base import Report, Table
from .cells import aligned, difference, listed, own_words, percent, points, wrapped
from .json_values import serial
from .page import plain_page
from .trial import PLAIN, Trial

SCHEMA = 1
"""Of ``harden.json``."""
READING = (
    "Every setting was attacked by one who knows it and looks at half of the test rows; 'attacked' is the greater of "
    "the errors on these and on the other half. Settings marked 'all' met the portfolio of 'audit', those marked 'few' "
    "flips and far rows, and those marked 'plain', which lost more by then than the best ones, poisons that take no "
    "search: a better attack may exist for any of them. By 'any' the errors are what no poison exceeds.",
    "A setting that rests on trusted rows holds no more than they do: somebody has to have checked them.",
    "Settings are compared on these test rows, so that the best of them looks a little better here than elsewhere.",
    "The clean error, its growth and the 95 % interval of that (matched pairs) are on all test rows.",
)


@dataclass(frozen=True, kw_only=True)
class HardenReport(Report, stem="harden"):
    """What `harden` found. The fields are documented in docs/files.md."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    epsilon: float
    n_poison: int
    n_trusted: int
    trials: list[Trial]
    chosen: str
    max_cost: float
    failures: dict[str, str]
    versions: dict[str, str]
    seed: int
    command: str
    code: str
    unfinished: list[str] = field(default_factory=list)
    trusted: list[int] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    estimator: Any = field(default=None, compare=False, repr=False)
    poison: Any = field(default=None, compare=False, repr=False)
    schema: int = SCHEMA

    @property
    def recommended(self) -> Trial:
        """The setting to take."""
        return next(trial for trial in self.trials if trial.name == self.chosen)

    @property
    def verdict(self) -> str:
        """What to do and what it buys, in a sentence or two."""
        now, then = self.trials[0], self.recommended
        if then is now and now.met == PLAIN:
            return (
                f"Nothing can be recommended: no attack on the present setting has ended. Poisons that take no search, "
                f"of {self.n_poison} rows, take its error to {percent(now.attacked)}."
            )
        if then is now:
            cheap = [one for one in self.trials if one.cost <= self.max_cost + 1e-12]
            cut = now.name in self.unfinished
            hasty = any(one.met == PLAIN and one.attacked < now.attacked for one in cheap)
            return (
                f"No setting that was {'attacked as hard' if hasty else 'tried'} does better within "
                f"{difference(self.max_cost)} of clean error: {self.n_poison} poison rows take the error to "
                f"{percent(now.attacked)}{', and more may be: its attacks had no time to end' * cut}."
                f"{' Others may: they had no time for more than plain poisons.' * hasty}"
            )
        words = (
            f"{then.words[0].upper()}{then.words[1:]}: against {self.n_poison} poison rows the error is then "
            f"{percent(then.attacked)} in place of {percent(now.attacked)}, at a clean error of "
            f"{percent(then.clean_error)} in place of {percent(now.clean_error)} "
            f"({points(then.low, then.high)} points)."
        )
        return (
            words
            if then.bound is None
            else f"{words} On all test rows no poison of this budget exceeds {percent(then.bound)}."
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Header and one row for each setting, the least damage first."""
        header = ("setting", "clean", "costs (points)", "attacked", "seen", "unseen", "by", "attacks", "proved at most")
        ranked = sorted(self.trials, key=lambda trial: (trial.attacked, trial.cost))
        return [header, *(self._row(trial) for trial in ranked)]

    def _row(self, trial: Trial) -> tuple[str, ...]:
        return (
            f"{'> ' if trial.name == self.chosen else ''}{trial.name}", percent(trial.clean_error),
            points(trial.low, trial.high), percent(trial.attacked), percent(trial.seen_error),
            percent(trial.unseen_error), trial.attack, trial.met, percent(trial.bound),
        )  # fmt: skip

    def notes(self) -> list[str]:
        """What could not be tried or had no time, and how to read it."""
        late = "; ".join(self.unfinished)
        known = {trial.name for trial in self.trials}
        missing = [
            f"{name} could not be {'searched' if name in known else 'tried'}: {why}"
            for name, why in self.failures.items()
        ]
        if self.recommended.fixed and self.recommended.bound is None and "--certify" not in self.command.split():
            missing.append(f"What no poison exceeds behind it, where that can be bounded: {self.command} --certify")
        missing += self._without_trusted()
        return [*self.cautions, *missing, *([f"No time, or not enough, for: {late}."] if late else []), *READING]

    def _without_trusted(self) -> list[str]:
        """What is left to whoever has no trusted rows, where the setting to take rests on them."""
        if not self.recommended.trusted:
            return []
        now, *others = self.trials
        free = [one for one in others if one.thorough and not one.trusted and one.cost <= self.max_cost + 1e-12]
        best = min(free, key=lambda one: one.preference, default=now)
        found = (
            f"Without trusted rows {best.name} takes the error to {percent(best.attacked)}, at a clean error of "
            f"{percent(best.clean_error)}: {best.words}."
            if best.attacked < now.attacked
            else "Without trusted rows no setting that was attacked by all or bounded does better than the present one."
        )
        return [f"{found} --trusted 0 searches among such settings alone."]

    def to_text(self) -> str:
        """Verdict, table and code, for people."""
        heading = self._heading() + own_words(self.dataset)
        reading = listed(self.notes(), "How to read this")
        return f"{wrapped(self.verdict, '')}\n\n{heading}\n\n{aligned(self.rows())}\n\n{reading}\n\n{self.code}"

    def to_html(self) -> str:
        """One self-contained page."""
        from .plots import front  # loads matplotlib

        return plain_page(
            self, f"Hardening against poison: {self.dataset['name']}",
            (self._heading(), self.dataset.get("labels", "")), [("How to read this", self.notes())],
            figures=[front(self.trials, self.chosen)], code=self.code,
        )  # fmt: skip

    def _heading(self) -> str:
        return (
            f"{self.dataset['name']}: {self.dataset['n_train']} training rows ({self.n_trusted} trusted), epsilon "
            f"{self.epsilon:g}, {self.model['loss']} loss, reg {self.model['reg']:g}"
        )

    def values(self) -> dict[str, Any]:
        """As in ``harden.json``."""
        return {**serial(self, leave=("estimator", "poison")), "trials": self.records()}

    def summary(self) -> list[Table]:
        """The settings, the least damage first."""
        return [("Settings", self.rows())]

    def records(self) -> list[dict[str, Any]]:
        """One for each setting."""
        return [{**asdict(trial), "attacked": trial.attacked, "thorough": trial.thorough} for trial in self.trials]

    def writers(self) -> dict[str, Writer]:
        """``hardened.py``, ``poison.npz`` and, where skops is, ``hardened.skops`` besides."""
        written = {"hardened.py": text_writer(self.code), **super().writers()}
        if self.poison is not None:
            written["poison.npz"] = self.poison.write
        return {**written, **({"hardened.skops": self._write_estimator} if find_spec("skops") else {})}

    def _write_estimator(self, stream: BinaryIO) -> None:
        from skops.io import dumps

        stream.write(dumps(self.estimator))
