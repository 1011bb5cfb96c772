"""From a poison on: as a plan, and the moves that a search on a sample goes on with on all rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.dataset import Dataset
from ...core.parts import dense
from ...core.poison import Poison
from ..run import Step
from ..scenario import Scenario
from .climb import LENGTHS, PATIENCE, POOL, Climb
from .confirm import confirm
from .plans import Ground, Plan
from .trials import Trials

ENTRIES = 250_000
"""Entries of all rows up to which every move is made; beyond, fewer in proportion."""
LEAST = 6
"""Moves that are made of any number of entries, if so many are asked for."""
_ASCENT = 3  # one move in so many follows the gradient


def given(poison: Poison) -> Plan:
    """A poison as a plan without rows that drag."""
    return Plan(np.array(dense(poison.X)), poison.y, poison.count.astype(int), np.zeros(poison.y.size, dtype=bool))


def on_all_rows(
    started: float, scenario: Scenario, ground: Ground, goal: Dataset, plans: Sequence[tuple[str, Plan]], moves: int
) -> Step:
    """The strongest of some plans, such as those that a search on a sample has found, after moves on all rows.

    A poison plants a model against the gradient of the rows that a defence leaves. A sample has another gradient, so
    that what fits it is next to the best for all rows, and a few steps along the gradient of all of them get there.

    Parameters
    ----------
    started : float
        ``time.time()`` at which the attack began.
    scenario : Scenario
        With all rows.
    ground : Ground
        Its own: class means and radii are those of all rows.
    goal : Dataset
        Rows to be misclassified.
    plans : sequence of (str, Plan)
        With their names.
    moves : int
        Retrainings behind the defences, fewer from `ENTRIES` on; on wide and on sparse rows they
        are steps along the gradient alone.
    """
    train = scenario.train
    entries = int(train.X.nnz) if train.is_sparse else train.n * train.d
    moves = min(moves, max(LEAST, moves * ENTRIES // max(entries, 1)))
    costly = ground.costly
    climb = Climb(Trials(scenario, goal), ground, np.random.default_rng(0))
    pool = sorted(climb.states(plans), key=lambda state: -state.trial.value)[:POOL]
    if not pool:
        return [], []
    if costly:
        return confirm(started, scenario, [climb.ascend(pool[0], moves)])
    straight = moves // _ASCENT
    corners = straight // 4 if ground.bounded else 0
    pool[0] = climb.ascend(climb.corners(pool[0], corners), straight - corners, LENGTHS[1] / 4)
    return confirm(started, scenario, climb.run(pool, moves - straight, PATIENCE)[:1])
