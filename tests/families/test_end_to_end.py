"""Each family of networks from training to a prediction over HTTP: the same answers at every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from breedclf import Classifier, FitResult, evaluate, export
from breedclf.exporting.comparison import TOLERANCE
from breedclf.exporting.formats import FORMATS
from breedclf.exporting.samples import samples_from
from breedclf.models.backbones.backbone import find_backbone
from breedclf.serving.parity import check_parity
from tests.families.conftest import Train
from tests.serving.conftest import post, running

SMALL = (
    "resnet18",
    "regnet_y_400mf",
    "efficientnet_b0",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "mnasnet0_5",
    "timm:tf_efficientnet_lite0",
    "timm:vit_tiny_patch16_224",
    "timm:convnextv2_atto",
)
LARGER = ("convnext_tiny", "swin_t", "vit_b_32", "densenet121", "efficientnet_v2_s", "resnext50_32x4d", "alexnet")
FAMILIES = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_answers_alike_at_every_step(train: Train, images: Path, tmp_path: Path, name: str) -> None:
    result = train(name)
    paths = sorted((images / "test").rglob("*.jpg"))
    classifier = Classifier(result.artifact, device="cpu", precision="fp32")
    expected = classifier.probabilities(paths)
    assert float(expected[:, 0].max() - expected[:, 0].min()) > 3e-4, "images that look alike would prove nothing"
    module_agrees(classifier, paths, expected)
    evaluation_agrees(result, images, expected, tmp_path)
    export_agrees(result, paths, expected, tmp_path / "model.pt2")
    server_agrees(result, paths)


def module_agrees(classifier: Classifier, paths: Sequence[Path], expected: torch.Tensor) -> None:
    backbone = find_backbone(classifier.card.architecture)
    network = classifier.torch_module()
    scores = network(classifier.inputs(paths))
    assert torch.allclose(scores.softmax(1), expected, atol=1e-4)
    scores.sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in network.parameters() if weight.grad is not None)
    features = classifier.features(paths)
    assert features.shape == (len(paths), backbone.features)
    by_head = network.get_submodule(backbone.head)(features).softmax(1)
    assert torch.allclose(by_head, expected, atol=1e-4)
    assert [each.best.label for each in classifier.predict(paths)] == [
        classifier.card.labels[index] for index in expected.argmax(1)
    ]


def evaluation_agrees(result: FitResult, images: Path, expected: torch.Tensor, folder: Path) -> None:
    evaluation = evaluate(result.artifact, images, device="cpu", precision="fp32", output=folder / "evaluation")
    assert evaluation.count == len(expected)
    loss = -expected.log()[torch.arange(len(expected)), torch.arange(len(expected))].mean()
    assert evaluation.loss == pytest.approx(float(loss), abs=1e-3)


def export_agrees(result: FitResult, paths: Sequence[Path], expected: torch.Tensor, file: Path) -> None:
    done = export(result.artifact, file, format="torch", data=paths)
    assert done.comparison.same_top1 == done.comparison.answers == len(paths) + 1
    inputs = samples_from(paths, result.classifier.card.preprocessing).images
    assert torch.allclose(
        torch.from_numpy(FORMATS["torch"].run(file, inputs).probabilities)[:-1], expected, atol=TOLERANCE
    )


def server_agrees(result: FitResult, paths: Sequence[Path]) -> None:
    with running(result.artifact) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        check_parity(url, result.artifact, reference=pipeline.engine.reference())
        answer = post(f"{url}/invocations", paths[0].read_bytes()).json()["predictions"]
    best = Classifier(result.artifact, device="cpu").predict(paths[0]).best
    assert answer[0]["label"] == best.label
    assert answer[0]["probability"] == pytest.approx(best.probability, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *LARGER])
def test_onnx_answers_alike_for_any_number_of_images(train: Train, images: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnxruntime")
    done = export(train(name).artifact, tmp_path / "model.onnx", data=images / "test")
    assert done.comparison.same_top1 == done.comparison.answers == 3, "both together, and the first alone"
