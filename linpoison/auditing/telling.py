"""What is said of each attack that ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..core import UNDEFENDED, AttackResult
from ..reporting.cells import percent
from ..reporting.findings import ALL
from .campaign import Task


@dataclass(eq=False)
class Teller:
    """One sentence for each attack that ends: what it did, and the best so far.

    Parameters
    ----------
    wide : str
        The widest domain, which holds all others.
    """

    say: Callable[[str], None]
    wide: str
    _best: dict[str, float] = field(default_factory=dict)

    def __call__(self, task: Task, result: AttackResult) -> None:
        """Tell of one task."""
        what = _DEFENDERS.get(task.against, f"behind {task.against} alone")
        error = max(item.worst for item in (result.best, *result.candidates[:1]))
        line = f"{task.title}: {percent(error)} {what} after {result.seconds:.0f} s"
        if not task.alone:
            best = max(error, self._best.get(task.domain, 0.0))
            self._best[task.domain] = best
            line += f"; best so far {percent(best)}"
        self.say(line)


_DEFENDERS = {ALL: "behind every filter at once", UNDEFENDED: "without a filter"}
