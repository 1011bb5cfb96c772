"""Worker processes with one thread each, here or wherever joblib's active backend has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    yield from Parallel(return_as="generator_unordered", **options)(jobs)


def elsewhere() -> bool:
    """Whether the caller has put a joblib backend of its own in the place of processes on this machine."""
    from joblib.parallel import BACKENDS, DEFAULT_BACKEND, get_active_backend

    backend, _ = get_active_backend()
    return type(backend) is not BACKENDS[DEFAULT_BACKEND] and not backend.nesting_level


def _alone(number: int, function: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[int, Result]:
    from joblib import parallel_config

    with parallel_config("sequential"):
        return _call(number, function, arguments)


def _call(number: int, function: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[int, Result]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return number, function(*arguments)
