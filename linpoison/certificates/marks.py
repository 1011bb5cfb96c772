"""Which rows one poison can break: a search for many, and branch and bound over their marks."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.poison import Poison
from ..core.validation import Array
from .joint import Answer, Joint

TRIED = 3
"""Rows that are tried as the next one to break."""
ROOM = 0.01
"""Of a row: how far below the next whole number what is proved of a count should be."""
AS_BAD = 1e-7
"""By how much less a row may be broken than another to be broken as well."""
_WHOLE = 1e-5
"""Distance from 0 and 1 up to which a mark is one of them."""
Retrain = Callable[[Poison], Array]
"""Margins (m,) of the rows after training with a poison."""


@dataclass(eq=False)
class Node:
    """Marks that are fixed on the way here (-1: free), and what the program with them says."""

    fixed: Array
    answer: Answer | None
    row: int = -1
    parts: tuple[Node, ...] = ()

    @property
    def value(self) -> float:
        """No share beyond it; infinite where no solver answered."""
        return math.inf if self.answer is None else self.answer.value

    def leaves(self) -> Iterator[Node]:
        """Those below, in the order of `branch`."""
        for part in self.parts:
            yield from part.leaves()
        if not self.parts:
            yield self

    def branch(self) -> Iterator[int]:
        """The row of each node, its part with 1 first; -1 for a leaf: see `knapsack.Cuts.bound`."""
        yield self.row
        for part in self.parts:
            yield from part.branch()


@dataclass(eq=False)
class Search:
    """Branch and bound for the greatest share of rows that one reachable model breaks.

    Parameters
    ----------
    joint : Joint
    share : ndarray, shape (m,)
        Weight of each row among all.
    retrain : callable
    whole : bool
        Whether all rows weigh the same, so that a share is a whole number of rows.
    """

    joint: Joint
    share: Array
    retrain: Retrain
    whole: bool
    reached: float = 0.0
    poison: Poison | None = None

    def attack(self, margins: Array) -> None:
        """Rows to break, one after the other, each the one that leaves the model worst for all.

        Rows that err anyway are first; where none does, the nearest. Rows that the worst model for the marked ones
        breaks as well as any of these are marked too: a program with them would have the same answer.

        Parameters
        ----------
        margins : ndarray, shape (m,)
            Without poison.
        """
        marks = margins <= 0
        tried = [marks] if marks.any() else self._nearest(marks, margins)
        while True:
            answers = [(self.joint.worst(item), item) for item in tried]
            known = [(answer, item) for answer, item in answers if answer is not None and answer.poison is not None]
            if not known:
                return
            after = [self._take(answer.poison) for answer, _ in known]
            best = int(np.argmax([answer.value for answer, _ in known]))
            if known[best][0].value < 0:
                return
            answer, marks = known[best]
            marks = marks | (answer.scores >= answer.value - AS_BAD)
            tried = self._nearest(marks, after[best])

    @staticmethod
    def _nearest(marks: NDArray[np.bool_], margins: Array) -> list[NDArray[np.bool_]]:
        """The marks and one more, of a row that is next to be broken."""
        rows = np.flatnonzero(~marks)[np.argsort(margins[~marks])][:TRIED]
        return [marks | (np.arange(marks.size) == row) for row in rows]

    def _take(self, poison: Poison | None) -> Array:
        """Margins after training, and the poison if it is the best so far."""
        if poison is None:
            return np.zeros(self.share.size)
        margins = self.retrain(poison)
        share = float(self.share @ (margins <= 0))
        if share > self.reached:
            self.reached, self.poison = share, poison
        return margins

    def tree(self, nodes: int) -> Node:
        """A tree of at most so many nodes whose leaves bound the share; the worst leaf is parted first."""
        root = self._node(np.full(self.share.size, -1))
        made, open_ = 1, [(-root.value, 0, root)]
        while open_ and made + 2 <= nodes:
            _, _, node = heapq.heappop(open_)
            if node.value <= self._enough():
                break
            node.row = self._split(node)
            if node.row < 0:
                continue
            for mark in (1, 0):
                part = node.fixed.copy()
                part[node.row] = mark
                node.parts += (self._node(part, node.answer),)
                made += 1
                heapq.heappush(open_, (-node.parts[-1].value, made, node.parts[-1]))
        return root

    def _enough(self) -> float:
        """A bound that says no more than what is reached."""
        unit = float(self.share[0])
        return (math.floor(self.reached / unit + 0.5) + 1 - ROOM) * unit if self.whole else self.reached

    def _node(self, fixed: Array, above: Answer | None = None) -> Node:
        return Node(fixed, self.joint.relaxed(fixed, self.share, above))

    def _split(self, node: Node) -> int:
        """The row whose mark is least decided; -1 where all are, and the poison behind them is tried."""
        if node.answer is None:
            return -1
        marks = node.answer.marks
        doubt = np.where(node.fixed == -1, np.minimum(marks, 1 - marks), -1.0)
        if doubt.max(initial=-1.0) > _WHOLE:
            return int(np.argmax(doubt))
        self._take(node.answer.poison)
        return -1
