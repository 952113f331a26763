"""Deterministic operations of torch, for as long as at least one run in this process wants them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module

import torch

from breedclf.runtime.cpu_threads import on_threads

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def repeatable(
    deterministic: bool, *, device: str = "cpu", compiled: bool = False, threads: int | None = None
) -> Iterator[None]:
    """Restrict torch to deterministic operations within the block, if `deterministic`; settings are restored after it.

    The restriction applies to the whole process, since torch has no other. Sums depend on the number of threads:
    `threads` is the number that the repeated run had.
    """
    if not deterministic:
        yield
        return
    with ExitStack() as stack:
        if device == "cuda":
            stack.enter_context(_cublas_workspace())
        if compiled:
            stack.enter_context(_deterministic_compiler())
        stack.enter_context(_deterministic_operations())
        stack.enter_context(on_threads(threads))
        yield


class ProcessWide:
    """A change of process-wide state that blocks in several threads may need at once, or nested.

    The first block makes the change, and the last one undoes it, however it ends.

    Args:
        change: makes the change and returns what undoes it.
    """

    def __init__(self, change: Callable[[], Callable[[], object]]) -> None:
        self._change = change
        self._mutex = threading.RLock()  # a signal handler may start a run in the thread that holds it
        self._blocks = 0
        self._undo: Callable[[], object] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        counted = False
        try:
            with self._mutex:
                if not self._blocks:
                    self._undo = self._change()
                self._blocks += 1
                counted = True
            yield
        finally:
            if counted:
                with self._mutex:
                    self._blocks -= 1
                    if not self._blocks and self._undo is not None:
                        self._undo()


def _allow_only_deterministic() -> Callable[[], object]:
    """`torch.use_deterministic_algorithms` does the same, but loads torch's compiler, which changes the environment."""
    before, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False

    def undo() -> None:
        torch.set_deterministic_debug_mode(before)
        torch.backends.cudnn.benchmark = benchmark

    return undo


def _compile_deterministically() -> Callable[[], object]:
    compiler = import_module("torch._inductor.config")
    before = getattr(compiler, "deterministic", None)  # older versions of torch have no such setting
    if before is None:
        return lambda: None
    compiler.deterministic = True  # type: ignore[attr-defined]
    return lambda: setattr(compiler, "deterministic", before)


def _fix_cublas_workspace() -> Callable[[], object]:
    """cuBLAS reads the variable when it is first used."""
    if CUBLAS_VARIABLE in os.environ:
        return lambda: None
    os.environ[CUBLAS_VARIABLE] = ":4096:8"
    return lambda: os.environ.pop(CUBLAS_VARIABLE, None)


_deterministic_operations = ProcessWide(_allow_only_deterministic)
_deterministic_compiler = ProcessWide(_compile_deterministically)
_cublas_workspace = ProcessWide(_fix_cublas_workspace)
