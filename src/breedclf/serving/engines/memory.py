"""Limits memory fragmentation of the server process, so that its memory stays constant over many requests."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def share_freed_memory() -> None:
    """Limit glibc's malloc to two arenas; call it before threads are started.

    By default each thread has its own arena, which keeps the memory of its largest images: over 20,000 requests with
    images of up to 81 million pixels, a server grew from 0.9 to 1.9 GB, but only to 1.25 GB with two arenas. No effect
    on other platforms.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    except AttributeError:  # another C library
        return
