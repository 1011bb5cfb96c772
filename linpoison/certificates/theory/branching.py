"""Branch and bound over the clean rows of a hinge loss, for one row to certify."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from math import inf
from typing import Any

import numpy as np

from ...convex import solve
from ...core.errors import LinpoisonError
from ...core.poison import Poison
from ...core.validation import Array
from ...learners import make_learner
from ..claim import Claim
from ..clean.rows import LABELS
from ..hinge.dual import Multipliers, dual_bound
from ..hinge.frame import FREE, KINK, ONE, ZERO, Frame
from ..hinge.margins import point_of
from ..hinge.program import CaseProgram, Relaxed

ON_KINK = 1e-4
"""Distance of a margin from 1 within which a row may pull with any part of its weight."""


class AttackProgram:
    """The poison that comes nearest to stationarity at given parameters, compiled once for a frame.

    ::

        minimise    | reg P v - (1/n) sum_i c_i a_i y_i (x_i, 1) - u_+ + u_- |
        subject to  (u_y, w_y) in cone(F_y),  y (u_y, w_y) . v <= w_y,  w_+ + w_- = epsilon,  0 <= a <= 1

    with ``a_i`` free only where the margin is 1. Unlike in the relaxation, the points of *each* class are support
    vectors here.

    References
    ----------
    Koh, Steinhardt, Liang, "Stronger data poisoning attacks break data sanitization defenses", section 4.2.2.
    """

    def __init__(self, bare: Frame) -> None:
        import cvxpy as cp

        self.bare = bare
        n, width, eps = bare.share.size, bare.center.size, bare.claim.epsilon
        self.v, self.low, self.high = cp.Parameter(width), cp.Parameter(n), cp.Parameter(n)
        a = cp.Variable(n)
        self.u: dict[int, Any] = {label: cp.Variable(width - 1) for label in LABELS}
        self.w: dict[int, Any] = {label: cp.Variable(nonneg=True) for label in LABELS}
        rules = [a >= self.low, a <= self.high, self.w[1] + self.w[-1] == 1]
        for label in LABELS:
            rules += bare.claim.sets[label].constraints(self.u[label], self.w[label])
            margin = self.u[label] @ self.v[:-1] + bare.one * self.w[label] * self.v[-1]
            rules.append(label * margin <= self.w[label])
        pull = cp.hstack([self.u[1] - self.u[-1], bare.one * (self.w[1] - self.w[-1])])
        needed = cp.multiply(bare.reg * bare.claim.mask, self.v) - (bare.rows[0] * bare.share[:, None]).T @ a
        self.problem = cp.Problem(cp.Minimize(cp.sum_squares(needed / max(eps, 1e-12) - pull)), rules)

    def solve(self, v: Array) -> dict[int, tuple[float, Array]]:
        """Masses and pulls ``{y: (w_y, u_y)}``, empty if no poison of the sets can support the parameters."""
        margins = self.bare.rows[0] @ v
        self.v.value = v
        self.low.value = (margins < 1 - ON_KINK).astype(np.float64)
        self.high.value = (margins < 1 + ON_KINK).astype(np.float64)
        try:
            solve(self.problem, solver="CLARABEL")
        except LinpoisonError:
            return {}
        eps = self.bare.claim.epsilon
        values = {label: (eps * float(self.w[label].value), eps * np.asarray(self.u[label].value)) for label in LABELS}
        return {label: value for label, value in values.items() if value[0] > 1e-6 * eps}


CLOSED = 1e-7
"""Gap of complementarity, summed over the rows, from which on no branch on a clean row can help."""


@dataclass(frozen=True, eq=False)
class Node:
    """A case: the states of the clean rows, multipliers, what they prove, and the row to branch on (-1: none)."""

    state: Array
    point: Multipliers
    bound: float
    branch: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search found for one row.

    Parameters
    ----------
    leaves : list of Node
        Cases that together cover everything.
    bound : float
        The greatest bound of the leaves.
    value : float
        The greatest negative margin that a retrained poison attains.
    poison : Poison or None
    nodes : int
        Programs solved.
    finished : bool
        Whether bound and attack came within the tolerance.
    interrupted : bool
    """

    leaves: list[Node]
    bound: float
    value: float
    poison: Poison | None
    nodes: int
    finished: bool
    interrupted: bool


class Incumbent:
    """The strongest poison so far against one row, always retrained.

    Parameters
    ----------
    claim : Claim
    aim : ndarray, shape (d + 1,)
    """

    def __init__(self, claim: Claim, aim: Array) -> None:
        self.claim, self.aim = claim, aim
        self.learner = make_learner(claim.problem)
        self.value = -inf
        self.poison: Poison | None = None
        self._try(None)
        for label in LABELS:
            self._start(label)

    def _start(self, label: int) -> None:
        """All mass where it pulls the most in the direction of the row."""
        if self.claim.epsilon:
            try:
                x = self.claim.sets[label].support(-label * self.aim[:-1])
            except LinpoisonError:
                return
            self.offer({label: (self.claim.epsilon, self.claim.epsilon * x)})

    def offer(self, relaxed: dict[int, tuple[float, Array]]) -> None:
        """Retrain on the points of a relaxed solution, with its masses and with all of the budget."""
        total = sum(mass for mass, _ in relaxed.values())
        if not total > 0:
            return
        X = np.vstack([self.claim.sets[label].project((u / w)[None]) for label, (w, u) in relaxed.items()])
        masses = np.array([mass for mass, _ in relaxed.values()])
        full = self.claim.epsilon / total
        labels = np.array(list(relaxed), dtype=np.float64)
        for scale in sorted({full, min(1.0, full)}):
            self._try(Poison(X, labels, self.claim.mass * masses * scale))

    def _try(self, poison: Poison | None) -> None:
        data = self.claim.train if poison is None else self.claim.train.mix(poison.as_dataset())
        try:
            model = self.learner.fit(data)
        except LinpoisonError:
            return
        value = -float(self.aim @ model.vector)
        if value > self.value:
            self.value, self.poison = value, poison


class Search:
    """Best-first branch and bound: each row is ``a = 0, m >= 1``, or ``a = 1, m <= 1``, or ``m = 1``.

    Parameters
    ----------
    bare : Frame
    program : CaseProgram
        With floors.
    tol : float
        Gap at which to stop.
    max_nodes : int
        Programs to solve at most.
    progress : callable, optional
        Called with programs solved, their limit and a word.
    """

    def __init__(
        self,
        bare: Frame,
        program: CaseProgram,
        *,
        tol: float,
        max_nodes: int,
        progress: Callable[[int, int, str], Any] | None = None,
    ) -> None:
        self.bare, self.program, self.tol, self.max_nodes, self.progress = bare, program, tol, max_nodes, progress

    def run(self, aim: Array) -> Outcome:
        """Search for one row; an interrupt ends it early, with what is proved by then."""
        self.nodes, self.order = 0, count()
        self.aim, self.incumbent = aim, Incumbent(self.bare.claim, aim)
        interrupted = False
        undecided = np.full(self.bare.share.size, FREE)
        self.heap = [(-inf, next(self.order), Node(undecided, point_of(self.bare, None), inf, -1))]
        try:
            root = self._node(undecided, None)
            self.heap = [(-root.bound, next(self.order), root)]
            while self._worthwhile():
                self._expand()
        except KeyboardInterrupt:
            interrupted = True
        leaves = [node for _, _, node in self.heap]
        bound = max(node.bound for node in leaves)
        value = self.incumbent.value
        finished = bound <= value + self.tol
        return Outcome(leaves, bound, value, self.incumbent.poison, self.nodes, finished, interrupted)

    def _worthwhile(self) -> bool:
        """Whether the worst case is above the incumbent and can be split."""
        worst = self.heap[0][2]
        return worst.bound > self.incumbent.value + self.tol and worst.branch >= 0 and self.nodes < self.max_nodes

    def _expand(self) -> None:
        """Replace the worst case by its three parts, all at once, so that an interrupt never loses one."""
        node = self.heap[0][2]
        heap = self.heap.copy()
        heapq.heappop(heap)
        for kind in (ZERO, ONE, KINK):
            state = node.state.copy()
            state[node.branch] = kind
            part = self._node(state, node)
            heapq.heappush(heap, (-part.bound, next(self.order), part))
        self.heap = heap

    def _node(self, state: Array, parent: Node | None) -> Node:
        """Solve one case. Multipliers of the parent stand in where they prove more."""
        rows = self.bare.states(state)
        found = self.program.solve(self.aim, rows, self.incumbent.value)
        self.nodes += 1
        node = Node(state, point_of(self.bare, None), inf, self._widest(state))
        if found is not None:
            node = Node(state, found.point, found.bound, self._worst(state, found))
            if found.bound > self.incumbent.value:
                self.incumbent.offer(found.poison)
            if node.branch < 0 and found.v is not None and found.bound > self.incumbent.value + self.tol / 2:
                self._support(found.v)
        if parent is not None:
            inherited = dual_bound(self.bare, rows, parent.point, self.aim)
            if inherited < node.bound:
                node = replace(node, point=parent.point, bound=inherited)
        if self.progress is not None:
            self.progress(self.nodes, self.max_nodes, "nodes")
        return node

    def _support(self, v: Array) -> None:
        """Where all clean rows are decided, look for the poison that makes the very parameters optimal."""
        if self.bare.claim.epsilon:
            self.incumbent.offer(self.attack.solve(v))

    @cached_property
    def attack(self) -> AttackProgram:
        """Compiled when it is first needed."""
        return AttackProgram(self.bare)

    def _open(self, state: Array) -> Array:
        """Which rows are neither in a state nor decided by their bounds."""
        return (state == FREE) & (self.bare.lower < 1) & (self.bare.upper > 1)

    def _worst(self, state: Array, found: Relaxed) -> int:
        """The row that breaks complementarity the most, -1 if none does."""
        if found.v is None or found.a is None:
            return self._widest(state)
        margins = self.bare.rows[0] @ found.v
        gaps = self.bare.share * (np.maximum(1 - margins, 0.0) - found.a[0] * (1 - margins))
        gaps = np.where(self._open(state), gaps, -inf)
        worst = int(np.argmax(gaps))
        return worst if gaps[worst] > CLOSED else -1

    def _widest(self, state: Array) -> int:
        """The undecided row whose margin is known the least, -1 if there is none."""
        width = np.where(self._open(state), self.bare.share * (self.bare.upper - self.bare.lower), -inf)
        worst = int(np.argmax(width))
        return worst if np.isfinite(width[worst]) else -1


def covers(states: Array) -> bool:
    """Whether cases cover all that clean rows can be in: each row 0, 1 or 2, where -1 stands for any.

    Parameters
    ----------
    states : ndarray, shape (leaves, n)

    Examples
    --------
    >>> covers(np.array([[0, -1], [1, -1], [2, 0], [2, 1], [2, 2]]))
    True
    >>> covers(np.array([[0, -1], [1, -1], [2, 0], [2, 1]]))
    False
    """
    open_cases = [np.asarray(states)]
    while open_cases:
        cases = open_cases.pop()
        if not len(cases):
            return False
        fixed = cases != FREE
        if not fixed.any(axis=1).all():
            continue  # one of the cases covers everything
        row = int(np.argmax(fixed.sum(axis=0)))
        for kind in (ZERO, ONE, KINK):
            chosen = cases[(cases[:, row] == kind) | (cases[:, row] == FREE)].copy()
            chosen[:, row] = FREE
            open_cases.append(chosen)
    return True
