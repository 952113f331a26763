"""Deterministic operations: on while any block needs them, and afterwards everything is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest
import torch

from breedclf.runtime.deterministic import CUBLAS_VARIABLE, ProcessWide, repeatable


@pytest.fixture(autouse=True)
def _switches_as_before() -> Iterator[None]:
    before = torch.get_deterministic_debug_mode()
    yield
    torch.set_deterministic_debug_mode(before)


def is_on() -> bool:
    return torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["off", "warn", "error"])
def test_the_callers_mode_is_restored(mode: int) -> None:
    torch.set_deterministic_debug_mode(mode)
    with repeatable(True):
        assert torch.get_deterministic_debug_mode() == 2
        with repeatable(True), repeatable(False):
            assert is_on()
        assert is_on()
    assert torch.get_deterministic_debug_mode() == mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_restored_after_an_error(error: type[BaseException]) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(error), repeatable(True, device="cuda", threads=threads + 1):
        raise error
    assert not is_on()
    assert CUBLAS_VARIABLE not in os.environ
    assert torch.get_num_threads() == threads


def test_blocks_that_overlap_in_threads() -> None:
    """The first block ends while the second is inside, which would switch it off or leave it on."""
    inside, leave = threading.Event(), threading.Event()
    seen: list[bool] = []

    def second() -> None:
        with repeatable(True):
            inside.set()
            leave.wait(10)
            seen.append(is_on())

    thread = threading.Thread(target=second)
    with repeatable(True):
        thread.start()
        inside.wait(10)
    assert is_on()
    leave.set()
    thread.join()
    assert seen == [True]
    assert not is_on()


def test_many_threads_come_and_go() -> None:
    seen: list[bool] = []

    def work() -> None:
        for _ in range(200):
            with repeatable(True):
                seen.append(is_on())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(seen)
    assert not is_on()


def test_the_variable_of_cublas_is_set_for_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with repeatable(True, device="cpu"):
        assert CUBLAS_VARIABLE not in os.environ
    with repeatable(True, device="cuda"):
        assert os.environ[CUBLAS_VARIABLE] == ":4096:8"
        with repeatable(True, device="cuda"):
            pass
        assert CUBLAS_VARIABLE in os.environ
    assert CUBLAS_VARIABLE not in os.environ
    monkeypatch.setenv(CUBLAS_VARIABLE, ":16:8")
    with repeatable(True, device="cuda"):
        assert os.environ[CUBLAS_VARIABLE] == ":16:8"
    assert os.environ[CUBLAS_VARIABLE] == ":16:8"


@pytest.mark.slow
def test_the_compiler_is_loaded_only_for_compiled_networks() -> None:
    code = """
        import sys
        from breedclf.runtime.deterministic import repeatable
        with repeatable(True):
            assert "torch._inductor" not in sys.modules
        with repeatable(True, compiled=True):
            assert sys.modules["torch._inductor.config"].deterministic
        assert not sys.modules["torch._inductor.config"].deterministic
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_change_that_fails_is_not_undone() -> None:
    def change() -> None:
        raise OSError("no")

    block = ProcessWide(change)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(OSError, match="no"), block():
            pass
