"""Weights of the user's own file, with the names of the network that they are for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from breedclf.config.architectures import TIMM, TORCHVISION_ARCHITECTURES
from breedclf.errors import WeightsError
from breedclf.models.backbones.backbone import Backbone, StateDict, find_backbone
from breedclf.models.backbones.torchvision_networks import parameter_count, with_present_names
from breedclf.models.state_dict import COUNTER, checked, misfits
from breedclf.models.state_file import read_state
from breedclf.models.state_names import below, in_order, prefix_of, without_others

log: logging.Logger = logging.getLogger(__name__)

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index", "relative_coords_table")
_HEAD_PARAMETERS = 5_000_000
"""More than any head of 1,000 classes has: a file without a head, or with another one, differs by less."""
_POSITIONS = ("pos_embed", "pos_embedding", "position")


def weights_from_file(backbone: Backbone, path: Path) -> StateDict:
    """The weights of a network without its head, from a file of its library or of another project.

    Names may have a common prefix; they may be those of timm's original projects, or any others whose order and shapes
    agree with the network's. The file may lack the head, or have another one.

    Raises:
        WeightsError: the file can't be read, isn't safe to load, or isn't of this network.
    """
    state = read_state(path)
    whole = backbone.empty_network(1).state_dict()
    expected = backbone.without_head(whole)
    found = _named(state, whole, backbone, path)
    if problems := misfits(found, expected):
        advice = _advice(state, found, expected, backbone, path)
        raise WeightsError(f"weights file {path} doesn't fit {backbone.name}: {'; '.join(problems)}{advice}")
    return checked(found, expected, path)


def _named(state: StateDict, whole: StateDict, backbone: Backbone, path: Path) -> StateDict:
    """The state dict of a file with the network's names and without a head, as far as that is possible."""
    expected = backbone.without_head(whole)
    is_timm = backbone.name.startswith(TIMM)
    if not is_timm:
        state = with_present_names(state)
    if prefix := prefix_of(state, expected, path):
        log.info("%s names its weights with the prefix %s; tensors without it aren't used", path, prefix)
        state = below(state, prefix)
    found = without_others(backbone.without_head(state), expected, path)
    if not misfits(found, expected):
        return found
    if is_timm and (own := _converted_by_timm(state, backbone, path)) is not None:
        return own
    pairs = None if path.suffix == ".safetensors" else in_order(state, whole, backbone.head_prefix)
    if pairs is None:
        return found
    (first, its_first), *_, (last, its_last) = pairs.items()
    log.info(
        "%s names its weights differently: %d tensors, from %s in place of %s to %s in place of %s; their order and "
        "all shapes agree, so they are used",
        path,
        len(pairs),
        its_first,
        first,
        its_last,
        last,
    )
    return {here: state[there] for here, there in pairs.items()}


def _converted_by_timm(state: StateDict, backbone: Backbone, path: Path) -> StateDict | None:
    from breedclf.models.backbones.timm_weights import converted

    rows = [tensor.shape[0] for tensor in state.values() if tensor.ndim == 2]
    for classes in {*rows[-1:], 0}:  # timm checks the head too, which may be there or not
        try:
            found = backbone.without_head(converted(backbone.name, state, classes))
        except Exception as error:  # noqa: BLE001 - given a foreign state dict, timm's conversions may raise anything
            log.debug("timm can't convert %s with %d classes: %s", path, classes, error)
        else:
            log.info("%s has other names or shapes than %s; timm converted them", path, backbone.name)
            return found
    return None


def _advice(
    state: StateDict, found: StateDict, expected: Mapping[str, torch.Tensor], backbone: Backbone, path: Path
) -> str:
    """What to do about a file that doesn't fit; empty if nothing is known."""
    misshapen = [name for name in expected if name in found and found[name].shape != expected[name].shape]
    if misshapen and all(any(part in name for part in _POSITIONS) for name in misshapen):
        return f". It is for images of another size than {backbone.side_px} px"
    if (name := fitting_architecture(state, path)) is not None:
        return f". These are the weights of {name}: set architecture={name}"
    if not _shapes(expected) - _shapes(found) and len(found) <= len(expected) + 2:  # the head, under another name
        why = "safetensors files don't keep the order" if path.suffix == ".safetensors" else "the order differs"
        return (
            f". It has the shapes of {backbone.name}, but other names, and {why} by which they could be matched: "
            "rename its tensors"
        )
    return ""


def _shapes(state: Mapping[str, torch.Tensor]) -> Counter[torch.Size]:
    return Counter(tensor.shape for name, tensor in state.items() if not name.endswith(COUNTER))


def fitting_architecture(state: StateDict, path: Path) -> str | None:
    """torchvision's classifier whose weights these are, with or without a head; None if there is none."""
    count = sum(tensor.numel() for name, tensor in state.items() if not name.endswith(_BUFFERS))
    state = with_present_names(state)
    missing = {name: parameter_count(name) - count for name in TORCHVISION_ARCHITECTURES}
    for name in sorted(missing, key=lambda name: abs(missing[name])):
        if not -_HEAD_PARAMETERS < missing[name] < _HEAD_PARAMETERS:
            return None
        backbone = find_backbone(name)
        expected = backbone.without_head(backbone.empty_network(1).state_dict())
        if not misfits(backbone.without_head(below(state, prefix_of(state, expected, path))), expected):
            return name
    return None
