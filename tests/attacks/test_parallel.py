"""Where independent steps run: here, on worker processes, or on the workers of a Dask cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import joblib
import numpy as np
import pytest
from kkt_cases import scenario_of
from threadpoolctl import threadpool_info

from linpoison.attacks import ALFA, RandomFlips
from linpoison.attacks.parallel import as_finished, elsewhere, in_parallel
from linpoison.core import SolverFailed


@pytest.fixture(scope="module")
def dask() -> Iterator[joblib.parallel_config]:
    """Dask as the active backend, on two worker processes of one thread."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        yield lambda: joblib.parallel_config("dask")


def place(pause: float) -> tuple[int, int, set[int]]:
    """Process of the call, process of a call that it makes itself, and threads of its numerical libraries."""
    time.sleep(pause)
    np.ones((50, 50)) @ np.ones((50, 50))
    inner = in_parallel(os.getpid, [(), ()], 2)
    return os.getpid(), *set(inner), {pool["num_threads"] for pool in threadpool_info()}


def fail(number: int) -> int:
    if number == 2:
        raise SolverFailed("expected a solution, got none.")
    return number


def test_results_come_in_the_order_of_the_arguments():
    assert in_parallel(pow, [(2, 3), (3, 2), (5, 1)], 2) == [8, 9, 5]
    assert sorted(as_finished(pow, [(7, (2, 3)), (4, (3, 2))], 2)) == [(4, 9), (7, 8)]
    assert in_parallel(pow, [], 2) == []


def test_one_worker_is_this_process():
    pids = {pid for pid, *_ in in_parallel(place, [(0,), (0,)], 1)}
    assert pids == {os.getpid()}


def test_workers_have_one_thread_and_start_no_workers():
    calls = in_parallel(place, [(0.2,)] * 4, 2)
    assert os.getpid() not in {pid for pid, *_ in calls}
    for pid, inner, threads in calls:
        assert inner == pid
        assert threads <= {1}


def test_a_failure_in_a_worker_keeps_its_kind():
    for jobs in (1, 2):
        with pytest.raises(SolverFailed, match="got none"):
            in_parallel(fail, [(1,), (2,), (3,)], jobs)


def test_an_active_backend_is_used_whatever_the_number_of_jobs():
    assert not elsewhere()
    with joblib.parallel_config("loky", n_jobs=2):
        assert not elsewhere()
    with joblib.parallel_config("threading", n_jobs=2):
        assert elsewhere()
        assert {pid for pid, *_ in in_parallel(place, [(0,)] * 3, 2)} == {os.getpid()}


def test_dask_workers_do_the_work(dask):
    with dask():
        assert elsewhere()
        calls = in_parallel(place, [(0.1,)] * 6, 1)
        with pytest.raises(SolverFailed, match="got none"):
            in_parallel(fail, [(1,), (2,)], 1)
    pids = {pid for pid, *_ in calls}
    assert len(pids) == 2
    assert os.getpid() not in pids
    for pid, inner, threads in calls:
        assert inner == pid
        assert threads <= {1}


@pytest.mark.parametrize("attack", [RandomFlips(draws=3), ALFA()])
def test_an_attack_on_dask_gives_the_same_poison(dask, attack):
    scenario = scenario_of("breast_cancer", defenses=("l2",))
    here = attack.run(scenario, seed=3)
    with dask():
        there = attack.run(scenario, seed=3)
    np.testing.assert_array_equal(there.poison.X, here.poison.X)
    np.testing.assert_array_equal(there.poison.count, here.poison.count)
    assert [item.test_error for item in there.candidates] == [item.test_error for item in here.candidates]
