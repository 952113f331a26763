"""Forks of a process that has used torch: made to work where possible, otherwise refused instead of hanging.

A fork copies a process's memory, but only the thread that called fork. GNU OpenMP, which torch uses on Linux, would
then wait for its other threads forever, so its threads are ended before a fork and started again by the next
computation. CUDA, OpenVINO and torch.compile can't be restored in this way.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

from breedclf.errors import ForkError

CUDA, OPENVINO = "cuda", "OpenVINO"
_OMP_PAUSE_SOFT = 1

_in_use: set[str] = set()
_lost: set[str] = set()


def mark_in_use(what: str) -> None:
    """Record that this process uses something that doesn't work in a forked child."""
    _in_use.add(what)


def check_usable(what: str) -> None:
    """Check that this process may use a GPU or library.

    Raises:
        ForkError: the process that this one was forked from used it already.
    """
    if what in _lost:
        raise ForkError(
            f"{what} was already in use when this process was forked, and doesn't work in a fork: start processes with "
            "multiprocessing.get_context('spawn'), or load models and train only after the fork"
        )


def check_trainable() -> None:
    """Check that this process can compute gradients: torch.compile and GPUs use threads that a fork loses.

    Raises:
        ForkError: it can't.
    """
    try:
        torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ForkError(
            "torch can't train in this process: it was forked from one that had trained or compiled with threads that "
            "a fork loses; start processes with multiprocessing.get_context('spawn'), or train only after "
            f"the fork ({error})"
        ) from error


def _before_fork() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        _in_use.add(CUDA)
    for path in _mapped_libraries("libgomp"):
        with suppress(OSError, AttributeError):  # OpenMP of GCC 8 and older can't end its threads
            ctypes.CDLL(path).omp_pause_resource_all(_OMP_PAUSE_SOFT)


def _in_child() -> None:
    _lost.update(_in_use)


def _mapped_libraries(name: str) -> set[str]:
    """Paths of the loaded libraries with that name; wheels bring their own copies."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {path for line in lines if name in (path := line.partition("/")[1] + line.partition("/")[2])}


if sys.platform == "linux":
    os.register_at_fork(before=_before_fork)
os.register_at_fork(after_in_child=_in_child)
