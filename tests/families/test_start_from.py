"""`start_from` with networks other than ResNets: rows move by class name, and the model determines the network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from breedclf import Trainer, TrainingConfig
from breedclf.errors import ConfigError
from breedclf.models.backbones.backbone import find_backbone
from tests.families.conftest import Train


@pytest.fixture(scope="module")
def more_images(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classes in another order, and a new one."""
    root = tmp_path_factory.mktemp("more") / "images"
    for split in ("train", "valid"):
        stripes, checkers = sorted((images / split).iterdir())
        for number, (name, origin) in enumerate([("New", stripes), ("Checkers", checkers), ("Stripes", stripes)]):
            shutil.copytree(origin, root / split / f"{number}.{name}")
    return root


@pytest.mark.parametrize(
    ("name", "freeze"),
    [("timm:test_vit", "head"), ("timm:test_convnext", "stage4"), ("timm:test_efficientnet", "last_stage")],
)
def test_rows_are_kept_by_class_name(train: Train, more_images: Path, tmp_path: Path, name: str, freeze: str) -> None:
    old = train(name)
    result = Trainer(
        TrainingConfig(
            data=more_images, start_from=old.artifact, freeze=freeze, epochs=1, learning_rate=1e-12, momentum=0.0,
            chunk_size=8, device="cpu", precision="fp32", batch_norm="fixed", workers=0, calibration=False,
            output=tmp_path,
        )
    ).fit()  # fmt: skip
    card = result.classifier.card
    assert card.architecture == name
    assert card.start_from is not None
    assert (card.start_from.kept, card.start_from.new) == (("1.Checkers", "2.Stripes"), ("0.New",))
    head = find_backbone(name).head
    rows, before = (load_file(each.artifact / "model.safetensors")[f"{head}.weight"] for each in (result, old))
    calibration = old.classifier.card.calibration
    assert calibration is not None
    before = before * calibration.temperature  # training continues the scores as they were before calibration
    assert torch.allclose(rows[[2, 1]], before, rtol=1e-3, atol=1e-5)
    assert torch.allclose(rows[0], before.mean(0), rtol=1e-3, atol=1e-5)


def test_another_network_is_refused(train: Train, images: Path) -> None:
    model = train("timm:test_convnext").artifact
    config = TrainingConfig(data=images, start_from=model, architecture="resnet18")
    with pytest.raises(ConfigError, match="has architecture=timm:test_convnext, but architecture=resnet18 is set"):
        Trainer(config).fit()


def test_a_stage_that_the_model_lacks_is_refused(train: Train, images: Path) -> None:
    model = train("timm:test_convnext").artifact
    told = r"freeze=layer4: timm:test_convnext has no such stage; its stages are stage1, stage2, stage3, stage4"
    with pytest.raises(ConfigError, match=told):
        Trainer(TrainingConfig(data=images, start_from=model, freeze="layer4")).fit()
