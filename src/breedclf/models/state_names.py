"""State dicts whose names differ from the network's: prefixes, other heads, other names in the same order."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from breedclf.errors import WeightsError
from breedclf.models.state_dict import COUNTER, some

log: logging.Logger = logging.getLogger(__name__)

State = dict[str, torch.Tensor]
_ROLES = frozenset({"weight", "bias", "running_mean", "running_var"})


def prefix_of(state: State, wanted: Collection[str], path: Path) -> str:
    """The prefix (`module.`, `model.`, `backbone.`, ...) with which a state dict has most of the `wanted` names.

    It is empty if the state dict has less than half of them.

    Raises:
        WeightsError: several prefixes are equally good, as of a student and its teacher.
    """
    found = {prefix: sum(prefix + name in state for name in wanted) for prefix in _prefixes(state, wanted)}
    most = max(found.values(), default=0)
    best = sorted(prefix for prefix, count in found.items() if count == most)
    if 2 * most < len(wanted) or "" in best:
        return ""
    if len(best) > 1:
        raise WeightsError(
            f"weights file {path} has the network's weights {len(best)} times, with the prefixes {', '.join(best)}: "
            "save the state dict of one of them"
        )
    return best[0]


def below(state: State, prefix: str) -> State:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _prefixes(state: State, wanted: Collection[str]) -> set[str]:
    """What precedes one of the wanted names in a state dict."""
    for wanted_name in wanted:
        ends = [name for name in state if name == wanted_name or name.endswith(f".{wanted_name}")]
        if ends:
            return {name.removesuffix(wanted_name) for name in ends}
    return set()


def without_others(state: State, expected: Collection[str], path: Path) -> State:
    """A state dict with all `expected` names, without tensors of parts that the network doesn't have, such as a loss.

    A tensor of a part that the network has stays, since the file is then of a larger network.
    """
    if any(name not in state for name in expected if not name.endswith(COUNTER)):
        return state
    parts = {name.partition(".")[0] for name in expected}
    others = [name for name in state if name not in expected and name.partition(".")[0] not in parts]
    if others:
        log.info("%d tensors of %s aren't used: %s", len(others), path, some(others))
    return {name: tensor for name, tensor in state.items() if name not in set(others)}


def in_order(state: State, expected: Mapping[str, torch.Tensor], head_prefix: str) -> dict[str, str] | None:
    """Which name of a state dict belongs to which of the network's, if their number, order, shapes and roles agree.

    `expected` is the state dict of the whole network. The file may lack the head, whose names start with `head_prefix`,
    or have one of another size. Roles are the last parts of names, such as `bias` and `running_var`, where both names
    end with one: tensors of these four often have the same shape. Batch norms' counters are left out.

    Returns:
        The network's names and those of the file, without the head; None if they don't agree.
    """
    names = [name for name in expected if not name.endswith(COUNTER)]
    trunk = [name for name in names if not name.startswith(head_prefix)]
    found = [name for name in state if not name.endswith(COUNTER)]
    if len(found) not in (len(names), len(trunk)):
        return None
    pairs = dict(zip(names if len(found) == len(names) else trunk, found, strict=True))
    agree = all(
        (here.startswith(head_prefix) or state[there].shape == expected[here].shape) and _same_role(here, there)
        for here, there in pairs.items()
    )
    return {name: pairs[name] for name in trunk} if agree else None


def _same_role(here: str, there: str) -> bool:
    roles = {name.rpartition(".")[2] for name in (here, there)}
    return len(roles) == 1 or not roles <= _ROLES
