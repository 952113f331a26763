"""The machine: hardware, versions, and the rates that bound everything else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.timing import float32, mean_seconds
from benchmarks.measuring import machine

_ASKED = "name,driver_version,memory.total,power.limit,clocks.max.sm,pcie.link.gen.current,pcie.link.width.current"
_PACKAGES = ("breedclf", "torch", "torchvision", "triton", "numpy", "pillow")


def run(setup: Setup, notes: Notes) -> None:
    notes.measure("machine", machine)
    if setup.on_gpu and not torch.cuda.is_available():
        return
    notes.measure("versions", versions)
    notes.measure("shared memory bytes", lambda: shutil.disk_usage("/dev/shm").free)
    notes.measure("nvidia-smi", nvidia_smi, needs_cuda=True)
    notes.measure("properties", properties, needs_cuda=True)
    notes.measure("float32 by default", defaults)
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    for name, dtype in types.items():
        with float32("ieee"):
            notes.measure(f"TFLOP/s of matrices, {name}", lambda dtype=dtype: product_rate(setup, dtype))
    with float32("tf32"):
        notes.measure("TFLOP/s of matrices, TF32", lambda: product_rate(setup, torch.float32), needs_cuda=True)
    notes.measure("TOP/s of matrices, int8 (torch._int_mm)", lambda: int8_rate(setup))
    notes.measure("TFLOP/s of matrices, fp8 (torch._scaled_mm)", lambda: fp8_rate(setup), needs_cuda=True)
    notes.measure("GB/s of copies in device memory", lambda: copy_rate(setup))
    notes.measure("GB/s to the device, pinned", lambda: upload_rate(setup, pinned=True), needs_cuda=True)
    notes.measure("GB/s to the device, not pinned", lambda: upload_rate(setup, pinned=False), needs_cuda=True)


def versions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    nccl = torch.cuda.nccl.version() if torch.cuda.is_available() else None
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return found | {"cuda": torch.version.cuda, "cudnn": cudnn, "nccl": nccl, "cc": shutil.which("cc")}


def nvidia_smi() -> dict[str, str] | str:
    if shutil.which("nvidia-smi") is None:
        return "not installed"
    command = ["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return dict(zip(_ASKED.split(","), done.stdout.splitlines()[0].split(", "), strict=False))


def properties() -> dict[str, Any]:
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "memory_bytes": found.total_memory,
        "free_bytes": torch.cuda.mem_get_info()[0],
        "multiprocessors": found.multi_processor_count,
        "is_bf16_supported": torch.cuda.is_bf16_supported(including_emulation=False),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def defaults() -> dict[str, str]:
    return {
        "matrices": torch.backends.cuda.matmul.fp32_precision,
        "convolutions": torch.backends.cudnn.conv.fp32_precision,
    }


def product_rate(setup: Setup, dtype: torch.dtype) -> float:
    size, device = setup.sizes.matrix, setup.torch_device
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return _tera(setup, lambda: left @ right)


def int8_rate(setup: Setup) -> float:
    size, device = setup.sizes.matrix, setup.torch_device
    left, right = (torch.randint(-99, 99, (size, size), dtype=torch.int8, device=device) for _ in range(2))
    return _tera(setup, lambda: torch._int_mm(left, right.t()))


def fp8_rate(setup: Setup) -> float:
    size, device = setup.sizes.matrix, setup.torch_device
    left, right = (torch.randn(size, size, device=device).to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device=device)
    return _tera(setup, lambda: torch._scaled_mm(left, right.t(), one, one, out_dtype=torch.bfloat16))


def _tera(setup: Setup, work: Callable[[], object]) -> float:
    """Tera operations per second of a product of square matrices; an addition and a multiplication are two."""
    return 2 * setup.sizes.matrix**3 / mean_seconds(work, setup.torch_device, seconds=setup.sizes.seconds) / 1e12


def copy_rate(setup: Setup) -> float:
    """Bytes read and written."""
    source = torch.zeros(setup.sizes.copied_bytes, dtype=torch.uint8, device=setup.torch_device)
    target = torch.empty_like(source)
    seconds = mean_seconds(lambda: target.copy_(source), setup.torch_device, seconds=setup.sizes.seconds)
    return 2 * len(source) / seconds / 1e9


def upload_rate(setup: Setup, *, pinned: bool) -> float:
    source = torch.zeros(setup.sizes.copied_bytes // 4, dtype=torch.uint8, pin_memory=pinned)
    target = torch.empty(len(source), dtype=torch.uint8, device=setup.torch_device)
    work = lambda: target.copy_(source, non_blocking=pinned)  # noqa: E731
    return len(source) / mean_seconds(work, setup.torch_device, seconds=setup.sizes.seconds) / 1e9
