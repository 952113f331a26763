"""Which processors are faster in bf16 than in fp32, by what they say about themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from breedclf.runtime import bf16
from breedclf.runtime.bf16 import Processor, described_by, this_processor
from breedclf.runtime.device import compute_for

INTEL, AMD = "GenuineIntel", "AuthenticAMD"


@pytest.mark.parametrize(
    ("vendor", "flags", "has_bf16", "is_faster"),
    [
        pytest.param(
            INTEL, "avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8", True, True, id="sapphire-rapids"
        ),
        pytest.param(INTEL, "avx512f avx512_bf16 avx512_fp16", True, False, id="sapphire-rapids-without-amx"),
        pytest.param(INTEL, "avx512f avx512_bf16", True, True, id="cooper-lake"),
        pytest.param(INTEL, "avx512f avx512_vnni", False, False, id="ice-lake"),
        pytest.param(INTEL, "avx2 avx_vnni", False, False, id="client"),
        pytest.param(AMD, "avx512f avx512_bf16", True, True, id="zen4"),
        pytest.param(AMD, "avx512f avx512_bf16 avx512_fp16", True, True, id="amd-with-fp16"),
        pytest.param(AMD, "avx2", False, False, id="zen3"),
        pytest.param("", "", False, False, id="unknown"),
    ],
)
def test_processors(vendor: str, flags: str, has_bf16: bool, is_faster: bool) -> None:
    processor = described_by(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n")
    assert (processor.has_bf16, processor.is_faster_in_bf16) == (has_bf16, is_faster)


def test_tiles_without_bf16_products_are_no_bf16() -> None:
    assert not described_by("vendor_id : GenuineIntel\nflags : amx_tile amx_int8").has_bf16


def test_a_list_for_another_architecture_describes_nothing() -> None:
    assert described_by("processor : 0\nFeatures : fp asimd bf16\nCPU part : 0xd40\n") == Processor()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_auto_follows_the_processor(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"fp32": "avx512_fp16", "bf16": "avx512_fp16 amx_tile amx_bf16"}[precision]
    listed = tmp_path / "cpuinfo"
    listed.write_text(f"vendor_id : GenuineIntel\nflags : avx512_bf16 {flags}\n", encoding="utf-8")
    monkeypatch.setattr(bf16, "_CPUINFO", listed)
    for name in ("avx512_bf16", "amx_tile"):
        has = name in listed.read_text(encoding="utf-8")
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda has=has: has, raising=False)
    this_processor.cache_clear()
    try:
        assert {compute_for("cpu", "auto").precision for _ in range(3)} == {precision}
        assert compute_for("cpu", "bf16").precision == "bf16"
    finally:
        this_processor.cache_clear()


def test_a_system_without_the_list_leaves_it_to_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bf16, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    this_processor.cache_clear()
    try:
        assert this_processor().vendor == ""
        assert this_processor().is_faster_in_bf16
    finally:
        this_processor.cache_clear()
