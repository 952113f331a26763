"""Networks that can't be cut into stages: the head or all of it is trained, and the pretrained weights stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from breedclf import TrainingConfig
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ConfigError
from breedclf.models.backbones.backbone import Backbone
from breedclf.models.model import build_model
from breedclf.models.weights import PretrainedWeights
from breedclf.runtime.device import compute_for


class Twofold(nn.Module):
    """Two tensors pass from each block to the next; `offset` isn't in any block. `recordable`: has a graph."""

    def __init__(self, classes: int, *, recordable: bool) -> None:
        super().__init__()
        self.recordable = recordable
        self.offset = nn.Parameter(torch.zeros(1, 8))
        self.first = nn.Conv2d(3, 8, 16, stride=16)
        self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        left = self.first(images).flatten(2).transpose(1, 2)
        right = left.flip(1)
        for block in self.blocks:
            left, right = block(right), left + self.offset
        both: torch.Tensor = left + right
        if not self.recordable and images.shape[0] == 0:
            return both
        scores: torch.Tensor = self.head(both.mean(1))
        return scores


@pytest.fixture(params=[True, False], ids=["graph", "no-graph"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    def make(classes: int) -> nn.Module:
        return Twofold(classes, recordable=request.param)

    return Backbone("timm:twofold", make, "head", 8, side_px=64)


def test_the_last_stage_alone_is_refused(backbone: Backbone) -> None:
    assert (backbone.trained_stages("head"), backbone.trained_stages("none")) == ((), ("stem",))
    with pytest.raises(ConfigError, match="freeze=last_stage: timm:twofold can't be cut into stages"):
        backbone.trained_stages("last_stage")


def test_training_all_of_it_leaves_the_pretrained_weights(backbone: Backbone) -> None:
    state = backbone.without_head(backbone.new_network(seed=0).state_dict())
    pretrained = PretrainedWeights(backbone, state, backbone.fingerprint(state), Preprocessing(crop_px=64))
    config = TrainingConfig(data="x", architecture="resnet18", weights="none", freeze="none", device="cpu")
    module = build_model(config, pretrained, classes=2, compute=compute_for("cpu", "fp32")).module
    assert {f"body.{name}" for name in state} <= dict(module.named_parameters()).keys()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert backbone.fingerprint(state) == pretrained.fingerprint
