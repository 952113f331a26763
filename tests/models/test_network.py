"""The backbone in other layouts and engines: the same features up to rounding, with other cache keys."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from breedclf.features.extraction import FeatureExtractor
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.network import frozen_backbone
from breedclf.models.published import preprocessing_for
from breedclf.runtime.device import Compute, compute_for
from breedclf.runtime.vision import ResNet


@pytest.fixture(scope="module")
def state() -> StateDict:
    state = find_backbone("resnet18").new_network(seed=0).state_dict()
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def extractor(state: StateDict, compute: Compute) -> FeatureExtractor:
    make: Callable[[], nn.Module] = lambda: frozen_backbone("resnet18", dict(state), compute)  # noqa: E731
    return FeatureExtractor(make, preprocessing_for("resnet18", "none"), compute, "weights", chunk_size=2)


def test_the_layout_of_memory_changes_features_by_rounding_only(state: StateDict) -> None:
    pictures = torch.randn(2, 3, 64, 64)
    found = []
    for channels_last in (True, False):
        backbone = frozen_backbone("resnet18", dict(state), compute_for("cpu", "fp32", channels_last=channels_last))
        layout = next(p for p in backbone.parameters() if p.ndim == 4 and p.shape[2] > 1)
        assert layout.is_contiguous(memory_format=torch.channels_last) == channels_last
        with torch.inference_mode():
            found.append(backbone(pictures))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_a_network_is_compiled_only_when_asked_for(state: StateDict) -> None:
    plain = frozen_backbone("resnet18", dict(state), compute_for("cpu", "fp32"))
    compiled = frozen_backbone("resnet18", dict(state), compute_for("cpu", "fp32", compiled=True))
    assert not hasattr(plain, "network")
    assert isinstance(compiled.network._orig_mod, ResNet)


def test_how_long_compiling_took_is_logged_once(
    state: StateDict, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network: network)
    compiled = frozen_backbone("resnet18", dict(state), compute_for("cpu", "fp32", compiled=True))
    with caplog.at_level(logging.INFO, logger="breedclf"), torch.inference_mode():
        compiled(torch.randn(2, 3, 64, 64))
        compiled(torch.randn(2, 3, 64, 64))
    assert len(re.findall(r"compiling the backbone took \d+\.\d s, including its first 2 images", caplog.text)) == 1


def test_the_cache_keeps_engines_apart(state: StateDict) -> None:
    settings = [{}, {"channels_last": False}, {"compiled": True}, {"channels_last": False, "compiled": True}]
    keys = {extractor(state, compute_for("cpu", "fp32", **some)).spec(0).key for some in settings}
    assert len(keys) == 4


def test_pinning_reaches_the_loader(state: StateDict) -> None:
    on_gpu = Compute(torch.device("cuda"), "fp32")
    assert extractor(state, on_gpu).loader(2).pin_memory
    unpinned = FeatureExtractor(
        lambda: nn.Identity(), preprocessing_for("resnet18", "none"), on_gpu, "weights", chunk_size=2, pin_memory=False
    )
    assert not unpinned.loader(2).pin_memory
