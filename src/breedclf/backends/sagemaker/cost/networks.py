"""What the networks of a job or a search cost: multiply-adds per image and the size of their weights."""

from __future__ import annotations

from collections.abc import Iterable

from breedclf.runtime.process_signals import ending_at_once

_FLOAT_BYTES = 4


def network_note(architectures: Iterable[str]) -> str:
    """A line with the cost of each network; networks that can't be counted are named, too.

    Example:
        >>> network_note(["resnet18"])
        'one image through the network: resnet18 1.8 billion multiply-adds, 45 MB of weights'
    """
    return f"one image through the network: {'; '.join(map(_text, architectures))}"


def _text(architecture: str) -> str:
    with ending_at_once():
        from breedclf.models.backbones.cost import network_cost

    cost = network_cost(architecture)
    if cost is None:
        return f"{architecture} not estimated"
    size_mb = cost.parameters * _FLOAT_BYTES / 2**20
    return f"{architecture} {cost.multiply_adds / 1e9:.2g} billion multiply-adds, {size_mb:.0f} MB of weights"
