"""Pretrained weights: published ones, a file's or random ones, always without the classification layer."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import torch

from breedclf.config.architectures import TIMM
from breedclf.data.preprocessing import Preprocessing
from breedclf.files.model_folder import check_no_model
from breedclf.models.backbones.backbone import Backbone, StateDict, find_backbone
from breedclf.models.backbones.published_weights import check_license
from breedclf.models.backbones.record import BackboneRecord
from breedclf.models.download import CONNECT_TIMEOUT_SECONDS
from breedclf.models.local_weights import weights_from_file
from breedclf.models.published import preprocessing_for, weights_file


@dataclass(frozen=True)
class TrainedHead:
    """The head of a trained model on unscaled features: `weight` [C, D] and `bias` [C], in the order of its classes.

    `model_sha256` is that of the model's weights.
    """

    labels: tuple[str, ...]
    class_names: tuple[str, ...]
    weight: torch.Tensor
    bias: torch.Tensor
    model_sha256: str


@dataclass(frozen=True)
class PretrainedWeights:
    """The backbone's state dict, which must not be changed, its fingerprint, and the preprocessing that it expects.

    `record` is what the model directory will say about them. `head` is that of the model which the run continues;
    without one the head is new.
    """

    backbone: Backbone
    state: StateDict
    fingerprint: str
    preprocessing: Preprocessing
    record: BackboneRecord | None = None
    head: TrainedHead | None = None


def load_pretrained(
    architecture: str,
    weights: str,
    *,
    seed: int = 0,
    accept_license: bool = False,
    timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
) -> PretrainedWeights:
    """Load the weights of everything but the classification layer.

    `weights` is a name of torchvision's, such as `IMAGENET1K_V2`, `pretrained` for timm's, `none` (random, drawn with
    `seed`) or a file: a torch state dict without pickled code, or safetensors. With `accept_license` the license of
    published weights may bind. `timeout_seconds` limits each wait for the download server.

    Raises:
        WeightsError: the weights can't be downloaded or read, aren't safe to load, or don't fit the architecture; or
            their license binds and isn't accepted.
    """
    backbone = find_backbone(architecture)
    preprocessing = preprocessing_for(architecture, weights)
    published = check_license(architecture, weights, accepted=accept_license)
    path = None if weights == "none" else weights_file(architecture, weights, timeout_seconds=timeout_seconds)
    if path is None:
        state = backbone.without_head(backbone.new_network(seed=seed).state_dict())
    else:
        check_no_model(path)
        state = weights_from_file(backbone, path)
    library: Literal["torchvision", "timm"] = "timm" if architecture.startswith(TIMM) else "torchvision"
    record = BackboneRecord(
        library=library,
        library_version=version(library),
        weights=weights,
        license=None if published is None else published.license,
        source=None if published is None else published.url,
    )
    return PretrainedWeights(backbone, state, backbone.fingerprint(state), preprocessing, record)
