import time

import numpy as np
import pytest
from kkt_cases import scenario_of

from linpoison.attacks import ranking
from linpoison.attacks.ranking import _reasons, candidate, finalists, roundings
from linpoison.attacks.run import Run, pack, skipped, unpack
from linpoison.core import InfeasibleSet, InputError, Poison, SolveInfo, SolverFailed
from linpoison.sets import ByLabel, Halfspace


def counts_scenario():
    return scenario_of("counts")


def test_the_last_rounding_of_each_number_of_copies_is_drawn_once():
    scenario = counts_scenario()
    d = scenario.train.d
    point = np.full(d, 0.5)
    relaxed = Poison(point[None, :], [1.0], [float(scenario.n_poison)])
    nowhere = ByLabel(dict.fromkeys((1, -1), Halfspace(np.ones(d), 0.3 * d)))
    rng = np.random.default_rng(0)
    versions = list(roundings(scenario, relaxed, nowhere, rng, repeats=(1, 2), draws=2))
    assert len(versions) == 6
    spread = [np.abs(np.average(item.X.toarray(), axis=0, weights=item.count) - point).mean() for item in versions]
    assert spread[2] < min(spread[:2])
    assert spread[5] < min(spread[3:5])


@pytest.mark.parametrize(("costly", "scored"), [(10**12, 2), (1, 1)])
def test_large_data_have_one_finalist(monkeypatch, costly, scored):
    monkeypatch.setattr(ranking, "COSTLY", costly)
    scenario = counts_scenario()
    rows = scenario.train.take([0, 1])
    found = [candidate(time.time(), scenario, Poison(rows.X[[i]], -rows.y[[i]], [3]), label=str(i)) for i in range(2)]
    asked = []
    monkeypatch.setattr(ranking, "score_fully", lambda started, scenario, item: (asked.append(item), ([item], []))[1])
    finalists(scenario, Run(), found, 2)
    assert len(asked) == scored


def test_reasons_are_the_most_frequent_ones_with_their_messages():
    errors = [*[InputError("a", "b", "Do c.")] * 3, *[SolverFailed("slow.\nvery")] * 2, InfeasibleSet()]
    solves = [info for error in errors for info in skipped(error)[1]]
    told = _reasons([*solves, SolveInfo("s", "optimal", 0.0, 0.0)])
    first = "skipped: InputError: expected a, got b. Do c; skipped: SolverFailed: slow. very"
    assert told == f" ({first}; another reason)"
    assert _reasons(solves[:5]) == f" ({first})"
    assert _reasons([*solves, *skipped(SolverFailed("x"))[1]]).endswith("; 2 other reasons)")
    assert _reasons([]) == ""
    assert unpack(pack(([], solves)))[1][0].status == solves[0].status
