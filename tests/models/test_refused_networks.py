"""Networks that can't be fine-tuned are refused by what their head is, before anything is downloaded."""

from __future__ import annotations

import sys

import pytest

from breedclf.errors import ConfigError, MissingExtraError
from breedclf.models.backbones.backbone import find_backbone


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crossvit_tiny_240", r"has 2 heads \(head\.0, head\.1\), but only networks with one"),
        ("deit_tiny_distilled_patch16_224", r"has 2 heads \(head, head_dist\), but only networks with one"),
        ("dla34", "has a head of type Conv2d, not a linear layer on one vector of features per image"),
    ],
)
def test_heads_other_than_one_linear_layer(name: str, message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=rf"architecture=timm:{name} {message}"):
        find_backbone(f"timm:{name}")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"timm:mixer_b16_224 needs timm, .*: pip install 'breedclf\[timm\]'"):
        find_backbone("timm:mixer_b16_224")
