"""Choices for a machine, as pure functions of what it has."""

from __future__ import annotations

import pytest
import torch

from breedclf.errors import ConfigError
from breedclf.runtime import device
from breedclf.runtime.device import (
    choose_precision,
    compute_for,
    loader_settings,
    shared_memory_bytes,
)

MB = 1 << 20
PLENTY = 64 << 30


def test_a_gpu_gets_workers_and_pinned_memory() -> None:
    settings = loader_settings(device="cuda", cores=8, shared_memory_bytes=PLENTY, batch_bytes=5 * MB)
    assert (settings.workers, settings.pin_memory, settings.prefetch) == (7, True, 2)


def test_pinning_may_be_left_out_on_a_gpu_and_is_never_done_elsewhere() -> None:
    plain = loader_settings(device="cuda", cores=8, shared_memory_bytes=PLENTY, batch_bytes=MB, pin_memory=False)
    assert not plain.pin_memory
    cpu = loader_settings(device="cpu", cores=8, shared_memory_bytes=PLENTY, batch_bytes=MB, pin_memory=True)
    assert not cpu.pin_memory


def test_many_cores_do_not_mean_endless_workers() -> None:
    assert loader_settings(device="cuda", cores=96, shared_memory_bytes=PLENTY, batch_bytes=MB).workers == 16


@pytest.mark.parametrize(("cores", "workers", "threads"), [(1, 0, 1), (2, 0, 2), (4, 1, 0), (16, 4, 0)])
def test_on_a_cpu_the_model_keeps_the_cores(cores: int, workers: int, threads: int) -> None:
    settings = loader_settings(device="cpu", cores=cores, shared_memory_bytes=PLENTY, batch_bytes=5 * MB)
    assert (settings.workers, settings.pin_memory) == (workers, False)
    assert settings.prefetch == (2 if workers else None)
    assert settings.threads == threads


def test_whoever_asks_for_no_workers_gets_no_threads_either() -> None:
    asked = loader_settings(device="cpu", cores=2, shared_memory_bytes=PLENTY, batch_bytes=MB, workers=0)
    assert (asked.workers, asked.threads) == (0, 0)
    assert loader_settings(device="cuda", cores=2, shared_memory_bytes=0, batch_bytes=MB).threads == 0


@pytest.mark.parametrize(
    ("device_type", "cores", "threads"), [("cpu", 2, 2), ("cpu", 8, 8), ("cuda", 8, 8), ("cpu", 96, 16)]
)
def test_where_processes_may_not_start_unasked_threads_load(device_type: str, cores: int, threads: int) -> None:
    machine = {"device": device_type, "cores": cores, "shared_memory_bytes": PLENTY, "batch_bytes": MB}
    settings = loader_settings(**machine, may_start_processes=False)
    assert (settings.workers, settings.threads, settings.prefetch) == (0, threads, None)
    assert loader_settings(**machine, workers=3, may_start_processes=False).workers == 3


@pytest.mark.parametrize(("shared_mb", "workers"), [(64, 3), (20, 1), (8, 0), (0, 0)])
def test_small_shared_memory_bounds_the_workers(shared_mb: int, workers: int) -> None:
    settings = loader_settings(device="cuda", cores=8, shared_memory_bytes=shared_mb * MB, batch_bytes=5 * MB)
    assert settings.workers == workers


def test_without_shared_memory_of_its_own_nothing_bounds_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(device.shutil, "disk_usage", missing)
    settings = loader_settings(device="cuda", cores=8, shared_memory_bytes=shared_memory_bytes(), batch_bytes=5 * MB)
    assert settings.workers == 7


def test_one_core_has_no_workers_on_a_cpu() -> None:
    assert loader_settings(device="cpu", cores=1, shared_memory_bytes=PLENTY, batch_bytes=5 * MB).workers == 0


def test_an_explicit_number_of_workers_wins_but_for_shared_memory() -> None:
    assert loader_settings(device="cpu", cores=2, shared_memory_bytes=PLENTY, batch_bytes=MB, workers=3).workers == 3
    assert loader_settings(device="cpu", cores=2, shared_memory_bytes=0, batch_bytes=MB, workers=3).workers == 0


def test_precision_follows_the_hardware_unless_asked() -> None:
    assert choose_precision("auto", is_faster_in_bf16=True) == "bf16"
    assert choose_precision("auto", is_faster_in_bf16=False) == "fp32"
    assert choose_precision("fp32", is_faster_in_bf16=True) == "fp32"
    assert choose_precision("bf16", is_faster_in_bf16=False) == "bf16"


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="device='mps': this machine has no such device; it has cpu"):
        compute_for("mps", "auto")
