"""How many CPU threads torch computes with in one thread of the program; all other threads keep their number.

`torch.set_num_threads` sets two numbers: OpenMP's, which counts for the calling thread, and a default that each other
thread takes over at its first computation and then keeps. Sums depend on the number, so a run that needs one thread
must not pass that on to threads that happen to start meanwhile. Here only the first of the two is set.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

_Restore = Callable[[], object]

_one_at_a_time = threading.Lock()


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Make torch use `count` CPU threads in this thread within the block; None leaves the number unchanged."""
    if count is None or count == _current():
        yield
        return
    restore = use_threads(count)
    try:
        yield
    finally:
        restore()


def use_threads(count: int) -> _Restore:
    """Make torch use `count` CPU threads in this thread from now on; the result, called in this thread, restores it."""
    return (_use_by_libraries if _openmp is not None else _use_by_torch)(count)


def _current() -> int:
    with _one_at_a_time:  # a thread's first computation takes over the default, which must not be changed just now
        return torch.get_num_threads()


def _use_by_libraries(count: int) -> _Restore:
    assert _openmp is not None
    openmp, mkl = _openmp, _mkl
    before = _current()
    openmp(count)
    mkl_before = None if mkl is None else mkl(count)

    def restore() -> None:
        openmp(before)
        if mkl is not None:
            mkl(mkl_before)

    return restore


def _use_by_torch(count: int) -> _Restore:
    """Where torch's libraries can't be called: another thread restores the default right after torch has set it."""
    before = _current()
    with _one_at_a_time, ThreadPoolExecutor(1) as other:
        default = other.submit(torch.get_num_threads).result()
        torch.set_num_threads(count)
        other.submit(torch.set_num_threads, default).result()
    return lambda: _use_by_torch(before)


def _functions() -> tuple[Callable[[int], object] | None, Callable[[int | None], int] | None]:
    """OpenMP's and MKL's functions that set the calling thread's number, as torch's own library calls them."""
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        path = Path(torch.__file__).parent / "lib" / name
        if path.is_file():
            try:
                library = ctypes.CDLL(str(path))
                return library.omp_set_num_threads, getattr(library, "MKL_Set_Num_Threads_Local", None)
            except (OSError, AttributeError):
                return None, None
    return None, None


_openmp, _mkl = _functions()
