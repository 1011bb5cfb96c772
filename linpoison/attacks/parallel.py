"""Worker processes with one thread each, here or wherever joblib's active backend has them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, TypeVar

Result = TypeVar("Result")


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
    """
    workers = None if elsewhere() else min(n_jobs, len(numbered))
    if len(numbered) <= 1 or (workers is not None and workers <= 1):
        for number, arguments in numbered:
            yield _call(number, function, arguments)
        return
    from joblib import Parallel, delayed

    jobs = (delayed(_alone)(number, function, arguments) for number, arguments in numbered)
    options = {} if workers is None else {"n_jobs": workers}
    with _deaf_children():
        results = Parallel(return_as="generator_unordered", **options)(jobs)
    yield from results


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


def _alone(number: int, function: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[int, Result]:
    from joblib import parallel_config

    with parallel_config("sequential"):
        return _call(number, function, arguments)


def _call(number: int, function: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[int, Result]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return number, function(*arguments)
