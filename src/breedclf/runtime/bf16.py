"""Where bf16 is faster than fp32, and where the hardware computes in it at all.

The decision follows from the processor alone, so that all processes and all runs on a machine make the same one:
results and the keys of stored features depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """What a CPU says about itself.

    Args:
        vendor: such as GenuineIntel or AuthenticAMD; empty where the system doesn't say.
        avx512_bf16: multiplies vectors of bf16.
        avx512_fp16: multiplies vectors of fp16.
        amx: multiplies matrices of bf16.
    """

    vendor: str = ""
    avx512_bf16: bool = False
    avx512_fp16: bool = False
    amx: bool = False

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bf16; emulated bf16 is several times slower than fp32."""
        return self.avx512_bf16 or self.amx

    @property
    def is_faster_in_bf16(self) -> bool:
        """Whether networks run faster in bf16 than in fp32.

        With AMX they do, and on AMD's processors, which multiply vectors of bf16 at twice the rate of fp32. Intel's
        processors with AMX and FP16 leave bf16 to AMX: where a hypervisor hides that, their vectors of bf16 take longer
        than those of fp32 (docs/explanation/performance.md has measurements).
        """
        hides_amx = self.vendor == "GenuineIntel" and self.avx512_fp16 and not self.amx
        return self.has_bf16 and not hides_amx


@cache
def this_processor() -> Processor:
    """The CPU of this machine, from torch and from Linux's list of its flags."""
    described = described_by(_cpuinfo())
    return Processor(described.vendor, torch_has("avx512_bf16"), described.avx512_fp16, torch_has("amx_tile"))


def described_by(cpuinfo: str) -> Processor:
    """The first processor of a `/proc/cpuinfo`.

    Example:
        >>> described_by("vendor_id : GenuineIntel\\nflags : fpu avx512_bf16 avx512_fp16")
        Processor(vendor='GenuineIntel', avx512_bf16=True, avx512_fp16=True, amx=False)
    """
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    flags = set(found.get("flags", "").split())
    return Processor(
        found.get("vendor_id", ""), "avx512_bf16" in flags, "avx512_fp16" in flags, {"amx_tile", "amx_bf16"} <= flags
    )


def _cpuinfo() -> str:
    try:
        return _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def torch_has(instructions: str) -> bool:
    """Whether torch uses these instructions; older versions can't tell of all."""
    probe = getattr(torch.cpu, f"_is_{instructions}_supported", None)
    return bool(probe is not None and probe())
