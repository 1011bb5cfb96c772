"""A search that comes upon its deadline, or upon Ctrl-C, has what its steps have found so far."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from linpoison.attacks import ALFA, KKT, Exchange, LabelFlipDecoys, RandomFlips, Refined
from linpoison.attacks.deadline import Deadline, Interrupted, OutOfTime, time_is_up, until
from linpoison.attacks.parallel import in_parallel
from linpoison.attacks.run import Run
from linpoison.attacks.scenario import Scenario
from linpoison.core import Budget
from linpoison.core.journal import FolderJournal
from linpoison.defenses import L2Defense
from linpoison.losses import Hinge, Problem
from tests.support.audit_cases import small_split

FEW = KKT(decoys=LabelFlipDecoys(quantiles=(0.2, 0.4), repeats=(2, 3)), generations=1, refits=1, finalists=2)


class Clock:
    """A second passes whenever it is looked at, or `tick` is called."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def scenario() -> Scenario:
    split = small_split()
    return Scenario(split.train, Problem(Hinge(), 0.01), Budget(0.1), {"l2": L2Defense()}, split.test)


def counted(started, clock, number, candidates):
    clock.now += 10.0
    return candidates[number : number + 1], []


def test_no_step_begins_after_the_deadline_and_what_they_found_stays(tmp_path):
    clock, items = Clock(), RandomFlips().run(scenario()).candidates
    run = Run(deadline=Deadline(15.0, clock), journal=FolderJournal(tmp_path))
    with pytest.raises(OutOfTime, match="2 of 5"):
        run.steps("count", counted, [(clock, number, items) for number in range(5)])
    assert run.found == list(items[:2])
    assert [run.journal.get(f"count-{number}") is not None for number in range(3)] == [True, False, False]
    with pytest.raises(OutOfTime):  # not even one, now that something has been found
        run.steps("more", counted, [(clock, 0, items)])
    assert run.steps("needed", counted, [(clock, 3, items)], needed=True) == [items[3]]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_loops_are_told_in_every_process(n_jobs):
    with until(Deadline(-math.inf)):
        assert in_parallel(time_is_up, [(), ()], n_jobs) == [True, True]
    assert not time_is_up()


@pytest.mark.parametrize(
    "attack",
    [RandomFlips(), ALFA(), FEW, Refined(start=RandomFlips(), rounds=2, steps=30), Exchange(singles=1, ratings=20)],
)
def test_an_attack_that_is_late_gives_a_checked_poison_and_says_so(attack):
    question, whole = scenario(), attack.run(scenario())
    cut = attack.run(question, deadline=Deadline(-math.inf))
    assert cut.info["cut"] == "time limit"
    assert "cut" not in whole.info
    assert len(cut.candidates) < len(whole.candidates)
    again = question.defender.score(cut.poison, {"target": question.target}).error["target"]
    assert cut.best.test_error == again
    same = attack.run(question, deadline=Deadline(math.inf))
    assert same.best.test_error == whole.best.test_error
    np.testing.assert_array_equal(same.poison.X, whole.poison.X)


class Stopped(RandomFlips):
    """Ctrl-C after the third draw, or before the first."""

    after = 3

    def _search(self, scenario, run):
        few = replace(RandomFlips(), draws=self.after) if self.after else None
        if few is not None:
            few._search(scenario, run)
        raise KeyboardInterrupt


@pytest.mark.parametrize("rows", [None, 40])
def test_an_interrupted_attack_hands_over_what_it_has(rows):
    with pytest.raises(Interrupted) as stop:
        Stopped().run(scenario(), rows=rows)
    result = stop.value.result
    assert result.info["cut"] == "interrupted"
    best = RandomFlips(draws=3).run(scenario(), rows=rows).best
    assert result.best.worst == best.worst


def test_an_interrupt_before_anything_is_found_stays_one(monkeypatch):
    monkeypatch.setattr(Stopped, "after", 0)
    with pytest.raises(KeyboardInterrupt) as stop:
        Stopped().run(scenario())
    assert stop.type is KeyboardInterrupt
