"""State dicts: whether one fits an architecture's network, whether its values are finite, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from breedclf.errors import WeightsError

_MAX_SHOWN = 4
COUNTER = "num_batches_tracked"
_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


def checked(
    state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor]:
    """The state dict of a file, complete and with the `expected` types, if its values can be trained on.

    Names and shapes must be those expected. Some of torchvision's files have half precision.

    Raises:
        WeightsError: values aren't finite, or a variance is negative.
    """
    if problems := faults(state):
        raise WeightsError(
            f"weights file {path} can't be trained on: it has {'; '.join(problems)}; fetch or save the file again"
        )
    return with_counters({name: tensor.to(expected[name].dtype) for name, tensor in state.items()}, expected)


def fingerprint(state: Mapping[str, torch.Tensor], network: str = "") -> str:
    """A hash of names, types, shapes and values: equal weights have the same one, whatever file they come from.

    `network` is a name to include.
    """
    digest = hashlib.blake2b(network.encode(), digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def misfits(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Why a state dict can't be loaded in place of `expected`, whose values don't matter; empty if it can.

    Batch norms' counters may be missing: inference doesn't read them, and old files don't have them.
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
        if state[name].dtype not in (_FLOATS | _INTEGERS if expected[name].dtype in _INTEGERS else _FLOATS)
    ]
    missing = sorted(name for name in set(expected) - set(state) if not name.endswith(COUNTER))
    parts = {
        "missing": missing,
        "unexpected": sorted(set(state) - set(expected)),
        "of another shape": misshapen,
        "of a type that holds no weights": mistyped,
    }
    return [f"{len(names)} {what}: {some(names)}" for what, names in parts.items() if names]


def faults(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Tensors that no network can compute with: NaN or infinite values, negative variances; empty if there are none."""
    broken = [
        f"{name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()} values)"
        for name, tensor in state.items()
        if not is_finite(tensor)
    ]
    if broken:
        return [f"NaN or infinite values in {some(broken)}"]
    negative = [
        f"{name} ({float(tensor.min()):g})"
        for name, tensor in state.items()
        if name.endswith("running_var") and float(tensor.min()) < 0
    ]
    return [f"a negative variance in {some(negative)}"] if negative else []


def with_counters(state: dict[str, torch.Tensor], expected: Iterable[str]) -> dict[str, torch.Tensor]:
    """The state dict with zeros for missing batch norm counters."""
    return state | {
        name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith(COUNTER) and name not in state
    }


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite. The sum is tested first, which takes a tenth of the time."""
    if not tensor.is_floating_point():
        return True
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def all_finite(network: nn.Module) -> bool:
    """Whether no weight of the network is NaN or infinite."""
    return all(is_finite(weight) for weight in network.state_dict().values())


def some(names: Sequence[str]) -> str:
    """The first of these names, for a message."""
    return ", ".join(names[:_MAX_SHOWN]) + (", ..." if len(names) > _MAX_SHOWN else "")
