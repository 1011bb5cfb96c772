"""Worker processes with one thread each."""

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
    """Yield ``(number, function(*arguments))`` in the order in which the calls end."""
    workers = min(n_jobs, len(numbered))
    if workers <= 1:
        for number, arguments in numbered:
            yield _call(number, function, arguments)
        return
    from joblib import Parallel, delayed

    jobs = (delayed(_call)(number, function, arguments) for number, arguments in numbered)
    yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)


def _call(number: int, function: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[int, Result]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return number, function(*arguments)
