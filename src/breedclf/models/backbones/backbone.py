"""`Backbone`: a network of torchvision or timm, with where its head is and how it is cut into stages."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Protocol, cast

import torch
from torch import nn

from breedclf.config.architectures import TIMM
from breedclf.errors import ConfigError
from breedclf.models.backbones.stages import NECK, Segment, segments_of
from breedclf.models.initialization import DrawnFrom, NotDrawn
from breedclf.models.state_dict import fingerprint

StateDict = dict[str, torch.Tensor]


class MakesNetwork(Protocol):
    """Builds a network with this number of outputs."""

    def __call__(self, classes: int, /) -> nn.Module: ...


@dataclass(frozen=True)
class Backbone:
    """A network without its head, the linear layer that classifies.

    Args:
        name: as in `architecture`.
        make: builds the whole network, with random weights.
        head: path of the head among the network's modules, such as `fc`.
        features: D, the number of features per image: the head's inputs.
        side_px: height and width in pixels of the images that it was designed for.
    """

    name: str
    make: MakesNetwork = field(repr=False, compare=False)
    head: str
    features: int
    side_px: int = 224

    @property
    def head_prefix(self) -> str:
        """What the names of the head's weights start with in a state dict."""
        return f"{self.head}."

    def new_network(self, *, seed: int, classes: int = 1000) -> nn.Module:
        """The whole network with random weights drawn from `seed`; the global random state isn't changed."""
        with DrawnFrom(seed):
            return self.make(classes)

    def empty_network(self, classes: int) -> nn.Module:
        """The whole network without values of its weights: fill it by `load_state_dict(..., assign=True)`."""
        return _without_values(self.make, classes)

    def network_from(self, state: StateDict) -> nn.Module:
        """The whole network with these weights, in eval mode; it shares their memory."""
        network = self.empty_network(state[f"{self.head}.bias"].shape[0])
        return _filled(network, state)

    def headless(self, state: StateDict) -> nn.Module:
        """The network from images [N, 3, H, W] to features [N, D] with these weights, in eval mode."""
        network = self.empty_network(1)
        network.set_submodule(self.head, nn.Identity())
        return _filled(network, state)

    def fingerprint(self, state: StateDict) -> str:
        """Identifies weights without the head, and the network where the weights' names and shapes don't.

        timm has networks that compute different features with weights of the same names and shapes.
        """
        return fingerprint(state, self.name if self.name.startswith(TIMM) else "")

    def without_head(self, state: StateDict) -> StateDict:
        """The weights of a network without those of its head."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(self.head_prefix)}

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The network without its head in parts that follow one another; those but the last can be frozen."""
        network = self.empty_network(1).to("meta")
        network.set_submodule(self.head, nn.Identity())
        return segments_of(network, self.side_px)

    def at(self, side_px: int) -> Backbone:
        """The same network for images of this many pixels a side: the segments' constants depend on it."""
        return self if side_px == self.side_px else _resized(self.name, side_px)

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, from the input to the output."""
        return tuple(segment.name for segment in self.segments if segment.name != NECK)

    def trained_stages(self, freeze: str) -> tuple[str, ...]:
        """The stages that are trained besides the head, from the input to the output.

        Args:
            freeze: `head` for none of them, `none` for all, `last_stage`, or the name of the first that is trained.

        Raises:
            ConfigError: the network has no such stage, or only one.

        Example:
            >>> resnet = find_backbone("resnet50")
            >>> resnet.trained_stages("head"), resnet.trained_stages("layer4"), resnet.trained_stages("last_stage")
            ((), ('layer4',), ('layer4',))
        """
        if freeze == "head":
            return ()
        stages = self.stages
        if freeze == "last_stage" and len(stages) == 1:
            raise ConfigError(
                f"freeze=last_stage: {self.name} can't be cut into stages that one tensor connects; use freeze=head, "
                "or freeze=none to train the whole network"
            )
        first = {"none": stages[0], "last_stage": stages[-1]}.get(freeze, freeze)
        if first not in stages:
            raise ConfigError(
                f"freeze={freeze}: {self.name} has no such stage; its stages are {', '.join(stages)} "
                "(freeze=last_stage trains the last one and the head)"
            )
        return stages[stages.index(first) :]


@lru_cache(maxsize=64)
def find_backbone(name: str) -> Backbone:
    """The backbone of this name, as in `architecture`.

    Raises:
        ConfigError: there is none, or it has no head on one vector of features per image.
        MissingExtraError: it is timm's, and timm isn't installed.
    """
    if name.startswith(TIMM):
        from breedclf.models.backbones.timm_networks import timm_network

        make, head, side_px = timm_network(name.removeprefix(TIMM))
    else:
        from breedclf.models.backbones.torchvision_networks import torchvision_network

        make, head, side_px = torchvision_network(name)
    network = _without_values(make, 2)
    layer = dict(network.named_modules()).get(head) if head else None
    if not isinstance(layer, nn.Linear):
        has = "no head" if layer is None else f"a head of type {type(layer).__name__}"
        raise ConfigError(
            f"architecture={name} has {has}, not a linear layer on one vector of features per image, so it can't be "
            "fine-tuned here: choose another (`breedclf backbones list`)"
        )
    return Backbone(name, make, head, layer.in_features, side_px)


def _filled(network: nn.Module, state: StateDict) -> nn.Module:
    """The network with these weights, in eval mode; some read their state dict's versions, which files lack."""
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned, assign=True)
    return network.eval()


@lru_cache(maxsize=64)
def _resized(name: str, side_px: int) -> Backbone:
    return replace(find_backbone(name), side_px=side_px)


def _without_values(make: MakesNetwork, classes: int) -> nn.Module:
    """A network on the meta device, where that is possible: some compute with tensors while they are built."""
    try:
        with torch.device("meta"), NotDrawn():
            network = make(classes)
    except (NotImplementedError, RuntimeError):
        pass
    else:
        if not _has_lost_values(network):
            return network
    with NotDrawn():
        return make(classes)


def _has_lost_values(network: nn.Module) -> bool:
    """Whether values on the meta device aren't in the state dict, so that loading doesn't restore them."""
    state = network.state_dict(keep_vars=True)
    kept = {id(tensor) for tensor in state.values()}
    for module in network.modules():
        own = [*vars(module).values(), *cast("dict[str, object]", module._buffers).values()]
        if any(isinstance(each, torch.Tensor) and each.is_meta and id(each) not in kept for each in own):
            return True
    return False
