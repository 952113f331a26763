"""Random weights are those of torch's global generator with the same seed, which isn't touched itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn
from torchvision import models

from breedclf import TrainingConfig
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.head import ScaledLinear, new_head
from breedclf.models.initialization import DrawnFrom, NotDrawn


def values(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


def with_torchs_generator(make: Callable[[], nn.Module], seed: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return values(make())


@pytest.mark.parametrize("seed", [0, 7])
def test_a_network_has_the_weights_that_torch_would_draw(seed: int) -> None:
    expected = with_torchs_generator(lambda: models.resnet18(num_classes=3), seed)
    assert torch.equal(values(find_backbone("resnet18").new_network(seed=seed, classes=3)), expected)


@pytest.mark.parametrize("make", [models.convnext_tiny, models.vit_b_32], ids=["convnext", "vit"])
def test_so_do_networks_that_draw_in_other_ways(make: Callable[[], nn.Module]) -> None:
    expected = with_torchs_generator(make, 5)
    before = torch.get_rng_state()
    with DrawnFrom(5):
        drawn = values(make())
    assert torch.equal(drawn, expected)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("head", ["linear", "standardized"])
def test_heads_and_folding_leave_the_callers_random_state(head: Literal["linear", "standardized"]) -> None:
    config = TrainingConfig(data=Path("images"), head=head, seed=3)
    expected = with_torchs_generator(lambda: ScaledLinear(16, 4), 3)
    before = torch.get_rng_state()
    made = new_head(16, 4, config)
    folded = made.folded()
    find_backbone("resnet18").empty_network(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(values(made), expected) == (head == "linear")
    assert torch.equal(folded.weight, made.weight)


def test_parameters_that_are_drawn_at_once_get_no_values_either() -> None:
    with NotDrawn(), torch.device("meta"):
        assert nn.Parameter(torch.randn(2, 3)).shape == (2, 3)
    before = torch.get_rng_state()
    with NotDrawn():
        assert nn.Parameter(torch.rand((4,), dtype=torch.float64, generator=None)).dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_draw_what_one_thread_draws() -> None:
    expected = [values(find_backbone("resnet18").new_network(seed=seed)) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        drawn = list(pool.map(lambda seed: values(find_backbone("resnet18").new_network(seed=seed)), range(6)))
    assert all(torch.equal(*pair) for pair in zip(drawn, expected, strict=True))
