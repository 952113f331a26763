"""Forks of a process that has computed: what is made to work in them, and what is refused at once since it would hang.

A fork copies the memory of a process, but of its threads only the one that asked for it. GNU's OpenMP, which torch
computes with on Linux, would wait for its other threads for ever. So these are ended before a fork, and both processes
start new ones when they compute again. CUDA, OpenVINO and torch.compile offer no such way.
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


def in_use(what: str) -> None:
    """Remember that this process uses something that a forked child can't."""
    _in_use.add(what)


def check_usable(what: str) -> None:
    """See that this process may use it.

    Raises:
        ForkError: the process that this one was forked from already did.
    """
    if what in _lost:
        raise ForkError(
            f"{what} was already in use when this process was forked, and doesn't work in a fork: start processes with "
            "multiprocessing.get_context('spawn'), or load models and train only after the fork"
        )


def check_trainable() -> None:
    """See that gradients can be computed in this process; torch.compile and GPUs bring threads that are lost in a fork.

    Raises:
        ForkError: they can't.
    """
    try:
        torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ForkError(
            "torch can't train in this process, because the one that it was forked from has trained or compiled with "
            "threads that a fork loses: start processes with multiprocessing.get_context('spawn'), or train only after "
            f"the fork ({error})"
        ) from error


def _before_fork() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        _in_use.add(CUDA)
    for path in _mapped_libraries("libgomp"):
        with suppress(OSError, AttributeError):  # GCC 8 and older can't end its threads
            ctypes.CDLL(path).omp_pause_resource_all(_OMP_PAUSE_SOFT)


def _in_child() -> None:
    _lost.update(_in_use)


def _mapped_libraries(name: str) -> set[str]:
    """Paths of the libraries of that name that this process has loaded; wheels bring their own."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {path for line in lines if name in (path := line.partition("/")[1] + line.partition("/")[2])}


if sys.platform == "linux":
    os.register_at_fork(before=_before_fork)
os.register_at_fork(after_in_child=_in_child)
