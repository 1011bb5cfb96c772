"""What the C library does with memory that numpy has freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_LARGEST = 32 << 20  # bytes of an array that is kept: glibc takes no more on 64 bits
_KEPT = 1 << 30


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory for its next arrays, where its C library is glibc.

    A retraining makes and frees some arrays of the size of the training rows. glibc hands those of more than 128 KiB
    back to the kernel, which fills the pages of the next one with zeros again: a quarter of the time of an audit of
    8,000 rows. Elsewhere nothing happens. See ``man 3 mallopt``.
    """
    with suppress(AttributeError, OSError, TypeError):  # no such function, no such library, no library by default
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP, _LARGEST)
        mallopt(_TRIM, _KEPT)
