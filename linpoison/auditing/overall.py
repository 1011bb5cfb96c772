"""How far an audit is: one bar over all attacks, by the count of their work, and the best so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..attacks.deadline import Deadline
from ..attacks.run import Progress
from ..core import AttackResult
from ..reporting.cells import percent

WHOLE, ATTACKS = 100, 95
"""The whole audit in per cent, and the part of it that the attacks are; the rest is scoring and the report."""
_LEFT = 0.7  # share of what is left of an attack after one more of its phases: how many there are is not known
_EARLY = 0.03  # share of the work from which a rate tells what is left


@dataclass(eq=False)
class Overall:
    """Progress in per cent of the planned work, with the best error behind every filter so far and the time left.

    Parameters
    ----------
    tell : callable, optional
        Called with (per cent done, 100, words).
    work : sequence of float
        Of each attack.
    deadline : Deadline, optional
        Until when it goes on; otherwise what is left is read off the rate so far.
    clock : callable
        Seconds.
    """

    tell: Progress | None
    work: Sequence[float]
    deadline: Deadline | None = None
    clock: Callable[[], float] = time.monotonic
    _best: float | None = None
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def ended(self, results: Mapping[str, AttackResult]) -> None:
        """The attacks that have ended."""
        items = [item for result in results.values() for item in (result.best, *result.candidates[:1])]
        self._best = max(item.worst for item in items)

    def inside(self, number: int, title: str) -> Progress | None:
        """The progress of one of the attacks."""
        tell = self.tell
        if tell is None:
            return None
        begun, part, whole = sum(self.work[:number]), self.work[number], sum(self.work)
        phases: list[str] = []

        def told(done: int, total: int, what: str) -> None:
            if what not in phases:
                phases.append(what)
            over = len(phases) - 1 + done / max(total, 1)
            share = (begun + part * (1 - _LEFT**over)) / whole
            tell(int(ATTACKS * share), WHOLE, f"{title}: {what}{self._words(share)}")

        return told

    def _words(self, share: float) -> str:
        best = "" if self._best is None else f"; best so far {percent(self._best)}"
        if self.deadline is not None:
            return f"{best}; {max(self.deadline.left, 0):.0f} s left"
        if share < _EARLY:
            return best
        return f"{best}; about {(self.clock() - self._began) * (1 - share) / share:.0f} s left"
