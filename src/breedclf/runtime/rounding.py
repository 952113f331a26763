"""What decides the last digits of a network's results on this machine, besides its code and its weights."""

from __future__ import annotations

import os
import platform

import torch

from breedclf.runtime.bf16 import torch_has
from breedclf.runtime.device import Compute

_INSTRUCTIONS = ("vnni", "avx512_bf16", "amx_tile", "amx_fp16")
_LIMITS = ("MAX_CPU_ISA", "DEFAULT_FPMATH_MODE")
_MEASURED = ("x86_64", "amd64")


def rounding_of(device: torch.device) -> str:
    """The hardware, and the settings of the program and of its environment, by which libraries choose their kernels.

    On a CPU these are the instructions that torch and oneDNN use, on a GPU its model, cuDNN's version and TF32.

    Example:
        >>> rounding_of(torch.device("cpu")).startswith("cpu-")
        True
    """
    if device.type == "cuda":
        return "-".join(["cuda", *_cuda(device)])
    if device.type == "cpu":
        return "-".join(["cpu", *_cpu()])
    return f"{device.type}-{platform.machine()}-{platform.mac_ver()[0]}"


def depends_on_batch(compute: Compute) -> bool:
    """Whether results may depend on the number of images in a forward pass.

    On x86 CPUs without AMX they don't, as was measured for torch and OpenVINO (see docs/explanation/features.md). On
    other hardware, and for compiled networks, they are taken to depend on it.
    """
    if compute.device.type != "cpu" or compute.compiled or platform.machine().lower() not in _MEASURED:
        return True
    return torch_has("amx_tile") or (compute.precision == "bf16" and not torch_has("avx512_bf16"))


def _cpu() -> list[str]:
    mkldnn = torch.backends.mkldnn
    limits = [
        f"{name.lower()}={value.lower()}"
        for name in (f"{library}_{limit}" for limit in _LIMITS for library in ("ONEDNN", "DNNL"))
        if (value := os.environ.get(name))
    ]
    return [
        platform.machine().lower(),
        torch.backends.cpu.get_cpu_capability().lower(),
        *filter(torch_has, _INSTRUCTIONS),
        *limits,
        *([] if getattr(mkldnn, "enabled", True) else ["no-onednn"]),
        _precision_of(mkldnn),
    ]


def _cuda(device: torch.device) -> list[str]:
    cudnn = torch.backends.cudnn
    return [
        torch.cuda.get_device_name(device).replace(" ", "_"),
        "{}.{}".format(*torch.cuda.get_device_capability(device)),
        f"cudnn={cudnn.version() if cudnn.enabled else None}",  # type: ignore[no-untyped-call]
        f"benchmark={cudnn.benchmark}",
        f"deterministic={cudnn.deterministic or torch.are_deterministic_algorithms_enabled()}",
        _precision_of(cudnn),
    ]


def _precision_of(library: object) -> str:
    """How convolutions multiply float32: exactly, or with fewer bits."""
    convolutions = getattr(library, "conv", None)  # since torch 2.9; the older setting can't be read beside it
    if convolutions is not None:
        return f"fp32={convolutions.fp32_precision}"
    return f"tf32={getattr(library, 'allow_tf32', False)}"
