"""Pretrained weights: torchvision's, a file's or random ones, always without the classification layer."""

from __future__ import annotations

from dataclasses import dataclass

from breedclf.config import Architecture
from breedclf.data.preprocessing import Preprocessing
from breedclf.models.network import StateDict, empty_network, new_network
from breedclf.models.published import CONNECT_TIMEOUT_SECONDS, preprocessing_for, weights_file
from breedclf.models.state_dict import checked, fingerprint
from breedclf.models.state_file import read_state

_HEAD = "fc."


@dataclass(frozen=True)
class PretrainedWeights:
    """The backbone's state dict, which must not be changed, its fingerprint, and the preprocessing that it expects."""

    state: StateDict
    fingerprint: str
    preprocessing: Preprocessing

    @property
    def features(self) -> int:
        """D, the number of features that the backbone computes per image."""
        last = max(name for name in self.state if name.startswith("layer4.") and ".bn" in name and "weight" in name)
        return self.state[last].shape[0]


def load_pretrained(
    architecture: Architecture, weights: str, *, seed: int = 0, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
) -> PretrainedWeights:
    """Load the weights of everything but the classification layer.

    `weights` is `IMAGENET1K_V1`, `IMAGENET1K_V2`, `none` (random, drawn with `seed`) or a file: a torch state dict
    without pickled code, or safetensors. `timeout_seconds` limits each wait for the download server.

    Raises:
        WeightsError: the weights can't be downloaded or read, aren't safe to load, or don't fit the architecture.
    """
    if weights == "none":
        state = _without_head(new_network(architecture, seed=seed).state_dict())
    else:
        expected = _without_head(empty_network(architecture, 1).state_dict())
        path = weights_file(architecture, weights, timeout_seconds=timeout_seconds)
        state = _without_head(read_state(path))
        state = checked(state, expected, architecture, path)
    return PretrainedWeights(state, fingerprint(state), preprocessing_for(architecture, weights))


def _without_head(state: StateDict) -> StateDict:
    return {name: tensor for name, tensor in state.items() if not name.startswith(_HEAD)}
