"""What makes the answers of a trained model trustworthy: its calibration, and the bank of known features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.features.sources import Sources
from breedclf.inference.calibration import Calibration
from breedclf.inference.conformal import ConformalQuantiles, quantiles_of
from breedclf.inference.feature_bank import LimitedBank
from breedclf.models.backbones.backbone import StateDict
from breedclf.models.model import Model
from breedclf.training.results.bank import chosen_rows, limited_bank
from breedclf.training.results.calibration import calibration_of

_BATCH = 1024


@dataclass(frozen=True)
class Trust:
    """The state dict to save, and what its card says: `calibration` and `conformal` are None without calibration, and
    `bank` also with too few images for one.
    """

    state: StateDict
    calibration: Calibration | None = None
    conformal: ConformalQuantiles | None = None
    bank: LimitedBank | None = None


def trust_of(config: TrainingConfig, model: Model, state: StateDict, sources: Sources) -> Trust:
    """Calibrate a network that was trained on `sources`, and make its feature bank, as far as the settings ask for it.

    Args:
        config: the settings.
        model: the trained module.
        state: the whole network's weights, as `Model.state_with` returns them.
        sources: provide the inputs of its module.
    """
    if not (config.calibration or config.feature_bank):
        return Trust(state)
    valid, targets = final_features(model, sources.valid, torch.arange(len(sources.valid.targets)))
    trust = Trust(state)
    if config.calibration:
        trust = _calibrated(model.backbone.head_prefix, state, valid, targets)
    if config.feature_bank:
        train, _ = final_features(model, sources.first, chosen_rows(sources.first.targets.cpu()))
        trust = replace(trust, bank=limited_bank(train, valid))
    return trust


def _calibrated(prefix: str, state: StateDict, features: torch.Tensor, targets: torch.Tensor) -> Trust:
    """The state with the scores of its head, the tensors that start with `prefix`, divided by the temperature."""
    head = {name: state[prefix + name] for name in ("weight", "bias")}
    scores = F.linear(features, head["weight"], head["bias"])
    calibration = calibration_of(scores, targets)
    conformal = quantiles_of((scores / calibration.temperature).softmax(1), targets)
    scaled = {prefix + name: tensor / calibration.temperature for name, tensor in head.items()}
    return Trust(state | scaled, calibration, conformal)


@torch.inference_mode()
def final_features(model: Model, source: FeatureSource, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The head's inputs, float32 [N, D], and the classes, int64 [N], of some rows of a source, on the CPU."""
    model.module.eval()
    found, targets = [], []
    for inputs, labels in source.batches(rows, _BATCH):
        found.append(model.features(inputs).float().cpu())
        targets.append(labels.cpu().clone())
    return torch.cat(found), torch.cat(targets)
