"""Until when an attack may search: asked between steps, and by loops that run long within one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ..core import AttackResult

CUT = "cut"
"""Key of `AttackResult.info` that says why an attack did not come to its end."""


@dataclass(frozen=True)
class Deadline:
    """A time by which a search ends.

    Parameters
    ----------
    at : float
        On the clock.
    clock : callable
        Returns the time in seconds, the same in every process.

    Examples
    --------
    >>> Deadline(12.0, clock=lambda: 10.0).left
    2.0
    """

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until then; negative afterwards."""
        return self.at - self.clock()

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self.left <= 0

    def sooner(self, seconds: float) -> Deadline:
        """One that is so much earlier."""
        return Deadline(self.at - seconds, self.clock)


class OutOfTime(Exception):
    """A search came upon its deadline."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C within an attack that had found something.

    Parameters
    ----------
    result : AttackResult
        Of what it had found.
    """

    def __init__(self, result: AttackResult) -> None:
        super().__init__()
        self.result = result


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def until(deadline: Deadline | None) -> Iterator[None]:
    """What runs inside has to end by then; None for no limit."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def current() -> Deadline | None:
    """By when what runs here has to end."""
    return _deadline.get()


def time_is_up() -> bool:
    """Whether a loop has to end with what it has: the deadline of the attack that it runs in has passed."""
    deadline = current()
    return deadline is not None and deadline.over
