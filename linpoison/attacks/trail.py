"""Running many independent steps: in parallel, with progress, and so that a rerun resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..core.model import LinearModel
from ..core.poison import Poison
from ..core.results import Candidate, SolveInfo
from .base import Journal, Progress
from .parallel import as_finished

Step = tuple[list[Candidate], list[SolveInfo]]
"""What one step of an attack yields."""


@dataclass
class Trail:
    """The clock, the progress line and the journal of one attack."""

    started: float = field(default_factory=time.time)
    progress: Progress | None = None
    journal: Journal | None = None
    solves: list[SolveInfo] = field(default_factory=list)

    def say(self, done: int, total: int, what: str) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(done, total, what)

    def steps(
        self,
        name: str,
        function: Callable[..., Step],
        arguments: Sequence[tuple[Any, ...]],
        n_jobs: int,
    ) -> list[list[Candidate]]:
        """Call ``function(started, *arguments[i])`` for every i and return the candidates in order.

        Finished steps are in the journal under ``name-i`` and are not run again. The clock goes on
        from the time at which the last of them ended.
        """
        done: dict[int, Step] = {}
        for index in range(len(arguments)):
            stored = self.journal.get(f"{name}-{index}") if self.journal is not None else None
            if stored is not None:
                done[index] = unpack(stored)
        spent = max((item.seconds for candidates, _ in done.values() for item in candidates), default=0.0)
        self.started = min(self.started, time.time() - spent)
        waiting = [index for index in range(len(arguments)) if index not in done]
        self.say(len(done), len(arguments), name)
        numbered = [(index, (self.started, *arguments[index])) for index in waiting]
        for index, step in as_finished(function, numbered, n_jobs):
            done[index] = step
            if self.journal is not None:
                self.journal.put(f"{name}-{index}", pack(step))
            self.say(len(done), len(arguments), name)
        for index in range(len(arguments)):
            self.solves.extend(done[index][1])
        return [done[index][0] for index in range(len(arguments))]


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
        arrays[f"{key}-decoy"] = item.decoy.vector
        arrays[f"{key}-label"] = np.array(item.label)
        arrays[f"{key}-numbers"] = np.array([item.residual, item.violation, item.distance, item.seconds, item.gap])
        arrays[f"{key}-names"] = np.array(list(item.test_error), dtype=str)
        arrays[f"{key}-errors"] = np.array(list(item.test_error.values()))
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
        names, errors = arrays[f"{key}-names"], arrays[f"{key}-errors"]
        candidates.append(
            Candidate(
                _unpack_poison(f"{key}-poison", arrays),
                _unpack_poison(f"{key}-relaxed", arrays),
                LinearModel.from_vector(arrays[f"{key}-decoy"]),
                residual,
                violation,
                distance,
                {str(name): float(error) for name, error in zip(names, errors, strict=True)},
                str(arrays[f"{key}-label"]),
                seconds,
                gap,
            )
        )
    return candidates, solves


def _pack_poison(key: str, poison: Poison) -> dict[str, np.ndarray]:
    X = sp.csr_array(poison.X)
    parts = {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": np.array(X.shape)}
    parts |= {"y": poison.y, "count": poison.count, "sparse": np.array(sp.issparse(poison.X))}
    return {f"{key}-{name}": value for name, value in parts.items()}


def _unpack_poison(key: str, arrays: Mapping[str, np.ndarray]) -> Poison:
    part = {name: arrays[f"{key}-{name}"] for name in ("data", "indices", "indptr", "shape", "y", "count", "sparse")}
    shape = (int(part["shape"][0]), int(part["shape"][1]))
    X: Any = sp.csr_array((part["data"], part["indices"], part["indptr"]), shape=shape)
    return Poison(X if bool(part["sparse"]) else X.toarray(), part["y"], part["count"])
