"""Worker processes with one thread each, here or wherever joblib's active backend has them."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

from ..core import WorkersLost
from ..core.allocation import keep_freed_memory
from .deadline import Deadline, current, until

Result = TypeVar("Result")
_log = logging.getLogger("linpoison")


def in_parallel(function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], n_jobs: int) -> list[Result]:
    """``[function(*each) for each in arguments]``, in that order, on `n_jobs` processes."""
    results = dict(as_finished(function, list(enumerate(arguments)), n_jobs))
    return [results[index] for index in range(len(arguments))]


def as_finished(
    function: Callable[..., Result], numbered: Sequence[tuple[int, tuple[Any, ...]]], n_jobs: int
) -> Iterator[tuple[int, Result]]:
    """Yield ``(number, function(*arguments))`` in the order in which the calls end.

    Under ``joblib.parallel_config("dask")``, ``"ray"`` or another backend than joblib's own processes the calls
    run there, on as many workers as that backend has or was told to use, and `n_jobs` is not looked at. What a
    call itself asks to run in parallel runs inside its worker, one after another.

    Raises
    ------
    WorkersLost
        If a process is ended from outside twice. The first time what it had in hand starts again.
    """
    workers = None if elsewhere() else min(n_jobs, len(numbered))
    if len(numbered) <= 1 or (workers is not None and workers <= 1):
        for number, arguments in numbered:
            yield _call(number, function, arguments)
        return
    left = dict(numbered)
    try:
        for number, result in _spread(function, left, workers):
            del left[number]
            yield number, result
    except BrokenProcessPool as error:
        yield from _once_more(function, left, workers, error)


def _once_more(
    function: Callable[..., Result], left: dict[int, tuple[Any, ...]], workers: int | None, error: BrokenProcessPool
) -> Iterator[tuple[int, Result]]:
    """What was not finished when a worker was ended from outside, on half as many of them."""
    half = None if workers is None else max(1, workers // 2)
    words = "A worker process was ended from outside, most likely for want of memory: %d steps start again on %s."
    _log.warning(words, len(left), "other workers" if half is None else f"{half} processes")
    try:
        yield from as_finished(function, list(left.items()), 1) if half == 1 else _spread(function, left, half)
    except BrokenProcessPool:
        raise WorkersLost(
            "expected worker processes that last, got two that were ended from outside, most likely for want of "
            "memory. Use fewer --jobs; with --out the same command goes on where this one ended."
        ) from error


def _spread(
    function: Callable[..., Result], numbered: Mapping[int, tuple[Any, ...]], workers: int | None
) -> Iterator[tuple[int, Result]]:
    """Results of worker processes as they come; the pool is closed without a word when the caller leaves early."""
    from joblib import Parallel, delayed

    jobs = [delayed(_alone)(current(), number, function, arguments) for number, arguments in numbered.items()]
    options = {} if workers is None else {"n_jobs": workers}
    with _deaf_children():
        results = Parallel(return_as="generator_unordered", **options)(jobs)
    try:
        for result in results:  # noqa: UP028 (`yield from` would close it before the warning can be kept quiet)
            yield result
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def elsewhere() -> bool:
    """Whether the caller has put a joblib backend of its own in the place of processes on this machine."""
    from joblib.parallel import BACKENDS, DEFAULT_BACKEND, get_active_backend

    backend, _ = get_active_backend()
    return type(backend) is not BACKENDS[DEFAULT_BACKEND] and not backend.nesting_level


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started here do not hear the SIGINT of Ctrl-C, which a terminal sends to all of a program.

    It is for their parent to end them; each would print a traceback otherwise, where it is just starting. They inherit
    that it is blocked. The parent hears what comes meanwhile at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    for name in ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker"):
        with suppress(ImportError, AttributeError):
            import_module(name).ensure_running()  # unblocks the signal when it starts, so it has to be there before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(
    deadline: Deadline | None, number: int, function: Callable[..., Result], arguments: tuple[Any, ...]
) -> tuple[int, Result]:
    from joblib import parallel_config

    with parallel_config("sequential"), until(deadline):
        return _call(number, function, arguments)


def _call(number: int, function: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[int, Result]:
    keep_freed_memory()
    with _thread_pools(len(sys.modules)).limit(limits=1):
        return number, function(*arguments)


@lru_cache(maxsize=1)
def _thread_pools(modules: int) -> Any:
    """Those of the C libraries that so many modules have loaded: finding them takes longer than many a step."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
