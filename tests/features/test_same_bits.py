"""A feature depends on the image and on what its key says: not on other images, chunks, threads or workers."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from breedclf.config import Freeze
from breedclf.data.image_source import EncodedImages
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.openvino import OpenVinoBackbone
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.tail import trunk
from breedclf.runtime import rounding
from breedclf.runtime.cpu_threads import on_threads
from breedclf.runtime.device import Compute, compute_for
from breedclf.runtime.rounding import depends_on_batch
from tests.image_folders import write_noise

COUNT = 11
PREPROCESSING = Preprocessing(resize_px=32, crop_px=32)
ENGINES = {
    "fp32": compute_for("cpu", "fp32"),
    "fp32 contiguous": compute_for("cpu", "fp32", channels_last=False),
    "bf16": compute_for("cpu", "bf16"),
}


def weights() -> StateDict:
    state = find_backbone("resnet18").new_network(seed=0).state_dict()
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageFiles:
    root = write_noise(tmp_path_factory.mktemp("images"), train=COUNT, valid=0, size_px=40)
    return ImageFiles(sorted((root / "train" / "corgi").iterdir()))


def extractor(backbone: nn.Module, compute: Compute, chunk_size: int = 8, **settings: object) -> FeatureExtractor:
    return FeatureExtractor(
        lambda: backbone, PREPROCESSING, compute, "weights", chunk_size=chunk_size, workers=0, **settings
    )  # type: ignore[arg-type]


def features(
    backbone: nn.Module, compute: Compute, images: ImageFiles, order: Sequence[int], chunk_size: int
) -> torch.Tensor:
    chunks = extractor(backbone, compute, chunk_size).computed(EncodedImages(images), order, view=1, title="")
    return torch.cat([values for _, values in chunks])


def check_same_bits(backbone: nn.Module, compute: Compute, images: ImageFiles) -> None:
    order = list(range(COUNT))
    once = features(backbone, compute, images, order, 8)
    for other, chunk_size in ((order[::-1], 8), ([7], 8), ([9, 2, 4], 32), (order, 16), (order, 3)):
        assert torch.equal(features(backbone, compute, images, other, chunk_size), once[other])
    with on_threads(1):
        assert torch.equal(features(backbone, compute, images, order, 8), once)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not measured on this processor")
@pytest.mark.parametrize(("engine", "freeze"), [("fp32", "head"), ("bf16", "head"), ("fp32 contiguous", "layer4")])
def test_other_images_chunks_and_threads_change_no_bit(images: ImageFiles, engine: str, freeze: Freeze) -> None:
    compute = ENGINES[engine]
    if depends_on_batch(compute):
        pytest.skip("here the key has the chunk size")
    check_same_bits(trunk(find_backbone("resnet18"), weights(), freeze, compute), compute, images)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="the extra openvino isn't installed")
def test_other_images_and_chunks_change_no_bit_in_openvino(images: ImageFiles) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.features import test_same_bits\n"
        "test_same_bits.check_openvino(Path(sys.argv[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(images.paths[0].parent)], check=True, timeout=300)


def check_openvino(folder: Path) -> None:
    """In a process of its own, since OpenVINO's threads stay."""
    from breedclf.features.openvino_maker import converted

    model = converted("resnet18", weights(), PREPROCESSING.crop_px)
    for precision in ("fp32", "bf16"):
        check_same_bits(OpenVinoBackbone(model, precision), ENGINES["fp32"], ImageFiles(sorted(folder.iterdir())))


class Shapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        return images.mean((2, 3))


def test_the_last_chunk_is_filled_up(images: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "torch_has", lambda instructions: instructions != "amx_tile")
    exact, filled = Shapes(), Shapes()
    values = features(exact, ENGINES["fp32"], images, [3, 1, 2, 0, 5], 32)
    assert exact.seen == [8]
    compiled = replace(ENGINES["fp32"], compiled=True)
    assert torch.equal(features(filled, compiled, images, [3, 1, 2, 0, 5], 32), values)
    assert filled.seen == [32]
    small = Shapes()
    features(small, ENGINES["fp32"], images, range(COUNT), 3)
    assert small.seen == [3] * 4


def test_what_keys_say_about_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(compute: Compute) -> int:
        return len({extractor(nn.Identity(), compute, size).spec(0).key for size in (8, 16)})

    compiled = replace(ENGINES["fp32"], compiled=True)
    monkeypatch.setattr(rounding.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(rounding, "torch_has", lambda instructions: instructions == "avx512_bf16")
    assert [keys(each) for each in (ENGINES["fp32"], ENGINES["bf16"], compiled)] == [1, 1, 2]
    monkeypatch.setattr(rounding, "torch_has", lambda _: False)
    assert [keys(each) for each in (ENGINES["fp32"], ENGINES["bf16"])] == [1, 2]
    monkeypatch.setattr(rounding, "torch_has", lambda instructions: instructions == "amx_tile")
    assert keys(ENGINES["fp32"]) == 2
    monkeypatch.setattr(rounding, "torch_has", lambda _: False)
    monkeypatch.setattr(rounding.platform, "machine", lambda: "aarch64")
    assert keys(ENGINES["fp32"]) == 2


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"])
def test_keys_have_the_limits_of_libraries(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    before = extractor(nn.Identity(), ENGINES["fp32"]).spec(0)
    monkeypatch.setenv(variable, "AVX2")
    assert extractor(nn.Identity(), ENGINES["fp32"]).spec(0).key != before.key


def test_keys_have_the_settings_of_the_program() -> None:
    before = extractor(nn.Identity(), ENGINES["fp32"]).spec(0).key
    flags = torch.backends.mkldnn.set_flags(_enabled=False)
    try:
        assert extractor(nn.Identity(), ENGINES["fp32"]).spec(0).key != before
    finally:
        torch.backends.mkldnn.set_flags(_enabled=flags[0])
    assert extractor(nn.Identity(), ENGINES["fp32"]).spec(0).key == before
