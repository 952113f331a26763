"""OpenVINO for networks other than ResNets: it trains, serves and rounds them to int8, or says that it can't."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from breedclf import Classifier
from breedclf.errors import ConfigError
from breedclf.jobs.endpoints import EngineChoice
from breedclf.models.backbones.backbone import find_backbone
from breedclf.serving.core import Limits
from breedclf.serving.parity import sample_images
from breedclf.testing.images import write_image_set
from tests.families.conftest import Train

if importlib.util.find_spec("openvino") is None or importlib.util.find_spec("nncf") is None:
    pytest.skip("the extra openvino isn't installed", allow_module_level=True)

from breedclf.features.openvino import compiled
from breedclf.features.openvino_maker import as_openvino
from breedclf.serving.engines.openvino import OpenVinoEngine

SMALL_ONES = {
    "vit": partial(
        VisionTransformer,
        image_size=32,
        patch_size=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
        num_classes=5,
    ),
    "swin": partial(
        SwinTransformer, patch_size=[4, 4], embed_dim=8, depths=[2], num_heads=[2], window_size=[2, 2], num_classes=5
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL_ONES)
def test_networks_with_attention_are_converted_for_any_number_of_images(name: str) -> None:
    network = SMALL_ONES[name]().eval()
    if isinstance(network, VisionTransformer):
        nn.init.normal_(network.heads.head.weight)  # torchvision's is zero
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        expected = network(images)
    run = compiled(as_openvino(network, images[:1], name), "fp32")
    for count in (1, 3):
        np.testing.assert_allclose(run(images[:count].numpy())[0], expected[:count], atol=1e-4)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_network_that_can_t_be_converted_is_refused_by_name() -> None:
    class Eigen(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvalsh(images[:, 0])

    with pytest.raises(ConfigError, match=r"can't run architecture=timm:eigen: OpenVINO doesn't convert it \(.*torch$"):
        as_openvino(Eigen(), torch.rand(1, 3, 8, 8), "timm:eigen")


FAMILIES = [
    "timm:test_vit",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("timm:test_convnext", "vit_b_32")),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_engine_answers_as_the_classifier(train: Train, images: Path, name: str) -> None:
    model = train(name).artifact
    engine = OpenVinoEngine(model, EngineChoice("openvino", "fp32"), Limits())
    paths = sorted((images / "test").rglob("*.jpg"))
    rows = Classifier(model, device="cpu", precision="fp32").probabilities(paths)
    predictions = engine.predictions([engine.decode(path.read_bytes()) for path in paths])
    for prediction, row in zip(predictions, rows, strict=True):
        got = {each.label: each.probability for each in prediction.ranked}
        assert got == pytest.approx(dict(zip(engine.card.labels, row.tolist(), strict=True)), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm:test_convnext", "timm:test_efficientnet", "timm:test_vit"])
def test_training_with_it_gives_torchs_head_but_for_rounding(train: Train, tmp_path: Path, name: str) -> None:
    by_torch, by_openvino = (
        load_file(train(name, engine=engine, precision="fp32", output=tmp_path / engine).artifact / "model.safetensors")
        for engine in ("torch", "openvino")
    )
    head = f"{find_backbone(name).head}.weight"
    torch.testing.assert_close(by_openvino[head], by_torch[head], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm:test_convnext", "timm:test_efficientnet", "timm:test_vit"])
def test_int8_serves_what_was_measured(train: Train, tmp_path: Path, name: str) -> None:
    data = write_image_set(tmp_path / "data", classes=2, train=1, valid=8, test=0)
    model = train(name).artifact
    engine = OpenVinoEngine(model, EngineChoice("openvino", "int8", data, max_accuracy_drop=0.5), Limits())
    reference = engine.reference()
    got = engine.predictions([engine.decode(image) for _, image in sample_images()])
    for prediction, expected in zip(got, reference.predictions, strict=True):
        assert prediction.best.label == expected.best.label
        assert prediction.best.probability == pytest.approx(expected.best.probability, abs=reference.tolerance)
