"""What is known about published weights before their download, and licenses that must be accepted."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from breedclf.config import WEIGHTS_NAMES
from breedclf.config.architectures import TORCHVISION_ARCHITECTURES
from breedclf.errors import ConfigError, WeightsError
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.backbones.licenses import license_binds
from breedclf.models.backbones.published_weights import (
    _warn_once,
    check_license,
    published_weights,
    usable_weights,
)
from breedclf.models.backbones.timm_accuracy import TOP1_PERCENT
from breedclf.models.backbones.torchvision_networks import parameter_count
from breedclf.models.published import preprocessing_for
from breedclf.models.weights import load_pretrained
from breedclf.runtime.vision import get_model_weights

timm = pytest.importorskip("timm")


def test_all_weights_of_torchvision_are_known() -> None:
    """Also those of a newer torchvision: then this test says which name or license is new."""
    for architecture in TORCHVISION_ARCHITECTURES:
        names = usable_weights(architecture)
        assert names, architecture
        for entry in get_model_weights(architecture):
            assert entry.name in WEIGHTS_NAMES
            assert ("SWAG" in entry.name) == ("license" in entry.meta)
        for name in names:
            published = published_weights(architecture, name)
            assert published is not None
            assert published.license_binds == ("SWAG" in name)
            assert published.license == ("CC-BY-NC-4.0" if "SWAG" in name else "BSD-3-Clause (torchvision's code)")
            assert published.top1 is not None
            assert 0.5 < published.top1 < 0.9
            assert published.size_mb is not None
            bytes_each = published.size_mb * 2**20 / parameter_count(architecture)
            assert 3.9 < bytes_each < 4.4 or (architecture.startswith("wide") and 1.9 < bytes_each < 2.1)


def test_figures_of_resnet50_are_torchvisions() -> None:
    published = published_weights("resnet50", "IMAGENET1K_V2")
    assert published is not None
    assert (published.top1, published.top1_source, published.size_mb) == (0.80858, "torchvision", 97.79)
    assert published.url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"


def test_weights_that_are_not_published_have_no_record(tmp_path: Path) -> None:
    for weights in ("none", "start_from", str(tmp_path / "my.pth")):
        assert published_weights("resnet50", weights) is None
        assert check_license("vit_h_14", weights, accepted=False) is None


def test_timms_record_has_license_and_accuracy() -> None:
    published = published_weights("timm:convnextv2_tiny", "pretrained")
    assert published is not None
    assert (published.license, published.license_binds, published.top1) == ("CC-BY-NC-4.0", True, 0.83904)
    assert published.url == "https://huggingface.co/timm/convnextv2_tiny.fcmae_ft_in22k_in1k"
    with_tag = published_weights("timm:convnextv2_tiny.fcmae_ft_in22k_in1k", "pretrained")
    assert with_tag == replace(published, architecture="timm:convnextv2_tiny.fcmae_ft_in22k_in1k")


def test_accuracies_are_of_names_that_timm_has() -> None:
    assert not TOP1_PERCENT.keys() - set(timm.list_pretrained())


@pytest.mark.parametrize("recorded", ["dinov3-license", "fair-noncommercial-research-license", "cc-by-nc-4.0", "new"])
def test_licenses_bind_unless_they_are_known_to_be_permissive(recorded: str) -> None:
    assert license_binds(recorded)


def test_timms_licenses_are_sorted() -> None:
    """The permissive ones are the large part; a license that timm adds binds until it is looked at."""
    licenses = [timm.get_pretrained_cfg(name).license for name in timm.list_pretrained()]
    binding = [license_binds(recorded) for recorded in licenses]
    assert 0.05 < sum(binding) / len(binding) < 0.2
    assert not license_binds(None) and not license_binds("unknown")


@pytest.mark.parametrize(
    ("architecture", "weights", "url"),
    [
        ("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1", "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"),
        ("timm:convnextv2_atto", "pretrained", "https://creativecommons.org/licenses/by-nc/4.0/legalcode"),
    ],
)
def test_a_license_that_binds_is_refused_before_anything_else(architecture: str, weights: str, url: str) -> None:
    with pytest.raises(WeightsError) as refused:
        load_pretrained(architecture, weights)  # tests have no network, so a download would fail differently
    for word in (architecture, weights, "CC-BY-NC-4.0", url, "--accept-license"):
        assert word in str(refused.value)


def test_an_accepted_license_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    _warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _run in range(2):
            check_license("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1", accepted=True)
        check_license("vit_b_16", "IMAGENET1K_V1", accepted=True)
    (record,) = caplog.records
    assert "the license CC-BY-NC-4.0 of the weights IMAGENET1K_SWAG_LINEAR_V1 of vit_b_16 is accepted" in record.message


def test_a_license_that_is_not_stated_is_said(caplog: pytest.LogCaptureFixture) -> None:
    _warn_once.cache_clear()
    published = check_license("timm:res2net50_26w_4s", "pretrained", accepted=False)
    assert published is not None
    assert published.license == "not stated"
    assert "isn't stated: https://huggingface.co/timm/res2net50_26w_4s.in1k" in caplog.text


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("regnet_y_128gf", "IMAGENET1K_V1", "there are IMAGENET1K_SWAG_E2E_V1, IMAGENET1K_SWAG_LINEAR_V1"),
        ("vit_h_14", "IMAGENET1K_V1", "no IMAGENET1K_V1 weights of vit_h_14; there are IMAGENET1K_SWAG"),
        ("vgg16", "IMAGENET1K_FEATURES", "have no values for the layers .* use IMAGENET1K_V1, a file"),
        ("resnet18", "pretrained", "there are no pretrained weights of resnet18; there are IMAGENET1K_V1"),
        ("timm:resnet18", "IMAGENET1K_V1", r"use pretrained \(timm's own\), none or a file"),
        ("timm:coatnet_0_224", "pretrained", "has published no weights of timm:coatnet_0_224: use weights=none"),
    ],
)
def test_weights_that_do_not_exist(architecture: str, weights: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_pretrained(architecture, weights)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnxt_tiny", "no such network; the nearest names are convnext_tiny, convnextv2_tiny, convit_tiny"),
        (
            "convnext_tiny.fb_in1",
            "has no weights 'fb_in1' of convnext_tiny; the nearest names are convnext_tiny.fb_in1k, ",
        ),
        ("coatnet_0_224.in1k", "has no weights 'in1k' of coatnet_0_224; it has no published weights"),
    ],
)
def test_names_that_timm_does_not_have(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_backbone(f"timm:{name}")


def test_random_weights_have_the_preprocessing_of_the_usual_ones() -> None:
    assert preprocessing_for("regnet_y_128gf", "none").crop_px == 224
    assert preprocessing_for("vit_h_14", "none").crop_px == 224
    assert preprocessing_for("efficientnet_b1", "none").resize_px == 256
    assert preprocessing_for("swin_v2_t", "none").crop_px == 256


def test_random_weights_need_no_license() -> None:
    pretrained = load_pretrained("timm:convnextv2_atto", "none")
    assert pretrained.record is not None
    assert (pretrained.record.library, pretrained.record.library_version) == ("timm", timm.__version__)
    assert (pretrained.record.weights, pretrained.record.license) == ("none", None)
    assert all(isinstance(tensor, torch.Tensor) for tensor in pretrained.state.values())
