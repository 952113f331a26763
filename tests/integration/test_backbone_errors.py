"""Backbones that can't be used, as somebody at the command line meets them: one line that says what to do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from breedclf import TrainingConfig
from breedclf.cli import main
from breedclf.errors import ConfigError
from breedclf.models.backbones.backbone import find_backbone
from breedclf.testing.images import write_image_set

Refusal = Callable[..., tuple[int, str]]
QUICK = ["--architecture", "resnet18", "--epochs", "1", "--chunk-size", "8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "set"
    return write_image_set(folder, classes=2, train=4, valid=2, test=1, size_px=64)


@pytest.fixture
def refusal(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Runs a command, by default on the images; returns its exit code and its one line."""

    def run(*arguments: str, command: str = "train") -> tuple[int, str]:
        words = [command, str(data), "--output", str(tmp_path / "out"), *arguments]
        code = main(words)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        assert not (tmp_path / "out" / "model").exists()
        (line,) = [line for line in captured.err.splitlines() if line.startswith("breedclf: ")]
        assert captured.err.splitlines()[-1] == line
        return code, line.removeprefix("breedclf: ")

    return run


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("resnet5", "the nearest names are resnet50, resnet152, resnet34; for a network of timm write timm:resnet5"),
        ("ConvNeXt-Tiny", "the nearest names are convnext_tiny, "),
        ("timm/convnext_tiny.fb_in1k", "for a network of timm write timm:convnext_tiny.fb_in1k"),
        ("hf-hub:timm/tf_efficientnet_lite0", "for a network of timm write timm:tf_efficientnet_lite0 "),
        ("", "for a network of timm write timm:NAME "),
        ("squeezenet1_0", "torchvision's squeezenet1_0 ends with a convolution"),
        ("inception_v3", "torchvision's inception_v3 has more than one head"),
        ("googlenet", "torchvision's googlenet has more than one head"),
        ("timm:ConvNeXt-Tiny", "isn't spelled like a network of timm"),
        ("timm:", "isn't spelled like a network of timm"),
        ("timm:convnxt_tiny", "the nearest names are convnext_tiny, convnextv2_tiny, convit_tiny"),
        ("timm:convnxt_tiny.fb_in1k", "the nearest names are convnext_tiny, convnextv2_tiny, convit_tiny"),
        (
            "timm:convnext_tiny.fb_in1",
            "has no weights 'fb_in1' of convnext_tiny; the nearest names are convnext_tiny.",
        ),
        ("timm:levit_128", "has 2 heads (head.linear, head_dist.linear), but only networks with one can be"),
        ("timm:deit_tiny_distilled_patch16_224", "has 2 heads (head, head_dist), but only networks with one can be"),
        ("timm:vit_base_patch16_sapiens2", "takes images of 1024 x 768 px, but only square ones are supported"),
    ],
)
def test_a_network_that_cannot_be_trained(refusal: Refusal, architecture: str, told: str) -> None:
    if architecture.startswith("timm:"):
        pytest.importorskip("timm")
    code, line = refusal("--architecture", architecture, "--weights", "none")
    assert code == 2
    assert told in line
    assert "architecture=" in line


def test_timm_is_missing(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    find_backbone.cache_clear()
    code, line = refusal("--architecture", "timm:tf_efficientnet_lite0", "--weights", "none")
    assert code == 2
    assert line == (
        "architecture=timm:tf_efficientnet_lite0 needs timm, which is not installed: pip install 'breedclf[timm]'"
    )


@pytest.mark.parametrize("command", ["train", "profile"])
def test_a_stage_that_the_network_does_not_have(refusal: Refusal, command: str) -> None:
    """It is found before weights are downloaded."""
    code, line = refusal("--architecture", "convnext_tiny", "--freeze", "layer4", command=command)
    assert code == 2
    assert line == (
        "freeze=layer4: convnext_tiny has no such stage; its stages are stage1, stage2, stage3, stage4 "
        "(freeze=last_stage trains the last one and the head)"
    )


def test_jobs_and_searches_check_the_network_before_they_start(refusal: Refusal) -> None:
    pytest.importorskip("timm")
    job = ["--backend", "local", "--weights", "none"]
    stage = "freeze=layer4: convnext_tiny has no such stage"
    unknown = "architecture=timm:convnxt_tiny: "
    assert refusal("--architecture", "convnext_tiny", "--freeze", "layer4", *job)[1].startswith(stage)
    assert refusal("--architecture", "timm:convnxt_tiny", *job)[1].startswith(unknown)
    search = ["--strategy", "grid", "--weights", "none", "--epochs", "1"]
    named = refusal("--architecture", "resnet18,convnext_tiny", "--freeze", "head,layer4", *search, command="tune")
    assert named[1].startswith(stage)
    assert refusal("--architecture", "resnet18,timm:convnxt_tiny", *search, command="tune")[1].startswith(unknown)


def test_a_word_that_is_no_stage() -> None:
    with pytest.raises(ConfigError, match="freeze='backbone': use head, last_stage, none, or the first stage to train"):
        TrainingConfig(data="x", freeze="backbone")


@pytest.fixture
def huge_weights(tmp_path: Path) -> Path:
    """Finite weights with which the features of a ResNet-18 overflow."""
    state = find_backbone("resnet18").new_network(seed=0).state_dict()
    state["layer4.1.bn2.weight"] = state["layer4.1.bn2.weight"] * 0 + 3e38
    torch.save(state, tmp_path / "huge.pth")
    return tmp_path / "huge.pth"


@pytest.mark.parametrize("more", [(), ("--no-feature-cache",)], ids=["stored", "streamed"])
def test_features_that_are_nan(
    refusal: Refusal, data: Path, huge_weights: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    store = tmp_path / "store"
    words = [*QUICK, "--weights", str(huge_weights), "--feature-store", str(store), *more]
    for _ in range(2):  # none of them is stored, and found by the second run
        code, line = refusal(*words)
        assert code == 3
        assert line.startswith(f"{data / 'train' / '001.Stripes'}")
        assert "the backbone (resnet18 huge.pth) computes NaN or infinite features in " in line
        assert "use other weights" in line


@pytest.mark.parametrize("freeze", ["layer4", pytest.param("none", marks=pytest.mark.slow)])
def test_features_of_trained_stages_that_are_nan(refusal: Refusal, huge_weights: Path, freeze: str) -> None:
    code, line = refusal(*QUICK, "--weights", str(huge_weights), "--freeze", freeze)
    assert code == 3
    assert "512 features of the training images are NaN or infinite: the weights don't suit the network" in line
    assert line.endswith("use other weights")


@pytest.mark.parametrize(
    ("architecture", "weights", "told"),
    [
        ("resnet18", "pretrained", "there are no pretrained weights of resnet18"),
        ("convnext_tiny", "IMAGENET1K_V2", "there are no IMAGENET1K_V2 weights of convnext_tiny; there are "),
        ("timm:tf_efficientnet_lite0", "IMAGENET1K_V1", "use pretrained (timm's own), none or a file"),
        ("resnet18", "IMAGNET1K_V1", "weights file IMAGNET1K_V1 does not exist; use one of IMAGENET1K_V1, "),
        ("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1", "is CC-BY-NC-4.0, which binds"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", "need images of 384 px, but torchvision's network is built for 224 px"),
    ],
)
def test_weights_that_cannot_be_used(refusal: Refusal, architecture: str, weights: str, told: str) -> None:
    if architecture.startswith("timm:"):
        pytest.importorskip("timm")
    code, line = refusal("--architecture", architecture, "--weights", weights)
    assert code == 3
    assert told in line


def test_weights_of_another_architecture(refusal: Refusal, huge_weights: Path) -> None:
    code, line = refusal("--architecture", "mobilenet_v3_small", "--weights", str(huge_weights))
    assert code == 3
    assert line.startswith(f"weights file {huge_weights} doesn't fit mobilenet_v3_small: ")
    assert "missing: " in line


@pytest.fixture(scope="module")
def timm_model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("timm")
    output = tmp_path_factory.mktemp("timm")
    words = ["--architecture", "timm:test_efficientnet", "--weights", "none", "--epochs", "1", "--output", str(output)]
    assert main(["train", str(data), *words]) == 0
    return output / "model"


USES_OF_A_MODEL = ("evaluate", "predict", "export", "start")


def _words(use: str, model: Path, data: Path) -> list[str]:
    image = next(path for path in (data / "test").rglob("*") if path.is_file())
    return {
        "evaluate": ["evaluate", str(model), str(data)],
        "predict": ["predict", str(model), str(image)],
        "export": ["export", str(model), "--format", "torch"],
        "start": ["train", str(data), "--start-from", str(model), "--output", str(model.parent / "out")],
    }[use]


@pytest.mark.parametrize("use", USES_OF_A_MODEL)
def test_a_model_whose_library_is_missing(
    timm_model: Path, data: Path, use: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    find_backbone.cache_clear()
    assert main(_words(use, timm_model, data)) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("breedclf: ")]
    assert f"{timm_model} can't be used here: " in line
    assert "needs timm, which is not installed: pip install 'breedclf[timm]'" in line


@pytest.mark.parametrize("use", USES_OF_A_MODEL)
def test_a_model_of_a_network_that_this_version_of_timm_lacks(
    timm_model: Path, data: Path, use: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(timm_model, model)
    card = json.loads((model / "breedclf.json").read_text())
    card["architecture"] = "timm:test_efficientnet9"
    card["backbone"]["library_version"] = "9.9.9"
    (model / "breedclf.json").write_text(json.dumps(card))
    assert main(_words(use, model, data)) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("breedclf: ")]
    assert f"{model} can't be used here: architecture=timm:test_efficientnet9: " in line
    assert "the nearest names are test_efficientnet" in line
    assert "It was trained with timm 9.9.9, and " in line
    assert line.endswith("pip install timm==9.9.9")
