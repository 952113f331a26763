"""Checks that a run's network, its stages and its weights exist, before anything is sent, started or billed."""

from __future__ import annotations

from pathlib import Path

from breedclf.config import WEIGHTS_NAMES, TrainingConfig
from breedclf.config.architectures import TIMM
from breedclf.errors import WeightsError
from breedclf.files.model_folder import check_no_model
from breedclf.runtime.process_signals import ending_at_once
from breedclf.tuning.network_weights import is_file

_USUAL_WEIGHTS = "IMAGENET1K_V1"
_WITHOUT_USUAL_WEIGHTS = ("regnet_y_128gf", "vit_h_14")
"""Networks of torchvision whose only weights are SWAG's."""


def check_network(config: TrainingConfig) -> None:
    """Check what can be checked without reading or downloading weights.

    Raises:
        ConfigError: there is no such network, or it has no such stage to train.
        MissingExtraError: the network is timm's, and timm isn't installed.
        WeightsError: the weights are neither a known name nor a file, there are none of that name, or their license
            binds and isn't accepted.
    """
    if config.start_from is not None:
        return
    if is_file(config.weights):
        file = Path(config.weights)
        check_no_model(file)
        if not file.is_file():
            raise WeightsError(f"weights={config.weights!r} is neither {', '.join(WEIGHTS_NAMES)} nor a file")
    if _is_known_to_exist(config):
        return
    with ending_at_once():
        from breedclf.models.backbones.backbone import find_backbone
        from breedclf.models.backbones.published_weights import check_license

    find_backbone(config.architecture).trained_stages(config.freeze)
    check_license(config.architecture, config.weights, accepted=config.accept_license)


def _is_known_to_exist(config: TrainingConfig) -> bool:
    """Whether network, stages and weights exist without doubt, and no license binds: torch needn't be loaded for it."""
    if config.architecture.startswith(TIMM) or config.freeze not in ("head", "none"):
        return False
    if config.weights == _USUAL_WEIGHTS:
        return config.architecture not in _WITHOUT_USUAL_WEIGHTS
    return config.weights == "none" or config.weights not in WEIGHTS_NAMES
