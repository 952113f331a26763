"""State dicts: whether one fits an architecture's network, whether its values are finite, and its fingerprint."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from breedclf.errors import WeightsError

log: logging.Logger = logging.getLogger(__name__)

_MAX_SHOWN = 4
_COUNTER = "num_batches_tracked"
_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


def checked(
    state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor], architecture: str, path: Path
) -> dict[str, torch.Tensor]:
    """The state dict of a file, complete, if a network whose state dict is `expected` can be trained with it.

    Raises:
        WeightsError: names, shapes or types differ, or values aren't finite.
    """
    if problems := misfits(state, expected):
        raise WeightsError(f"weights file {path} doesn't fit {architecture}: {'; '.join(problems)}")
    if problems := faults(state):
        raise WeightsError(
            f"weights file {path} can't be trained on: it has {'; '.join(problems)}; fetch or save the file again"
        )
    return with_counters(state, expected)


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
    """Tensors that no network can compute with: NaN or infinite values, negative variances; empty if there are none."""
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


def renamed(
    state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor], head_prefix: str, path: Path
) -> dict[str, torch.Tensor]:
    """The state dict of a file with the names of `expected`, if all its names differ but order and shapes agree.

    The shapes of the head, whose names start with `head_prefix`, and batch norms' counters aren't compared.
    """
    names = [name for name in expected if not name.endswith(_COUNTER)]
    found = [name for name in state if not name.endswith(_COUNTER)]
    if set(names) <= set(found) or len(names) != len(found):
        return state
    pairs = dict(zip(names, found, strict=True))
    if any(
        state[there].shape != expected[here].shape for here, there in pairs.items() if not here.startswith(head_prefix)
    ):
        return state
    log.info(
        "%s names its weights differently (%s in place of %s); their order and all shapes agree, so they are used",
        path,
        found[0],
        names[0],
    )
    return {here: state[there] for here, there in pairs.items()}


def with_counters(state: dict[str, torch.Tensor], expected: Iterable[str]) -> dict[str, torch.Tensor]:
    """The state dict with zeros for missing batch norm counters."""
    return state | {
        name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith(_COUNTER) and name not in state
    }


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite. The sum is tested first, which takes a tenth of the time."""
    if not tensor.is_floating_point():
        return True
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def all_finite(network: nn.Module) -> bool:
    """Whether no weight of the network is NaN or infinite."""
    return all(is_finite(weight) for weight in network.state_dict().values())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_SHOWN]) + (", ..." if len(names) > _MAX_SHOWN else "")
