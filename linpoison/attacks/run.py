"""How an attack runs: many independent steps, in parallel, with progress, and so that a rerun resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core import AttackResult, Candidate, Poison, SolveInfo, model_of
from ..core.journal import Journal, Scoped
from .deadline import CUT, Deadline, OutOfTime, until
from .parallel import as_finished

Step = tuple[list[Candidate], list[SolveInfo]]
"""What one step of an attack yields."""
Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what is being done)."""


@dataclass(frozen=True, eq=False)
class Middle:
    """Where a long step keeps how far it is and tells of it; nowhere, in a process of its own.

    Parameters
    ----------
    journal : Journal, optional
    progress : callable, optional
        See `Run`.
    """

    journal: Journal | None = None
    progress: Progress | None = None

    def of(self, number: int) -> Journal | None:
        """The journal of one of the steps."""
        return None if self.journal is None else Scoped(self.journal, f"{number}/")

    def say(self, done: int, total: int, what: str) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(done, total, what)


@dataclass
class Run:
    """How one attack runs, and what it took so far.

    Parameters
    ----------
    seed : int
        Seeds every random draw.
    n_jobs : int
        Worker processes.
    progress : callable, optional
        Called with (steps done, steps in all, description).
    journal : Journal, optional
        Finished steps are read from it and written to it.
    deadline : Deadline, optional
        No step begins after it, and long ones end early (`linpoison.attacks.deadline.time_is_up`).
    started : float
        ``time.time()`` at which the attack began, less the time of the steps that were in the journal.
    solves : list of SolveInfo
        Every solve so far.
    info : dict
        What else `AttackResult.info` is to show.
    found : list of Candidate
        Those of every step so far.
    interrupted : bool
        Whether Ctrl-C has ended the search.
    """

    seed: int = 0
    n_jobs: int = 1
    progress: Progress | None = None
    journal: Journal | None = None
    deadline: Deadline | None = None
    started: float = field(default_factory=time.time)
    solves: list[SolveInfo] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    found: list[Candidate] = field(default_factory=list)
    interrupted: bool = False

    def stopped_by(self, stop: BaseException) -> None:
        """The search did not come to its end, by its deadline or by Ctrl-C; with nothing found that is told on."""
        self.interrupted = self.interrupted or isinstance(stop, KeyboardInterrupt)
        self.info[CUT] = "interrupted" if self.interrupted else "time limit"
        if self.interrupted and not self.found:
            raise stop

    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.deadline.over

    def say(self, done: int, total: int, what: str) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(done, total, what)

    def steps(
        self, name: str, function: Callable[..., Step], arguments: Sequence[tuple[Any, ...]], *, needed: bool = False
    ) -> list[Candidate]:
        """Candidates of ``function(started, *arguments[i])`` for every i, in that order.

        Finished steps are in the journal under ``name-i`` and are not run again. The clock goes on
        from the time at which the last of them ended. Those that are `needed` run although the deadline has passed.

        Raises
        ------
        OutOfTime
            If the deadline passes before all of them have begun; what they have found is in `found`.
        """
        done = self._finished(name, len(arguments))
        waiting = [index for index in range(len(arguments)) if index not in done]
        self.say(len(done), len(arguments), name)
        first = 1 - bool(done or self.found)  # whatever the time, an attack that has begun makes one step
        limit = None if needed else self.deadline
        numbered = [
            (index, (needed or place < first, limit, function, self.started, *arguments[index]))
            for place, index in enumerate(waiting)
        ]
        try:
            for index, step in as_finished(_within, numbered, self.n_jobs):
                if step is not None:
                    self._keep(name, index, step)
                    done[index] = step
                    self.say(len(done), len(arguments), name)
        finally:
            in_order = [done[index] for index in sorted(done)]
            self.solves += [solve for _, solves in in_order for solve in solves]
            found = [item for candidates, _ in in_order for item in candidates]
            self.kept(found)
        if len(done) < len(arguments):
            raise OutOfTime(f"expected all steps ({name}) within the time limit, got {len(done)} of {len(arguments)}.")
        return found

    def kept(self, found: list[Candidate]) -> list[Candidate]:
        """Candidates that no step has made, for a search that may not come to its end."""
        self.found += found
        return found

    def _keep(self, name: str, index: int, step: Step) -> None:
        """Write a step to the journal, unless it may have ended early."""
        if self.journal is not None and not self.over():
            self.journal.put(f"{name}-{index}", pack(step))

    def _finished(self, name: str, total: int) -> dict[int, Step]:
        """Steps that are in the journal; the clock is set back by what they took."""
        done: dict[int, Step] = {}
        for index in range(total):
            stored = self.journal.get(f"{name}-{index}") if self.journal is not None else None
            if stored is not None:
                done[index] = unpack(stored)
        spent = max((item.seconds for candidates, _ in done.values() for item in candidates), default=0.0)
        self.started = min(self.started, time.time() - spent)
        return done

    def middle(self, name: str, steps: int) -> Middle:
        """What steps of a name may tell and keep on their way, where they run one after another in this process."""
        if self.n_jobs > 1 and steps > 1:
            return Middle()
        return Middle(None if self.journal is None else Scoped(self.journal, f"{name}/"), self.progress)

    def inside(self, prefix: str) -> dict[str, Any]:
        """Keywords of `Attack.run` for an attack inside this one, whose steps are kept under keys with a prefix."""
        journal = None if self.journal is None else Scoped(self.journal, prefix)
        return {
            "seed": self.seed, "n_jobs": self.n_jobs, "progress": self.progress, "journal": journal,
            "deadline": self.deadline,
        }  # fmt: skip

    def add(self, result: AttackResult) -> None:
        """Count what an attack inside this one took."""
        self.started = min(self.started, time.time() - result.seconds)
        self.solves.extend(result.solves)
        if CUT in result.info:
            self.info[CUT] = result.info[CUT]


def _within(needed: bool, deadline: Deadline | None, function: Callable[..., Step], *arguments: Any) -> Step | None:
    """A step that is to end by a deadline; None where that has passed and the step is not needed."""
    if not needed and deadline is not None and deadline.over:
        return None
    with until(deadline):
        return function(*arguments)


def skipped(reason: Exception) -> Step:
    """The step of a decoy that gives no poison, and why: "skipped: ", the kind of the error and its message."""
    words = " ".join(str(reason).split()).rstrip(".")
    return [], [SolveInfo("", f"skipped: {type(reason).__name__}" + (f": {words}" if words else ""), float("nan"), 0.0)]


def pack(step: Step) -> dict[str, np.ndarray]:
    """A step as plain arrays."""
    candidates, solves = step
    arrays: dict[str, np.ndarray] = {"sizes": np.array([len(candidates), len(solves)])}
    for index, solve in enumerate(solves):
        arrays[f"solve-{index}-words"] = np.array([solve.solver, solve.status])
        arrays[f"solve-{index}-numbers"] = np.array([solve.value, solve.seconds, solve.max_violation])
    for index, item in enumerate(candidates):
        key = f"candidate-{index}"
        arrays |= _pack_poison(f"{key}-poison", item.poison) | _pack_poison(f"{key}-relaxed", item.relaxed)
        arrays[f"{key}-decoy"] = item.decoy.parameters
        arrays[f"{key}-label"] = np.array(item.label)
        arrays[f"{key}-numbers"] = np.array([item.residual, item.violation, item.distance, item.seconds, item.gap])
        arrays[f"{key}-excess"] = np.array(item.excess)
        arrays[f"{key}-names"] = np.array(list(item.test_error), dtype=str)
        arrays[f"{key}-errors"] = np.array(list(item.test_error.values()))
        arrays[f"{key}-fact-names"] = np.array(list(item.facts), dtype=str)
        arrays[f"{key}-facts"] = np.array(list(item.facts.values()), dtype=np.float64)
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> Step:
    """The inverse of `pack`."""
    n_candidates, n_solves = (int(size) for size in arrays["sizes"])
    solves = []
    for index in range(n_solves):
        solver, status = (str(word) for word in arrays[f"solve-{index}-words"])
        solves.append(SolveInfo(solver, status, *(float(x) for x in arrays[f"solve-{index}-numbers"])))
    candidates = []
    for index in range(n_candidates):
        key = f"candidate-{index}"
        residual, violation, distance, seconds, gap = (float(x) for x in arrays[f"{key}-numbers"])
        candidates.append(
            Candidate(
                _unpack_poison(f"{key}-poison", arrays),
                _unpack_poison(f"{key}-relaxed", arrays),
                model_of(arrays[f"{key}-decoy"]),
                residual,
                violation,
                distance,
                _numbers(arrays[f"{key}-names"], arrays[f"{key}-errors"]),
                str(arrays[f"{key}-label"]),
                seconds,
                gap,
                float(arrays.get(f"{key}-excess", 0.0)),
                _numbers(arrays[f"{key}-fact-names"], arrays[f"{key}-facts"]),
            )
        )
    return candidates, solves


def _numbers(names: np.ndarray, values: np.ndarray) -> dict[str, float]:
    return {str(name): float(value) for name, value in zip(names, values, strict=True)}


def _pack_poison(key: str, poison: Poison) -> dict[str, np.ndarray]:
    X = sp.csr_array(poison.X)
    parts = {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": np.array(X.shape)}
    coded = 0 if poison.n_classes is None else poison.n_classes
    parts |= {
        "y": poison.y,
        "count": poison.count,
        "sparse": np.array(sp.issparse(poison.X)),
        "n_classes": np.array(coded),
    }
    return {f"{key}-{name}": value for name, value in parts.items()}


def _unpack_poison(key: str, arrays: Mapping[str, np.ndarray]) -> Poison:
    part = {
        name: arrays[f"{key}-{name}"]
        for name in ("data", "indices", "indptr", "shape", "y", "count", "sparse", "n_classes")
    }
    shape = (int(part["shape"][0]), int(part["shape"][1]))
    X: Any = sp.csr_array((part["data"], part["indices"], part["indptr"]), shape=shape)
    coded = int(part["n_classes"]) or None
    return Poison(X if bool(part["sparse"]) else X.toarray(), part["y"], part["count"], coded)
