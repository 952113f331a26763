"""The list of backbones with what is published about them."""

from __future__ import annotations

import json

import pytest

from breedclf.backbones.catalogue import torchvision_backbones
from breedclf.backbones.text import list_text
from breedclf.cli import main
from breedclf.config.architectures import TORCHVISION_ARCHITECTURES


def test_torchvisions_backbones_with_each_of_their_weights() -> None:
    found = torchvision_backbones()
    assert {each.name for each in found} == {*TORCHVISION_ARCHITECTURES}
    top1 = [each.top1 for each in found if each.top1 is not None]
    assert top1 == sorted(top1, reverse=True)
    of_resnet50 = {each.weights: each for each in found if each.name == "resnet50"}
    assert of_resnet50.keys() == {"IMAGENET1K_V1", "IMAGENET1K_V2"}
    v2 = of_resnet50["IMAGENET1K_V2"]
    assert (v2.top1, v2.gflops, v2.parameters, v2.size_mb, v2.image_px) == (0.80858, 4.089, 25_557_032, 102.5, 224)
    assert max(map(len, list_text(found).splitlines())) <= 100


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backbones", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["backbones"]
    fields = {"name", "weights", "parameters", "gflops", "top1", "top1_source", "size_mb", "license", "image_px"}
    assert all(fields <= each.keys() for each in listed)
    assert main(["backbones", "list"]) == 0
    assert "convnext_tiny" in capsys.readouterr().out


def test_timms_are_listed_by_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    assert main(["backbones", "list", "--timm", "tf_efficientnet_lite0*", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)["backbones"]}
    lite0 = listed["timm:tf_efficientnet_lite0.in1k"]
    assert (lite0["license"], lite0["image_px"], lite0["weights"]) == ("Apache-2.0", 224, "pretrained")
    assert (lite0["parameters"], round(lite0["gflops"], 1)) == (4_652_008, 0.4)
    assert main(["backbones", "list", "--timm", "nothing-like-it"]) == 2
    assert "has no such network with published weights" in capsys.readouterr().err
