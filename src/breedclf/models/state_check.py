"""Whether a state dict is what an architecture's network takes: names, shapes, types and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

_MAX_SHOWN = 4
_COUNTER = "num_batches_tracked"
_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


def misfits(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """What keeps a state dict from being loaded in place of `expected`, whose values don't matter.

    Batch norms' counters may be absent: inference doesn't read them, and old files lack them.
    """
    shared = [name for name in expected if name in state]
    misshapen = [
        f"{name} is {list(state[name].shape)} instead of {list(expected[name].shape)}"
        for name in shared
        if state[name].shape != expected[name].shape
    ]
    mistyped = [
        f"{name} is {str(state[name].dtype).removeprefix('torch.')}"
        for name in shared
        if state[name].dtype not in (_FLOATS | _INTEGERS if name.endswith(_COUNTER) else _FLOATS)
    ]
    missing = sorted(name for name in set(expected) - set(state) if not name.endswith(_COUNTER))
    parts = {
        "missing": missing,
        "unexpected": sorted(set(state) - set(expected)),
        "of another shape": misshapen,
        "of a type that holds no weights": mistyped,
    }
    return [f"{len(names)} {what}: {_some(names)}" for what, names in parts.items() if names]


def faults(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Tensors with which no network can compute: values that are NaN or infinite, negative variances."""
    broken = [
        f"{name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()} values)"
        for name, tensor in state.items()
        if not is_finite(tensor)
    ]
    if broken:
        return [f"NaN or infinite values in {_some(broken)}"]
    negative = [
        f"{name} ({float(tensor.min()):g})"
        for name, tensor in state.items()
        if name.endswith("running_var") and float(tensor.min()) < 0
    ]
    return [f"a negative variance in {_some(negative)}"] if negative else []


def with_counters(state: dict[str, torch.Tensor], expected: Iterable[str]) -> dict[str, torch.Tensor]:
    """The state with zeros for the batch norms' counters that it lacks."""
    return state | {
        name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith(_COUNTER) and name not in state
    }


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether every value is a number; a tenth of the time of looking at each, unless their sum overflows."""
    if not tensor.is_floating_point():
        return True
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def all_finite(network: nn.Module) -> bool:
    """Whether every weight is a number."""
    return all(is_finite(weight) for weight in network.state_dict().values())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_SHOWN]) + (", ..." if len(names) > _MAX_SHOWN else "")
