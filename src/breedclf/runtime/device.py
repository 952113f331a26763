"""Choices that depend on the machine: device, precision, data loading. Pure functions decide, a few lines query."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass

import torch

from breedclf.config import Device, TrainingConfig, TrainingPrecision
from breedclf.errors import ConfigError
from breedclf.runtime.bf16 import this_processor
from breedclf.runtime.forking import check_trainable, check_usable, mark_in_use

log: logging.Logger = logging.getLogger(__name__)

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
    """The device and arithmetic of a run; a run records it."""

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
    """Choose how images are loaded.

    For a GPU there is one worker per core, except one core that is left to the main process; batches are pinned and
    copied without blocking unless `pin_memory` is False. For other devices pinning has no effect and is skipped. For a
    CPU, whose cores the model needs, there is one worker for every four cores; with fewer cores, threads decode the
    next chunk while the model runs, which takes no time to start. Threads are also used where processes may not be
    started by default. With `workers=0` the main loop decodes. The number of workers is limited so that their batches
    fit into half of the shared memory: a full `/dev/shm` kills a run with a bus error.

    Args:
        device: cpu, cuda or mps.
        cores: number of usable cores.
        shared_memory_bytes: free shared memory.
        batch_bytes: size of one batch.
        workers: the number of workers if the user chose one.
        pin_memory: whether batches for a GPU may be pinned.
        may_start_processes: whether workers may be started by default.
    """
    on_gpu = device == "cuda"
    default = (max(1, cores - 1) if on_gpu else cores // 4) if may_start_processes else 0
    requested = default if workers is None else workers
    fitting = int(shared_memory_bytes * _SHARED_MEMORY_SHARE // (max(1, batch_bytes) * _PREFETCH))
    count = min(requested, _MAX_WORKERS if workers is None else requested, fitting)
    pinned = on_gpu and pin_memory
    threads = min(cores, _MAX_WORKERS) if workers is None and not requested else 0
    prefetch = _PREFETCH if count else None
    return LoaderSettings(count, pin_memory=pinned, prefetch=prefetch, threads=threads)


def choose_precision(requested: str, *, is_faster_in_bf16: bool) -> str:
    """The requested precision; for `auto` bf16 if the hardware is faster in it, else fp32."""
    return ("bf16" if is_faster_in_bf16 else "fp32") if requested == "auto" else requested


def compute_of(config: TrainingConfig) -> Compute:
    """The device and arithmetic of a training run; OpenVINO always runs on the CPU.

    Raises:
        ConfigError: this machine doesn't have the requested device, or the device can't decode images.
        ForkError: this process was forked from one that used a GPU, or can't compute gradients.
    """
    check_trainable()
    device: Device = "cpu" if config.engine == "openvino" else "cuda" if config.device_decoding else config.device
    return compute_for(device, config.precision, channels_last=config.channels_last, compiled=config.compile_network)


def compute_for(
    device: Device, precision: TrainingPrecision, *, channels_last: bool = True, compiled: bool = False
) -> Compute:
    """Resolve `auto` for this machine.

    Raises:
        ConfigError: this machine doesn't have the requested device.
        ForkError: this process was forked from one that used a GPU.
    """
    available = {"cpu": True} if device == "cpu" else _devices()
    name = next(name for name in ("cuda", "mps", "cpu") if available[name]) if device == "auto" else device
    if not available[name]:
        have = ", ".join(name for name, present in available.items() if present)
        raise ConfigError(f"device={name!r}: this machine has no such device; it has {have}")
    has_bf16, is_faster_in_bf16 = _bf16_on(name)
    if precision == "bf16" and not has_bf16:
        log.warning("precision=bf16: this %s has no bf16 arithmetic, so it will be slower than fp32", name)
    chosen = choose_precision(precision, is_faster_in_bf16=is_faster_in_bf16)
    return Compute(torch.device(name), chosen, channels_last, compiled)


def shared_memory_bytes() -> int:
    """Free shared memory, through which workers pass batches; unlimited without a `/dev/shm`."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return _UNLIMITED


def _devices() -> dict[str, bool]:
    """The devices of this machine. Merely querying a GPU makes it unusable in forked processes."""
    for gpu in ("cuda", "mps"):
        check_usable(gpu)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for gpu in ("cuda", "mps"):
        if available[gpu]:
            mark_in_use(gpu)
    return available


def _bf16_on(device: str) -> tuple[bool, bool]:
    """Whether a device computes in bf16, and whether it is faster in bf16 than in fp32."""
    if device == "cpu":
        processor = this_processor()
        return processor.has_bf16, processor.is_faster_in_bf16
    has_bf16 = device == "cuda" and bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return has_bf16, has_bf16
