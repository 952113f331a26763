"""Exports of networks with attention run for any number of images; what can't be exported is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ExportError
from breedclf.exporting.comparison import TOLERANCE
from breedclf.exporting.export import _write
from breedclf.exporting.formats import FORMATS, metadata
from breedclf.exporting.network import ExportedNetwork, traced
from breedclf.inference.model_directory import ModelCard
from tests.families.networks import SIDE_PX, with_attention

CARD = ModelCard(
    architecture="timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    labels=tuple("abcde"),
    class_names=tuple("abcde"),
    preprocessing=Preprocessing(crop_px=SIDE_PX),
    weights_sha256="0" * 64,
)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["vit", "swin"])
def test_any_number_of_images_runs(tmp_path: Path, name: str, form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    whole = ExportedNetwork(with_attention(name), CARD.preprocessing)
    images = torch.randint(0, 256, (5, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8)
    with torch.inference_mode():
        expected = whole(images)
    assert float(expected.std(0).max()) > 100 * TOLERANCE
    FORMATS[form].write(traced(whole, SIDE_PX, name), CARD, tmp_path / "model")
    got = FORMATS[form].run(tmp_path / "model", images.numpy()).probabilities
    np.testing.assert_allclose(got, torch.cat([expected, expected[:1]]), atol=TOLERANCE)


def test_the_metadata_have_timms_whole_name() -> None:
    assert metadata(CARD)["architecture"] == CARD.architecture


class Counts(nn.Module):
    """Its operations depend on the number of images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :5] if len(images) % 2 else images.flatten(1)[:, 5:10]


class Eigen(nn.Module):
    """Computes what ONNX has no operation for."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(images[:, 0])


def test_a_network_that_can_t_be_traced_is_refused_by_name() -> None:
    with pytest.raises(ExportError, match=r"timm:counts can't be exported: torch.export can't trace it for any number"):
        traced(ExportedNetwork(Counts(), CARD.preprocessing), SIDE_PX, "timm:counts")


def test_a_format_without_an_operation_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    program = traced(ExportedNetwork(Eigen(), CARD.preprocessing), SIDE_PX, "timm:eigen")
    with pytest.raises(ExportError, match=r"timm:vit_tiny.* can't be exported as onnx: .*nothing was written"):
        _write(FORMATS["onnx"], program, CARD, tmp_path / "model.onnx")
