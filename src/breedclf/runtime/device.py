"""Choices that depend on the machine, as pure functions of what it has, and the few lines that ask it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from breedclf.config import Device, TrainingConfig, TrainingPrecision
from breedclf.errors import ConfigError
from breedclf.runtime.forking import check_trainable, check_usable, in_use

log = logging.getLogger(__name__)

_MAX_WORKERS = 16
_PREFETCH = 2
_SHARED_MEMORY_SHARE = 0.5
_UNLIMITED = 1 << 62


@dataclass(frozen=True)
class LoaderSettings:
    """Arguments of a torch DataLoader, or threads in its place."""

    workers: int
    pin_memory: bool
    prefetch: int | None
    threads: int = 0


@dataclass(frozen=True)
class Compute:
    """Where and how numbers are computed; part of what a run records about itself."""

    device: torch.device
    precision: str
    channels_last: bool = True
    compiled: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def loader_settings(
    *,
    device: str,
    cores: int,
    shared_memory_bytes: int,
    batch_bytes: int,
    workers: int | None = None,
    pin_memory: bool = True,
    may_start_processes: bool = True,
) -> LoaderSettings:
    """Decide how pictures are loaded.

    On a GPU one worker a core decodes ahead (one core is left to the training process), batches are pinned and
    copied without blocking, unless `pin_memory` says otherwise; elsewhere pinning does nothing and isn't done. On a
    CPU the model uses every core: there is one worker for every four, and below four cores threads decode the next
    chunk beside the model, which costs nothing to start. They do so as well where processes may not be started
    unasked. Asked for no workers, the loop itself decodes. Shared memory bounds all workers: the batches on their way
    must fit in half of it, since too small a `/dev/shm` ends a run with a bus error.
    """
    on_gpu = device == "cuda"
    unasked = (max(1, cores - 1) if on_gpu else cores // 4) if may_start_processes else 0
    wanted = unasked if workers is None else workers
    fitting = int(shared_memory_bytes * _SHARED_MEMORY_SHARE // (max(1, batch_bytes) * _PREFETCH))
    count = min(wanted, _MAX_WORKERS if workers is None else wanted, fitting)
    pinned = on_gpu and pin_memory
    threads = min(cores, _MAX_WORKERS) if workers is None and not wanted else 0
    prefetch = _PREFETCH if count else None
    return LoaderSettings(count, pin_memory=pinned, prefetch=prefetch, threads=threads)


def choose_precision(requested: TrainingPrecision, *, has_bf16: bool) -> str:
    """bf16 where the hardware computes in it and nobody asked otherwise."""
    return ("bf16" if has_bf16 else "fp32") if requested == "auto" else requested


def compute_of(config: TrainingConfig) -> Compute:
    """Where and how a training computes; OpenVINO does so on the CPU alone.

    Raises:
        ConfigError: the device asked for isn't there, or can't decode pictures.
        ForkError: this process was forked from one that used what doesn't work in a fork.
    """
    check_trainable()
    device: Device = "cpu" if config.engine == "openvino" else "cuda" if config.device_decoding else config.device
    return compute_for(device, config.precision, channels_last=config.channels_last, compiled=config.compile_network)


def compute_for(
    device: Device, precision: TrainingPrecision, *, channels_last: bool = True, compiled: bool = False
) -> Compute:
    """Resolve `auto` for this machine.

    Raises:
        ConfigError: the device asked for isn't there.
        ForkError: the process that this one was forked from has used a GPU.
    """
    there = {"cpu": True} if device == "cpu" else _devices()
    name = next(name for name in ("cuda", "mps", "cpu") if there[name]) if device == "auto" else device
    if not there[name]:
        have = ", ".join(name for name, present in there.items() if present)
        raise ConfigError(f"device={name!r}: this machine has no such device; it has {have}")
    has_bf16 = _has_bf16(name)
    if precision == "bf16" and not has_bf16:
        log.warning("precision=bf16: this %s has no bf16 arithmetic, so that it will be slower than fp32", name)
    return Compute(torch.device(name), choose_precision(precision, has_bf16=has_bf16), channels_last, compiled)


def available_cores() -> int:
    """Cores this process may use, which a container can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_memory_bytes() -> int:
    """Free space for batches that workers hand over; without a `/dev/shm` nothing bounds it."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return _UNLIMITED


@contextmanager
def repeatable(deterministic: bool, *, threads: int | None = None) -> Iterator[None]:
    """Within it torch uses only operations that repeat bit for bit; the caller's settings come back after.

    Sums depend on how many threads share them: with `threads`, it is so many as the run that is repeated had.
    """
    if not deterministic:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        with on_threads(threads):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Within it torch computes on so many threads of the CPU; on as many as before for None."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _devices() -> dict[str, bool]:
    """Which there are. Looking for a GPU is enough to keep forked processes from it, so it isn't done for a CPU."""
    for gpu in ("cuda", "mps"):
        check_usable(gpu)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for gpu in ("cuda", "mps"):
        if there[gpu]:
            in_use(gpu)
    return there


def _has_bf16(device: str) -> bool:
    """Whether the hardware multiplies bf16 itself; emulated bf16 is several times slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(probe() for name in probes if (probe := getattr(torch.cpu, name, None)))
    return False
