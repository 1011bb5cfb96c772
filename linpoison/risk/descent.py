"""Ways to move poison rows downhill."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy.optimize import Bounds, minimize

from ..core import CapabilityError, check_integer, check_number
from ..core.validation import Array
from .arrays import add_to, copy_of, like, signs, to_numpy
from .checkpoints import Checkpoint
from .protocols import Projection, Rows
from .ranks import Alone, Ranks

Objective = Callable[[Any], tuple[float, Any]]
Progress = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent ended.

    Parameters
    ----------
    X : Rows
        The best rows met.
    value : float
        Of the objective, there.
    history : ndarray
        Values at the start and after each step.
    last : Rows
        The rows met last: the answer where the objective is another one at each step.
    """

    X: Rows
    value: float
    history: Array
    last: Rows


class Optimiser(Protocol):
    """Minimises a function of rows over a set.

    Attributes
    ----------
    steps : int
        The most that it takes.
    resumes : bool
        Whether it takes ``kept``, a `Keeper`, and goes on where one that was interrupted stood.
    """

    resumes: ClassVar[bool] = False

    @property
    def steps(self) -> int: ...
    def minimise(
        self, objective: Objective, start: Rows, projection: Projection, *, tol: float, ranks: Ranks, progress: Progress
    ) -> Descent:
        """Descend from feasible rows until the value is at most `tol` or the steps are spent."""


def silent(step: int, value: float) -> None:
    """No progress report."""


@dataclass
class _Best:
    """The best rows so far, and every value."""

    X: Any = None
    value: float = np.inf
    history: list[float] = field(default_factory=list)
    last: Any = None

    def note(self, X: Any, value: float) -> None:
        self.history.append(value)
        self.last = X
        if value < self.value:
            self.X, self.value = X, value

    def result(self) -> Descent:
        return Descent(self.X, self.value, np.array(self.history), self.X if self.last is None else self.last)


@dataclass(frozen=True)
class Keeper:
    """Where a descent stands, on disk, every so many steps.

    Parameters
    ----------
    checkpoint : Checkpoint
    every : int, default 50
    """

    checkpoint: Checkpoint
    every: int = 50

    def store(self, step: int, best: _Best, arrays: dict[str, Any]) -> None:
        """Keep the state after a step, if it is its turn."""
        if step % self.every == 0:
            own = {"step": step, "best": best.X, "value": best.value, "history": best.history}
            self.checkpoint.store({**own, **{f"own:{name}": value for name, value in arrays.items()}})

    def load(self, template: Any) -> tuple[int, _Best, dict[str, Any]] | None:
        """What was kept last, as the kind of `template`."""
        stored = self.checkpoint.load()
        if stored is None:
            return None
        best = _Best(like(stored["best"], template), float(stored["value"]), stored["history"].tolist())
        own = {name.removeprefix("own:"): value for name, value in stored.items() if name.startswith("own:")}
        return int(stored["step"]), best, {k: like(v, template) if v.ndim else float(v) for k, v in own.items()}


class Stepping(Optimiser):
    """Goes step by step, with a state of numbers and rows by name that a `Keeper` stores beside where it is."""

    resumes: ClassVar[bool] = True

    def minimise(
        self,
        objective: Objective,
        start: Rows,
        projection: Projection,
        *,
        tol: float = 0.0,
        ranks: Ranks = Alone(),  # noqa: B008
        progress: Progress = silent,
        kept: Keeper | None = None,
    ) -> Descent:
        begun, best, state = (None if kept is None else kept.load(start)) or (0, _Best(), {})
        X = state.pop("X", start)
        value, slope = objective(X)
        if not best.history:
            best.note(X, value)
            state = self._begin(X, slope, ranks)
        for t in range(begun, self.steps):
            if best.value <= tol or self._stuck(state):
                break
            moved = projection.project(X - self._change(t, slope, state))
            trial, trial_slope = objective(moved)
            best.note(moved, trial)
            progress(t + 1, trial)
            if self._accepts(trial <= value, state):
                X, value, slope = moved, trial, trial_slope
            if kept is not None:
                kept.store(t + 1, best, {"X": X, **state})
        return best.result()

    def _begin(self, X: Rows, slope: Rows, ranks: Ranks) -> dict[str, Any]:
        """The state before the first step."""
        raise NotImplementedError

    def _change(self, t: int, slope: Rows, state: dict[str, Any]) -> Rows:
        """What step t takes off the rows, before the projection."""
        raise NotImplementedError

    def _accepts(self, better: bool, state: dict[str, Any]) -> bool:
        """Whether a step stands."""
        return True

    def _stuck(self, state: dict[str, Any]) -> bool:
        """Whether no step would move anything."""
        return False


@dataclass(frozen=True)
class ProjectedGradient(Stepping):
    """``Z <- Proj(Z - eta_t grad f(Z))``.

    Parameters
    ----------
    step : float, optional
        ``eta_t = step (1 + cos(pi t / steps)) / 2`` if given. By default a step that raises the value is taken
        back and the next one halved, and a step that does not is followed by one longer by a fifth.
    steps : int, default 1000
    """

    step: float | None = None
    steps: int = 1000

    def __post_init__(self) -> None:
        check_integer(self.steps, "steps", at_least=1)
        if self.step is not None:
            check_number(self.step, "step", above=0)

    def _begin(self, X: Rows, slope: Rows, ranks: Ranks) -> dict[str, Any]:
        return {"length": self.step or _first_step(X, slope, ranks)}

    def _change(self, t: int, slope: Rows, state: dict[str, Any]) -> Rows:
        return (state["length"] if self.step is None else self.step * _cosine(t, self.steps)) * slope

    def _accepts(self, better: bool, state: dict[str, Any]) -> bool:
        if self.step is None:
            state["length"] *= 1.2 if better else 0.5
        return better or self.step is not None

    def _stuck(self, state: dict[str, Any]) -> bool:
        return bool(state["length"] == 0)


@dataclass(frozen=True)
class Adam(Stepping):
    """Adam with a cosine decay, projected after each step.

    Parameters
    ----------
    step : float, default 0.1
        Length of the first steps in each coordinate, in the units of the rows.
    steps : int, default 1000
    betas : pair of float, default (0.9, 0.999)
    signed : bool, default False
        Each coordinate moves by the same length, the way in which Adam's step goes.

    Notes
    -----
    The guard against division by zero is relative to the first gradient, so a multiple of the objective
    gives the same iterates.
    """

    step: float = 0.1
    steps: int = 1000
    betas: tuple[float, float] = (0.9, 0.999)
    signed: bool = False

    def __post_init__(self) -> None:
        check_number(self.step, "step", above=0)
        check_integer(self.steps, "steps", at_least=1)
        for beta in self.betas:
            check_number(beta, "betas", at_least=0, below=1)

    def _begin(self, X: Rows, slope: Rows, ranks: Ranks) -> dict[str, Any]:
        return {"first": 0.0 * X, "second": 0.0 * X, "scale": ranks.max(_largest(slope)) or 1.0}

    def _change(self, t: int, slope: Rows, state: dict[str, Any]) -> Rows:
        (b1, b2), first, second, scale = self.betas, state["first"], state["second"], state["scale"]
        rest = (1 - b2 ** (t + 1)) ** 0.5
        first *= b1  # in place, in few passes: of many rows, making new arrays is what costs
        second *= b2
        add_to(first, (1 - b1) / scale, slope)
        add_to(second, (1 - b2) / scale**2, slope, slope)
        if self.signed:
            return self.step * _cosine(t, self.steps) * signs(first)
        spread = second**0.5
        spread += 1e-8 * rest
        change = first / spread
        change *= self.step * _cosine(t, self.steps) * rest / (1 - b1 ** (t + 1))
        return change


@dataclass(frozen=True)
class LBFGS(Optimiser):
    """Limited-memory BFGS of scipy, in float64 on the host: for few rows, free or in a box.

    scipy gives away no state to go on from, so a descent that is interrupted starts again; `ProjectedGradient` and
    `Adam` keep a checkpoint.

    Parameters
    ----------
    steps : int, default 1000
    memory : int, default 30
    """

    steps: int = 1000
    memory: int = 30

    def __post_init__(self) -> None:
        check_integer(self.steps, "steps", at_least=1)
        check_integer(self.memory, "memory", at_least=1)

    def minimise(
        self,
        objective: Objective,
        start: Rows,
        projection: Projection,
        *,
        tol: float = 0.0,
        ranks: Ranks = Alone(),  # noqa: B008
        progress: Progress = silent,
    ) -> Descent:
        """Descend.

        Raises
        ------
        CapabilityError
            With a set other than `Everywhere` or `Box`, or with several processes.
        """
        if ranks.size > 1:
            raise CapabilityError("one process with LBFGS", f"{ranks.size}", "Use Adam or ProjectedGradient.")
        search = _Search(objective, start, tol, progress)
        options = {"maxiter": self.steps, "maxfun": 4 * self.steps, "maxcor": self.memory, "ftol": 0.0, "gtol": 0.0}
        if search.best.value > tol and search.scale > 0:
            first, bounds = to_numpy(start).ravel(), _bounds(projection, start)
            with suppress(_Reached):
                minimize(search, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return search.best.result()


@dataclass(frozen=True)
class Accelerated(Optimiser):
    """Projected gradient descent with momentum, in steps as long as the curvature of each entry allows.

    A step that raises the value is taken back: the next one goes without momentum, the one after it is half as long.
    For objectives that know their curvature, as `PoisonObjective` does.

    Parameters
    ----------
    steps : int, default 400

    References
    ----------
    Beck, Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", 2009, section 4;
    O'Donoghue, Candes, "Adaptive restart for accelerated gradient schemes", 2015.
    """

    steps: int = 400

    def __post_init__(self) -> None:
        check_integer(self.steps, "steps", at_least=1)

    def minimise(
        self,
        objective: Any,
        start: Rows,
        projection: Projection,
        *,
        tol: float = 0.0,
        ranks: Ranks = Alone(),  # noqa: B008
        progress: Progress = silent,
    ) -> Descent:
        now = before = start
        best, momentum, length = _Best(), 1.0, 1.0
        best.note(start, objective.value(start))
        for t in range(self.steps):
            if best.value <= tol or length < 1e-14:
                break
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = objective.inside(now + ((momentum - 1) / following) * (now - before))
            moved = projection.project(ahead - length * objective.lengths(ahead) * objective(ahead)[1])
            value = objective.value(moved)
            if not value < best.value:
                length *= 0.5 if momentum == 1.0 else 1.0
                momentum, before = 1.0, now
                continue
            best.note(moved, value)
            before, now, momentum, length = now, moved, following, length * 1.1
            progress(t + 1, value)
        return best.result()


class _Reached(Exception):
    """The value is small enough."""


class _Search:
    """An objective for scipy, scaled to 1 at the start, that remembers the best rows."""

    def __init__(self, objective: Objective, start: Any, tol: float, progress: Progress) -> None:
        self.objective, self.start, self.tol, self.progress = objective, start, tol, progress
        self.best = _Best()
        value, slope = objective(start)
        self.best.note(start, value)
        self.scale = abs(value) or _largest(slope)

    def __call__(self, flat: Array) -> tuple[float, Array]:
        X = copy_of(like(flat.reshape(tuple(self.start.shape)), self.start))  # the array is scipy's
        value, slope = self.objective(X)
        self.best.note(X, value)
        self.progress(len(self.best.history) - 1, value)
        if value <= self.tol:
            raise _Reached
        return value / self.scale, to_numpy(slope).ravel() / self.scale


def _bounds(projection: Projection, start: Any) -> Bounds:
    bounds = projection.bounds()
    if bounds is None:
        raise CapabilityError("a Box, or no projection, with LBFGS", type(projection).__name__, "Use Adam.")
    return Bounds(*(np.broadcast_to(to_numpy(side), tuple(start.shape)).ravel() for side in bounds))


def _cosine(t: int, steps: int) -> float:
    return (1 + cos(pi * t / steps)) / 2


def _largest(X: Any) -> float:
    return float(abs(X).max()) if len(X) else 0.0


def _first_step(X: Any, slope: Any, ranks: Ranks) -> float:
    """Moves the coordinate of the greatest slope by a hundredth of the greatest entry."""
    steepest = ranks.max(_largest(slope))
    return 0.01 * (ranks.max(_largest(X)) or 1.0) / steepest if steepest else 0.0
