"""The optimizers: torch's own in all but what loads its compiler."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from breedclf.config import TrainingConfig
from breedclf.models.head import new_head
from breedclf.training.optimizers import new_optimizer

SETTINGS = TrainingConfig(data="x", learning_rate=0.05, weight_decay=0.01, momentum=0.9)


def torchs_own(module: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        module.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )


def taught(
    make: Any, config: TrainingConfig, *, reloaded_after: int = -1
) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    """A layer's weights after five steps, and the optimizer; after some of them it goes on in a new optimizer."""
    head, draw = new_head(6, 3, config), torch.Generator().manual_seed(1)
    optimizer = make(head, config)
    for step in range(5):
        if step == reloaded_after:
            state = optimizer.state_dict()
            optimizer = make(head, config)
            optimizer.load_state_dict(state)
        inputs = torch.randn(8, 6, generator=draw)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(inputs), inputs.argmax(1) % 3).backward()
        optimizer.step()
    return head.weight, optimizer


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_five_steps_and_a_state_restored_are_torchs_own_to_the_bit(kind: str) -> None:
    config = SETTINGS.replace(optimizer=kind)
    weights, optimizer = taught(new_optimizer, config)
    wanted, torchs = taught(torchs_own, config)
    assert isinstance(optimizer, type(torchs))
    assert torch.equal(weights, wanted)
    assert not torch.equal(weights, new_head(6, 3, config).weight)
    assert torch.equal(taught(new_optimizer, config, reloaded_after=3)[0], wanted)
    for slots, expected in zip(optimizer.state.values(), torchs.state.values(), strict=True):
        assert slots.keys() == expected.keys()


def test_who_watches_its_steps_is_told() -> None:
    seen: list[int] = []
    optimizer = new_optimizer(new_head(6, 3, SETTINGS), SETTINGS)
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    optimizer.step()
    assert seen == [1]
    assert torch.is_grad_enabled()
